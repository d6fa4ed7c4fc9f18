"""How packets are delimited on a TCP connection: each after its size (OSC 1.0), or by SLIP (OSC 1.1, RFC 1055).

The first byte of a connection says which. A size has four bytes and is at most MAX_DATAGRAM, so its first byte is 0.
SLIP begins with its END byte, or with the packet itself: the slash of an address, or the # of a bundle.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from pythonosc import slip

from lcm_daemon.controllers.osc.udp import MAX_DATAGRAM
from lcm_daemon.core.errors import LcmDaemonError

SIZE_BYTES = 4  # of the big-endian size before each packet
END = slip.END
SLIP_STARTS = (END, b"/", b"#")


class FramingError(LcmDaemonError):
    """A stream that has neither framing, or a packet that is too long. The text is the reason."""


class Framing(Protocol):
    """Reads and writes packets of one connection."""

    async def begin(self, reader: asyncio.StreamReader) -> None:
        """Wait until a packet begins; `read` returns it. Raises as `read` does if the peer has closed."""

    async def read(self, reader: asyncio.StreamReader) -> bytes:
        """Return the next packet.

        Raises:
            FramingError: The stream cannot be read any further.
            asyncio.IncompleteReadError, OSError: The peer has closed.
        """

    def write(self, packet: bytes) -> bytes:
        """Return a packet as it is sent."""


class SizeFraming:
    """Each packet follows its size. start: the stream's bytes that were read already."""

    def __init__(self, start: bytes = b"") -> None:
        self._start = start

    async def begin(self, reader: asyncio.StreamReader) -> None:
        self._start = self._start or await reader.readexactly(1)

    async def read(self, reader: asyncio.StreamReader) -> bytes:
        start, self._start = self._start, b""
        size = int.from_bytes(start + await reader.readexactly(SIZE_BYTES - len(start)), "big")
        if not 0 < size <= MAX_DATAGRAM:
            raise FramingError(f"it announces {size} bytes for a packet")
        return await reader.readexactly(size)

    def write(self, packet: bytes) -> bytes:
        return len(packet).to_bytes(SIZE_BYTES, "big") + packet


class SlipFraming:
    """Each packet ends with the END byte, and may begin with one. start: the stream's bytes that were read already."""

    def __init__(self, start: bytes = b"") -> None:
        self._start = start.strip(END)

    async def begin(self, reader: asyncio.StreamReader) -> None:
        while not self._start:
            self._start = (await reader.readexactly(1)).strip(END)

    async def read(self, reader: asyncio.StreamReader) -> bytes:
        start, self._start = self._start, b""
        while True:
            try:
                frame = start + (await reader.readuntil(END))[:-1]
            except asyncio.LimitOverrunError as error:
                raise FramingError(f"a SLIP packet is longer than {MAX_DATAGRAM} bytes") from error
            if frame:  # two END bytes in a row are the end of one packet and the begin of the next
                return _decode(frame)
            start = b""

    def write(self, packet: bytes) -> bytes:
        return bytes(slip.encode(packet))


def _decode(frame: bytes) -> bytes:
    try:
        return bytes(slip.decode(frame))
    except slip.ProtocolError as error:
        raise FramingError("a SLIP packet has an invalid escape") from error


async def detect_framing(reader: asyncio.StreamReader) -> Framing:
    """Read the first byte of a connection and return its framing.

    Raises:
        FramingError: It is neither.
        asyncio.IncompleteReadError, OSError: The peer has closed.
    """
    first = await reader.readexactly(1)
    if first == b"\0":
        return SizeFraming(first)
    if first in SLIP_STARTS:
        return SlipFraming(first)
    raise FramingError(f"its first byte is {first!r}")
