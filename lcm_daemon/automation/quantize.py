"""Launch quantize: requests that wait for the next beat or bar of the music."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lcm_daemon.core.requests import CommandRequest
from lcm_daemon.core.tempo import BEATS, Tempo

GRIDS: Mapping[str, float] = {  # in beats; 0 means no wait
    "off": 0.0, "beat": 1.0, "bar": float(BEATS), "2 bars": 2.0 * BEATS, "4 bars": 4.0 * BEATS,
}
LATEST = 0.2  # seconds that the picture of a request may change after its beat; if later, it waits for the next one


@dataclass
class _Waiting:
    """A request that is due at `beat`, the next multiple of `grid` beats."""

    request: CommandRequest
    grid: float
    beat: float

    def is_due(self, tempo: Tempo, now: float) -> bool:
        beat = tempo.beat_at(now)
        if beat < self.beat - self.grid:  # the music restarted, or went back
            self.beat = tempo.next(self.grid, now)
        return beat >= self.beat or not tempo.running


class QuantizedRequests:
    """At most one waiting request for each key, the newest. While an external clock is stopped, nothing waits."""

    def __init__(self) -> None:
        self._waiting: dict[str, _Waiting] = {}

    def peek(self, key: str) -> CommandRequest | None:
        """Return the request that waits under a key, without removing it."""
        return self._waiting[key].request if key in self._waiting else None

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def put(
        self, key: str, request: CommandRequest, grid: float, tempo: Tempo, now: float, lookahead: float = 0.0,
    ) -> None:
        """Let a request wait for the next multiple of `grid` beats, in place of an earlier one under this key.

        Args:
            key: identifies the request.
            request: the request.
            grid: beats.
            tempo: the musical time.
            now: monotonic seconds.
            lookahead: seconds from a request to its picture, see `pop_due`.
        """
        self._waiting[key] = _Waiting(request, grid, tempo.next(grid, now + max(0.0, lookahead - LATEST)))

    def pop_due(self, tempo: Tempo, now: float, lookahead: float = 0.0) -> list[CommandRequest]:
        """Remove and return the requests whose beat is `lookahead` seconds away or nearer."""
        due = [key for key, waiting in self._waiting.items() if waiting.is_due(tempo, now + lookahead)]
        return [self._waiting.pop(key).request for key in due]

    def remove(self, key: str) -> None:
        """Remove the request under a key, if there is one."""
        self._waiting.pop(key, None)

    def clear(self) -> None:
        """Remove all requests."""
        self._waiting.clear()
