"""`midi learn` and `midi monitor`: what they guess, how they walk, and that a show keeps its comments."""

from __future__ import annotations

import os
import queue
from pathlib import Path
from typing import Any

import pytest
from mido import Message

from lcm_daemon.commands import midi_learn
from lcm_daemon.commands.midi_inputs import MidiInputs, MidiMessage, TypedLine
from lcm_daemon.commands.midi_learn import learn
from lcm_daemon.commands.midi_list import list_ports
from lcm_daemon.commands.midi_monitor import describe, monitor
from lcm_daemon.controllers.midi.learn_detect import detect_control, is_button
from lcm_daemon.controllers.midi.learn_write import add_map_lines
from lcm_daemon.controllers.midi.messages import MessageDecoder, parse
from lcm_daemon.controllers.midi.port_names import DevicePattern
from lcm_daemon.core.document import compose
from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.shows.reader import load_show
from tests.rigs.midi import Plugboard, bindings


def ccs(number: int, *values: int) -> list[tuple[int, ...]]:
    return [(0xB0, number, value) for value in values]


@pytest.mark.parametrize(("messages", "found"), [
    (ccs(7, 3, 4, 6, 9), {"cc": 7, "channel": 1}),
    (ccs(7, *range(1, 9)), {"cc": 7, "channel": 1}),  # a slow fader at its low end is not an encoder
    (ccs(16, 1, 1, 1, 127, 127, 127), {"cc": 16, "channel": 1, "relative": "twos_complement"}),
    (ccs(16, 65, 65, 63, 63), {"cc": 16, "channel": 1, "relative": "binary_offset"}),
    (ccs(16, 1, 1, 1, 65, 65, 65), {"cc": 16, "channel": 1, "relative": "signed_bit"}),
    ([m for v in range(8) for m in ccs(1, v) + ccs(33, 3 * v)], {"cc14": 1, "channel": 1}),
    (ccs(99, 4) + ccs(98, 0) + ccs(6, 1) + ccs(38, 9), {"nrpn": 512, "channel": 1}),
    ([(0xE2, 0, 1), (0xE2, 0, 2)], {"pitchbend": None, "channel": 3}),
    ([(0x90, 36, 90), (0x80, 36, 0)], {"note": 36, "channel": 1}),
    ([(0x99, 36, 90), (0xD9, 5), (0xD9, 9), (0x89, 36, 0)], {"note": 36, "channel": 10}),  # a pad, pressed hard
    ([(0x90, 104, 127), (0xE0, 0, 1), (0xE0, 0, 9), (0x90, 104, 0)], {"pitchbend": None, "channel": 1}),  # touch
    ([(0xC0, 5)], {"program": 5, "channel": 1}),
    ([(0xB0, 1, 64), (0xB0, 2, 1), (0xB0, 1, 65)], {"cc": 1, "channel": 1}),
    ([(0x80, 36, 0)], None),
    ([], None),
])
def test_detected_controls(messages: list[tuple[int, ...]], found: dict[str, Any] | None) -> None:
    assert detect_control(list(map(parse, messages))) == found


def test_buttons() -> None:
    assert is_button({"cc": 32, "channel": 1}, parsed(32, 127, 0))
    assert not is_button({"cc": 32, "channel": 1}, parsed(32, 127, 90, 0))
    assert is_button({"note": 1, "channel": 1}, [])


def parsed(number: int, *values: int) -> list[Message]:
    return list(map(parse, ccs(number, *values)))


# Writing

ONE, TWO = {"cc": 0, "channel": 1, "to": "strength"}, {"note": 36, "channel": 1, "to": "freeze", "button": "toggle"}
ITEMS = "    - {cc: 0, channel: 1, to: strength}\n    - {note: 36, channel: 1, to: freeze, button: toggle}\n"


