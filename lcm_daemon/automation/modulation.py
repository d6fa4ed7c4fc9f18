"""Modulation: what moves a parameter around the value it stands at: waves, and followers of a level.

It comes last: base value, cue's fade, modulation. It never touches the truth; each frame is given the sum.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lcm_daemon.core.live_values import Blend
from lcm_daemon.core.parameters import Parameter, Table, Values, table_of

FOLLOWER = "follow"
SETTLED = 1e-4  # of the way: nearer than this a follower has arrived


def _walk(phase: float, seed: int) -> float:
    """From one random level to the next in a smooth curve, without a corner."""
    place = math.floor(phase)
    share = phase - place
    share = share * share * (3.0 - 2.0 * share)
    return _level(place, seed) + (_level(place + 1, seed) - _level(place, seed)) * share


def _level(place: int, seed: int) -> float:
    return random.Random(f"{seed}/{place}").uniform(-1.0, 1.0)


# From -1 to 1, by the cycles gone by; the seed tells two random ones apart.
WAVES: Mapping[str, Callable[[float, int], float]] = {
    "sine": lambda phase, seed: math.sin(2.0 * math.pi * phase),
    "triangle": lambda phase, seed: 1.0 - 4.0 * abs((phase + 0.25) % 1.0 - 0.5),
    "saw": lambda phase, seed: 2.0 * (phase % 1.0) - 1.0,
    "square": lambda phase, seed: 1.0 if phase % 1.0 < 0.5 else -1.0,
    "random": lambda phase, seed: _level(math.floor(phase), seed),
    "walk": _walk,
}


@dataclass(frozen=True)
class Modulator:
    """One thing that moves one parameter, by the parameters `mod/<name>/depth` and `mod/<name>/rate`.

    to: a float or int parameter.   wave: of WAVES, or FOLLOWER, which follows `mod/<name>/level`.
    depth: how far it goes each way, as a share of the parameter's range.   rate: cycles a second.
    beats: a cycle takes so many beats instead of going by `rate`; 0 is by rate.   phase: where a cycle begins.
    attack, release: seconds that a follower takes to rise and to fall (to 63 % of the way).
    """

    name: str
    to: str
    wave: str = "sine"
    depth: float = 0.25
    rate: float = 0.5
    beats: float = 0.0
    phase: float = 0.0
    attack: float = 0.02
    release: float = 0.3

    def parameters(self) -> list[Parameter]:
        """Its own faders."""
        path = f"mod/{self.name}"
        depth = Parameter(f"{path}/depth", "float", self.depth, f"How far {self.name} moves {self.to}.", -1.0, 1.0)
        if self.wave == FOLLOWER:
            return [depth, Parameter(f"{path}/level", "float", 0.0, f"What {self.name} follows, such as a sound's "
                                     "loudness.", 0.0, 1.0, look=False)]
        return [depth, Parameter(f"{path}/rate", "float", self.rate, f"Cycles a second of {self.name}, where it does "
                                 "not go by beats.", 0.0, 30.0, "Hz")]


def table_of_modulators(modulators: Sequence[Modulator]) -> Table:
    """The faders of all of them."""
    return table_of(parameter for modulator in modulators for parameter in modulator.parameters())


class Modulation:
    """All modulators of a show, each with its place in its cycle."""

    def __init__(self, modulators: Sequence[Modulator]) -> None:
        self.modulators = tuple(modulators)
        self._places = {modulator.name: _Place() for modulator in modulators}

    def apply(self, values: Values, table: Table, beat: float, now: float) -> dict[str, Any]:
        """The values with everything that moves them added. Several on one parameter add up; its range is kept.

        beat: where the music is.   now: monotonic seconds.
        """
        moved = dict(values)
        for number, modulator in enumerate(self.modulators):
            parameter = table.get(modulator.to)
            swing = self._places[modulator.name].swing(modulator, values, beat, now, number)
            if parameter is None or isinstance(moved[modulator.to], Blend) or not math.isfinite(parameter.high):
                continue
            depth = float(values[f"mod/{modulator.name}/depth"])
            moved[modulator.to] = float(moved[modulator.to]) + swing * depth * (parameter.high - parameter.low)
        for name in {modulator.to for modulator in self.modulators} & table.keys():
            if not isinstance(moved[name], Blend):
                moved[name] = table[name].coerce(moved[name])
        return moved


class _Place:
    """Where one modulator is: the cycles gone by, or the level that a follower has come to."""

    def __init__(self) -> None:
        self._cycles = self._level = 0.0
        self._then: float | None = None

    def swing(self, modulator: Modulator, values: Values, beat: float, now: float, seed: int) -> float:
        passed = now - (now if self._then is None else self._then)
        self._then = now
        if modulator.wave == FOLLOWER:
            return self._follow(modulator, float(values[f"mod/{modulator.name}/level"]), passed)
        # Added up from moment to moment, so that a rate that moves bends the wave and never breaks it.
        self._cycles += passed * float(values[f"mod/{modulator.name}/rate"])
        cycles = beat / modulator.beats if modulator.beats > 0.0 else self._cycles
        return WAVES[modulator.wave](cycles + modulator.phase, seed)

    def _follow(self, modulator: Modulator, level: float, passed: float) -> float:
        """A one-pole filter, quick to rise and slow to fall."""
        seconds = modulator.attack if level > self._level else modulator.release
        share = 1.0 if seconds <= 0.0 else 1.0 - math.exp(-passed / seconds)
        self._level += (level - self._level) * share
        if abs(level - self._level) < SETTLED:
            self._level = level  # a filter alone never comes to rest, and what moves is painted anew
        return self._level
