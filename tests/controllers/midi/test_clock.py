"""MIDI clock: tempo, beats, start and stop."""

from __future__ import annotations

import random

import pytest
from mido import Message

from lcm_daemon.controllers.midi.clock import PULSES_PER_BEAT, MidiClock
from lcm_daemon.core.tempo import Tempo

PULSE, START, STOP, CONTINUE, SENSING = map(Message, ("clock", "start", "stop", "continue", "active_sensing"))


def send_pulses(clock: MidiClock, bpm: float, beats: float, begin: float = 100.0, jitter: float = 0.0) -> float:
    """Send pulses for some beats; return the time of the next pulse."""
    chance, step = random.Random(1), 60.0 / bpm / PULSES_PER_BEAT
    for i in range(round(beats * PULSES_PER_BEAT)):
        clock.receive(PULSE, begin + i * step + chance.uniform(-jitter, jitter))
    return begin + beats * PULSES_PER_BEAT * step


@pytest.mark.parametrize("bpm", [60.0, 120.0, 174.0])
def test_the_tempo(bpm: float) -> None:
    clock = MidiClock()
    send_pulses(clock, bpm, 3)
    assert clock.tempo.bpm == pytest.approx(bpm, rel=1e-6)


def test_jitter_of_2_ms_moves_the_tempo_by_less_than_1_percent() -> None:
    clock = MidiClock()
    send_pulses(clock, 120.0, 8, jitter=0.002)
    assert clock.tempo.bpm == pytest.approx(120.0, rel=0.01)


def test_beats_count_from_the_start() -> None:
    clock = MidiClock()
    send_pulses(clock, 120.0, 2, begin=10.0)
    assert clock.receive(START, 100.0)
    assert (clock.tempo.running, clock.tempo.beat) == (True, 0.0)
    after = send_pulses(clock, 120.0, 4)
    assert clock.tempo.beat_at(after) == pytest.approx(4.0, abs=1e-6)
    assert clock.tempo.beat_at(after + 0.25) == pytest.approx(4.5, abs=1e-6)


def test_stop_continue_and_song_position() -> None:
    clock = MidiClock()
    clock.receive(START, 100.0)
    after = send_pulses(clock, 120.0, 3)
    assert clock.receive(STOP, after)
    assert not clock.tempo.running
    assert clock.tempo.beat == clock.tempo.beat_at(after + 5) == 3.0
    stood = [clock.receive(PULSE, after + i / 48) for i in range(2 * PULSES_PER_BEAT)]
    assert not any(stood), "pulses while the clock is stopped are not counted"
    assert clock.tempo.beat == 3.0
    assert clock.receive(CONTINUE, after + 10)
    assert clock.tempo.running
    assert clock.tempo.beat == 3.0
    clock.receive(Message("songpos", pos=16), after + 11)  # 16 sixteenths
    assert clock.tempo.beat == 4.0


def test_a_clock_that_never_sends_start_counts_from_its_first_pulse() -> None:
    clock = MidiClock()
    after = send_pulses(clock, 140.0, 6)
    assert clock.tempo.beat_at(after) == pytest.approx(6.0, abs=1e-6)


@pytest.mark.parametrize("gap", [0.3, 1.7, 5.0])
def test_the_clock_of_a_restarted_desk_continues_the_count(gap: float) -> None:
    """Pulses continue while no desk receives them, each up to 4 ms late."""
    clock, chance, step = MidiClock(), random.Random(2), 60.0 / 120.0 / PULSES_PER_BEAT
    clock.receive(START, 100.0)
    for i in range(500):
        clock.receive(PULSE, 100.0 + i * step + chance.uniform(0.0, 0.004))
    first = 500 + round(gap / step)
    other = MidiClock(clock.tempo)
    for i in range(first, first + 100):
        other.receive(PULSE, 100.0 + i * step + chance.uniform(0.0, 0.004))
    assert other.tempo.beat == (first + 99) / PULSES_PER_BEAT
    clock.receive(STOP, 200.0)
    still = MidiClock(clock.tempo)
    still.receive(PULSE, 300.0)
    assert (still.tempo.beat, still.tempo.running) == (clock.tempo.beat, False)
    still.receive(CONTINUE, 301.0)
    assert still.tempo.beat == clock.tempo.beat


@pytest.mark.parametrize("bpm", [60.0, 128.0, 174.0])
def test_late_pulses_move_the_beat_by_less_than_4_ms(bpm: float) -> None:
    """Each pulse is up to 6 ms late; the error is what remains beyond the average of 3 ms."""
    clock, chance, step = MidiClock(), random.Random(3), 60.0 / bpm / PULSES_PER_BEAT
    clock.receive(START, 100.0)
    off = []
    for i in range(32 * PULSES_PER_BEAT):
        due = clock.receive(PULSE, 100.0 + i * step + chance.uniform(0.0, 0.006))
        if due and i > 4 * PULSES_PER_BEAT:
            for soon in (0.25, 0.5, 1.0):  # of a beat on from there
                beat = i / PULSES_PER_BEAT + soon
                off.append((clock.tempo.beat_at(100.0 + beat * 60.0 / bpm) - beat) * 60.0 / bpm + 0.003)
    assert max(map(abs, off)) < 0.004


def test_the_tempo_is_published_once_a_beat() -> None:
    clock = MidiClock()
    clock.receive(START, 0.0)
    assert sum(clock.receive(PULSE, i / 48) for i in range(4 * PULSES_PER_BEAT)) == 4


def test_a_pause_does_not_count_as_a_slow_beat() -> None:
    clock = MidiClock()
    send_pulses(clock, 120.0, 4, begin=0.0)
    send_pulses(clock, 90.0, 4, begin=60.0)
    assert clock.tempo.bpm == pytest.approx(90.0, rel=1e-6)


def test_other_messages_are_ignored() -> None:
    clock = MidiClock()
    assert not clock.receive(SENSING, 1.0)
    assert not clock.receive(SENSING, 2.0)
    for _ in range(100):
        clock.receive(PULSE, 5.0)  # all at once
    assert clock.tempo.bpm == Tempo().bpm