@pytest.mark.parametrize(("before", "after"), [
    ("", "midi:\n  map:\n" + ITEMS),
    ("name: x  # mine\n# the end\n", "name: x  # mine\n# the end\nmidi:\n  map:\n" + ITEMS),
    ("name: x", "name: x\nmidi:\n  map:\n" + ITEMS),
    ("midi: false  # later\nname: x\n", "midi:\n  map:\n" + ITEMS[:-1] + "  # later\nname: x\n"),
    ("midi:\nname: x\n", "midi:\n  map:\n" + ITEMS + "name: x\n"),
    ("midi:\n  clock: true  # from the mixer\n\n# sinks\nname: x\n",
     "midi:\n  clock: true  # from the mixer\n  map:\n" + ITEMS + "\n# sinks\nname: x\n"),
    ("midi:\n  map:\n    - {cc: 9, to: mix}  # the long fader\n\nname: x\n",
     "midi:\n  map:\n    - {cc: 9, to: mix}  # the long fader\n" + ITEMS + "\nname: x\n"),
    ("midi:\n  map:\n  - cc: 9  # block style\n    to: mix\n  clock: true\n",
     "midi:\n  map:\n  - cc: 9  # block style\n    to: mix\n" + ITEMS.replace("    -", "  -") + "  clock: true\n"),
    ("midi:\n  map:\n    - {cc: 9, to: mix}", "midi:\n  map:\n    - {cc: 9, to: mix}\n" + ITEMS[:-1]),
    ("midi: {clock: true}  # x\n", "midi: {clock: true, map: [" +
     "{cc: 0, channel: 1, to: strength}, {note: 36, channel: 1, to: freeze, button: toggle}]}  # x\n"),
    ("midi:\n  map: []\n", "midi:\n  map: [" +
     "{cc: 0, channel: 1, to: strength}, {note: 36, channel: 1, to: freeze, button: toggle}]\n"),
    ("midi:\n  map:\n  clock: true\n", "midi:\n  map:\n" + ITEMS + "  clock: true\n"),
    # a parameter that has a control gets the new one, and keeps its range and its place
    ("midi:\n  map:\n    # the left hand\n    - {cc: 5, to: strength, range: [0.2, 0.9]}  # careful\n"
     "    - {cc: 6, to: mix}\n",
     "midi:\n  map:\n    # the left hand\n    - {cc: 0, channel: 1, to: strength, range: [0.2, 0.9]}  # careful\n"
     "    - {cc: 6, to: mix}\n    - {note: 36, channel: 1, to: freeze, button: toggle}\n"),
])
def test_writing_keeps_comments_and_layout(before: str, after: str) -> None:
    assert add_map_lines(before, "show.yaml", [ONE, TWO]) == after
    if "\n" in before:
        assert add_map_lines(before.replace("\n", "\r\n"), "show.yaml", [ONE, TWO]) == after.replace("\n", "\r\n")


def test_a_block_of_text_at_the_end_is_kept() -> None:
    before = "midi:\n  devices:\n    - name: |-\n        nano*\n# after\nname: x\n"
    after = add_map_lines(before, "show.yaml", [ONE])
    assert compose(after, "show.yaml").value["midi"] == {"devices": [{"name": "nano*"}], "map": [ONE]}
    assert "# after\nname: x\n" in after


def test_a_layout_without_a_safe_place_is_not_changed() -> None:
    with pytest.raises(LcmDaemonError) as caught:
        add_map_lines("{name: x}\n", "show.yaml", [ONE])
    assert str(caught.value).endswith("add these lines under midi, map:\n  - {cc: 0, channel: 1, to: strength}")


# Learning

class Script(MidiInputs):
    """Inputs that answer from a script: a list of messages for each gesture, or a typed line."""

    def __init__(self, *gestures: list[tuple[int, ...]] | str) -> None:
        self.events, self.patterns = queue.Queue(), (DevicePattern("*"),)
        self._gestures = list(gestures)

    def __enter__(self) -> Script:
        return self

    def __exit__(self, *_: object) -> None: ...

    def say(self, text: str) -> None:
        """Answer a question. A line that starts with two spaces and a brace is not a question."""
        if self._gestures and (text.endswith(")") or "press the one" in text):
            gesture = self._gestures.pop(0)
            typed = isinstance(gesture, str)
            for event in [TypedLine(gesture)] if typed else [MidiMessage("Pad", parse(each)) for each in gesture]:
                self.events.put(event)


@pytest.fixture
def show(tmp_path: Path) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text("# my show\nname: mine\nosc: false  # none\n", encoding="utf-8")
    return path


