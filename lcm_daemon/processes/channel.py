"""Channel: frame slots and a pipe between the stage and one of its children.

Pixels cross in shared memory, everything else as small messages on the pipe. A slot belongs to the process that was
last sent its number, so no lock exists that a dead process could hold. The child grants credits (`Credit`); for each
credit the stage sends one message: the newest frame with the values of that moment. No more queues up than was granted,
a value is as fresh as the frame it travels with, and a child that has stopped reading is sent no more.
"""

from __future__ import annotations

import contextlib
import threading
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from multiprocessing import get_context
from typing import Any

import numpy as np

from lcm_daemon.core.frame import Frame, Pixels, Size
from lcm_daemon.core.live_values import Blend
from lcm_daemon.core.parameters import Value
from lcm_daemon.processes.frame_slots import FEWEST_SLOTS, SLOTS, FrameSlots
from lcm_daemon.processes.pipes import IMPORTED, Connection, readiness
from lcm_daemon.processes.protocol import Credit, FrameRequest, FrameResult
from lcm_daemon.processes.socket_transfer import SocketTransfer

Holds = Callable[[], Pixels | None]
CLOSED = (EOFError, ConnectionError, OSError)  # what a pipe raises once its other end is closed


def _nothing() -> None:
    """What an empty slot holds."""


@dataclass(frozen=True)
class ChildEndpoint:
    """What a child needs to open its end of a channel. Picklable while a process is being spawned.

    A child that was started before its channel has its pipe already; its endpoint comes without one.
    """

    pipe: Connection | None
    memory: str
    size: Size
    guided: bool = False
    slots: int = SLOTS
    transfer: SocketTransfer | None = None

    def with_pipe(self, pipe: Connection, transfer: SocketTransfer) -> ChildEndpoint:
        """The endpoint in a child that has its pipe already."""
        return replace(self, pipe=pipe, transfer=transfer)


