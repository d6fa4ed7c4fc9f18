"""The sheets of MIDI devices."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree

import pytest

from lcm_daemon.controllers.midi.binding import MAX_NUMBER
from lcm_daemon.controllers.midi.mapping import ready_map, ready_map_names
from lcm_daemon.exports import midi_sheet
from lcm_daemon.exports.midi_layouts import LAYOUTS, TITLES
from lcm_daemon.exports.surface import MappedDevice, MidiLine, Surface
from lcm_daemon.shows.reader import load_show
from lcm_daemon.shows.surface import surface_of

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def demo() -> Surface:
    return surface_of(load_show("demo", environment={}))


def drawn(surface: Surface) -> list[ElementTree.Element]:
    """The sheets of a drawing, one for each device."""
    return ElementTree.fromstring(midi_sheet.build(surface)).findall(f"{SVG}g")


def texts(sheet: ElementTree.Element) -> list[str]:
    return [element.text or "" for element in sheet.iter(f"{SVG}text")]


def test_kinds_of_controls_are_those_of_maps() -> None:
    assert set(midi_sheet.KINDS) == MAX_NUMBER.keys()


def test_every_ready_map_has_a_layout() -> None:
    assert LAYOUTS.keys() == TITLES.keys() == set(ready_map_names())


@pytest.mark.parametrize("name", ready_map_names())
def test_every_line_of_a_map_is_on_its_device(name: str, demo: Surface) -> None:
    (sheet,) = drawn(replace(demo, midi=(MappedDevice(name, name),)))
    bindings = ready_map(name)["map"]
    bound = {(binding.kind, number, binding.channel) for binding in bindings for number in binding.numbers}
    coloured = [each for each in sheet.iter() if each.get("fill") == midi_sheet.FILL[True]]
    assert len(coloured) == len(bound)
    assert not [text for text in texts(sheet) if text.startswith(("cc ", "note ")) and ":" in text]  # none is left over
    layout = [control for row in LAYOUTS[name] for control in row.controls()]
    assert len(set(layout)) == len(layout)


def test_buttons_of_a_choice_say_what_they_choose(demo: Surface) -> None:
    (sheet,) = drawn(replace(demo, midi=(MappedDevice("pads", "nanokontrol2"),)))
    assert {"Mode image", "Mode text", "Mode control", "Noise walking", "Freeze on", "Panic"} <= set(texts(sheet))


def test_a_line_of_the_show_counts_before_the_map(demo: Surface) -> None:
    own = MidiLine("cc", (0,), 0, "My <own> & only")
    (sheet,) = drawn(replace(demo, midi=(MappedDevice("x", "nanokontrol2", (own,)),)))
    assert "Strength" not in texts(sheet)
    assert "My <own> & only" in texts(sheet)


def test_a_device_without_a_layout_gets_a_list(demo: Surface) -> None:
    lines = (MidiLine("pitchbend", (None,), 3, "Blend"), MidiLine("note", (36, 37), 0, "Mode", "mode"))
    (sheet,) = drawn(replace(demo, midi=(MappedDevice("Keys", "", lines),)))
    assert texts(sheet) == ["Keys", "pitchbend, channel 3: Blend", "note 36, 37: Mode"]


def test_without_midi_there_is_a_sheet_of_every_ready_map(demo: Surface) -> None:
    titles = [texts(sheet)[0] for sheet in drawn(demo)]
    assert sorted(titles) == sorted(TITLES.values())
