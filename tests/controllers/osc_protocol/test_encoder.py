"""The encoder: type tags on the wire, and values that OSC cannot encode."""

from __future__ import annotations

import pytest
from pythonosc.osc_message import OscMessage

from lcm_daemon.controllers.osc_protocol.encoder import encode
from lcm_daemon.controllers.osc_protocol.packet_check import check_packet
from lcm_daemon.core.errors import LcmDaemonError


@pytest.mark.parametrize(("value", "tag"), [
    (0.5, "f"), (1, "i"), (-2**31, "i"), (2**31, "h"), (2**32 - 1, "h"), (True, "T"), (False, "F"),
    ("über", "s"), ("", "s"),
])
def test_types_on_the_wire(value: object, tag: str) -> None:
    packet = encode("/a", [value])
    assert packet[4:6] == f",{tag}".encode()
    assert check_packet(packet) == ([(packet, 1)], [])
    assert OscMessage(packet).params == [value]


@pytest.mark.parametrize("value", [2**63, 1e300, "\ud800"])
def test_values_that_osc_cannot_encode(value: object) -> None:
    with pytest.raises(LcmDaemonError, match=r"^OSC: cannot encode /a "):
        encode("/a", [value])
