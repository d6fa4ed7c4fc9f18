"""What passes between a desk that ends, the stage, and the desk that takes its place."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field

from lcm_daemon.processes.packet_ring import NO_RING, LeftRing, OwnedRing, PacketRing
from lcm_daemon.processes.socket_transfer import StageSockets


@dataclass(frozen=True)
class Leave:
    """Stage to desk, without a credit: another desk takes over. Stop listening, send what waits, and end."""


@dataclass(frozen=True)
class Left:
    """Desk to stage, after its last request: the next desk may start. It is still closing connections."""


@dataclass(frozen=True)
class RingNames:
    """What a desk has to know of its ring.

    Attributes:
        own: Name of its block; "" where the system has no room.
        left: That of the desk before.
    """

    own: str = ""
    left: LeftRing = NO_RING

    def open(self) -> PacketRing | None:
        """The desk's ring, with what the one before held; None without one."""
        with contextlib.suppress(OSError):
            if self.own:
                ring = PacketRing(self.own)
                ring.adopt(self.left)
                return ring
        return None


NO_RINGS = RingNames()


class DeskRings:
    """The stage's end of the rings: that of the desk, and that of the one before until the desk is open."""

    def __init__(self) -> None:
        self._own: OwnedRing | None = None
        self._before: OwnedRing | None = None
        self._left = NO_RING
        self._last_message = 0

    def begin(self) -> RingNames:
        """Make the ring of the next desk. `end` was called for the one before."""
        with contextlib.suppress(OSError):  # what a desk has read is lost with it then
            self._own = OwnedRing()
        self._last_message = 0
        return RingNames(self._own.name if self._own else "", self._left)

    def on_message(self, number: int) -> None:
        """A message of the desk has arrived. number: That of the message."""
        self._last_message = number

    def on_ready(self) -> None:
        """The desk is open: it has all that the one before left."""
        if self._before is not None:
            self._before.close()
        self._before, self._left = None, NO_RING

    def end(self) -> None:
        """The desk has ended, and all of its messages have been read."""
        own, self._own = self._own, None
        if own is None:
            return
        if self._before is not None and not own.has_adopted:  # it has read nothing yet
            own.close()
            return
        self.on_ready()
        self._before, self._left = own, LeftRing(own.name, self._last_message)

    def close(self) -> None:
        """Remove both."""
        for each in (self._own, self._before):
            if each is not None:
                each.close()
        self._own = self._before = None


@dataclass
class DeskLeft:
    """What the desk of one show leaves to that of the next, where both listen to the same.

    Attributes:
        sockets: What arrives before the next desk is open waits in them.
        rings: What the desk had read, and the show had not carried out.
    """

    sockets: StageSockets = field(default_factory=StageSockets)
    rings: DeskRings = field(default_factory=DeskRings)

    def close(self) -> None:
        """The next show does not want it."""
        self.sockets.close()
        self.rings.close()
