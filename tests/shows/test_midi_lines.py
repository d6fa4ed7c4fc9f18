"""A show's MIDI maps as plain data."""

from __future__ import annotations

from pathlib import Path

import pytest

from lcm_daemon.exports.surface import MappedDevice, MidiLine
from lcm_daemon.shows.midi_lines import midi_devices
from lcm_daemon.shows.reader import load_show


def of_show(tmp_path: Path, midi: str) -> tuple[MappedDevice, ...]:
    path = tmp_path / "show.yaml"
    path.write_text(f"name: show\nmidi: {midi}\n", encoding="utf-8")
    return midi_devices(load_show(str(path), environment={}).controllers["midi"])


def test_a_device_has_its_own_lines_and_those_of_every_device(tmp_path: Path) -> None:
    nano, keys = of_show(tmp_path, "{devices: [{name: nano*, map: nanokontrol2}, {name: Keys}], map: ["
                         "{cc: 0, to: strength, range: [0.2, 0.9]}, {note: 36, to: freeze, device: Keys}]}")
    strength = MidiLine("cc", (0,), 0, "Strength 0.2 to 0.9", "strength")
    assert nano == MappedDevice("nano*", "nanokontrol2", (strength,))
    assert keys == MappedDevice("Keys", "", (strength, MidiLine("note", (36,), 0, "Freeze", "freeze")))


@pytest.mark.parametrize(("line", "target", "each"), [
    ("{note: 1, command: cue/goto, with: [storm, 5]}", "Cue goto storm 5", ()),
    ("{note: 1, to: freeze, value: true}", "Freeze on", ()),
    ("{note: [1, 2], to: prompt, values: [red, blue], button: radio}", "Prompt", ("red", "blue")),
    ("{note: 1, bank: next}", "Bank next", ()),
])
def test_what_a_line_does_is_said_in_words(tmp_path: Path, line: str, target: str, each: tuple[str, ...]) -> None:
    (device,) = of_show(tmp_path, f"{{map: [{line}]}}")
    assert device.name == "any device"
    (found,) = device.lines
    assert (found.target, found.each) == (target, each)


def test_lines_of_a_bank_name_it(tmp_path: Path) -> None:
    (device,) = of_show(tmp_path, "{banks: {one: [{cc: 1, to: mix}]}}")
    assert [line.target for line in device.lines] == ["Mix (bank one)"]


def test_a_show_without_midi_has_no_devices() -> None:
    assert midi_devices(None) == ()
