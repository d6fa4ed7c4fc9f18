"""Relative moves, and the bank of prompts."""

from __future__ import annotations

import pytest

from lcm_daemon.core.live_values import Parameters
from lcm_daemon.core.metrics import Metrics
from lcm_daemon.core.parameters import Value
from lcm_daemon.core.refusals import Refusals
from lcm_daemon.core.requests import COMMANDS, Change, CommandRequest
from lcm_daemon.stage.moves import Moves
from lcm_daemon.stage.prompt_bank import PromptBank

PROMPTS = ("red", "blue::0.7 green::0.3")


class Bench:
    def __init__(self, prompts: tuple[str, ...] = PROMPTS) -> None:
        self.parameters, self.refusals = Parameters(), Refusals(Metrics())
        self.moves = Moves(self.parameters, self.refusals, PromptBank(prompts))

    def do(self, name: str, *arguments: Value) -> list[Change]:
        return self.moves.execute(CommandRequest(name, "osc/127.0.0.1:9", COMMANDS[name].coerce(arguments)), 0.0)

    def reasons(self) -> list[str]:
        return [refusal.text for refusal in self.refusals.pop()]


@pytest.mark.parametrize(("name", "start", "amount", "end"), [
    ("strength", 0.5, 0.25, 0.75), ("strength", 0.5, -0.25, 0.25), ("strength", 0.9, 0.5, 1.0),
    ("strength", 0.1, -0.5, 0.0), ("strength", 0.5, "25%", 0.75), ("steps", 2, 1, 3), ("steps", 2, 0.6, 3),
    ("steps", 2, -9, 1), ("seed", 2**32 - 2, 5, 2**32 - 1), ("mode", "image", 1, "text"),
    ("mode", "image", 9, "control"), ("mode", "image", -1, "image"),
    ("freeze", False, 1, True), ("freeze", True, 1, True), ("freeze", True, -1, False),
])
def test_a_move_starts_where_the_value_is(name: str, start: Value, amount: Value, end: Value) -> None:
    bench = Bench()
    bench.parameters.set(name, start, 0.0)
    assert bench.do("adjust", name, amount) == [Change(name, end, "adjust")]
    assert bench.parameters.targets()[name] == pytest.approx(end)
    assert bench.parameters.origin(name) == "osc/127.0.0.1:9"


def test_moves_add_up_while_the_value_glides() -> None:
    bench = Bench()
    bench.parameters.glides = {"strength": 2.0}
    for _ in range(3):
        bench.do("adjust", "strength", -0.1)
    assert bench.parameters.targets()["strength"] == pytest.approx(0.3)
    assert bench.parameters.evaluate(1.0)["strength"] == pytest.approx(0.45)


def test_toggles() -> None:
    bench = Bench()
    assert [bench.do("toggle", "freeze")[0].value for _ in range(3)] == [True, False, True]
    assert [bench.do("toggle", "mode")[0].value for _ in range(3)] == ["text", "control", "image"]


def test_the_bank_of_prompts_counts_from_one() -> None:
    bench = Bench()
    assert bench.do("prompts/play", 2) == [Change("prompt", "blue::0.7 green::0.3", "prompts/play")]
    assert bench.do("prompts/play", 1.0) == [Change("prompt", "red", "prompts/play")]


@pytest.mark.parametrize(("name", "arguments", "reason"), [
    ("adjust", ("nothing", 1), "adjust: no parameter 'nothing'"),
    ("adjust", ("prompt", 1), "adjust: prompt is text, which cannot be moved by an amount"),
    ("toggle", ("prompt",), "toggle: prompt cannot be toggled: it is text"),
    ("toggle", ("strength",), "toggle: strength cannot be toggled: it is a number"),
    ("prompts/play", (0,), "prompts/play: no prompt 0; the show has 1 to 2"),
    ("prompts/play", (3,), "prompts/play: no prompt 3; the show has 1 to 2"),
    ("prompts/play", (1.5,), "prompts/play: no prompt 1.5; the show has 1 to 2"),
])
def test_refusals(name: str, arguments: tuple[Value, ...], reason: str) -> None:
    bench = Bench()
    before = bench.parameters.targets()
    assert bench.do(name, *arguments) == []
    assert bench.reasons() == [reason]
    assert bench.parameters.targets() == before


def test_the_bank_changes_while_the_show_plays() -> None:
    bench = Bench()
    bench.parameters.set("prompt", "ocean", 0.0)
    assert bench.do("prompts/store", 0) == bench.do("prompts/store", 1, "neon  grid\n") == []
    assert bench.do("prompts/play", 3) == [Change("prompt", "ocean", "prompts/play")]
    assert bench.do("prompts/play", 1) == [Change("prompt", "neon  grid", "prompts/play")]
    assert bench.do("prompts/clear", 1) == bench.do("prompts/clear", 1) == []
    assert bench.reasons() == ["prompts/clear: no prompt 1; the show has 2 to 3"]


def test_a_show_without_prompts() -> None:
    bench = Bench(())
    assert bench.do("prompts/play", 1) == []
    assert bench.reasons() == ["prompts/play: the show has no prompts"]
