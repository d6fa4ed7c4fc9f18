"""The packet check: what passes is safe for python-osc, and means what the specification says."""

from __future__ import annotations

import random
import struct
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pythonosc.osc_message import OscMessage
from pythonosc.osc_packet import OscPacket

from lcm_daemon.controllers.osc_protocol import packet_check
from lcm_daemon.controllers.osc_protocol.encoder import encode
from lcm_daemon.controllers.osc_protocol.packet_check import MalformedPacket
from tests.measure.fuzz_osc import mutated, packet

FLOAT = encode("/lcm/strength", [0.5])
NOW = struct.pack(">Q", 1)
FUTURE = struct.pack(">Q", 2**64 - 1)


def bundle(*inside: bytes, tag: bytes = NOW) -> bytes:
    return b"#bundle\0" + tag + b"".join(struct.pack(">i", len(each)) + each for each in inside)


def check(data: bytes) -> list[bytes]:
    """Return the messages without time tags."""
    return [message for message, _ in packet_check.check_packet(data).messages]


def nested(depth: int) -> bytes:
    element = FLOAT
    for _ in range(depth):
        element = bundle(element)
    return element


def holds(data: bytes) -> None:
    """Check that a packet is refused with MalformedPacket, or that python-osc reads every message of it.

    Where all its type tags are plain and nothing is skipped, python-osc reads the same messages from the packet itself.
    """
    try:
        messages, faults = packet_check.check_packet(data)
    except MalformedPacket:
        return
    if not faults and b"".join(check(data)) == b"".join(in_order(data)):
        parsed = [each.message.dgram for each in OscPacket(data).messages]
        assert sorted(parsed) == sorted(message for message, _ in messages)
    for message, _ in messages:
        assert OscMessage(message).address.encode() == message[:message.index(0)]
        assert packet_check.check_packet(message).messages == [(message, 1)], "rewriting once is enough"


@settings(deadline=None)
@given(st.binary(max_size=400))
def test_random_bytes(data: bytes) -> None:
    holds(data)


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_random_bytes_behind_an_address_or_a_bundle(data: bytes) -> None:
    for head in (b"/lcm/seed\0\0\0", b"#bundle\0" + NOW, FLOAT[:-8]):
        holds(head + data + b"\0" * (-len(data) % 4))


@pytest.mark.slow
@settings(deadline=None, max_examples=400)
@given(st.randoms(use_true_random=False))
def test_mutated_packets(rng: random.Random) -> None:
    holds(mutated(rng))


@settings(deadline=None)
@given(st.randoms(use_true_random=False))
def test_well_formed_packets_pass_in_their_order(rng: random.Random) -> None:
    data = packet(rng)
    rewritten = [message for each in in_order(data) for message in check(each)]
    assert check(data) == rewritten


def in_order(data: bytes) -> list[bytes]:
    """Return the messages of a well-formed packet, by plain recursion."""
    if not data.startswith(b"#"):
        return [data]
    messages, at = [], 16
    while at < len(data):
        size = int.from_bytes(data[at:at + 4], "big")
        messages += in_order(data[at + 4:at + 4 + size])
        at += 4 + size
    return messages


def test_time_tags() -> None:
    early, late = (struct.pack(">Q", time) for time in (10, 20))
    assert packet_check.check_packet(FLOAT) == ([(FLOAT, 1)], [])
    assert packet_check.check_packet(bundle(FLOAT, FLOAT, tag=FUTURE)).messages == [(FLOAT, 2**64 - 1)] * 2
    data = bundle(FLOAT, bundle(FLOAT, tag=late), FLOAT, tag=early)
    times = [time for _, time in packet_check.check_packet(data).messages]
    assert times == [10, 20, 10]
    nested_early = bundle(bundle(FLOAT, tag=early), tag=late)
    assert packet_check.check_packet(nested_early).messages == [(FLOAT, 20)]  # not before the bundle that contains it


