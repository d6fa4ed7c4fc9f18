"""Undo: which values are one move, and the way back."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from lcm_daemon.core.live_values import Blend, Parameters
from lcm_daemon.core.metrics import Metrics
from lcm_daemon.core.parameter_table import TABLE
from lcm_daemon.core.parameters import Parameter, Value
from lcm_daemon.core.refusals import Refusals
from lcm_daemon.core.requests import Change, CommandRequest
from lcm_daemon.stage.undo import MOVES_KEPT, Undo

PAGE, OTHER, OSC = "panel/1", "panel/2", "osc/127.0.0.1:52311"
LORA = Parameter("lora/neon", "float", 0.0, "A LoRA.", 0.0, 2.0)


class Bench:
    """Live values with undo, as the stage uses them. Its time is `now`."""

    def __init__(self, table: dict[str, Parameter] | None = None) -> None:
        self.parameters, self.refusals = Parameters(table or dict(TABLE)), Refusals(Metrics())
        self.undo = Undo(self.parameters, self.refusals)
        self.now = 100.0

    def set(self, name: str, *values: Value, by: str = PAGE, every: float = 0.02) -> None:
        for value in values:
            self.now += every
            self.parameters.move(name, value, self.now, by)
            self.undo.observe(self.now)

    def look(self, name: str, **values: Value) -> None:
        for each, value in values.items():
            self.parameters.fade(each, value, self.now, 2.0, origin=f"cue/{name}")
        self.undo.observe(self.now)

    def panic(self) -> None:
        self.parameters.reset(f"panic/{PAGE}", self.now)
        self.undo.observe(self.now)

    def do(self, name: str = "undo") -> list[Change]:
        self.now += 0.02
        return self.undo.execute(CommandRequest(name, OTHER), self.now)

    def moves(self) -> list[str]:
        return [str(row["what"]) for row in self.undo.rows()]

    def reasons(self) -> list[str]:
        return [refusal.text for refusal in self.refusals.pop()]

    def __getitem__(self, name: str) -> Value:
        return self.parameters.targets()[name]


def test_a_drag_is_one_move_and_a_pause_begins_another() -> None:
    bench = Bench()
    bench.set("strength", *(n / 100 for n in range(60, 90)))
    bench.now += 1.0
    bench.set("strength", 0.3, 0.2)
    assert bench.undo.rows() == (
        {"number": 2, "what": "strength", "by": "page", "panic": False, "value": "0.89"},
        {"number": 1, "what": "strength", "by": "page", "panic": False, "value": "0.6"})
    assert bench.do() == [Change("strength", 0.89, "undo")]
    assert bench.do() == [Change("strength", 0.6, "undo")]
    assert bench.parameters.origin("strength") == OTHER
    assert (bench.do(), bench.reasons()) == ([], ["undo: there is nothing to undo; the last 50 moves are kept"])


@pytest.mark.parametrize(("first", "second", "count"), [
    (("strength", 0.7, PAGE), ("strength", 0.8, PAGE), 1),
    (("strength", 0.7, PAGE), ("strength", 0.8, OTHER), 2),
    (("strength", 0.7, PAGE), ("mix", 0.8, PAGE), 2),
    (("strength", 0.7, OSC), ("strength", 0.8, "osc/127.0.0.1:40000"), 1),
    (("strength", 0.7, OSC), ("strength", 0.8, "osc/127.0.0.2:52311"), 2),
    (("steps", 3, PAGE), ("steps", 4, PAGE), 1),
    (("prompt", "lava", PAGE), ("prompt", "neon grid", PAGE), 2),
    (("prompt", "neon gr", PAGE), ("prompt", "neon grid", PAGE), 1),
    (("prompt", "blue neon grid", PAGE), ("prompt", "blue grid", PAGE), 1),
    (("mode", "text", PAGE), ("mode", "control", PAGE), 2),
    (("freeze", True, PAGE), ("freeze", False, PAGE), 2),
])
def test_what_is_one_move(
    first: tuple[str, Value, str], second: tuple[str, Value, str], count: int,
) -> None:
    bench = Bench()
    for name, value, origin in (first, second):
        bench.set(name, value, by=origin)
    assert len(bench.moves()) == count


def test_each_throw_of_the_dice_is_a_move_and_a_knob_of_seeds_is_one() -> None:
    bench = Bench()
    bench.set("seed", 7, 99, 12, every=0.2)
    bench.now += 0.2
    bench.set("seed", *range(100, 140), every=0.02)
    assert [bench.do()[0].value for _ in range(4)] == [12, 99, 7, 0]


def test_moves_at_the_same_time_are_kept_apart() -> None:
    bench = Bench()
    for step in range(50):
        bench.set("strength", step / 100, by=OSC)
        bench.set("mix", 1.0 - step / 100)
    bench.set("prompt", "lava")
    bench.set("strength", 0.9, by=OSC)  # the ramp goes on
    assert bench.moves() == ["prompt", "mix", "strength"]
    bench.do()
    assert (bench["prompt"], bench["strength"]) == ("clouds", 0.9)


def test_a_drag_back_to_its_start_is_no_move() -> None:
    bench = Bench()
    bench.set("prompt", "lava")
    bench.set("strength", 0.7, 0.6)
    assert bench.moves() == ["prompt"]
    assert bench.do() == [Change("prompt", "clouds", "undo")]


def test_a_look_and_a_panic_are_one_move_each() -> None:
    bench = Bench()
    bench.set("strength", 0.9)
    bench.look("storm", prompt="lightning", strength=0.4, mix=0.5)
    bench.panic()
    assert bench.moves() == ["panic", "look storm", "strength"]
    assert bench.undo.rows()[0]["panic"]
    bench.do()
    assert (bench["prompt"], bench["strength"], bench["mix"]) == ("lightning", 0.4, 0.5)
    bench.do()
    assert (bench["prompt"], bench["strength"], bench["mix"]) == ("clouds", 0.9, 1.0)


def test_undo_glides_and_ends_a_fade() -> None:
    bench = Bench()
    bench.parameters.glides = {"strength": 2.0}
    bench.look("storm", strength=1.0)
    bench.now += 1.0
    bench.do()
    assert bench.parameters.evaluate(bench.now)["strength"] == pytest.approx(0.8, abs=0.02)
    assert bench.parameters.evaluate(bench.now + 1.0)["strength"] == pytest.approx(0.7, abs=0.02)
    assert bench.parameters.evaluate(bench.now + 2.0)["strength"] == 0.6


def test_a_blend_that_a_crossfade_left_comes_back() -> None:
    bench = Bench()
    bench.parameters.hold("prompt", "clouds", "lava", 0.25, bench.now, "cue/storm")
    bench.undo.observe(bench.now)
    blend = bench.parameters.at("prompt", bench.now)
    bench.panic()
    bench.do()
    restored = bench.parameters.at("prompt", bench.now)
    assert isinstance(restored, Blend)
    assert dict(restored.parts) == dict(blend.parts)
    bench.do()
    assert bench.parameters.at("prompt", bench.now) == "clouds"


def test_redo() -> None:
    bench = Bench()
    assert (bench.do("redo"), bench.reasons()) == ([], ["redo: nothing has been undone since the last move"])
    bench.set("strength", 0.9)
    bench.set("prompt", "lava")
    bench.do()
    bench.do()
    assert [row["what"] for row in bench.undo.redo_rows()] == ["strength", "prompt"]
    assert bench.do("redo") == [Change("strength", 0.9, "redo")]
    bench.set("mix", 0.5)
    assert (bench.do("redo"), bench["prompt"]) == ([], "clouds")
    assert bench.moves() == ["mix", "strength"]


def test_a_panic_is_undone_under_a_ramp() -> None:
    bench = Bench()
    bench.set("prompt", "lava")
    bench.set("strength", *(n / 100 for n in range(10, 40)), by=OSC)
    bench.panic()
    bench.set("strength", *(n / 100 for n in range(40, 80)), by=OSC)
    assert bench.do("undo_panic") == [Change("prompt", "lava", "undo_panic")]
    assert bench["strength"] == 0.79
    assert bench.moves() == ["strength", "strength", "prompt"]
    assert (bench.do("undo_panic"), bench.reasons()) == ([], ["undo_panic: no panic is among the last 50 moves"])


def test_a_panic_that_takes_seconds_is_undone_on_its_way() -> None:
    bench = Bench()
    bench.set("strength", 1.0)
    bench.set("prompt", "lava")
    bench.parameters.reset(f"panic/{PAGE}", bench.now, 10.0)
    bench.undo.observe(bench.now)
    bench.now += 5.0
    assert bench.parameters.evaluate(bench.now)["strength"] == pytest.approx(0.8)
    bench.do("undo_panic")
    values = bench.parameters.evaluate(bench.now)
    assert (values["strength"], values["prompt"]) == (1.0, "lava")


def test_a_second_panic_changes_nothing_and_hides_nothing() -> None:
    bench = Bench()
    bench.set("prompt", "lava")
    bench.panic()
    bench.panic()
    assert bench.moves() == ["panic", "prompt"]
    bench.do("undo_panic")
    assert bench["prompt"] == "lava"


def test_what_a_recipe_took_along_is_named_and_the_rest_comes_back() -> None:
    bench = Bench({**TABLE, LORA.name: LORA})
    bench.set("lora/neon", 0.5)
    bench.look("storm", strength=0.4, **{"lora/neon": 1.0})
    bench.parameters.replace_table(TABLE)
    bench.undo.observe(bench.now)
    assert bench.moves() == ["look storm", "lora/neon"]
    assert bench.do() == [Change("strength", 0.6, "undo")]
    assert bench.do() == []
    assert bench.reasons() == ["undo of look storm: lora/neon does not exist now",
                               "undo of lora/neon: lora/neon does not exist now"]
    bench.parameters.replace_table({**TABLE, LORA.name: LORA})
    bench.undo.observe(bench.now)
    assert bench.moves() == [], "a parameter that returns with its recipe does not count as a move"


def test_values_of_recipes_and_clocks_are_no_moves() -> None:
    table = {**TABLE, "bpm": Parameter("bpm", "float", 120.0, "Tempo.", 20.0, 400.0, look=False)}
    bench = Bench(table)
    bench.set("bpm", 130.0, by="link")
    bench.set("strength", 0.3, by="recipe")
    bench.set("mix", 0.3, by="resume")
    assert bench.moves() == []
    bench.do()
    assert bench["strength"] == 0.3


def test_the_newest_50_of_10000_moves() -> None:
    bench = Bench()
    chance, seen = random.Random(4), list[Value]()
    for _ in range(10_000):
        seen.append(bench["strength"])
        bench.set("strength", chance.random(), by=chance.choice((PAGE, OTHER)), every=1.5)
    assert len(bench.moves()) == MOVES_KEPT
    for value in reversed(seen[-MOVES_KEPT:]):
        bench.do()
        assert bench["strength"] == value
    assert bench.do() == []


def test_any_sequence_of_moves_can_be_walked_back() -> None:
    """Whatever is moved, undo leads through the states in between to the first one."""
    chance = random.Random(7)
    bench = Bench()
    first = bench.parameters.targets()
    choices: Sequence[tuple[str, Value]] = (
        ("strength", 0.1), ("strength", 0.9), ("prompt", "a"), ("prompt", "bc"), ("freeze", True), ("freeze", False),
        ("mode", "text"), ("mode", "image"), ("seed", 5), ("steps", 4))
    for _ in range(40):
        if chance.random() < 0.1:
            bench.panic()
        name, value = chance.choice(choices)
        bench.set(name, value, by=chance.choice((PAGE, OTHER, OSC)), every=chance.choice((0.1, 1.5)))
    while bench.moves():
        bench.do()
    assert bench.parameters.targets() == first
    while bench.undo.redo_rows():
        bench.do("redo")
    assert bench.do("redo") == []
