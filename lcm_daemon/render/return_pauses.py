"""ReturnPauses: when a player that fell to a lower rung of its ladder tries its own recipe again."""

from __future__ import annotations

LONGEST_PAUSE = 3600.0  # seconds between two tries to return from a lower rung
STABLE = 600.0  # seconds that a recipe must play after a return until the pauses are short again


class ReturnPauses:
    """After `first` seconds, then twice that, and so on."""

    def __init__(self, first: float) -> None:
        self._first = self._pause = first
        self._due: float | None = None
        self._returned_at = -STABLE

    def is_due(self, fallen: bool, now: float) -> bool:
        if not fallen:
            self._due = None
            return False
        if self._due is None:
            if now - self._returned_at >= STABLE:
                self._pause = self._first
            self._due = now + self._pause
        if now < self._due:
            return False
        self._pause = min(2.0 * self._pause, LONGEST_PAUSE)
        self._due = now + self._pause
        return True

    def on_return(self, now: float) -> None:
        """A try succeeded. If the recipe fails again soon, the pauses keep growing."""
        self._returned_at = now
