"""The show's section `network` holds for every server of a running daemon."""

from __future__ import annotations

import http.client
import socket
from pathlib import Path

import pytest
from pythonosc.osc_message_builder import OscMessageBuilder

from tests.rigs.daemon import Daemon, free_port, wait_for

FRIEND, STRANGER = "127.0.0.1", "127.0.0.2"
STUDIO = "https://studio.example"


def answer(port: int, path: str, host: str = "", source: str = FRIEND, **headers: str) -> http.client.HTTPResponse:
    """The answer to a GET from an address, with a Host header of one's own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10, source_address=(source, 0))
    connection.putrequest("GET", path, skip_host=True)
    for name, value in {"Host": host or f"127.0.0.1:{port}", **headers}.items():
        connection.putheader(name, value)
    connection.endheaders()
    return connection.getresponse()


def strength(value: float) -> bytes:
    message = OscMessageBuilder("/lcm/strength")
    message.add_arg(value)
    return bytes(message.build().dgram)


@pytest.mark.skipif(not Path("/proc/net").is_dir(), reason="addresses such as 127.0.0.2 are there on Linux alone")
def test_one_section_protects_every_door(tmp_path: Path) -> None:
    tcp, query = free_port(), free_port()
    show = {
        "recipe": "passthrough", "resume": False, "oscquery": {"port": query, "mdns": False},
        "network": {"allow": [FRIEND], "hosts": ["lcm.lan"], "origins": [STUDIO], "embed": [STUDIO]},
    }
    with Daemon(tmp_path, {**show, "osc": {"port": (udp := free_port(socket.SOCK_DGRAM)), "tcp": tcp}}) as daemon:
        for port, path in ((daemon.panel_port, "/health"), (query, "/lcm/strength")):
            assert answer(port, path).status == 200
            assert answer(port, path, source=STRANGER).status == 403
            for host in ("lcm.lan", "LCM.lan:9080", "lcm.lan."):
                assert answer(port, path, host).status == 200
            assert answer(port, path, "other.lan").status == 403
            allowed = answer(port, path, Origin=STUDIO)
            assert (allowed.status, allowed.headers["Access-Control-Allow-Origin"]) == (200, STUDIO)
            assert answer(port, path, Origin="https://other.example").status == 403
        wait_for(lambda: answer(daemon.panel_port, "/frame.jpg").status == 200, 30, "a frame")
        embedded = answer(daemon.panel_port, "/frame.jpg", Referer=f"{STUDIO}/wall")
        assert embedded.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
        assert answer(daemon.panel_port, "/frame.jpg").headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert STUDIO in answer(daemon.panel_port, "/").headers["Content-Security-Policy"]

        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            stranger.bind((STRANGER, 0))
            stranger.sendto(strength(0.25), ("127.0.0.1", udp))
        with socket.create_connection(("127.0.0.1", tcp), 10, (STRANGER, 0)) as stranger:
            packet = strength(0.35)
            try:
                stranger.sendall(len(packet).to_bytes(4, "big") + packet)
                assert stranger.recv(1) == b""
            except ConnectionError:
                pass  # closed before the message was sent
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as friend:
            friend.sendto(strength(0.75), ("127.0.0.1", udp))
        wait_for(lambda: daemon.values().get("strength") == 0.75, 10, "the friend's value")
        assert daemon.log().count("is not in network.allow and osc.allow") == 2
        assert "strength" not in [line for line in daemon.log().splitlines() if " E " in line]
