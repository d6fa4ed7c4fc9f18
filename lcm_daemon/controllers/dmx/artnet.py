"""Art-Net 4 (Artistic Licence, revision 1.4): reads levels and timecode, and answers controllers that look for nodes.

No package is used to receive: the thread of stupidArtnet 1.6 ends at one short packet, and aioartnet 0.2 works on Linux
alone.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterable, Iterator

from lcm_daemon.controllers.dmx.packet import ARTNET, CHANNELS, PORTS, DmxPacket, MalformedDmx
from lcm_daemon.core.timecode import FrameRate, Timecode, TimecodeReport

VERSION = 14  # of the protocol; the only one

POLL, POLL_REPLY, DMX, TIMECODE = 0x2000, 0x2100, 0x5000, 0x9700  # operation codes
PAGE = 4  # universes that one reply describes; all have the same upper 11 bits

_NAME = b"Art-Net\0"
_START = struct.Struct("<8sH")  # name, operation code
_DMX = struct.Struct(">HBBBBH")  # version, sequence, physical port, lower 8 bits of the universe, upper 7, length
_TIMECODE = struct.Struct(">HBBBBBBB")  # version, filler, stream, frames, seconds, minutes, hours, kind
_REPLY = struct.Struct("<8sH4sH2s BB 2sBBH 18s64s64s 2s4s4s4s4s4s BBB3xB 6s4sBB 4sB6x 2s2sB10x")
_RATES = (FrameRate(24), FrameRate(25), FrameRate(30, drop=True), FrameRate(30))  # by their kind
_IS_OUTPUT, _IS_SENDING = 0x80, 0x80  # of a port: it puts out what it receives; it does so now
_STYLE_NODE, _UNKNOWN_MAKER = 0, b"\x00\xff"
_LONG_UNIVERSES = 0x08  # of Status2: universes have 15 bits


def operation(data: bytes) -> int:
    """The operation code of a packet. Raises MalformedDmx if it is not Art-Net."""
    if len(data) < _START.size or not data.startswith(_NAME):
        raise MalformedDmx("it is not Art-Net")
    code: int = _START.unpack_from(data)[1]
    return code


def universe_of(data: bytes) -> int:
    """The universe of a packet of the operation DMX, unchecked; 0 of one that is too short."""
    return int.from_bytes(data[14:16], "little")


def read_artnet(data: bytes, host: str) -> DmxPacket:
    """Read a packet of the operation DMX.

    Args:
        data: The datagram.
        host: Who has sent it.

    Raises:
        MalformedDmx: It is damaged.
    """
    start = _START.size + _DMX.size
    if len(data) < start:
        raise MalformedDmx(f"it has {len(data)} bytes, fewer than its header")
    version, sequence, physical, low, high, length = _DMX.unpack_from(data, _START.size)
    levels = data[start:start + length]
    if version < VERSION or high > 0x7F:
        raise MalformedDmx(f"version {version} or universe {high << 8 | low} does not exist")
    if not 1 <= length <= CHANNELS or len(levels) != length:
        raise MalformedDmx(f"it says that it has {length} channels, and has {len(levels)}")
    return DmxPacket(ARTNET, high << 8 | low, levels, (ARTNET, host, physical), host, sequence=sequence or None)


def read_timecode(data: bytes, host: str, time: float) -> TimecodeReport:
    """Read a packet of the operation TIMECODE that has arrived at `time` (seconds of perf_counter).

    Raises:
        MalformedDmx: It is damaged, or its time does not exist.
    """
    if len(data) < _START.size + _TIMECODE.size:
        raise MalformedDmx(f"it has {len(data)} bytes, fewer than a timecode")
    _, _, _, frames, seconds, minutes, hours, kind = _TIMECODE.unpack_from(data, _START.size)
    if kind >= len(_RATES) or hours > 23 or minutes > 59 or seconds > 59 or frames >= _RATES[kind].nominal:
        raise MalformedDmx("its timecode does not exist")
    rate = _RATES[kind]
    return TimecodeReport(float(rate.index(Timecode(hours, minutes, seconds, frames))), time, rate, f"artnet/{host}")


def poll_replies(universes: Iterable[int], address: bytes, name: str) -> Iterator[bytes]:
    """The answers to a packet of the operation POLL: consoles send a universe to those that say they want it.

    Args:
        universes: Those that are wanted.
        address: The IPv4 address of this machine, 4 bytes.
        name: What consoles show.
    """
    pages = [(upper, *itertools.islice(group, start, start + PAGE))
             for upper, found in itertools.groupby(sorted(set(universes)), lambda universe: universe >> 4)
             for group in [tuple(found)] for start in range(0, len(group), PAGE)]
    for number, (upper, *ports) in enumerate(pages, 1):
        yield _reply(upper, ports, address, name, number)


def _reply(upper: int, ports: list[int], address: bytes, name: str, number: int) -> bytes:
    """One page. upper: The upper 11 bits of its universes. number: Of the page, from 1."""
    count, text = len(ports), name.encode("utf-8", "replace")
    lower = bytes(port & 0x0F for port in ports)
    return _REPLY.pack(
        _NAME, POLL_REPLY, address, PORTS[ARTNET], b"\0\1", upper >> 4, upper & 0x0F, _UNKNOWN_MAKER, 0, 0, 0,
        text[:17], text[:63], b"#0001 [0000] receives", count.to_bytes(2, "big"), bytes([_IS_OUTPUT]) * count, b"",
        bytes([_IS_SENDING]) * count, b"", lower, 0, 0, 0, _STYLE_NODE, b"", address, min(number, 255),
        _LONG_UNIVERSES, b"", 0, b"", b"", 0)
