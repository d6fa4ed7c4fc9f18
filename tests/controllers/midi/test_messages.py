"""MIDI messages in both directions: every kind of message, the two halves of 14 bits, NRPNs, and invalid bytes."""

from __future__ import annotations

import random

import pytest

from lcm_daemon.controllers.midi.messages import Control, ControlEvent, MessageDecoder, encode, full_scale, parse


def read(*messages: tuple[int, ...], coarse: tuple[int, ...] = (), nrpn: bool = False) -> list[ControlEvent]:
    decoder = MessageDecoder(coarse, nrpn)
    return [event for message in map(parse, messages) if message and (event := decoder.decode(message))]


@pytest.mark.parametrize(("message", "event"), [
    ((0xB0, 7, 127), ControlEvent(Control("cc", 7, 1), 127)),
    ((0xBF, 7, 1), ControlEvent(Control("cc", 7, 16), 1)),
    ((0x92, 36, 100), ControlEvent(Control("note", 36, 3), 100)),
    ((0x92, 36, 0), ControlEvent(Control("note", 36, 3), 0)),
    ((0x82, 36, 64), ControlEvent(Control("note", 36, 3), 0)),  # a release has a velocity of its own
    ((0xA0, 36, 5), ControlEvent(Control("aftertouch", 36, 1), 5)),
    ((0xD0, 90), ControlEvent(Control("aftertouch", None, 1), 90)),
    ((0xC0, 12), ControlEvent(Control("program", 12, 1), 12)),
    ((0xE0, 0x7F, 0x7F), ControlEvent(Control("pitchbend", None, 1), 16383, 16383)),
    ((0xE0, 0, 0x40), ControlEvent(Control("pitchbend", None, 1), 8192, 16383)),
])
def test_each_kind(message: tuple[int, ...], event: ControlEvent) -> None:
    assert read(message) == [event]


@pytest.mark.parametrize("message", [(0xF8,), (0xFE,), (0xF0, 1, 0xF7), (0xF2, 0, 0)])
def test_messages_that_move_nothing(message: tuple[int, ...]) -> None:
    assert parse(message) is not None
    assert read(message) == []


@pytest.mark.parametrize("message", [
    (), (0xB0, 7), (0x90,), (0xC0,), (5, 5, 5), (0xF5,), (0xB0, 200, 1), (0xB0, 1, 2, 3), (0xF0, 1),
])
def test_bytes_that_are_not_a_message(message: tuple[int, ...]) -> None:
    assert parse(message) is None


def test_fourteen_bits_come_with_the_fine_half() -> None:
    events = read((0xB0, 1, 64), (0xB0, 33, 5), (0xB0, 1, 127), (0xB0, 33, 127), coarse=(1,))
    assert [(e.raw, e.top) for e in events] == [(64, 127), (64 << 7 | 5, 16383), (16383, 16383)]
    assert {e.control for e in events} == {Control("cc14", 1, 1)}


def test_without_a_fine_half_the_upper_end_is_reached() -> None:
    assert [e.position for e in read((0xB0, 1, 0), (0xB0, 1, 127), coarse=(1,))] == [0.0, 1.0]


def test_other_ccs_are_seven_bits_beside_it() -> None:
    assert read((0xB0, 34, 9), coarse=(1,)) == [ControlEvent(Control("cc", 34, 1), 9)]


def test_nrpn_by_entry_and_by_step() -> None:
    choose = (0xB0, 99, 4), (0xB0, 98, 1)
    events = read(*choose, (0xB0, 6, 127), (0xB0, 38, 127), (0xB0, 96, 0), (0xB0, 97, 0), nrpn=True)
    assert {e.control for e in events} == {Control("nrpn", 513, 1)}
    assert [(e.raw, e.top, e.step) for e in events] == [(127, 127, 0), (16383, 16383, 0), (0, 127, 1), (0, 127, -1)]


@pytest.mark.parametrize("end", [((0xB0, 101, 0), (0xB0, 100, 0)), ((0xB0, 99, 127), (0xB0, 98, 127))])
def test_after_another_choice_data_entry_is_a_cc_again(end: tuple[tuple[int, ...], ...]) -> None:
    assert read((0xB0, 99, 4), (0xB0, 98, 1), *end, (0xB0, 6, 3), nrpn=True) == [ControlEvent(Control("cc", 6, 1), 3)]


def test_nrpns_of_two_channels_do_not_mix() -> None:
    events = read((0xB0, 99, 0), (0xB1, 99, 0), (0xB0, 98, 1), (0xB1, 98, 2), (0xB0, 6, 5), nrpn=True)
    assert [e.control for e in events] == [Control("nrpn", 1, 1)]


def test_without_nrpns_in_the_map_those_ccs_are_knobs() -> None:
    assert [e.control.number for e in read((0xB0, 99, 1), (0xB0, 98, 1), (0xB0, 6, 1))] == [99, 98, 6]


@pytest.mark.parametrize("kind", ["cc", "note", "pitchbend", "cc14", "nrpn"])
def test_sent_messages_decode_to_the_same_value(kind: str) -> None:
    control = Control(kind, None if kind == "pitchbend" else 3, 5)
    for raw in (0, 1, full_scale(kind) // 2, full_scale(kind)):
        decoder = MessageDecoder((3,) if kind == "cc14" else (), nrpn=True)
        events = [event for event in map(decoder.decode, map(parse, encode(control, raw))) if event]
        assert (events[-1].control, events[-1].raw) == (control, raw)


def test_a_kind_without_feedback_sends_nothing() -> None:
    assert encode(Control("program", 1, 1), 1) == []


def test_no_bytes_raise() -> None:
    chance, decoder = random.Random(1), MessageDecoder(range(32), True)
    for _ in range(20_000):
        message = parse([chance.randrange(256) for _ in range(chance.randrange(5))])
        event = decoder.decode(message) if message else None
        assert event is None or 0 <= event.position <= 1
