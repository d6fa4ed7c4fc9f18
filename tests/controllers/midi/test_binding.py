"""Lines of a map: their keys, and mistakes in them."""

from __future__ import annotations

import pickle

import pytest

from lcm_daemon.controllers.midi.binding import MidiFeedback, Touch
from lcm_daemon.controllers.midi.messages import Control
from lcm_daemon.core.errors import DocumentError
from tests.rigs.midi import bindings, options


def test_a_line_in_full() -> None:
    (one,) = bindings("{cc: 0, channel: 1, to: strength, range: [0.2, 0.9], curve: exp, takeover: scale}")
    assert (one.kind, one.numbers, one.channel, one.to) == ("cc", (0,), 1, "strength")
    assert (one.span, one.curve, one.takeover) == ((0.2, 0.9), "exp", "scale")
    assert one.feedback == MidiFeedback("cc", (0,), 0, 0, 127)
    assert pickle.loads(pickle.dumps(one)) == one  # it is sent to the desk process


@pytest.mark.parametrize(("line", "action"), [
    ("{cc: 0, to: strength}", "absolute"), ("{cc14: 1, to: mix}", "absolute"), ("{nrpn: 512, to: mix}", "absolute"),
    ("{pitchbend: , to: blend}", "absolute"), ("{aftertouch: , to: mix}", "absolute"),
    ("{aftertouch: 36, to: mix}", "absolute"), ("{note: 36, to: mix}", "absolute"),
    ("{program: , to: seed}", "program"), ("{program: , to: mix, range: [0, 1]}", "absolute"),
    ("{program: 5, to: prompt, value: lava}", "set"), ("{cc: 16, to: seed, relative: signed_bit}", "relative"),
    ("{note: 36, to: freeze, button: toggle}", "toggle"), ("{note: 36, to: freeze, button: momentary}", "momentary"),
    ("{note: [36, 37, 38], to: mode, button: radio}", "radio"), ("{note: 40, command: panic}", "command"),
    ("{note: 41, command: recipe, with: [ink]}", "command"), ("{note: 42, bank: next}", "bank"),
])
def test_actions(line: str, action: str) -> None:
    assert [one.action for one in bindings(line)] == [action]


@pytest.mark.parametrize(("line", "takeover"), [
    ("{cc: 0, to: mix}", "pickup"), ("{cc: 0, to: mix, takeover: jump}", "jump"), ("{pitchbend: , to: mix}", "jump"),
])
def test_pickup_is_the_default_of_faders(line: str, takeover: str) -> None:
    assert bindings(line)[0].takeover == takeover


@pytest.mark.parametrize(("feedback", "meant"), [
    ("false", None), ("true", MidiFeedback("note", (8,), 0, 0, 127)),
    ("{range: [12, 60]}", MidiFeedback("note", (8,), 0, 12, 60)),
    ("{cc: 9, channel: 1, range: [1, 13]}", MidiFeedback("cc", (9,), 1, 1, 13)),
])
def test_feedback_can_name_another_control(feedback: str, meant: MidiFeedback | None) -> None:
    assert bindings(f"{{note: 8, to: freeze, button: toggle, feedback: {feedback}}}")[0].feedback == meant