def test_learn_from_the_first_parameter_to_the_written_show(show: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(midi_learn, "QUIET_SECONDS", 0.05)
    answers: dict[str, list[Any]] = {
        "blend": [ccs(1, 5, 6, 8)], "strength": [ccs(2, 5, 6, 8)],
        "mode": [[(0x90, 36, 9), (0x80, 36, 0)], [(0x90, 37, 9)], [(0x90, 38, 9)], "q"],
    }
    loaded = load_show(show)
    names = [p.name for p in loaded.table(loaded.recipe).values() if p.kind != "text"]
    script = Script(*(answer for name in names for answer in answers.get(name, [""])))
    assert learn(str(show), inputs=script, print_line=script.say) == 0
    text = show.read_text(encoding="utf-8")
    assert text.startswith("# my show\nname: mine\nosc: false  # none\nmidi:\n  map:\n")
    lines = compose(text, "mine.yaml").value["midi"]["map"]
    assert lines == [
        {"cc": 1, "channel": 1, "to": "blend"}, {"cc": 2, "channel": 1, "to": "strength"},
        {"note": [36, 37, 38], "channel": 1, "to": "mode", "button": "radio"},
    ]
    assert all(bindings(str(line).replace("'", "")) for line in lines)
    assert list(show.parent.iterdir()) == [show]


def test_ctrl_c_keeps_what_was_learned(show: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(midi_learn, "QUIET_SECONDS", 0.05)
    script, said = Script(ccs(1, 5, 6, 8), "", ccs(2, 5, 6, 8)), list[str]()

    def say(text: str) -> None:
        said.append(text)
        if text.endswith(")") and len([line for line in said if line.endswith(")")]) == 4:
            raise KeyboardInterrupt
        script.say(text)

    assert learn(str(show), inputs=script, print_line=say) == 0
    assert len(compose(show.read_text(encoding="utf-8"), "mine.yaml").value["midi"]["map"]) == 2
    assert said[-1].endswith("2 lines written under midi, map")


def test_nothing_learned_leaves_the_show_unchanged(show: Path) -> None:
    before = show.read_bytes()
    said: list[str] = []
    script = Script("q")

    def say(text: str) -> None:
        said.append(text)
        script.say(text)

    assert learn(str(show), inputs=script, print_line=say) == 0
    assert show.read_bytes() == before
    assert said[-1] == "no controls learned; the show is unchanged"


def test_learn_without_midi_raises_at_once(show: Path) -> None:
    def connect() -> Plugboard:
        raise LcmDaemonError("MIDI: none")

    with pytest.raises(LcmDaemonError, match="MIDI: none"):
        learn(str(show), connect)


# Monitoring

@pytest.mark.parametrize(("message", "text"), [
    ((0xB0, 7, 64), "cc 7, channel 1: 64 of 127   (b0 07 40)"),
    ((0xE1, 0, 64), "pitchbend, channel 2: 8192 of 16383   (e1 00 40)"),
    ((0xF0, 0x7F, 0x7F, 2, 1, 1, 0x31, 0xF7), "MIDI Show Control   (f0 7f 7f 02 01 01 31 f7)"),
    ((0xF0, 0x7F, 0x7F, 6, 2, 0xF7), "MIDI Machine Control   (f0 7f 7f 06 02 f7)"),
    ((0xF0, 0x7F, 0xF7), "sysex   (f0 7f f7)"),
    ((0xF8,), "clock   (f8)"), ((0xF3, 1), "song select   (f3 01)"), ((0xB0, 99, 1), "part of an NRPN   (b0 63 01)"),
])
def test_messages_in_words(message: tuple[int, ...], text: str) -> None:
    assert describe(parse(message), MessageDecoder(nrpn=True)) == text


def test_the_monitor_refuses_an_unknown_backend() -> None:
    with pytest.raises(LcmDaemonError, match="no backend 'jakc'; did you mean 'jack'"):
        monitor("jakc")


def test_the_monitor_prints_until_ctrl_c() -> None:
    controls, said = Plugboard("Pad"), []

    def say(text: str) -> None:
        said.append(text)
        if text == "devices: Pad":
            controls.play(0x90, 36, 100)
        if text.startswith("Pad: "):
            raise KeyboardInterrupt

    assert monitor(connect=lambda: controls, print_line=say) == 0
    assert said == ["MIDI messages; press Ctrl-C to end", "devices: Pad",
                    "Pad: note 36, channel 1: 100 of 127   (90 24 64)"]


def test_a_map_line_names_the_device_if_the_show_has_several() -> None:
    patterns = (DevicePattern("nano*"), DevicePattern("Pad*", 2))
    inputs = MidiInputs(lambda: Plugboard(), patterns)
    assert [inputs.device_key(device) for device in (0, 1)] == [{"device": "nano*"}, {"device": "Pad 2"}]
    assert MidiInputs(lambda: Plugboard()).device_key(0) == {}


def test_the_monitor_and_the_list_number_devices_of_one_name() -> None:
    controls, said = Plugboard("Pad", "Pad"), []

    def say(text: str) -> None:
        said.append(text)
        if text == "devices: Pad (number 1), Pad (number 2)":
            controls.play(0x90, 36, 100, name="Pad#1")
        if text.startswith("Pad"):
            raise KeyboardInterrupt

    assert monitor(connect=lambda: controls, print_line=say) == 0
    assert said[-1] == "Pad (number 2): note 36, channel 1: 100 of 127   (90 24 64)"
    assert list(list_ports(lambda: controls)) == [
        "input   Pad (number 1)", "input   Pad (number 2)", "output  Pad (number 1)", "output  Pad (number 2)"]
    assert list(list_ports(lambda: Plugboard())) == ["no MIDI devices"]


def test_a_midi_system_that_does_not_answer_is_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    def jack() -> Plugboard:
        os.write(2, b"Cannot connect to server socket\n")  # as its library does
        raise OSError("MidiInJack::initialize: JACK server not running?")

    with pytest.raises(LcmDaemonError, match=r"^MIDI: JACK does not run; start it, or choose another --backend$"):
        monitor(connect=jack)
    with pytest.raises(LcmDaemonError, match="JACK does not run"):
        list(list_ports(jack))
    assert capfd.readouterr().err == ""
