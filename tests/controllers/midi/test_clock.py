"""MIDI clock: tempo, beats, start and stop."""

from __future__ import annotations

import random

import pytest
from mido import Message

from lcm_daemon.controllers.midi.clock import TICKS, Clock
from lcm_daemon.core.tempo import Tempo

TICK, START, STOP, CONTINUE, SENSING = map(Message, ("clock", "start", "stop", "continue", "active_sensing"))


def run(clock: Clock, bpm: float, beats: float, begin: float = 100.0, jitter: float = 0.0) -> float:
    """Tick for some beats; the time of the next tick."""
    chance, step = random.Random(1), 60.0 / bpm / TICKS
    for i in range(round(beats * TICKS)):
        clock.take(TICK, begin + i * step + chance.uniform(-jitter, jitter))
    return begin + beats * TICKS * step


@pytest.mark.parametrize("bpm", [60.0, 120.0, 174.0])
def test_the_tempo(bpm: float) -> None:
    clock = Clock()
    run(clock, bpm, 3)
    assert clock.tempo.bpm == pytest.approx(bpm, rel=1e-6)


def test_jitter_of_2_ms_moves_the_tempo_by_less_than_1_percent() -> None:
    clock = Clock()
    run(clock, 120.0, 8, jitter=0.002)
    assert clock.tempo.bpm == pytest.approx(120.0, rel=0.01)


def test_beats_count_from_the_start() -> None:
    clock = Clock()
    run(clock, 120.0, 2, begin=10.0)
    assert clock.take(START, 100.0)
    assert (clock.tempo.running, clock.tempo.beat) == (True, 0.0)
    after = run(clock, 120.0, 4)
    assert clock.tempo.beat_at(after) == pytest.approx(4.0, abs=1e-6)
    assert clock.tempo.beat_at(after + 0.25) == pytest.approx(4.5, abs=1e-6)


def test_stop_continue_and_song_position() -> None:
    clock = Clock()
    clock.take(START, 100.0)
    after = run(clock, 120.0, 3)
    assert clock.take(STOP, after)
    assert not clock.tempo.running
    assert clock.tempo.beat == clock.tempo.beat_at(after + 5) == 3.0
    stood = [clock.take(TICK, after + i / 48) for i in range(2 * TICKS)]
    assert not any(stood), "ticks while it stands are no beats"
    assert clock.tempo.beat == 3.0
    assert clock.take(CONTINUE, after + 10)
    assert clock.tempo.running
    assert clock.tempo.beat == 3.0
    clock.take(Message("songpos", pos=16), after + 11)  # 16 sixteenths
    assert clock.tempo.beat == 4.0


def test_a_clock_that_never_said_start_counts_from_its_first_tick() -> None:
    clock = Clock()
    after = run(clock, 140.0, 6)
    assert clock.tempo.beat_at(after) == pytest.approx(6.0, abs=1e-6)


@pytest.mark.parametrize("gap", [0.3, 1.7, 5.0])
def test_a_new_desks_clock_counts_on_from_where_the_music_is(gap: float) -> None:
    """Ticks go on while no desk hears them, each up to 4 ms late."""
    clock, chance, step = Clock(), random.Random(2), 60.0 / 120.0 / TICKS
    clock.take(START, 100.0)
    for i in range(500):
        clock.take(TICK, 100.0 + i * step + chance.uniform(0.0, 0.004))
    first = 500 + round(gap / step)
    other = Clock(clock.tempo)
    for i in range(first, first + 100):
        other.take(TICK, 100.0 + i * step + chance.uniform(0.0, 0.004))
    assert other.tempo.beat == (first + 99) / TICKS
    clock.take(STOP, 200.0)
    still = Clock(clock.tempo)
    still.take(TICK, 300.0)
    assert (still.tempo.beat, still.tempo.running) == (clock.tempo.beat, False)
    still.take(CONTINUE, 301.0)
    assert still.tempo.beat == clock.tempo.beat


@pytest.mark.parametrize("bpm", [60.0, 128.0, 174.0])
def test_late_ticks_move_the_beat_by_less_than_4_ms(bpm: float) -> None:
    """Up to 6 ms late, each on its own: what is left of that, beyond the 3 ms that all are late by on average."""
    clock, chance, step = Clock(), random.Random(3), 60.0 / bpm / TICKS
    clock.take(START, 100.0)
    off = []
    for i in range(32 * TICKS):
        news = clock.take(TICK, 100.0 + i * step + chance.uniform(0.0, 0.006))
        if news and i > 4 * TICKS:
            for soon in (0.25, 0.5, 1.0):  # of a beat on from there
                beat = i / TICKS + soon
                off.append((clock.tempo.beat_at(100.0 + beat * 60.0 / bpm) - beat) * 60.0 / bpm + 0.003)
    assert max(map(abs, off)) < 0.004


def test_news_once_a_beat() -> None:
    clock = Clock()
    clock.take(START, 0.0)
    assert sum(clock.take(TICK, i / 48) for i in range(4 * TICKS)) == 4


def test_a_pause_does_not_count_as_a_slow_beat() -> None:
    clock = Clock()
    run(clock, 120.0, 4, begin=0.0)
    run(clock, 90.0, 4, begin=60.0)
    assert clock.tempo.bpm == pytest.approx(90.0, rel=1e-6)


def test_other_messages_and_nonsense_are_nothing() -> None:
    clock = Clock()
    assert not clock.take(SENSING, 1.0)
    assert not clock.take(SENSING, 2.0)
    for _ in range(100):
        clock.take(TICK, 5.0)  # all at once
    assert clock.tempo.bpm == Tempo().bpm
