"""How an engine's failures are handled, and whether there is room for a second engine."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from lcm_daemon.pipelines.base import DeviceMemory

ROOM = 1.1  # a second engine is estimated to need this many times what the first one uses: compilers need work space


@dataclass(frozen=True)
class EngineTimeouts:
    """Timeouts in seconds.

    Args:
        frame: After this long without a result the engine counts as hung.
        loading: After this long without progress a loading engine counts as hung. A compiler that works is progress.
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


def describe_bytes(size: int) -> str:
    """For log lines: "10.2 GiB"."""
    return f"{size / 2**30:.1f} GiB"


def describe_memory(memory: DeviceMemory) -> str:
    """For the status: "10.2 of 24.0 GiB free", and that Windows has lent some of the computer's own."""
    text = f"{memory.free / 2**30:.1f} of {memory.total / 2**30:.1f} GiB free"
    if not memory.lent:
        return text
    return f"{text}; Windows lends {memory.lent / 2**30:.1f} GiB of the computer's own memory, which is slow"


def lacks(memory: DeviceMemory | None) -> str:
    """Why a second engine would not fit, by what the first one uses; "" if it fits or nothing is known."""
    if memory is None:
        return ""
    needed = ROOM * memory.used
    if memory.free >= needed:
        return ""
    return f"{describe_bytes(memory.free)} of the device's memory are free, and it needs about {needed / 2**30:.1f}"
