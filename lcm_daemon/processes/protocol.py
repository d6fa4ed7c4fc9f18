"""Messages between the stage and its children."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lcm_daemon.core.live_values import Blend
from lcm_daemon.core.parameters import Value


@dataclass(frozen=True)
class Credit:
    """Child to stage: hand me the next frame (the desk: the next news) when there is one."""


@dataclass(frozen=True)
class FrameRequest:
    """Stage to child: slot `slot` holds frame `number`, captured at `time`; these are the values of this moment.

    guided: the slot's second input plane holds a picture of the guide too.
    """

    slot: int
    number: int
    time: float
    values: Mapping[str, Value | Blend]
    guided: bool = False


@dataclass(frozen=True)
class FrameResult:
    """Child to stage: the slot is yours again. `seconds` by part says where the time went."""

    slot: int
    number: int
    time: float
    seconds: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Progress:
    """Child to stage: still starting, and busy with this."""

    text: str


@dataclass(frozen=True)
class Ready:
    """Child to stage: started. `report` is what it says of itself."""

    report: Any = None


@dataclass(frozen=True)
class Failed:
    """Child to stage, its last word: what went wrong, and whether a fresh child may do better.

    memory: the device had no room for it.
    """

    text: str
    retry: bool = True
    memory: bool = False
