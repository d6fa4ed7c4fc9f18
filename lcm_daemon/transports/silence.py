"""Silence of a source: what it means that a sender sends no new frame.

Screen captures over NDI and many Spout senders send a frame only when the picture changes. Their last frame is right
for as long as they are connected.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from lcm_daemon.core.schema import Choice, Field, Fields, Number

Unchanged = Literal["ok", "lost"]
UNCHANGED_AFTER = 5.0  # seconds

SILENCE: Fields = {
    "unchanged": Field(Choice(get_args(Unchanged)), "",
                       "what a sender is that is connected and sends nothing new; ok where the transport can tell"),
    "after": Field(Number(0, 86_400), None, "seconds without a frame until `unchanged` counts; 5"),
}


@dataclass(frozen=True)
class SilencePolicy:
    """What a source is that sends no new frame.

    Attributes:
        unchanged: "ok": a connected sender is live although it sends nothing; "lost": it is lost. "" is "ok" where the
            transport knows whether the sender is connected, else "lost" at once.
        after: seconds without a frame until the source is called unchanged, or with "lost" counts as lost; None is
            UNCHANGED_AFTER.
    """

    unchanged: Unchanged | Literal[""] = ""
    after: float | None = None

    @property
    def unchanged_after(self) -> float:
        return UNCHANGED_AFTER if self.after is None else self.after

    def is_live(self, silence: float, is_connected: bool | None) -> bool:
        """Whether a source without a new frame for `silence` seconds is live. is_connected: None if unknown."""
        if is_connected is False:
            return False
        if self.unchanged == "ok" or (not self.unchanged and is_connected):
            return True
        return silence < (self.unchanged_after if self.unchanged or self.after is not None else 0.0)


DEFAULT_SILENCE = SilencePolicy()
