"""sACN: reads the data packets of ANSI E1.31-2018.

The package `sacn` is not used to receive: in 1.11, one packet with a priority above 200 or a name that is not UTF-8
ends its thread, it does not say who has sent a packet, and it keeps one sequence for all senders of a universe.
"""

from __future__ import annotations

import struct

from lcm_daemon.controllers.dmx.packet import CHANNELS, SACN, UNIVERSES, DmxPacket, MalformedDmx

FIRST_UNIVERSE, LAST_UNIVERSE = UNIVERSES[SACN]
HIGHEST_PRIORITY = 200

# Root layer: size of the preamble, of the postamble, name, flags and length, vector, CID (16)
# Framing layer: flags and length, vector, source name (64), priority, synchronization, sequence, options, universe
# DMP layer: flags and length, vector, type, first address, increment, count, start code
_HEADER = struct.Struct(">HH12sHI16s HI64sBHBBH HBBHHHB")
_NAME = b"ASC-E1.17\0\0\0"
_ROOT_DATA, _FRAME_DATA, _DMP_SET, _DMP_TYPE = 4, 2, 2, 0xA1
_PREVIEW, _TERMINATED = 0x80, 0x40
_LEVELS = 0  # start code; others are not levels, such as 0xDD: the priority of each channel


def universe_of(data: bytes) -> int:
    """The universe of a packet, unchecked; 0 of one that is too short."""
    return int.from_bytes(data[113:115], "big")


def read_sacn(data: bytes, host: str) -> DmxPacket | None:
    """Read a packet.

    Args:
        data: The datagram.
        host: Who has sent it.

    Returns:
        Its levels; None for a packet that has none: for visualisers, synchronization, universe discovery.

    Raises:
        MalformedDmx: It is not sACN, or damaged.
    """
    if len(data) < 22 or data[4:16] != _NAME:
        raise MalformedDmx("it is not sACN")
    if int.from_bytes(data[18:22], "big") != _ROOT_DATA:
        return None  # an extended packet
    if len(data) < _HEADER.size:
        raise MalformedDmx(f"it has {len(data)} bytes, fewer than its headers")
    (_, _, _, _, _, cid, _, framing, name, priority, _, sequence, options, universe, _, vector, kind, first, increment,
     count, start) = _HEADER.unpack_from(data)
    if (framing, vector, kind, first, increment) != (_FRAME_DATA, _DMP_SET, _DMP_TYPE, 0, 1):
        raise MalformedDmx("its layers are not those of levels")
    if not FIRST_UNIVERSE <= universe <= LAST_UNIVERSE or priority > HIGHEST_PRIORITY:
        raise MalformedDmx(f"universe {universe} with priority {priority} does not exist")
    levels = data[_HEADER.size:_HEADER.size + count - 1]
    if not 1 <= count <= CHANNELS + 1 or len(levels) != count - 1:
        raise MalformedDmx(f"it says that it has {count - 1} channels, and has {len(levels)}")
    if options & _PREVIEW or start != _LEVELS:
        return None
    text = name.partition(b"\0")[0].decode("utf-8", "replace")
    return DmxPacket(SACN, universe, levels, (SACN, cid), f"{text!r} ({host})", priority, sequence,
                     bool(options & _TERMINATED))


def group_of(universe: int) -> str:
    """The multicast group of a universe (E1.31, 9.3.1)."""
    return f"239.255.{universe >> 8}.{universe & 0xFF}"
