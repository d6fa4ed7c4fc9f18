"""The clock that is sent: pulses, start on a bar, stop, continue, small corrections and jumps."""

from __future__ import annotations

import pytest

from lcm_daemon.controllers.midi.clock_out import CLOCK, CONTINUE, START, STOP, ClockGenerator
from lcm_daemon.core.tempo import Tempo

PULSE = 60.0 / 120.0 / 24  # seconds, at the tempo of these tests


def run(generator: ClockGenerator, tempo: Tempo, begin: float, seconds: float) -> list[tuple[float, bytes]]:
    """Step as the thread does; return each message with its time."""
    now, sent = begin, []
    while now < begin + seconds:
        messages, due = generator.step(tempo, now)
        sent += [(now, message) for message in messages]
        assert due >= now
        now = max(due, now + 1e-6)
    return sent


def times(sent: list[tuple[float, bytes]], message: bytes) -> list[float]:
    return [when for when, one in sent if one == message]


def test_pulses_come_at_the_tempo_and_the_receiver_starts_on_a_bar() -> None:
    sent = run(ClockGenerator(), Tempo(120.0, 1.0, 0.0), 0.0, 4.0)
    assert times(sent, START) == pytest.approx([1.5])  # beat 4
    pulses = times(sent, CLOCK)
    assert pulses == pytest.approx([i * PULSE for i in range(len(pulses))], abs=1e-4)
    assert len(pulses) == pytest.approx(4.0 / PULSE, abs=1)
    begun = sent.index((times(sent, START)[0], START))
    assert sent[begun + 1] == (pytest.approx(1.5), CLOCK)  # the first pulse is that of the bar


def test_a_show_that_starts_now_starts_the_receiver_at_once() -> None:
    sent = run(ClockGenerator(), Tempo(120.0, 0.0, 0.0), 0.03, 1.0)  # heard late
    assert times(sent, START) == [0.03]
    assert times(sent, CLOCK)[-1] == pytest.approx(1.0, abs=2 * PULSE)


def test_stop_and_continue_where_it_was() -> None:
    generator = ClockGenerator()
    run(generator, Tempo(120.0, 0.0, 0.0), 0.0, 1.0)  # to beat 2
    assert run(generator, Tempo(120.0, 2.1, 1.05, running=False), 1.05, 1.0) == [(1.05, STOP)]
    sent = run(generator, Tempo(120.0, 2.1, 5.0), 5.0, 1.0)
    (continued,) = times(sent, CONTINUE)
    assert continued == pytest.approx(5.0 + 0.15 / 2, abs=1e-3)  # beat 2.25
    assert (continued, bytes((0xF2, 9, 0))) in sent  # nine sixteenths
    assert not times(sent, START)


def test_start_from_the_top_after_a_stop() -> None:
    generator = ClockGenerator()
    run(generator, Tempo(120.0, 0.0, 0.0), 0.0, 1.0)
    run(generator, Tempo(120.0, 2.0, 1.0, running=False), 1.0, 1.0)
    sent = run(generator, Tempo(120.0, 0.0, 3.0), 3.001, 1.0)
    assert times(sent, START) == [3.001]
    assert not times(sent, CONTINUE)


@pytest.mark.parametrize("shift", [0.4, -0.4])
def test_a_small_move_of_the_beat_loses_and_adds_no_pulse(shift: float) -> None:
    generator = ClockGenerator()
    sent = run(generator, Tempo(120.0, 0.0, 0.0), 0.0, 1.0)
    sent += run(generator, Tempo(120.0, 2.0 + shift, 1.0), 1.0, 2.0)
    assert len(times(sent, CLOCK)) == pytest.approx((6.0 + shift) * 24, abs=1)
    assert len(times(sent, START)) == 1
    assert not times(sent, STOP)


def test_after_a_jump_the_receiver_starts_again_on_the_next_bar() -> None:
    generator = ClockGenerator()
    run(generator, Tempo(120.0, 0.0, 0.0), 0.0, 1.0)
    sent = run(generator, Tempo(120.0, 18.0, 1.0), 1.0, 2.0)
    assert times(sent, STOP) == [1.0]
    assert times(sent, START) == pytest.approx([2.0])  # beat 20
    assert generator.end() == [STOP]
    assert generator.end() == []


def test_another_tempo_keeps_the_position() -> None:
    generator = ClockGenerator()
    first = run(generator, Tempo(120.0, 0.0, 0.0), 0.0, 1.0)
    second = run(generator, Tempo(240.0, 2.0, 1.0), 1.0, 1.0)
    assert len(times(first, CLOCK)) + len(times(second, CLOCK)) == pytest.approx(6 * 24, abs=1)
