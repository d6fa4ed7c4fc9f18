"""RecipeFade: how far a crossfade from one recipe to another is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RecipeFade:
    """A crossfade from `start` (0: old frame, 1: new frame) at the time `started`, forwards or back."""

    started: float = 0.0
    start: float = 0.0
    seconds: float = 1.0
    reversed: bool = False

    def position(self, now: float) -> float:
        way = (now - self.started) / self.seconds
        return min(max(self.start + (-way if self.reversed else way), 0.0), 1.0)

    def is_over(self, now: float) -> bool:
        return self.position(now) == (0.0 if self.reversed else 1.0)

    def reverse(self, now: float) -> RecipeFade:
        return RecipeFade(now, self.position(now), self.seconds, True)
