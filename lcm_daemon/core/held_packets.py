"""HeldPackets: packets that were read from a socket and not yet carried out, for the process that comes next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class HeldPacket(NamedTuple):
    """A packet that the process before has read, and has not carried out.

    Attributes:
        record: Number under which this process holds it; 0 if it does not.
        sender: Who has sent it, as text.
        data: The packet.
    """

    record: int
    sender: str
    data: bytes


class HeldPackets:
    """What a process without a successor does: it holds nothing.

    Attributes:
        inherited: Packets of the process before, oldest first.
    """

    inherited: Sequence[HeldPacket] = ()

    def put(self, sender: str, data: bytes) -> int:
        """Hold a packet. Returns the number of its record; 0 if it is not held, for want of room."""
        return 0

    def begin(self, record: int) -> None:
        """The packet is about to be carried out."""

    def finish(self, record: int) -> None:
        """The packet was carried out, or dropped. It is held until what it requested has been sent to the stage."""
