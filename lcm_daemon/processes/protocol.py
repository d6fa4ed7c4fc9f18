"""Messages between the stage and its children."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lcm_daemon.core.live_values import Blend
from lcm_daemon.core.parameters import Value
from lcm_daemon.processes.socket_transfer import NONE_USED, SocketsUsed


@dataclass(frozen=True)
class Credit:
    """Child to stage: `count` more messages may be sent, each a frame or (to the desk) an update.

    A frame that is sent waits for those before it, so a child grants no more than keeps it busy.
    """

    count: int = 1


@dataclass(frozen=True)
class FrameRequest:
    """Stage to child: input slot `slot` holds frame `number`, captured at `time`.

    Args:
        slot: Index of the frame slot.
        number: Number of the frame.
        time: When the frame was captured, in monotonic seconds.
        values: Every parameter's value at this moment.
        guided: Whether the slot's guide plane holds a frame too.
        session: Whose picture it is: "" for the stage's own, else the number of a visitor's session.
        between: Further slots, whose outputs receive pictures between the result before and this one, in order.
    """

    slot: int
    number: int
    time: float
    values: Mapping[str, Value | Blend]
    guided: bool = False
    session: str = ""
    between: tuple[int, ...] = ()


@dataclass(frozen=True)
class EndSession:
    """Stage to engine, without a credit: forget what frames of this session have left, such as the last result."""

    session: str


@dataclass(frozen=True)
class FrameResult:
    """Child to stage: the output slot is filled, and the slot is free again once the stage has read it.

    `between` says whether the further slots of the request are filled too. They are free again in any case.

    Results come in the order of their requests.

    `seconds` holds the time spent, by part ("render", "encode", ...).
    """

    slot: int
    number: int
    time: float
    seconds: Mapping[str, float] = field(default_factory=dict)
    between: bool = False


@dataclass(frozen=True)
class Progress:
    """Child to stage: still starting. `text` says what it is doing."""

    text: str


@dataclass(frozen=True)
class Ready:
    """Child to stage: started.

    Args:
        report: An engine's: what its pipeline says of itself.
        in_flight: An engine's: how many frames it renders at once.
        node: Name of the machine that an engine runs on; "" for this one.
        sockets: Those that it listens on, if another child is to take them over.
    """

    report: Any = None
    in_flight: int = 1
    node: str = ""
    sockets: SocketsUsed = NONE_USED


@dataclass(frozen=True)
class Failed:
    """Child to stage, as its last message: what went wrong.

    Args:
        text: The error in one line.
        retry: Whether a new child may succeed.
        memory: Whether the device ran out of memory, or a cluster of devices.
        lost: Whether the machine or the connection to it was lost, for which no recipe is to blame.
    """

    text: str
    retry: bool = True
    memory: bool = False
    lost: bool = False
