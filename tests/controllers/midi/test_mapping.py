"""Maps: which line a control finds, banks, and the ready maps."""

from __future__ import annotations

import pytest

from lcm_daemon.controllers.midi.mapping import Map, fits, map_of, ready_map, ready_maps
from lcm_daemon.controllers.midi.messages import Control
from lcm_daemon.core.parameter_table import TABLE
from tests.rigs.midi import bindings, options

CONTROL = Control("cc", 1, 1)


def test_names_fit_patterns_whatever_their_capitals() -> None:
    assert fits("nanokontrol2*", "nanoKONTROL2:nanoKONTROL2 nanoKONTROL2 _ CTRL 20:0")
    assert not fits("nanoKONTROL2", "nanoKONTROL2 1")


def test_channels_and_numbers() -> None:
    layout = Map(bindings("{cc: 1, channel: 2, to: mix}") + bindings("{cc: 1, to: blend}") +
                 bindings("{program: , to: seed}"))
    assert [one.to for one in layout.find(CONTROL)] == ["blend"]
    assert [one.to for one in layout.find(Control("cc", 1, 2))] == ["mix", "blend"]
    assert [one.to for one in layout.find(Control("program", 9, 1))] == ["seed"]
    assert layout.find(Control("note", 1, 1)) == []


def test_one_bank_is_live() -> None:
    layout = Map((), options("banks: {one: [{cc: 1, to: mix}], two: [{cc: 1, to: blend}]}")["banks"])

    def live() -> tuple[str, list[str]]:
        return layout.live, [one.to for one in layout.find(CONTROL)]

    assert live() == ("one", ["mix"])
    assert (layout.choose("next"), live()) == (True, ("two", ["blend"]))
    assert (layout.choose("next"), live()) == (True, ("one", ["mix"]))
    assert (layout.choose("previous"), live()) == (True, ("two", ["blend"]))
    assert (layout.choose("two"), layout.choose("three"), live()) == (False, False, ("two", ["blend"]))


def test_a_map_without_banks_has_no_next_one() -> None:
    assert not Map(()).choose("next")


def test_the_shows_lines_come_before_a_ready_maps() -> None:
    own = bindings("{cc: 0, to: blend}")
    layout = map_of("nanoKONTROL2", "nanokontrol2", own, {})
    assert [one.to for one in layout.find(Control("cc", 0, 1))] == ["blend"]
    assert [one.to for one in layout.find(Control("cc", 1, 1))] == ["mix"]


def test_of_controls_with_one_number_only_the_same_channel_is_replaced() -> None:
    layout = map_of("APC40", "apc40_mk2", bindings("{cc: 7, channel: 1, to: blend}"), {})
    assert [[one.to for one in layout.find(Control("cc", 7, n))] for n in (1, 2)] == [["blend"], ["mix"]]


def test_a_line_may_be_meant_for_one_device() -> None:
    own = bindings('{cc: 0, to: blend, device: "pad*"}')
    assert len(list(map_of("Pad 1", None, own, {}).bindings())) == 1
    assert not list(map_of("Other", None, own, {}).bindings())


def test_five_controllers_have_ready_maps() -> None:
    assert ready_maps() == ["apc40_mk2", "launch_control_xl", "midimix", "nanokontrol2", "x_touch_mini"]


@pytest.mark.parametrize("name", ready_maps())
def test_a_ready_map_leads_to_what_there_is(name: str) -> None:
    found = ready_map(name)
    assert {one.to for one in found["map"]} - {""} <= set(TABLE)
    assert {"strength", "mix", "freeze", "mode"} <= {one.to for one in found["map"]}
    assert [one.command for one in found["map"] if one.command] == ["panic"]
    controls = [(one.kind, number, one.channel) for one in found["map"] for number in one.numbers]
    assert len(controls) == len(set(controls))
