"""SessionMemories: what the frames of a session leave behind for its later frames, and for those of no other session.

The parts of a pipeline remember for one session at a time, the current one, in memory that keeps its address: a
recording reads and writes it there. Before the first frame of another session their contents are exchanged, by copies
on the stream that computes. While all frames belong to one session, this costs one comparison a frame.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import Tensor

SESSIONS_KEPT = 32  # of one engine: twice as many as may play at once, and the stage's own picture

Host = TypeVar("Host")


class Remembering(Protocol):
    """A part of a pipeline that remembers something from frame to frame."""

    def save(self) -> Any | None:
        """Copy what the frames so far have left behind; None where that is nothing."""
        ...

    def restore(self, saved: Any | None) -> None:
        """Go on from what `save` returned; from nothing, as at the start, with None."""
        ...


def copies(tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Copy tensors, for `Remembering.save`."""
    return tuple(tensor.clone() for tensor in tensors)


def write_back(tensors: Sequence[Tensor], saved: Sequence[Tensor]) -> None:
    """Write what `copies` returned into the tensors, in few launches, for `Remembering.restore`."""
    torch._foreach_copy_(list(tensors), list(saved))


@dataclass
class _Session(Generic[Host]):
    """host: what the session remembers on the host.   saved: of each part; empty while it is current, or new."""

    host: Host
    saved: Sequence[Any | None] = ()


class SessionMemories(Generic[Host]):
    """What the sessions of one pipeline remember. For the thread that submits frames.

    Args:
        parts: What remembers on the device.
        make: Makes what a new session remembers on the host. Frames under way may hold it after the session's end.
        kept: Largest number of sessions. Beyond it, the one whose last frame is the oldest is dropped.
    """

    def __init__(self, parts: Sequence[Remembering], make: Callable[[], Host], kept: int = SESSIONS_KEPT) -> None:
        self._parts, self._make, self._kept = tuple(parts), make, kept
        self._sessions: OrderedDict[str, _Session[Host]] = OrderedDict()  # the current one is the last
        self._current: str | None = None

    def __len__(self) -> int:
        return len(self._sessions)

    def enter(self, name: str) -> Host:
        """Make a session the current one, before its next frame; return what it remembers on the host."""
        if name != self._current:
            if name not in self._sessions:
                self._sessions[name] = _Session(self._make())
            self._exchange(self._sessions[name])
            self._current = name
            self._sessions.move_to_end(name)
            while len(self._sessions) > self._kept:
                self._sessions.popitem(last=False)
        return self._sessions[name].host

    def end(self, name: str) -> None:
        """Drop what a session remembers."""
        self._sessions.pop(name, None)
        if name == self._current:
            self._current = None
            self._restore(())

    def clear(self) -> None:
        """Drop what every session remembers."""
        self._sessions.clear()
        self._current = None
        self._restore(())

    def _exchange(self, session: _Session[Host]) -> None:
        """Save what the parts remember for the current session, and restore what they have to for this one."""
        if self._current is not None:
            self._sessions[self._current].saved = [part.save() for part in self._parts]
        self._restore(session.saved)
        session.saved = ()

    def _restore(self, saved: Sequence[Any | None]) -> None:
        for part, each in zip(self._parts, saved or [None] * len(self._parts), strict=True):
            part.restore(each)
