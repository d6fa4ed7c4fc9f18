"""Modulation: waves and followers that move a parameter around its value.

It is applied last: base value, fade of a cue, modulation. It never changes the stored values; each frame gets the sum.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lcm_daemon.core.audio_names import LEVEL, SILENCE
from lcm_daemon.core.live_values import Blend
from lcm_daemon.core.needs import Condition, Need
from lcm_daemon.core.parameters import Parameter, Table, Values, table_of

FOLLOWER = "follow"
AUDIO = "audio"  # the wave that follows the audio input
GROUP = "Modulation"  # of the parameters of modulators
FOLLOWER_TOLERANCE = 1e-4  # a follower that is nearer than this to its level takes the level


def _walk(phase: float, seed: int) -> float:
    """Move from one random level to the next on a smooth curve without corners."""
    cycle = math.floor(phase)
    share = phase - cycle
    share = share * share * (3.0 - 2.0 * share)
    return _random_level(cycle, seed) + (_random_level(cycle + 1, seed) - _random_level(cycle, seed)) * share


def _random_level(cycle: int, seed: int) -> float:
    return random.Random(f"{seed}/{cycle}").uniform(-1.0, 1.0)


# Level from -1 to 1 by phase in cycles. The seed makes two random waves differ.
WAVES: Mapping[str, Callable[[float, int], float]] = {
    "sine": lambda phase, seed: math.sin(2.0 * math.pi * phase),
    "triangle": lambda phase, seed: 1.0 - 4.0 * abs((phase + 0.25) % 1.0 - 0.5),
    "saw": lambda phase, seed: 2.0 * (phase % 1.0) - 1.0,
    "square": lambda phase, seed: 1.0 if phase % 1.0 < 0.5 else -1.0,
    "random": lambda phase, seed: _random_level(math.floor(phase), seed),
    "walk": _walk,
}


@dataclass(frozen=True)
class Modulator:
    """One wave or follower that moves one parameter. Its own parameters are `mod/<name>/depth` and `mod/<name>/rate`.

    Attributes:
        name: part of the names of its own parameters.
        to: name of the float or int parameter that it moves.
        wave: a name in `WAVES`; `FOLLOWER`, which follows `mod/<name>/level`; or AUDIO, which follows `band`.
        depth: how far it moves in each direction, as a share of the parameter's range.
        rate: cycles per second.
        beats: beats per cycle, in place of `rate`; 0 uses `rate`.
        phase: where in the cycle it starts, 0 to 1.
        attack: seconds that a follower takes to rise by 63 % of the way.
        release: seconds that a follower takes to fall by 63 % of the way.
        band: what AUDIO follows: a name in `BANDS`.
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
    band: str = LEVEL

    def parameters(self) -> list[Parameter]:
        """Return the modulator's own parameters."""
        path = f"mod/{self.name}"
        depth = Parameter(f"{path}/depth", "float", self.depth, f"How far {self.name} moves {self.to}.", -1.0, 1.0,
                          group=GROUP)
        moves = Need(f"{depth.name} is 0", (Condition(depth.name, below=0.0), Condition(depth.name, above=0.0)))
        if self.wave == AUDIO:
            return [depth]
        if self.wave == FOLLOWER:
            return [depth, Parameter(f"{path}/level", "float", 0.0, f"Level that {self.name} follows, such as the "
                                     "loudness of a sound.", 0.0, 1.0, look=False, group=GROUP, needs=(moves,))]
        free = () if self.beats <= 0.0 else (Need(f"{self.name} follows the beat"),)
        return [depth, Parameter(f"{path}/rate", "float", self.rate, f"Cycles per second of {self.name}, unless it "
                                 "follows beats.", 0.0, 30.0, "Hz", group=GROUP, needs=(*free, moves),
                                 logarithmic=True)]


def table_of_modulators(modulators: Sequence[Modulator]) -> Table:
    """Return the parameters of all modulators."""
    return table_of(parameter for modulator in modulators for parameter in modulator.parameters())


class Modulation:
    """All modulators of a show, each with its position in its cycle.

    Attributes:
        audio: Returns the level of each band of the audio input, at monotonic seconds; None where the show has none.
    """

    def __init__(self, modulators: Sequence[Modulator]) -> None:
        self.modulators = tuple(modulators)
        self.audio: Callable[[float], Mapping[str, float]] | None = None
        self._states = {modulator.name: _State() for modulator in modulators}

    def replace(self, modulators: Sequence[Modulator]) -> None:
        """Use other modulators. One whose name and wave stay continues where it is in its cycle."""
        waves = {modulator.name: modulator.wave for modulator in self.modulators}
        kept = {m.name: self._states[m.name] for m in modulators if waves.get(m.name) == m.wave}
        self.modulators = tuple(modulators)
        self._states = {modulator.name: kept.get(modulator.name) or _State() for modulator in modulators}

    def advance(self, values: Values, beat: float, now: float) -> None:
        """Move every modulator on to this moment.

        Args:
            values: the values without modulation; they hold the rates and levels.
            beat: position of the music in beats.
            now: monotonic seconds.
        """
        heard = SILENCE if self.audio is None else self.audio(now)
        for number, modulator in enumerate(self.modulators):
            self._states[modulator.name].advance(modulator, values, beat, now, number, heard)

    def add_to(self, values: Values, table: Table) -> dict[str, Any]:
        """Return the values with modulation added. Several modulators of one parameter add up, within its range."""
        moved = dict(values)
        for modulator in self.modulators:
            parameter = table.get(modulator.to)
            if parameter is None or isinstance(moved[modulator.to], Blend) or not math.isfinite(parameter.high):
                continue
            depth, level = float(values[f"mod/{modulator.name}/depth"]), self._states[modulator.name].level
            moved[modulator.to] = float(moved[modulator.to]) + level * depth * (parameter.high - parameter.low)
        for name in {modulator.to for modulator in self.modulators} & table.keys():
            if not isinstance(moved[name], Blend):
                value, parameter = moved[name], table[name]
                moved[name] = parameter.coerce(max(value, parameter.low) if parameter.draws else value)
        return moved


class _State:
    """The state of one modulator. level: its present level, -1 to 1."""

    def __init__(self) -> None:
        self.level = 0.0
        self._cycles = 0.0
        self._time: float | None = None

    def advance(
        self, modulator: Modulator, values: Values, beat: float, now: float, seed: int, heard: Mapping[str, float]
    ) -> None:
        elapsed = now - (now if self._time is None else self._time)
        self._time = now
        if modulator.wave == AUDIO:
            self._follow(modulator, heard[modulator.band], elapsed)
            return
        if modulator.wave == FOLLOWER:
            self._follow(modulator, float(values[f"mod/{modulator.name}/level"]), elapsed)
            return
        # Cycles are summed up from tick to tick: a rate that changes bends the wave and never makes it jump.
        self._cycles += elapsed * float(values[f"mod/{modulator.name}/rate"])
        cycles = beat / modulator.beats if modulator.beats > 0.0 else self._cycles
        self.level = WAVES[modulator.wave](cycles + modulator.phase, seed)

    def _follow(self, modulator: Modulator, level: float, elapsed: float) -> None:
        """Apply a one-pole filter with separate times for rise and fall."""
        seconds = modulator.attack if level > self.level else modulator.release
        share = 1.0 if seconds <= 0.0 else 1.0 - math.exp(-elapsed / seconds)
        self.level += (level - self.level) * share
        if abs(level - self.level) < FOLLOWER_TOLERANCE:
            self.level = level  # the filter alone never arrives, and a value that moves means another render
