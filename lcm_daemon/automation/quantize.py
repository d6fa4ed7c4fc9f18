"""Quantise: calls that wait for the music's next beat or bar."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lcm_daemon.core.requests import CommandRequest
from lcm_daemon.core.tempo import BEATS, Tempo

GRIDS: Mapping[str, float] = {"off": 0.0, "beat": 1.0, "bar": float(BEATS)}  # beats; 0 waits for nothing


@dataclass
class _Waiting:
    """A call that is due at `beat`, the next multiple of `grid` beats."""

    call: CommandRequest
    grid: float
    beat: float

    def due(self, tempo: Tempo, now: float) -> bool:
        beat = tempo.beat_at(now)
        if beat < self.beat - self.grid:  # the music began anew, or went back
            self.beat = tempo.next(self.grid, now)
        return beat >= self.beat or not tempo.running


class QuantizedRequests:
    """At most one under each key: the newest. While an outside clock stands still nothing waits for it."""

    def __init__(self) -> None:
        self._waiting: dict[str, _Waiting] = {}

    def look(self, key: str) -> CommandRequest | None:
        """What waits under a key; it waits on."""
        return self._waiting[key].call if key in self._waiting else None

    def put(self, key: str, call: CommandRequest, grid: float, tempo: Tempo, now: float) -> None:
        """Wait with a call for the next multiple of `grid` beats."""
        self._waiting[key] = _Waiting(call, grid, tempo.next(grid, now))

    def take(self, tempo: Tempo, now: float) -> list[CommandRequest]:
        """What is due now; it waits no more."""
        due = [key for key, waiting in self._waiting.items() if waiting.due(tempo, now)]
        return [self._waiting.pop(key).call for key in due]

    def drop(self, key: str) -> None:
        self._waiting.pop(key, None)

    def clear(self) -> None:
        self._waiting.clear()
