"""Packets of Art-Net and sACN, made by another package, whole and damaged."""

from __future__ import annotations

import struct

import pytest

from lcm_daemon.controllers.dmx import artnet, sacn
from lcm_daemon.controllers.dmx.packet import DmxPacket, MalformedDmx
from lcm_daemon.core.timecode import FrameRate
from tests.conftest import need_module

LEVELS = bytes(range(200))
ARTDMX = b"Art-Net\0\0\x50\0\x0e" + bytes([7, 0, 0x2C, 0x01]) + (200).to_bytes(2, "big") + LEVELS


def sacn_packet(**given: object) -> bytes:
    """A packet of the package `sacn`, which fills the levels up to 512 channels."""
    made = need_module("sacn.messages.data_packet", "sacn").DataPacket(
        **{"cid": tuple(range(16)), "sourceName": "Desk", "universe": 7, "dmxData": tuple(LEVELS), **given})
    return bytes(made.getBytes())


def test_sacn_of_another_package() -> None:
    packet = sacn.read_sacn(sacn_packet(priority=150, sequence=9), "10.0.0.5")
    assert packet == DmxPacket("sacn", 7, LEVELS + bytes(312), ("sacn", bytes(range(16))), "'Desk' (10.0.0.5)", 150, 9)
    ended = sacn.read_sacn(sacn_packet(streamTerminated=True), "10.0.0.5")
    assert ended is not None
    assert ended.has_ended
    assert sacn.group_of(258) == "239.255.1.2"


@pytest.mark.parametrize("given", [{"previewData": True}, {"dmxStartCode": 0xDD}])
def test_sacn_that_has_no_levels_for_the_show_is_left_out(given: dict[str, object]) -> None:
    assert sacn.read_sacn(sacn_packet(**given), "10.0.0.5") is None


def test_damaged_sacn() -> None:
    whole = sacn_packet()
    for length in range(len(whole)):
        with pytest.raises(MalformedDmx):
            sacn.read_sacn(whole[:length], "10.0.0.5")
    for place, byte in [(4, 0), (43, 9), (108, 201), (113, 255), (117, 3), (118, 0), (120, 1), (123, 9), (124, 9)]:
        with pytest.raises(MalformedDmx):
            sacn.read_sacn(whole[:place] + bytes([byte]) + whole[place + 1:], "10.0.0.5")
    named = sacn.read_sacn(whole[:44] + b"\xff\xfe" + whole[46:], "10.0.0.5")  # no UTF-8
    assert named is not None
    assert named.levels[:200] == LEVELS


def test_art_net() -> None:
    packet = artnet.read_artnet(ARTDMX, "10.0.0.5")
    assert packet == DmxPacket("artnet", 0x12C, LEVELS, ("artnet", "10.0.0.5", 0), "10.0.0.5", sequence=7)
    assert artnet.operation(ARTDMX) == artnet.DMX
    assert artnet.read_artnet(ARTDMX[:12] + b"\0" + ARTDMX[13:], "10.0.0.5").sequence is None


def test_damaged_art_net() -> None:
    for length in range(10):
        with pytest.raises(MalformedDmx):
            artnet.operation(ARTDMX[:length])
    for length in range(10, len(ARTDMX)):
        with pytest.raises(MalformedDmx):
            artnet.read_artnet(ARTDMX[:length], "10.0.0.5")
    for place, byte in [(11, 13), (15, 0x80), (16, 3), (17, 0)]:
        with pytest.raises(MalformedDmx):
            artnet.read_artnet(ARTDMX[:place] + bytes([byte]) + ARTDMX[place + 1:][:182], "10.0.0.5")


def test_timecode_of_art_net() -> None:
    data = b"Art-Net\0\0\x97\0\x0e\0\0" + bytes([12, 10, 0, 1, 1])  # frames, seconds, minutes, hours, EBU
    report = artnet.read_timecode(data, "10.0.0.5", 5.0)
    assert (str(report.timecode_at(5.0)), report.rate, report.origin) == (
        "01:00:10:12", FrameRate(25), "artnet/10.0.0.5")
    for damaged in (data[:-1], data[:-1] + b"\4", data[:14] + b"\x19" + data[15:]):
        with pytest.raises(MalformedDmx):
            artnet.read_timecode(damaged, "10.0.0.5", 5.0)


def test_answers_to_a_console_name_each_universe() -> None:
    found = []
    replies = artnet.poll_replies([300, 0, 1, 2, 3, 4, 16], bytes([10, 0, 0, 1]), "lcm-daemon é")
    for page, reply in enumerate(replies, 1):
        assert len(reply) == 239
        assert reply.startswith(b"Art-Net\0\0\x21\x0a\0\0\1\x36\x19")
        count, = struct.unpack_from(">H", reply, 172)
        assert reply[174:178].count(0x80) == count
        assert (reply[10:14], reply[207:211], reply[211]) == (*[bytes([10, 0, 0, 1])] * 2, page)
        found += [reply[18] << 8 | reply[19] << 4 | port for port in reply[190:190 + count]]
    assert found == [0, 1, 2, 3, 4, 16, 300]