def test_depth() -> None:
    assert check(nested(packet_check.MAX_DEPTH)) == [FLOAT]
    for depth in (packet_check.MAX_DEPTH + 1, 1200):
        with pytest.raises(MalformedPacket, match="nested"):
            check(nested(depth))


def test_elements() -> None:
    assert len(check(bundle(*[FLOAT] * packet_check.MAX_ELEMENTS))) == packet_check.MAX_ELEMENTS
    with pytest.raises(MalformedPacket, match="elements"):
        check(bundle(*[FLOAT] * (packet_check.MAX_ELEMENTS + 1)))
    with pytest.raises(MalformedPacket, match="elements"):
        check(bundle(*[bundle(*[bundle()] * 600)] * 2))


@pytest.mark.parametrize("size", [-4, -2**31, 0, 3, 2, 20, 2**31 - 4])
def test_an_element_of_a_wrong_size(size: int) -> None:
    with pytest.raises(MalformedPacket, match=f"invalid size {size}"):
        check(b"#bundle\0" + NOW + struct.pack(">i", size) + b"/a\0\0,\0\0\0")


def tagged(tags: bytes, data: bytes) -> bytes:
    return b"/a\0\0" + tags + b"\0" * (4 - len(tags) % 4) + data


@pytest.mark.parametrize(("data", "reason"), [
    (b"", "size"),
    (b"/a\0", "size"),
    (FLOAT[:-2], "size"),
    (FLOAT[:-4], "too short"),  # python-osc reads 0.0 here
    (FLOAT + b"\0\0\0\0", "too long"),
    (b"abc\0,\0\0\0", "address"),
    (b"\0\0\0\0", "address"),
    (b"/abc", "address"),
    (b"/" + b"a" * 255 + b"\0" * 4 + b",\0\0\0", "address"),
    (b"/a\nb\0\0\0\0,\0\0\0", "printable"),
    ("/ü".encode() + b"\0,\0\0\0", "printable"),
    (b"/a\0\0i\0\0\0", "type tags"),
    (b"/a\0\0,iii", "type tags"),
    (tagged(b",i", b""), "too short"),
    (tagged(b",h", b"1234"), "too short"),
    (tagged(b",d", b"1234"), "too short"),
    (tagged(b",t", b"1234"), "too short"),
    (tagged(b",s", b""), "string"),
    (tagged(b",s", b"abcd"), "string"),
    (tagged(b",s", b"\xff\xfe\0\0"), "UTF-8"),
    (tagged(b",b", b""), "blob has the invalid size -1"),
    (tagged(b",b", struct.pack(">i", -4)), "blob has the invalid size -4"),
    (tagged(b",b", struct.pack(">i", 5) + b"1234"), "too short"),
    (tagged(b",S", b"abcd"), "string"),
    (tagged(b",r", b""), "too short"),
    (tagged(b",Ii", b""), "too short"),
    (tagged(b",ix", b""), "too short"),
    (tagged(b"," + b"T" * 257, b""), "256"),
    (b"#bundle\0", "time tag"),
    (b"#bundle\0" + NOW[:4], "time tag"),
])
def test_refused(data: bytes, reason: str) -> None:
    with pytest.raises(MalformedPacket, match=reason):
        check(data)


@pytest.mark.parametrize("data", [
    b"/a\0\0",
    tagged(b",", b""),
    tagged(b",TFNi", b"\0\0\0\1"),
    tagged(b",b", struct.pack(">i", 0)),
    tagged(b",b", struct.pack(">i", 3) + b"abc\0"),
    tagged(b",ifhdtsm", b"1234" b"1234" b"12345678" b"12345678" b"12345678" b"abc\0" b"1234"),
])
def test_accepted_as_python_osc_reads_it(data: bytes) -> None:
    assert check(data) == [data]
    holds(data)


HALF = struct.pack(">f", 0.5)


