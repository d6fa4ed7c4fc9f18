"""The two halves of a value, which of them comes first, one that comes alone; faders that do not reach 16383."""

from __future__ import annotations

import pytest

from lcm_daemon.controllers.midi.fourteen_bit import HOLD, PAUSE, EndStop, HalfPair

FULL = 16383
Half = tuple[str, int, float]  # "C" or "F", value, seconds since the last one


def play(*halves: Half) -> list[int | None]:
    """Return the raw value after each half, and last the one after a pause; None where a half waits."""
    pair, now, values = HalfPair(), 0.0, []
    for half, value, wait in halves:
        now += wait
        found = pair.receive(value, half == "F", now)
        values.append(found[0] if found else None)
    found = pair.flush(now + 2 * HOLD)
    return [*values, found[0] if found else None]


def test_coarse_before_fine() -> None:
    assert play(("C", 64, 1), ("F", 5, 0.001), ("C", 65, 0.001), ("F", 9, 0.001)) == [
        64, 64 << 7 | 5, None, 65 << 7 | 9, None]


@pytest.mark.parametrize("wait", [0.001, 1.0])
def test_fine_before_coarse(wait: float) -> None:
    assert play(("F", 5, 1), ("C", 64, 0.001), ("F", 9, wait), ("C", 65, 0.001)) == [
        None, 64 << 7 | 5, None, 65 << 7 | 9, None]


def test_a_coarse_half_alone_sets_the_fine_one_to_0() -> None:
    both = ("C", 64, 1), ("F", 5, 0.001)
    assert play(*both, ("C", 80, 1))[-2:] == [None, 80 << 7]
    assert play(("F", 5, 1), ("C", 64, 0.001), ("C", 80, 1))[-2:] == [80 << 7, None]  # nothing to wait for
    assert play(*both, ("C", 80, 1), ("F", 7, 1))[-2:] == [80 << 7 | 7, None]
    assert play(*both, ("C", 127, 1))[-1] == FULL


def test_a_fine_half_alone_keeps_the_coarse_one() -> None:
    assert play(("C", 64, 1), ("F", 5, 0.001), ("F", 6, 1), ("F", 7, 1))[2:] == [64 << 7 | 6, 64 << 7 | 7, None]
    assert play(("F", 5, 1), ("C", 64, 0.001), ("F", 6, 1))[2:] == [None, 64 << 7 | 6]
    assert play(("F", 5, 1)) == [None, None]  # of which value?


def test_a_device_that_is_replaced_by_one_with_the_other_order() -> None:
    first_fine = ("F", 5, 1), ("C", 64, 0.001)
    assert play(*first_fine, ("C", 10, 1), ("F", 3, 0.001))[-2:] == [10 << 7 | 3, None]
    first_coarse = ("C", 64, 1), ("F", 5, 0.001)
    assert play(*first_coarse, ("F", 3, 1), ("C", 10, 0.001), ("F", 4, 1), ("C", 10, 0.001))[3:] == [
        10 << 7 | 3, None, 10 << 7 | 4, None]


def test_a_control_without_fine_halves_has_seven_bits() -> None:
    pair = HalfPair()
    assert [pair.receive(value, False, 1.0) for value in (0, 127)] == [(0, 127), (127, 127)]
    assert not pair.is_waiting


def test_a_half_is_held_no_longer_than_needed() -> None:
    pair = HalfPair()
    pair.receive(64, False, 0.0)
    pair.receive(1, True, 0.001)
    pair.receive(65, False, PAUSE)
    assert pair.is_waiting
    assert pair.flush(PAUSE + HOLD / 2) is None
    assert pair.is_waiting
    assert pair.flush(PAUSE + 2 * HOLD) == (65 << 7, FULL)
    assert not pair.is_waiting


@pytest.mark.parametrize(("raw", "full_scale"), [
    ([16383], FULL), ([0, 5, 16383], FULL),
    ([16380], 16380), ([4, 8192, 16380], 16380), ([16368], 16368), ([16376, 8], 16376),  # 12, 10 and 11 bits
    ([0x7C << 7 | 0x7F], 0x7C << 7 | 0x7F), ([3, 0x7E << 7 | 0x7F], 0x7E << 7 | 0x7F),
    ([16380, 16381], FULL), ([0x7C << 7 | 0x7F, 16000], FULL),  # it goes on
    ([8192], FULL), ([0], FULL), ([0x7B << 7 | 0x7F], FULL), ([16379], FULL),
])
def test_end_stops(raw: list[int], full_scale: int) -> None:
    stop = EndStop()
    assert [stop.full_scale(one) for one in raw][-1] == full_scale
