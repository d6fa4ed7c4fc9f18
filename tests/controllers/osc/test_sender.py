"""`send`: the types that command-line arguments get, the message on the wire, and its errors."""

from __future__ import annotations

import socket

import pytest
from pythonosc.osc_message import OscMessage

from lcm_daemon.controllers.osc.sender import parse_argument, send
from lcm_daemon.core.errors import LcmDaemonError


@pytest.mark.parametrize(("text", "value"), [
    ("0.7", 0.7), ("-1e3", -1000.0), ("7", 7), ("-7", -7), ("true", True), ("False", False), ("lava", "lava"),
    ("1_000", "1_000"), ("nan", "nan"), ("infinity", "infinity"), ("e", "e"), ("", ""), ("1.2.3", "1.2.3"),
    ("127.0.0.1:9001", "127.0.0.1:9001"), ("4294967295", 4294967295),
])
def test_arguments_get_the_type_they_look_like(text: str, value: object) -> None:
    found = parse_argument(text)
    assert (found, type(found)) == (value, type(value))


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
    (("/lcm/seed", ["1"], "127.0.0.1", 70000), "could not send to"),
    (("/lcm/prompt", ["x" * 70000]), "could not send to"),
])
def test_an_error_is_one_line(arguments: tuple[object, ...], reason: str) -> None:
    with pytest.raises(LcmDaemonError, match=reason) as caught:
        send(*arguments)
    assert "\n" not in str(caught.value)