@pytest.mark.parametrize(("tags", "data", "arguments"), [
    (b",[f]", HALF, [0.5]),
    (b",[[f]f]", HALF + HALF, [0.5, 0.5]),
    (b",[]", b"", []),
    (b",[", b"", []),
    (b",f]", HALF, [0.5]),
    (b",I", b"", []),
    (b",If", HALF, [0.5]),
    (b",S", b"deep\0\0\0\0", ["deep"]),
    (b",c", b"\0\0\0a", ["a"]),
    (b",cc", b"\0\0\0a\0\0\0\0", ["a", ""]),
    (b",r", b"\0\0\0\xff", [b"\0\0\0\xff"]),
    (b",rf", b"1234" + HALF, [b"1234", 0.5]),
    (b",SSs[cN]", b"a\0\0\0b\0\0\0c\0\0\0\0\0\0d", ["a", "b", "c", "d", None]),
])
def test_tags_that_python_osc_does_not_know(tags: bytes, data: bytes, arguments: list[object]) -> None:
    checked = packet_check.check_packet(tagged(tags, data))
    assert OscMessage(checked.messages[0][0]).params == arguments
    assert checked.faults == []


@pytest.mark.parametrize(("tags", "data", "arguments"), [
    (b",x", b"", []),
    (b",x", b"1234", []),
    (b",fx", HALF, [0.5]),
    (b",fx", HALF + b"1234", [0.5]),
    (b",fx", HALF + b"any size" * 7, [0.5]),
    (b",xf", HALF, [0.5]),
    (b",xf", b"1234" + HALF, [0.5]),
    (b",xf", b"12345678" + HALF, [0.5]),
    (b",xsx", b"hi\0\0", ["hi"]),
    (b",fxf", HALF + b"any size" * 7 + HALF, [0.5]),
])
def test_an_unknown_argument_is_skipped(tags: bytes, data: bytes, arguments: list[object]) -> None:
    checked = packet_check.check_packet(tagged(tags, data))
    assert OscMessage(checked.messages[0][0]).params == arguments
    assert checked.faults == ["the type tag 'x' is unknown; its argument is skipped"]


@pytest.mark.parametrize("bad", [
    "/ü".encode() + b"\0,\0\0\0", b"abc\0,\0\0\0", FLOAT[:-4], FLOAT + b"\0\0\0\0", tagged(b",s", b"\xff\xfe\0\0"),
    b"/" + b"a" * 255 + b"\0" * 4 + b",\0\0\0", tagged(b"," + b"T" * 257, b""),
])
def test_a_malformed_message_costs_only_itself(bad: bytes) -> None:
    for data in (bundle(bad, FLOAT), bundle(FLOAT, bad), bundle(bundle(bad), FLOAT)):
        checked = packet_check.check_packet(data)
        assert checked.messages == [(FLOAT, 1)]
        assert len(checked.faults) == 1
        assert checked.faults[0].endswith("the other messages of its bundle are taken")


def bytecodes(data: bytes) -> int:
    """Count the bytecodes of a check: its work, independent of time."""
    ran = 0

    def trace(frame, event, argument):
        nonlocal ran
        frame.f_trace_opcodes = True
        ran += event == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        check(data)
    finally:
        sys.settrace(before)
    return ran


@pytest.mark.parametrize("make", [
    lambda n: bundle(*[FLOAT] * n),
    lambda n: bundle(*[nested(7)] * n),
    lambda n: bundle(*[bundle()] * n),
    lambda n: tagged(b"," + b"f" * n, b"1234" * n),
    lambda n: tagged(b"," + b"[" * n + b"]" * n, b""),
    lambda n: tagged(b"," + b"x" * n + b"f" * n, b"12345678" * n + b"1234" * n),
    lambda n: bundle(*["/ü".encode() + b"\0"] * n),
    lambda n: encode("/a", ["x" * 100 * n]),
])
def test_work_is_linear(make) -> None:
    assert bytecodes(make(100)) < 2.2 * bytecodes(make(50)) < 5 * bytecodes(make(25))
