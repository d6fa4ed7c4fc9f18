"""Framing of OSC over TCP: sizes and SLIP, told apart by the first byte."""

from __future__ import annotations

import asyncio

import pytest

from lcm_daemon.controllers.osc.framing import Framing, FramingError, SizeFraming, SlipFraming, detect_framing

PACKETS = [b"/a\0\0,\0\0\0", b"\xc0\xdb\xdc\xdd", b"\xdb\xdc\xc0\xdb\xdd\xdc", b"#bundle\0"]


def read(data: bytes, count: int) -> tuple[Framing, list[bytes]]:
    async def scenario() -> tuple[Framing, list[bytes]]:
        reader = asyncio.StreamReader(limit=1 << 17)
        reader.feed_data(data)
        reader.feed_eof()
        framing = await detect_framing(reader)
        return framing, [await framing.read(reader) for _ in range(count)]
    return asyncio.run(scenario())


@pytest.mark.parametrize("kind", [SizeFraming, SlipFraming])
def test_what_is_written_is_read(kind: type[SizeFraming | SlipFraming]) -> None:
    framing, packets = read(b"".join(kind().write(packet) for packet in PACKETS), len(PACKETS))
    assert type(framing) is kind
    assert packets == PACKETS


@pytest.mark.parametrize("stream", [
    b"/a\0\0,\0\0\0\xc0#bundle\0\xc0",  # without END in front
    b"\xc0/a\0\0,\0\0\0\xc0\xc0#bundle\0\xc0",
    b"\xc0\xc0\xc0/a\0\0,\0\0\0\xc0#bundle\0\xc0\xc0",
])
def test_slip_may_have_an_end_in_front(stream: bytes) -> None:
    framing, packets = read(stream, 2)
    assert type(framing) is SlipFraming
    assert packets == [b"/a\0\0,\0\0\0", b"#bundle\0"]


@pytest.mark.parametrize(("stream", "reason"), [
    (b"GET / HTTP/1.1\r\n", "first byte is b'G'"), (b"\xff\xff\xff\xff", "first byte"),
    (b"\0\0\0\0", "announces 0 bytes"), (b"\0\1\0\4", "announces 65540 bytes"),
    (b"\xc0" + b"x" * (1 << 18), "longer than 65536 bytes"), (b"\xc0/a\xdbx\xc0", "invalid escape"),
])
def test_a_stream_that_is_neither(stream: bytes, reason: str) -> None:
    with pytest.raises(FramingError, match=reason):
        read(stream, 1)


@pytest.mark.parametrize("stream", [b"", b"\0", b"\0\0\0\4abc", b"\xc0/a\0\0"])
def test_a_peer_that_closes_in_the_middle(stream: bytes) -> None:
    with pytest.raises(asyncio.IncompleteReadError):
        read(stream, 1)
