"""Maps: the lines of a control, banks, and the ready maps."""

from __future__ import annotations

import pytest

from lcm_daemon.controllers.midi.mapping import MidiMap, build_map, ready_map, ready_map_names
from lcm_daemon.controllers.midi.messages import Control
from lcm_daemon.controllers.midi.port_names import matches_name
from lcm_daemon.core.parameter_table import TABLE
from tests.rigs.midi import bindings, options

CONTROL = Control("cc", 1, 1)


def test_names_match_patterns_regardless_of_case() -> None:
    assert matches_name("nanokontrol2*", "nanoKONTROL2:nanoKONTROL2 nanoKONTROL2 _ CTRL 20:0")
    assert not matches_name("nanoKONTROL2", "nanoKONTROL2 1")


def test_channels_and_numbers() -> None:
    midi_map = MidiMap(bindings("{cc: 1, channel: 2, to: mix}") + bindings("{cc: 1, to: blend}") +
                 bindings("{program: , to: seed}"))
    assert [one.to for one in midi_map.find(CONTROL)] == ["blend"]
    assert [one.to for one in midi_map.find(Control("cc", 1, 2))] == ["mix", "blend"]
    assert [one.to for one in midi_map.find(Control("program", 9, 1))] == ["seed"]
    assert midi_map.find(Control("note", 1, 1)) == []


def test_one_bank_is_active() -> None:
    midi_map = MidiMap((), options("banks: {one: [{cc: 1, to: mix}], two: [{cc: 1, to: blend}]}")["banks"])

    def active() -> tuple[str, list[str]]:
        return midi_map.active_bank, [one.to for one in midi_map.find(CONTROL)]

    assert active() == ("one", ["mix"])
    assert (midi_map.change_bank("next"), active()) == (True, ("two", ["blend"]))
    assert (midi_map.change_bank("next"), active()) == (True, ("one", ["mix"]))
    assert (midi_map.change_bank("previous"), active()) == (True, ("two", ["blend"]))
    assert (midi_map.change_bank("two"), midi_map.change_bank("three"), active()) == (False, False, ("two", ["blend"]))


def test_a_map_without_banks_has_no_next_one() -> None:
    assert not MidiMap(()).change_bank("next")


def test_the_shows_lines_come_before_a_ready_maps() -> None:
    own = bindings("{cc: 0, to: blend}")
    midi_map = build_map("nanoKONTROL2", "nanokontrol2", own, {})
    assert [one.to for one in midi_map.find(Control("cc", 0, 1))] == ["blend"]
    assert [one.to for one in midi_map.find(Control("cc", 1, 1))] == ["mix"]


def test_of_controls_with_one_number_only_the_same_channel_is_replaced() -> None:
    midi_map = build_map("APC40", "apc40_mk2", bindings("{cc: 7, channel: 1, to: blend}"), {})
    assert [[one.to for one in midi_map.find(Control("cc", 7, n))] for n in (1, 2)] == [["blend"], ["mix"]]


def test_a_line_may_be_for_one_device() -> None:
    own = bindings('{cc: 0, to: blend, device: "pad*"}')
    assert len(list(build_map("Pad 1", None, own, {}).active_bindings())) == 1
    assert not list(build_map("Other", None, own, {}).active_bindings())


def test_five_controllers_have_ready_maps() -> None:
    assert ready_map_names() == ["apc40_mk2", "launch_control_xl", "midimix", "nanokontrol2", "x_touch_mini"]


@pytest.mark.parametrize("name", ready_map_names())
def test_a_ready_map_has_existing_targets(name: str) -> None:
    found = ready_map(name)
    assert {one.to for one in found["map"]} - {""} <= set(TABLE)
    assert {"strength", "mix", "freeze", "mode"} <= {one.to for one in found["map"]}
    assert [one.command for one in found["map"] if one.command] == ["panic"]
    controls = [(one.kind, number, one.channel) for one in found["map"] for number in one.numbers]
    assert len(controls) == len(set(controls))
