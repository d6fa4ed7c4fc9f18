"""What Art-Net and sACN have in common: the levels of one universe from one sender."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass

CHANNELS = 512  # of one universe, at most
ARTNET, SACN = "artnet", "sacn"  # names of the protocols in a show
PROTOCOLS = (ARTNET, SACN)
HTP, LTP = "htp", "ltp"  # names of the merges in a show
MERGES = (HTP, LTP)
PORTS: Mapping[str, int] = {ARTNET: 6454, SACN: 5568}  # UDP ports
UNIVERSES: Mapping[str, tuple[int, int]] = {ARTNET: (0, 0x7FFF), SACN: (1, 63999)}  # the first and the last one
DEFAULT_PRIORITY = 100  # of sACN, where a sender says nothing else; Art-Net has none


class MalformedDmx(ValueError):
    """A packet is not what it claims to be. Its text says why."""


@dataclass(frozen=True)
class DmxPacket:
    """The levels of one universe.

    Attributes:
        protocol: One of PROTOCOLS.
        universe: As the protocol counts: Art-Net from 0 to 32767, sACN from 1 to 63999.
        levels: Of the channels from 1 on, each 0 to 255; up to CHANNELS of them.
        sender: What tells senders apart.
        label: The sender's name and address, for log lines.
        priority: 0 to 200; only the senders of the highest one count.
        sequence: 0 to 255, by which late packets are found; None where the sender does not count.
        has_ended: Whether this is the sender's last packet.
    """

    protocol: str
    universe: int
    levels: bytes
    sender: Hashable
    label: str
    priority: int = DEFAULT_PRIORITY
    sequence: int | None = None
    has_ended: bool = False
