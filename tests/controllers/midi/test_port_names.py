"""Which port belongs to which device: the names of each system, and numbers that last."""

from __future__ import annotations

import pytest

from lcm_daemon.controllers.midi.port_names import DevicePattern, DevicePort, PortNumbers, device_name

ALSA = ["Pad:Pad MIDI 1 20:0", "Pad:Pad MIDI 2 20:1", "Pad:Pad MIDI 1 24:0", "Pad:Pad MIDI 2 24:1"]


def numbers(names: list[str], windows: bool = False) -> list[int]:
    return [port.number for port in PortNumbers(windows).number(names, [])[0]]


@pytest.mark.parametrize(("names", "expected"), [
    (["Pad", "Pad", "Other"], [1, 2, 1]),  # CoreMIDI
    (ALSA, [1, 1, 2, 2]),
    (["Pad:Pad MIDI 1 24:0", "Keys:Keys MIDI 1 20:0"], [1, 1]),
    (["Pad-01:out", "Pad:out", "Pad-02:in"], [2, 1, 1]),  # JACK
    (["a2j:Pad [24] (capture): Pad MIDI 1", "a2j:Pad [20] (capture): Pad MIDI 1"], [2, 1]),
    (["Midi-Bridge:Pad 20:(capture_0) Pad MIDI 1", "Midi-Bridge:Pad 24:(capture_0) Pad MIDI 1"], [1, 2]),
    (["MPK mini 3", "MPK mini 2", "IAC Bus 1"], [1, 1, 1]),  # part of the names
])
def test_numbers_of_devices(names: list[str], expected: list[int]) -> None:
    assert numbers(names) == expected


def test_numbers_under_windows() -> None:
    assert numbers(["Pad 0", "Keys 1", "Pad 2"], windows=True) == [1, 1, 2]
    assert numbers(["LPX MIDI 0", "MIDIIN2 (LPX MIDI) 1", "2- LPX MIDI 2", "MIDIIN2 (2- LPX MIDI) 3"], True) == [
        1, 1, 2, 2]


def test_a_device_keeps_its_number_and_a_new_one_gets_the_lowest_free_one() -> None:
    one = PortNumbers(windows=False)
    one.number(ALSA, ALSA)
    assert [port.number for port in one.number(ALSA[2:], ALSA[2:])[0]] == [2, 2]
    back = ["Pad:Pad MIDI 1 28:0"]
    inputs, outputs = one.number([*ALSA[2:], *back], [*back, *ALSA[2:]])
    assert ([port.number for port in inputs], [port.number for port in outputs]) == ([2, 2, 1], [1, 2, 2])
    assert one.number(ALSA[2:], [])[0] == inputs[:2]  # so they stay open


def test_ports_that_are_not_told_apart_are_opened_again_when_their_count_changes() -> None:
    one = PortNumbers(windows=False)
    before = one.number(["Pad", "Pad"], [])[0]
    assert [(port.place, str(port)) for port in before] == [(0, "Pad (number 1)"), (1, "Pad (number 2)")]
    (alone,), _ = one.number(["Pad"], [])
    assert alone not in before
    assert (alone.number, str(alone)) == (1, "Pad")


@pytest.mark.parametrize(("pattern", "name", "matches"), [
    ("Pad", "Pad:Pad MIDI 1 20:0", True), ("Pad*", "Pad:Pad MIDI 1 20:0", True), ("Pad:*", "Pad:Pad MIDI 1 20:0", True),
    ("Pad:Pad MIDI 1", "Pad:Pad MIDI 1 20:0", True), ("pad:pad midi 1 20:0", "Pad:Pad MIDI 1 20:0", True),
    ("Pad", "Pad-01:out", True), ("Pad:out", "Pad-01:out", True), ("Pad", "a2j:Pad [20] (capture): Pad MIDI 1", True),
    ("Pad", "Pads", False), ("Keys*", "Pad:Keys 20:0", False), ("*", "Pad", True),
    ("*", "Midi Through:Midi Through Port-0 14:0", False), ("*", "lcm-daemon-01:lcm-daemon", False),
    ("*", "a2j:Midi Through [14] (capture): Midi Through Port-0", False),
    ("Midi Through*", "Midi Through:Midi Through Port-0 14:0", True),
])
def test_names_that_a_pattern_matches(pattern: str, name: str, matches: bool) -> None:
    (port,), _ = PortNumbers(windows=False).number([name], [])
    assert DevicePattern(pattern).matches(port) == matches


def test_a_pattern_with_a_number_matches_that_device_only() -> None:
    ports, _ = PortNumbers(windows=False).number(ALSA, [])
    assert [DevicePattern("Pad", 2).matches(port) for port in ports] == [False, False, True, True]
    assert all(DevicePattern("Pad").matches(port) for port in ports)


def test_names_that_the_daemon_uses() -> None:
    assert [device_name("Pad*", 2), device_name("Pad"), device_name("*")] == ["Pad 2", "Pad", "any"]
    assert str(DevicePort("Pad", "Pad")) == "Pad"