class Channel:
    """The stage's end.

    Args:
        size: (width, height) of every frame, in pixels.
        guided: Whether frames may come with a guide frame.
        slots: Number of frame slots, one more than frames may be under way; fewer where memory is short.
        pipe: The stage's end of the pipe to a child that has its own end already; None makes a new pipe.
        fewest: Number of slots without which the channel is not made, as of `FrameSlots`.
    """

    def __init__(
        self, size: Size, guided: bool = False, slots: int = SLOTS, pipe: Connection | None = None,
        fewest: int = FEWEST_SLOTS,
    ) -> None:
        self._slots = FrameSlots(size, guided, count=slots, fewest=fewest)
        self._child_pipe: Connection | None = None
        if pipe is None:
            pipe, self._child_pipe = get_context("spawn").Pipe()
        self.pipe, self._has_message = pipe, readiness(pipe)
        self._free = list(range(self._slots.count))
        self._held: list[Holds] = [_nothing] * self._slots.count  # the pixels that each input slot is a copy of
        self._credits = 0
        self.requested: dict[int, float] = {}  # slot -> when its last request was sent
        self.unanswered: dict[int, float] = {}  # the same, until the result has arrived
        self.sessions: dict[int, str] = {}  # slot -> whose frame was sent last
        self._between: dict[int, tuple[int, ...]] = {}  # slot -> further slots that its request has

    def child_endpoint(self) -> ChildEndpoint:
        """The child's end: pass it to the process, then call `close_child_pipe`."""
        slots = self._slots
        return ChildEndpoint(self._child_pipe, slots.name, slots.size, slots.guided, slots.count)

    def close_child_pipe(self) -> None:
        """Close this process's copy of the child's pipe. While it is open, the child's death goes unnoticed."""
        if self._child_pipe is not None:
            self._child_pipe.close()

    @property
    def slots(self) -> FrameSlots:
        """The frames, for a child that shares them in another way than by requests and results."""
        return self._slots

    @property
    def has_credit(self) -> bool:
        """Whether the child has read what it was sent and accepts a message."""
        return self._credits > 0

    @property
    def accepts_frame(self) -> bool:
        """Whether the child accepts a frame, and a slot is free."""
        return self._credits > 0 and bool(self._free)

    def send_frame(
        self, frame: Frame, values: Mapping[str, Value | Blend], now: float, guide: Frame | None = None,
        session: str = "", between: int = 0,
    ) -> bool:
        """Copy a frame into a slot and send it, if the child accepts one; return whether it was sent.

        Args:
            frame: Of the channel's size.
            values: Every parameter's value at this moment.
            now: Monotonic seconds.
            guide: Frame of the second source, of the same size; only on a guided channel.
            session: Whose frame it is, as in `FrameRequest`.
            between: For how many pictures between the result before and this one there is to be room, if the channel
                has the slots.

        Raises:
            OSError, EOFError: One of CLOSED; the child is gone.
        """
        between = min(between, self._slots.count - 1)
        if not self.accepts_frame or len(self._free) <= between:
            return False
        slot = self._free.pop()
        if self._held[slot]() is not frame.pixels:  # no frame's pixels are ever written to
            np.copyto(self._slots.inputs[slot], frame.pixels)
            self._held[slot] = weakref.ref(frame.pixels)
        if guide is not None:
            np.copyto(self._slots.guides[slot], guide.pixels)
        self._credits -= 1
        self.requested[slot] = self.unanswered[slot] = now
        self.sessions[slot] = session
        further = self._between[slot] = tuple(self._free.pop() for _ in range(between))
        self.pipe.send(FrameRequest(slot, frame.number, frame.time, values, guide is not None, session, further))
        return True

    def send(self, message: Any) -> bool:
        """Send any other message against one credit; return False if there is none. Raises one of CLOSED."""
        if self._credits <= 0:
            return False
        self._credits -= 1
        self.pipe.send(message)
        return True

    def send_without_credit(self, message: Any) -> None:
        """Send a message that needs no credit, as the one that starts a child. A closed pipe is left to `receive`."""
        with contextlib.suppress(*CLOSED):
            self.pipe.send(message)

    def receive(self) -> list[Any]:
        """Every message that has arrived, without waiting. Raises one of CLOSED after a dead child's last one."""
        messages: list[Any] = []
        while True:
            try:
                if not self._has_message():
                    return messages
                message = self.pipe.recv()
            except CLOSED:
                if messages:
                    return messages
                raise
            if isinstance(message, Credit):
                self._credits += message.count
                continue
            if isinstance(message, FrameResult):
                self.unanswered.pop(message.slot, None)
            if message != IMPORTED:  # the child was started before its work was known
                messages.append(message)

    def read_result(self, result: FrameResult) -> Frame:
        """Copy the output frame out of its slot, with the pictures before it, and free the slots."""
        further = self._between.get(result.slot, ()) if result.between else ()
        between = tuple(self._slots.outputs[slot].copy() for slot in further)
        frame = Frame(self._slots.outputs[result.slot].copy(), result.number, result.time, between=between)
        self.free_slot(result)
        return frame

    def free_slot(self, result: FrameResult) -> None:
        """Free a slot, and the further ones of its request, without reading its frame."""
        self._free.extend((result.slot, *self._between.pop(result.slot, ())))

    def close(self) -> None:
        self.pipe.close()
        self.close_child_pipe()
        self._slots.close()


class ChildChannel:
    """The child's end."""

    def __init__(self, endpoint: ChildEndpoint) -> None:
        assert endpoint.pipe is not None
        self._pipe = endpoint.pipe
        self.size = endpoint.size
        self.slots = FrameSlots(endpoint.size, endpoint.guided, endpoint.memory, endpoint.slots)
        self._sending = threading.Lock()

    def receive(self) -> Any:
        """The next message, waiting for it; None once the stage is gone."""
        try:
            return self._pipe.recv()
        except CLOSED:
            return None

    def send(self, message: Any) -> None:
        """Send a message, from any thread; does nothing once the stage is gone."""
        with self._sending, contextlib.suppress(*CLOSED):
            self._pipe.send(message)

    def close(self) -> None:
        self._pipe.close()
        self.slots.close()