@pytest.mark.parametrize(("line", "text"), [
    ("{cc: 128, to: mix}", "128 is not a whole number from 0 to 127"),
    ("{cc: , to: mix}", "None is not a whole number from 0 to 127"),
    ("{cc14: 32, to: mix}", "32 is not a whole number from 0 to 31"),
    ("{pitchbend: 3, to: mix}", "pitchbend has no number"),
    ("{to: mix}", "exactly one of cc, cc14, nrpn, rpn, note, pitchbend, aftertouch, program; it has none"),
    ("{cc: 1, note: 2, to: mix}", "it has cc and note"),
    ("{cc: 1}", "a line needs exactly one of to, command, bank; it has none"),
    ("{cc: 1, to: mix, bank: next}", "it has to and bank"),
    ("{cc: 1, to: mix, channel: 17}", "17 is not a whole number from 1 to 16"),
    ("{cc: 1, to: mix, curve: bent}", "'bent' is not one of linear, exp, log, square"),
    ("{cc: 1, to: mix, range: [0.2]}", "a range is two numbers"),
    ("{cc: 1, too: mix}", "unknown key 'too'; did you mean 'to'?"),
    ("{note: [1, 2], to: mode}", "add `button: radio`"),
    ("{note: [1, 2], to: mode, button: radio, values: [image]}", "as many values as buttons: 2"),
    ("{note: 1, to: seed, relative: signed_bit}", "only a cc can be a relative encoder"),
    ("{note: 1, to: prompt, value: [a]}", "is not a number, true, false or text"),
    ("{note: [1, 2], command: cue/goto, values: [a]}", "a command needs as many values as buttons: 2"),
    ("{note: 1, to: mix, touch: {program: 3}}", "unknown key 'program'"),
    ("{note: 1, to: mix, touch: {channel: 3}}", "touch needs exactly one of cc, note"),
    ("{note: 1, to: mix, touch: 200}", "200 is not a whole number from 0 to 127"),
    ("{note: 1, command: panic, touch: 1}", "only a fader can have `touch`"),
    ("12", "12 is not a mapping such as {cc: 0, to: strength}"),
])
def test_a_mistake_is_reported_with_its_place(line: str, text: str) -> None:
    with pytest.raises(DocumentError) as caught:
        bindings(line)
    assert text in str(caught.value)
    assert str(caught.value).startswith("show.yaml:2:")


def test_other_keys_of_the_section() -> None:
    devices = '[{name: "nano*", map: nanokontrol2}, {name: Pad, number: 2}]'
    found = options(f"{{devices: {devices}, clock: true, backend: jack}}")
    assert found["devices"] == (
        {"name": "nano*", "number": None, "map": "nanokontrol2"}, {"name": "Pad", "number": 2, "map": None})
    assert (found["clock"], found["backend"], found["map"], found["banks"]) == (True, "jack", (), {})
    with pytest.raises(DocumentError, match="no ready map 'nanokontrol'; did you mean 'nanokontrol2'"):
        options("devices: [{name: x, map: nanokontrol}]")
    with pytest.raises(DocumentError, match="a mapping of names to lists"):
        options("banks: [one]")


def test_several_buttons_of_one_command() -> None:
    (pads,) = bindings("{note: [36, 37, 38], command: cue/goto}")
    assert [pads.command_arguments(number) for number in (36, 38)] == [(1,), (3,)]
    (named,) = bindings("{note: [36, 37], command: next, with: [prompt], values: [lava, ice]}")
    assert named.command_arguments(37) == ("prompt", "ice")
    (program,) = bindings("{program: , command: cue/goto}")
    assert program.command_arguments(5) == (6,)
    (fader,) = bindings("{cc: 1, command: cue/goto, range: [1, 9]}")
    assert fader.action == "send"


def test_touch_and_echo_of_motor_faders() -> None:
    first, second = bindings("{pitchbend: , channel: 1, to: mix, touch: 104, feedback: {echo: true}}")[0], bindings(
        "{pitchbend: , channel: 1, to: mix, touch: {cc: 9, channel: 2}}")[0]
    assert (first.touch, second.touch) == (Touch("note", 104, 0), Touch("cc", 9, 2))
    assert first.feedback == MidiFeedback("pitchbend", (None,), 0, 0, 16383, echo=True)
    assert first.touch is not None
    assert second.touch is not None
    assert first.touch.is_sent_by(Control("note", 104, 7))
    assert not second.touch.is_sent_by(Control("cc", 9, 1))


def test_the_forms_of_the_clock() -> None:
    assert options("{}")["clock"] is False
    found = options("{clock: {device: Drums, number: 2}, send_clock: [{name: Synth}], report: live}")
    assert found["clock"] == {"device": "Drums", "number": 2}
    assert found["send_clock"] == ({"name": "Synth", "number": None},)
    with pytest.raises(DocumentError, match=r"show\.yaml:1:9: 'yess' is not true, false, or a mapping such as"):
        options("{clock: yess}")
    with pytest.raises(DocumentError, match="unknown key 'devise'; did you mean 'device'"):
        options("{clock: {devise: Drums}}")
