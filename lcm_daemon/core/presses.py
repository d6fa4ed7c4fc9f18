"""Presses: tells a button that is held down from one that is pressed again."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

HELD_SECONDS = 0.1  # a repeat within this time of the last message is the same press
MAX_BUTTONS = 256  # buttons that are remembered


class Presses:
    """The last message of each sender's buttons. Many controllers send a held button's value again and again.

    Args:
        now: Monotonic seconds.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._last: dict[tuple[str, str], tuple[tuple[Any, ...], float]] = {}  # what was sent, and when

    def is_repeat(self, sender: str, button: str, arguments: Sequence[Any]) -> bool:
        """Record a message of a pressed button. Returns whether it belongs to the press before.

        Args:
            sender: Who sends it, as in Change.origin.
            button: The command or address.
            arguments: What it sends. Other values, or values of other types, are another press.
        """
        key, now = (sender, button), self._now()
        sent = tuple((type(argument), argument) for argument in arguments)  # a held button never changes its type
        before, last = self._last.pop(key, (None, now))
        if len(self._last) >= MAX_BUTTONS:
            del self._last[next(iter(self._last))]
        self._last[key] = sent, now
        return before == sent and now - last < HELD_SECONDS

    def release(self, sender: str, button: str) -> None:
        """The button is not pressed any more: its next message is a new press."""
        self._last.pop((sender, button), None)
