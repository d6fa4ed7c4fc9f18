"""Universe: the levels of one universe, merged from its senders.

Only the senders of the highest priority count. Of several of them, each channel has the highest level (HTP), or all
have the levels of the sender that has changed something last (LTP).
"""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Mapping
from dataclasses import dataclass

from lcm_daemon.controllers.dmx.packet import ARTNET, LTP, SACN, DmxPacket

TIMEOUTS: Mapping[str, float] = {  # seconds without a packet after which a sender is gone
    SACN: 2.5,  # E1.31, 6.7.1: network data loss
    ARTNET: 10.0,  # Art-Net 4, "Data merging"; unchanged levels are sent every second
}
LATE_PACKETS = 20  # E1.31, 6.7.2: how far behind a packet's sequence number is when it is late, not of a new start
MOST_SENDERS = 8  # further ones are not heard: a flood of invented senders must not fill the memory


@dataclass
class _Sender:
    packet: DmxPacket
    heard_at: float  # seconds
    changed_at: float


class Universe:
    """One universe. Times are monotonic seconds.

    Args:
        merge: HTP or LTP.

    Attributes:
        levels: The merged levels from channel 1 on; those of the last senders once all are gone.
    """

    def __init__(self, merge: str) -> None:
        self._merge = merge
        self._senders: dict[Hashable, _Sender] = {}
        self.levels = b""

    @property
    def has_sender(self) -> bool:
        return bool(self._senders)

    def knows(self, packet: DmxPacket) -> bool:
        """Whether the sender of a packet counts among the senders."""
        return packet.sender in self._senders

    @property
    def is_full(self) -> bool:
        """Whether a further sender would not be heard."""
        return len(self._senders) >= MOST_SENDERS

    def receive(self, packet: DmxPacket, now: float) -> bool:
        """Take a packet that arrived at `now`. Returns whether `levels` have changed."""
        known = self._senders.get(packet.sender)
        if packet.has_ended:
            self._senders.pop(packet.sender, None)
            return self._update()
        if known is None:
            if self.is_full:
                return False
            self._senders[packet.sender] = _Sender(packet, now, now)
            return self._update()
        if _is_late(packet, known.packet):
            return False
        before, known.packet, known.heard_at = known.packet, packet, now
        if (before.levels, before.priority) == (packet.levels, packet.priority):
            return False
        known.changed_at = now
        return self._update()

    def drop_silent(self, now: float) -> bool:
        """Forget the senders that send nothing any more. Returns whether `levels` have changed."""
        gone = [key for key, sender in self._senders.items()
                if now - sender.heard_at > TIMEOUTS[sender.packet.protocol]]
        for key in gone:
            del self._senders[key]
        return bool(gone) and self._update()

    def _update(self) -> bool:
        if not self._senders:
            return False
        highest = max(sender.packet.priority for sender in self._senders.values())
        leading = [sender for sender in self._senders.values() if sender.packet.priority == highest]
        if self._merge == LTP or len(leading) == 1:
            levels = max(leading, key=lambda sender: sender.changed_at).packet.levels
        else:
            columns = itertools.zip_longest(*(sender.packet.levels for sender in leading), fillvalue=0)
            levels = bytes(map(max, columns))
        changed, self.levels = levels != self.levels, levels
        return changed


def _is_late(packet: DmxPacket, before: DmxPacket) -> bool:
    """Whether a packet was overtaken on the way by the one before it."""
    if packet.sequence is None or before.sequence is None:
        return False
    behind = (before.sequence - packet.sequence) & 0xFF
    if packet.protocol == ARTNET and not behind:
        return False  # simple Art-Net senders do not count, and always send 1
    return behind < LATE_PACKETS
