"""Move: what a user did in one go, such as a drag of a fader, a prompt that was sent, a look, or a panic."""

from __future__ import annotations

from dataclasses import dataclass

from lcm_daemon.core.live_values import Blend
from lcm_daemon.core.origins import describe_origin
from lcm_daemon.core.parameters import Value
from lcm_daemon.stage.panic import Cancelled
from lcm_daemon.stage.value_origin import as_text

CUES, PANIC = "cue/", "panic/"  # how the origins of their changes begin
HOURS = "opening hours"  # who puts back the look before a closing cue
PAUSE = 1.0  # seconds without a value, after which the next one is another move

Setting = Value | Blend


@dataclass(eq=False)
class Move:
    """One move.

    Attributes:
        number: Counts the moves of the run, from 1.
        origin: Who made it, as in Change.origin.
        before: Each value before it, by parameter name.
        after: Each value after it.
        at: When its last value arrived, monotonic seconds.
        cancelled: What a panic has cancelled.
    """

    number: int
    origin: str
    before: dict[str, Setting]
    after: dict[str, Setting]
    at: float
    cancelled: Cancelled | None = None

    @property
    def has_effect(self) -> bool:
        """Whether anything is different after it: a fader may have returned to where it was."""
        return bool(self.cancelled) or self.before != self.after

    @property
    def is_panic(self) -> bool:
        return self.origin.startswith(PANIC)

    @property
    def is_look(self) -> bool:
        return self.origin.startswith(CUES)

    @property
    def what(self) -> str:
        """What it moved, for people: "strength", "look neon", "panic"."""
        if self.is_look:
            return f"look {self.origin.removeprefix(CUES)}"
        return "panic" if self.is_panic else ", ".join(self.before)

    @property
    def by(self) -> str:
        """Who made it, for people: "page", "osc 192.168.1.7"; empty for a look."""
        return "" if self.is_look else describe_origin(self.origin.removeprefix(PANIC))

    @property
    def shown(self) -> str:
        """The value before a move of one parameter, at most 80 characters; empty for a look or a panic."""
        return "" if self.is_look or self.is_panic else f"{as_text(next(iter(self.before.values())))!s:.80}"


def is_edit(earlier: str, later: str) -> bool:
    """Whether a text came from another one by typing or deleting at one place."""
    short, long = sorted((earlier, later), key=len)
    start = next((place for place, letter in enumerate(short) if letter != long[place]), len(short))
    rest = len(short) - start
    return rest == 0 or short[start:] == long[-rest:]


def sender(origin: str) -> str:
    """Who sends, without the port: `lcm-daemon send` uses another one for each message."""
    return origin.rpartition(":")[0] if origin.startswith("osc/") else origin
