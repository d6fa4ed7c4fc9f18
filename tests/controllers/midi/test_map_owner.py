"""Learning by MIDI while the show plays: the next control is bound, and bindings are changed afterwards."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine
from typing import Any
from unittest import mock

import pytest

from lcm_daemon.controllers.midi import map_owner
from lcm_daemon.controllers.midi.map_owner import line_of, read_line
from lcm_daemon.core.bindings import BindingEdit
from lcm_daemon.core.parameters import Refused
from tests.rigs.midi import Rig, bindings, plugged


def on_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    @functools.wraps(test)
    def run(*given: Any, **named: Any) -> None:
        asyncio.run(test(*given, **named))

    return run

SHOW = """\
map:
  - {cc: 1, to: strength, range: [0.2, 0.9], curve: exp}
  - {cc: 2, to: mix}
  - {note: 9, command: panic}
"""


@pytest.fixture(autouse=True)
def _short_gestures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(map_owner, "QUIET_SECONDS", 0.02)


def learning(one: Rig) -> dict[str, Any]:
    return dict(next(iter(one.controls.lists["learning"]), {}))


def rows(one: Rig, name: str) -> list[tuple[Any, ...]]:
    found = [row for row in one.controls.lists["bindings"] if row["to"] == name]
    return [(row["control"], row["low"], row["high"], row["curve"]) for row in found]


@on_loop
async def test_the_next_fader_is_bound_and_moves_the_value_at_once() -> None:
    async with plugged(SHOW) as (one, device):
        assert one.controls.command("learn/start", "page/1", ["feedback"])
        assert learning(one) == {"to": "feedback", "control": "", "conflict": ""}
        for value in (3, 40, 90):
            device.play(0xB0, 7, value)
        await one.until(lambda: not learning(one))
        assert one.controls.values["feedback"] == 0.0  # the gesture itself moves nothing
        assert rows(one, "feedback") == [("cc 7 ch 1", 0.0, 0.95, "linear")]
        device.play(0xB0, 7, 127)
        await one.becomes("feedback", 0.95)
        device.play(0xB0, 7, 64)
        await one.becomes("feedback", 0.95 * 64 / 127)
        assert one.controls.kept["learn"][0].changed(None) == {"cc": 7, "channel": 1, "to": "feedback"}


@on_loop
async def test_range_curve_and_removal_act_at_once() -> None:
    async with plugged(SHOW) as (one, device):
        assert rows(one, "strength") == [("cc 1", 0.2, 0.9, "exp")]
        one.controls.command("learn/range", "page/1", ["strength", 1.0, 0.5])
        one.controls.command("learn/curve", "page/1", ["strength", "linear", "cc 1"])
        assert rows(one, "strength") == [("cc 1", 1.0, 0.5, "linear")]
        device.play(0xB0, 1, 0)
        device.play(0xB0, 1, 127)
        await one.becomes("strength", 0.5)
        assert not one.controls.command("learn/curve", "page/1", ["strength", "wavy"])
        assert not one.controls.command("learn/range", "page/1", ["strength", 0.5, 0.5])
        assert not one.controls.command("learn/remove", "page/1", ["strength", "cc 3"])
        assert rows(one, "strength") == [("cc 1", 1.0, 0.5, "linear")]
        assert one.controls.command("learn/remove", "page/1", ["strength"])
        assert rows(one, "strength") == []
        device.play(0xB0, 1, 64)
        device.play(0xB0, 2, 0)
        device.play(0xB0, 2, 127)
        await one.becomes("mix", 1.0)
        assert one.controls.values["strength"] == 0.5


@pytest.mark.parametrize(("how", "strength"), [("move", 0), ("share", 1)])
@on_loop
async def test_a_control_that_moves_something_already_is_asked_for(how: str, strength: int) -> None:
    async with plugged(SHOW) as (one, device):
        one.controls.command("learn/start", "page/1", ["smooth"])
        device.play(0xB0, 1, 3)
        await one.until(lambda: learning(one).get("conflict"))
        assert learning(one) == {"to": "smooth", "control": "cc 1 ch 1", "conflict": "strength"}
        assert rows(one, "smooth") == []
        assert one.controls.command("learn/accept", "page/1", [how])
        assert learning(one) == {}
        assert rows(one, "smooth") == [("cc 1 ch 1", 0.0, 0.95, "linear")]
        assert len(rows(one, "strength")) == strength


@on_loop
async def test_a_new_control_takes_the_place_of_the_old_one_and_keeps_its_range() -> None:
    async with plugged(SHOW) as (one, device):
        one.controls.command("learn/start", "page/1", ["strength"])
        device.play(0xE0, 0, 10)
        await one.until(lambda: not learning(one))
        assert rows(one, "strength") == [("pitchbend ch 1", 0.2, 0.9, "exp")]
        (edit,) = one.controls.kept["learn"]
        assert edit.changed(None) == {"pitchbend": None, "channel": 1, "to": "strength", "range": [0.2, 0.9],
                                      "curve": "exp"}


@on_loop
async def test_buttons_toggle_switches_and_set_the_value_of_now() -> None:
    async with plugged(SHOW) as (one, device):
        for number, name in ((40, "freeze"), (41, "noise_speed")):
            one.controls.command("learn/start", "page/1", [name])
            device.play(0x90, number, 90)
            device.play(0x80, number, 0)
            await one.until(lambda: not learning(one))
        one.move("noise_speed", 5.0)
        device.play(0x90, 40, 90)
        await one.becomes("freeze", True)
        device.play(0x90, 41, 90)
        await one.becomes("noise_speed", 0.2)


@on_loop
async def test_buttons_run_the_commands_that_they_have_learned() -> None:
    async with plugged(SHOW) as (one, device):
        refused: list[str] = []
        one.controls.subscribe(on_refusal=lambda refusal: refused.append(refusal.text))
        one.controls.command("learn/start", "page/1", ["cue/goto Act One"])
        for value in (3, 40, 90):
            device.play(0xB0, 7, value)
        await one.until(lambda: refused)
        assert refused == ["learn: cue/goto Act One needs a button, and cc 7 ch 1 is none"]
        device.play(0x90, 40, 90)
        device.play(0x80, 40, 0)
        await one.until(lambda: not learning(one))
        one.controls.command("learn/start", "page/1", ["cue/go"])
        for value in (127, 0):
            device.play(0xB0, 8, value)
        await one.until(lambda: not learning(one))
        assert rows(one, "cue/goto Act One") == [("note 40 ch 1", 0.0, 0.0, "linear")]
        assert rows(one, "panic") == [("note 9", 0.0, 0.0, "linear")]
        assert not one.controls.command("learn/range", "page/1", ["cue/go", 0.0, 1.0])
        assert [edit.changed(None) for edit in one.controls.kept["learn"]] == [
            {"note": 40, "channel": 1, "command": "cue/goto", "with": ["Act One"]},
            {"cc": 8, "channel": 1, "command": "cue/go"}]
        device.play(0x90, 40, 90)
        device.play(0x80, 40, 0)
        device.play(0xB0, 8, 127)
        await one.until(lambda: len(one.commands) == 2)
        assert [(call.name, call.arguments) for call in one.commands] == [("cue/goto", ("Act One",)), ("cue/go", ())]

        # a button that does something already is asked for; the target has one control of a device
        one.controls.command("learn/start", "page/1", ["cue/goto intro"])
        device.play(0x90, 40, 90)
        await one.until(lambda: learning(one).get("conflict"))
        assert learning(one)["conflict"] == "cue/goto Act One"
        one.controls.command("learn/accept", "page/1", ["move"])
        assert rows(one, "cue/goto Act One") == []
        assert rows(one, "cue/goto intro") == [("note 40 ch 1", 0.0, 0.0, "linear")]
        assert one.controls.command("learn/remove", "page/1", ["cue/goto intro"])
        assert rows(one, "cue/goto intro") == []


@on_loop
async def test_cancel_panic_and_time_end_learning() -> None:
    async with plugged(SHOW) as (one, device):
        started: list[float] = []
        ends: list[Any] = []
        one.controls.learning.call_later = lambda seconds, act: (
            started.append(seconds), ends.append(act), mock.Mock())[2]
        for end in ("learn/cancel", "panic", ""):
            one.controls.command("learn/start", "page/1", ["feedback"])
            assert learning(one)["to"] == "feedback"
            one.controls.command(end, "page/1") if end else ends[-1]()
            assert learning(one) == {}
        assert started == [30.0] * 3
        device.play(0xB0, 2, 127)
        device.play(0xB0, 2, 64)
        await one.becomes("mix", 64 / 127)


@on_loop
async def test_what_cannot_be_learned_is_refused() -> None:
    async with plugged(SHOW) as (one, _):
        refused: list[str] = []
        one.controls.subscribe(on_refusal=lambda refusal: refused.append(refusal.text))
        for name in ("prompt", "strenght", "cue/goto", "cue/rename a", "learn/cancel"):
            assert not one.controls.command("learn/start", "page/1", [name])
        assert not one.controls.command("learn/accept", "page/1")
        assert refused == ["learn: prompt is text, which no fader can set",
                           "learn: no parameter and no command 'strenght'",
                           "learn: cue/goto: it takes <name> [<fade>]",
                           "learn: cue/rename takes <name> <new_name>, and a button can have one argument",
                           "learn: learn/cancel cannot be learned", "learn: no control waits to be accepted"]


@on_loop
async def test_a_new_desk_has_what_was_learned() -> None:
    edits = (BindingEdit("midi", {"cc": 5, "channel": 2, "to": "feedback"}),
             BindingEdit("midi", {"cc": 2, "to": "mix"}, removed=True))
    async with plugged("") as (one, _):
        kept = one.controls.kept
    kept["learn"] = edits
    with mock.patch.object(Rig, "__init__", _with_kept(kept)):
        async with plugged(SHOW) as (again, _):
            assert [row["to"] for row in again.controls.lists["bindings"]] == ["strength", "panic", "feedback"]


def _with_kept(kept: dict[str, Any]) -> Any:
    before = Rig.__init__

    def build(self: Rig, *arguments: Any) -> None:
        before(self, *arguments)
        self.controls.kept = kept

    return build


@pytest.mark.parametrize("text", [
    "{cc: 1, to: strength, range: [0.2, 0.9], curve: exp}", "{note: [1, 2], to: mode, button: radio}",
    "{pitchbend: , channel: 2, device: Pad, to: mix}", "{note: 3, to: prompt, value: lava}",
    "{cc: 4, to: mix, relative: signed_bit, step: 0.1}", "{note: 5, command: panic}",
    "{note: 5, command: cue/goto, with: [Act One, 2]}",
])
def test_a_line_says_what_a_binding_is(text: str) -> None:
    (binding,) = bindings(text)
    assert read_line(line_of(binding)) == binding


def test_a_wrong_line_is_refused() -> None:
    with pytest.raises(Refused, match="is not one of linear"):
        read_line({"cc": 1, "to": "mix", "curve": "wavy"})
