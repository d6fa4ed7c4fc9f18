"""How an engine's failures are handled: timeouts and restart policy."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


@dataclass(frozen=True)
class EngineTimeouts:
    """Timeouts in seconds.

    Args:
        frame: After this long without a result the engine counts as hung.
        loading: After this long without `Ready` the engine counts as hung.
        alarm: Pause between two tries once every recipe of the ladder has failed.
    """

    frame: float = 3.0
    loading: float = 600.0
    alarm: float = 60.0


class RestartPolicy(Enum):
    """What happens when an engine fails."""

    ALWAYS = "restart it"
    UNLESS_OUT_OF_MEMORY = "restart it, except after out-of-memory: leave the memory to the engine that loads beside it"
    NEVER = "report the failure; the owner decides"
