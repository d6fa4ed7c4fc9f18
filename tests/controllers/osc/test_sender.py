"""Sending: what a person types, as the type it looks like, on the wire."""

from __future__ import annotations

import socket

import pytest
from pythonosc.osc_message import OscMessage

from lcm_daemon.controllers.osc.packet_check import check
from lcm_daemon.controllers.osc.sender import encode, send, typed
from lcm_daemon.core.errors import LcmDaemonError


@pytest.mark.parametrize(("text", "value"), [
    ("0.7", 0.7), ("-1e3", -1000.0), ("7", 7), ("-7", -7), ("true", True), ("False", False), ("lava", "lava"),
    ("1_000", "1_000"), ("nan", "nan"), ("infinity", "infinity"), ("e", "e"), ("", ""), ("1.2.3", "1.2.3"),
    ("127.0.0.1:9001", "127.0.0.1:9001"), ("4294967295", 4294967295),
])
def test_typed_by_look(text: str, value: object) -> None:
    found = typed(text)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(("value", "tag"), [
    (0.5, "f"), (1, "i"), (-2**31, "i"), (2**31, "h"), (2**32 - 1, "h"), (True, "T"), (False, "F"),
    ("über", "s"), ("", "s"),
])
def test_types_on_the_wire(value: object, tag: str) -> None:
    packet = encode("/a", [value])
    assert packet[4:6] == f",{tag}".encode()
    assert check(packet) == [(packet, 1)]
    assert OscMessage(packet).params == [value]


@pytest.mark.parametrize("value", [2**63, 1e300, "\ud800"])
def test_what_osc_cannot_carry(value: object) -> None:
    with pytest.raises(LcmDaemonError, match=r"^OSC cannot carry /a "):
        encode("/a", [value])


def test_send() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(10)
        send("/lcm/prompt", ["lava, glowing red", "0.5", "7"], port=sock.getsockname()[1])
        message = OscMessage(sock.recv(999))
    assert message.address == "/lcm/prompt"
    assert message.params == ["lava, glowing red", 0.5, 7]


@pytest.mark.parametrize(("arguments", "reason"), [
    (("lcm/seed", ["1"]), "starts with a slash"),
    (("/lcm/seed", ["1"], "127.0.0.1", 70000), "could not be sent"),
    (("/lcm/prompt", ["x" * 70000]), "could not be sent"),
])
def test_one_clear_line(arguments: tuple[object, ...], reason: str) -> None:
    with pytest.raises(LcmDaemonError, match=reason) as caught:
        send(*arguments)
    assert "\n" not in str(caught.value)
