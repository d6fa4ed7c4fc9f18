"""Activity: what came in last over OSC and MIDI, for the lamps of a page."""

from __future__ import annotations

from dataclasses import dataclass

LONGEST = 120  # characters of a message in words


@dataclass
class Input:
    """The messages of one controller: how many came, and the last one with its sender."""

    count: int = 0
    last: object = ""
    sender: object = ""

    def describe(self) -> str:
        """The last message in words: "/lcm/strength from 127.0.0.1"; "" before the first."""
        return f"{self.last!s:.{LONGEST}} from {self.sender!s:.{LONGEST}}" if self.count else ""


class Activity:
    """Counts the messages of each controller. Called for every message: it formats nothing."""

    def __init__(self) -> None:
        self.inputs: dict[str, Input] = {}

    def note(self, controller: str, message: object, sender: object) -> None:
        """A message has come. `message` and `sender` are converted to text when a page shows them."""
        entry = self.inputs.setdefault(controller, Input())
        entry.count += 1
        entry.last, entry.sender = message, sender
