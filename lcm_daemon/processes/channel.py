"""Link: frame slots and a pipe between the stage and one of its children.

Pixels cross in shared memory, everything else as small messages on the pipe. A slot belongs to whoever was last told
of it, so there is no lock that a dead process could hold. The child says when it wants a frame (`Want`); only then
does the stage hand over the newest one, together with the values of that moment. So nothing queues up anywhere, a
value is as fresh as the frame it rides with, and a child that has stopped to read is sent no more than it asked for.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from lcm_daemon.core.frame import Frame, Size
from lcm_daemon.core.live_values import Blend
from lcm_daemon.core.parameters import Value
from lcm_daemon.processes.frame_slots import SLOTS, FrameSlots
from lcm_daemon.processes.protocol import Credit, FrameRequest, FrameResult

CLOSED = (EOFError, ConnectionError, OSError)  # what a pipe raises once its other end is gone


class Channel:
    """The stage's end."""

    def __init__(self, size: Size, guided: bool = False) -> None:
        self.pipe, self._child_pipe = get_context("spawn").Pipe()
        self._slots = FrameSlots(size, guided)
        self._free = list(range(SLOTS))
        self._wanted = 0
        self.unanswered: dict[int, float] = {}  # slot -> when its frame was handed over

    def port(self) -> ChildEndpoint:
        """What the child needs to open its end; pass it to the process, then call `started`."""
        return ChildEndpoint(self._child_pipe, self._slots.name, self._slots.size, self._slots.guided)

    def started(self) -> None:
        """Close this side's copy of the child's pipe, without which its death would go unseen."""
        self._child_pipe.close()

    @property
    def wanted(self) -> bool:
        """The child waits for a frame, and there is a slot to put it in."""
        return self._wanted > 0 and bool(self._free)

    @property
    def listens(self) -> bool:
        """The child waits for something: it has dealt with what it got."""
        return self._wanted > 0

    def submit(
        self, frame: Frame, values: Mapping[str, Value | Blend], now: float, guide: Frame | None = None
    ) -> bool:
        """Hand a frame of the link's size over, if the child wants one; False if it does not. Raises CLOSED.

        guide: the second source's picture, of the same size; only for a link that was made for it.
        """
        if not self.wanted:
            return False
        slot = self._free.pop()
        np.copyto(self._slots.taken[slot], frame.pixels)
        if guide is not None:
            np.copyto(self._slots.guides[slot], guide.pixels)
        self._wanted -= 1
        self.unanswered[slot] = now
        self.pipe.send(FrameRequest(slot, frame.number, frame.time, values, guide is not None))
        return True

    def send(self, message: Any) -> bool:
        """Send anything else against one `Want`; False if the child wants nothing now. Raises CLOSED."""
        if self._wanted <= 0:
            return False
        self._wanted -= 1
        self.pipe.send(message)
        return True

    def tell(self, message: Any) -> None:
        """Send without being asked: for the one message that starts a child and the one that ends it."""
        with contextlib.suppress(*CLOSED):
            self.pipe.send(message)

    def receive(self) -> list[Any]:
        """Everything the child has said, without waiting; raises CLOSED once it is gone and its last words are read."""
        messages: list[Any] = []
        while True:
            try:
                if not self.pipe.poll():
                    return messages
                message = self.pipe.recv()
            except CLOSED:
                if messages:
                    return messages
                raise
            if isinstance(message, Credit):
                self._wanted += 1
            else:
                messages.append(message)

    def take(self, done: FrameResult) -> Frame:
        """A copy of the picture that came back, and the slot is free again."""
        frame = Frame(self._slots.given[done.slot].copy(), done.number, done.time)
        self.release(done)
        return frame

    def release(self, done: FrameResult) -> None:
        """Take the slot back without looking at its picture."""
        self.unanswered.pop(done.slot, None)
        self._free.append(done.slot)

    def close(self) -> None:
        self.pipe.close()
        self._child_pipe.close()
        self._slots.close()


@dataclass(frozen=True)
class ChildEndpoint:
    """Picklable while a process is being spawned."""

    pipe: Connection
    memory: str
    size: Size
    guided: bool = False


class ChildChannel:
    """The child's end."""

    def __init__(self, arguments: ChildEndpoint) -> None:
        self._pipe = arguments.pipe
        self.size = arguments.size
        self.slots = FrameSlots(arguments.size, arguments.guided, arguments.memory)

    def receive(self) -> Any:
        """The next message, waiting for it; None once the stage is gone."""
        try:
            return self._pipe.recv()
        except CLOSED:
            return None

    def say(self, message: Any) -> None:
        """Send; silent once the stage is gone, for then nobody listens."""
        with contextlib.suppress(*CLOSED):
            self._pipe.send(message)

    def close(self) -> None:
        self._pipe.close()
        self.slots.close()
