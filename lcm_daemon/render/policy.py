"""How an engine's failures are answered: deadlines and restart policy."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


@dataclass(frozen=True)
class EngineTimeouts:
    """Seconds after which an engine's silence is a hang, and between tries once every recipe has failed."""

    frame: float = 3.0
    loading: float = 600.0
    alarm: float = 60.0


class RestartPolicy(Enum):
    """What is done when an engine fails."""

    PLAY = "it is replaced, whatever happens"
    YIELD = "another engine loads beside it: it is replaced, unless memory ran out, which the other shall have"
    TRIAL = "nothing: `failure` says why, and whoever put it on trial decides"
