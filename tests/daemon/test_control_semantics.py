"""Whole daemons: peers that send back what they hear, held buttons, clocks that are ahead, messages at the start."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from pythonosc.osc_message import OscMessage
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from lcm_daemon.controllers.osc_protocol.encoder import encode
from tests.rigs.daemon import Daemon, free_port, wait_for

CUES = [
    {"name": "dawn", "set": {"strength": 0.2}}, {"name": "storm", "fade": 10, "set": {"strength": 0.8}},
    *({"name": f"cue {number}"} for number in range(3, 40)),
]
LATENCY = 0.05  # seconds until a peer sends back what it has heard
STATUS = 0.7  # seconds in which a status is certain to come
NTP_EPOCH = 2_208_988_800  # seconds from 1900 to 1970


class Surface:
    """A UDP socket that sends OSC."""

    def __init__(self, port: int) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.connect(("127.0.0.1", port))

    def send(self, address: str, *arguments: Any) -> None:
        self._socket.send(encode(address, arguments))

    def send_ahead(self, seconds: float, address: str, *arguments: Any) -> None:
        """Send a bundle whose time tag is ahead."""
        message, tag = encode(address, arguments), int((time.time() + seconds + NTP_EPOCH) * 2**32)
        self._socket.send(b"#bundle\0" + struct.pack(">Qi", tag, len(message)) + message)


class Reflector:
    """A peer that sends back every value of /lcm/strength that it hears, after LATENCY.

    Args:
        send: Sends a value.
        receive: Returns the next value that was heard, or None for something else.
    """

    def __init__(self, send: Callable[[float], object], receive: Callable[[], float | None]) -> None:
        self.send, self._receive = send, receive
        self.heard: list[float] = []
        threading.Thread(target=self._reflect, daemon=True).start()

    def _reflect(self) -> None:
        with contextlib.suppress(OSError, ConnectionClosed, struct.error, ValueError):
            while True:
                value = self._receive()
                if value is not None:
                    self.heard.append(value)
                    threading.Timer(LATENCY, self._send_back, (value,)).start()

    def _send_back(self, value: float) -> None:
        with contextlib.suppress(OSError, ConnectionClosed):
            self.send(value)


def strength_in(packet: bytes) -> float | None:
    message = OscMessage(packet)
    return float(message.params[0]) if message.address == "/lcm/strength" else None


@contextlib.contextmanager
def reflecting_udp(daemon: Daemon, port: int) -> Iterator[Reflector]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.connect(("127.0.0.1", daemon.osc_port))
        peer.send(encode("/lcm/subscribe", []))
        yield Reflector(
            lambda value: peer.send(encode("/lcm/strength", [value])), lambda: strength_in(peer.recv(65536)))


@contextlib.contextmanager
def reflecting_from_another_port(daemon: Daemon, port: int) -> Iterator[Reflector]:
    """It listens on the port that the show's `osc.feedback` names, and sends from another."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ear, socket.socket(
            socket.AF_INET, socket.SOCK_DGRAM) as mouth:
        ear.bind(("127.0.0.1", port))
        to = ("127.0.0.1", daemon.osc_port)
        yield Reflector(
            lambda value: mouth.sendto(encode("/lcm/strength", [value]), to), lambda: strength_in(ear.recv(65536)))


@contextlib.contextmanager
def reflecting_tcp(daemon: Daemon, port: int) -> Iterator[Reflector]:
    def send(packet: bytes) -> None:
        peer.sendall(len(packet).to_bytes(4, "big") + packet)

    def receive() -> float | None:
        (size,) = struct.unpack(">I", stream.read(4))
        return strength_in(stream.read(size))

    with socket.create_connection(("127.0.0.1", port)) as peer, peer.makefile("rb") as stream:
        send(encode("/lcm/subscribe", []))
        yield Reflector(lambda value: send(encode("/lcm/strength", [value])), receive)


@contextlib.contextmanager
def reflecting_oscquery(daemon: Daemon, port: int) -> Iterator[Reflector]:
    with connect(f"ws://127.0.0.1:{port}/") as peer:
        peer.send(json.dumps({"COMMAND": "LISTEN", "DATA": "/lcm/strength"}))

        def receive() -> float | None:
            message = peer.recv()
            return strength_in(message) if isinstance(message, bytes) else None

        yield Reflector(lambda value: peer.send(encode("/lcm/strength", [value])), receive)


@contextlib.contextmanager
def reflecting_page(daemon: Daemon, port: int) -> Iterator[Reflector]:
    with connect(f"ws://127.0.0.1:{daemon.panel_port}/ws") as peer:
        def receive() -> float | None:
            message = peer.recv()
            changes = json.loads(message).get("changes", []) if isinstance(message, str) else []
            return next((float(each["value"]) for each in changes if each["name"] == "strength"), None)

        yield Reflector(lambda value: peer.send(json.dumps({"set": {"strength": value}})), receive)


class EarlyDaemon(Daemon):
    """A daemon that is sent messages as soon as its log says that OSC listens."""

    sent = 0

    def _answers(self) -> bool:
        if not self.sent and "OSC: listening" in self.log():
            surface = Surface(self.osc_port)
            for value in (1, 0, 1, 0, 1, 0):
                surface.send("/lcm/cue/go", value)
            surface.send("/lcm/mix", 0.25)
            self.sent = 7
        return super()._answers()


@pytest.fixture(scope="module")
def ports() -> dict[str, int]:
    return {"tcp": free_port(), "oscquery": free_port(), "feedback": free_port(socket.SOCK_DGRAM)}


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory, ports: dict[str, int]) -> Iterator[EarlyDaemon]:
    show = {
        "recipe": "passthrough", "output": {"size": [64, 64], "fps": 60}, "source": {"transport": "testcard"},
        "resume": False, "cues": CUES, "oscquery": {"port": ports["oscquery"], "mdns": True},
    }
    one = EarlyDaemon(tmp_path_factory.mktemp("control"), show)
    add_osc_keys(one, tcp=ports["tcp"], feedback=[f"127.0.0.1:{ports['feedback']}"],
                 map=[{"from": "/go", "to": "cue/go"}])
    with one:
        yield one


def add_osc_keys(daemon: Daemon, **keys: Any) -> None:
    """Add keys to the show of a daemon that has not been started."""
    show = yaml.safe_load(daemon.show.read_text())
    show["osc"] |= keys
    daemon.show.write_text(yaml.safe_dump(show))


def becomes(daemon: Daemon, name: str, value: float, seconds: float = 5.0) -> None:
    wait_for(lambda: abs(daemon.values().get(name, -1.0) - value) < 1e-6, seconds, f"{name} {value}")


def number_of(daemon: Daemon) -> int:
    """Place of the current cue in the list, from 1; 0 for none."""
    names = [cue["name"] for cue in CUES]
    current = daemon.status()["cue"]
    return names.index(current) + 1 if current else 0


def test_nothing_that_is_sent_once_osc_listens_is_lost(daemon: EarlyDaemon) -> None:
    becomes(daemon, "mix", 0.25)
    wait_for(lambda: number_of(daemon) == 3, 5, "the third cue")


PEERS = [
    (reflecting_udp, ""), (reflecting_from_another_port, "feedback"), (reflecting_tcp, "tcp"),
    (reflecting_oscquery, "oscquery"), (reflecting_page, ""),
]


@pytest.mark.parametrize(("reflecting", "port"), PEERS)
def test_a_peer_that_sends_back_what_it_hears(
    daemon: EarlyDaemon, ports: dict[str, int], reflecting: Any, port: str,
) -> None:
    surface = Surface(daemon.osc_port)
    surface.send("/lcm/cue/goto", "dawn")
    becomes(daemon, "strength", 0.2)
    with reflecting(daemon, ports.get(port, 0)) as peer:
        time.sleep(0.2)
        surface.send("/lcm/cue/goto", "storm")
        wait_for(lambda: peer.heard and abs(peer.heard[-1] - 0.8) < 1e-6, 5, "the cue's target")
        time.sleep(STATUS)
        assert daemon.health("live")["strength"]["value"] < 0.5, "the fade goes on"
        assert daemon.health("live")["strength"]["by"].startswith('cue "storm"')
        before = len(peer.heard)
        for value in (0.1, 0.9):
            surface.send("/lcm/strength", value)
            time.sleep(0.03)
        time.sleep(8 * LATENCY)
        becomes(daemon, "strength", 0.9, 0.5)
        assert len(peer.heard) - before <= 4, "nothing circles"
        for value in (0.1, 0.9, 0.1):  # a hand on the peer itself
            peer.send(value)
            time.sleep(0.2)
        time.sleep(0.6)
        becomes(daemon, "strength", 0.1, 0.5)


def held(surface: Surface, address: str, seconds: float, *values: Any) -> None:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        surface.send(address, *values)
        time.sleep(1 / 60)


@pytest.mark.parametrize(("address", "values"), [("/lcm/cue/go", (1.0,)), ("/go", (1,)), ("/lcm/cue/go", ())])
def test_a_held_button_is_one_go(daemon: EarlyDaemon, address: str, values: Sequence[Any]) -> None:
    surface = Surface(daemon.osc_port)
    for _ in range(3):  # a machine that stalls for 0.1 s makes two presses of one
        surface.send("/lcm/cue/goto", "cue 3")
        wait_for(lambda: number_of(daemon) == 3, 5, "the third cue")
        held(surface, address, 1.0, *values)
        time.sleep(STATUS)
        if number_of(daemon) == 4:
            break
    assert number_of(daemon) == 4
    for _ in range(2):
        surface.send(address, *values)
        time.sleep(0.3)
    time.sleep(STATUS)
    assert number_of(daemon) == 6


def test_a_clock_that_is_ahead_delays_nothing(daemon: EarlyDaemon) -> None:
    surface, other = Surface(daemon.osc_port), Surface(daemon.osc_port)
    for number in range(8):
        surface.send_ahead(8.0, "/lcm/strength", number / 10)
        time.sleep(0.05)
    becomes(daemon, "strength", 0.7, 1.0)
    assert daemon.log().count("its clock is") == 1
    other.send_ahead(1.0, "/lcm/mix", 0.5)
    other.send_ahead(1.5, "/lcm/strength", 0.1)
    time.sleep(0.3)
    surface.send("/lcm/strength", 0.6)
    assert daemon.values()["mix"] == pytest.approx(0.25)
    becomes(daemon, "mix", 0.5, 2.0)
    time.sleep(0.8)
    becomes(daemon, "strength", 0.6, 0.5)
    other.send_ahead(30.0, "/lcm/panic")
    becomes(daemon, "mix", 1.0, 1.0)


@pytest.mark.parametrize("report", ["target", "live"])
def test_what_peers_are_sent_while_a_cue_fades(tmp_path: Path, report: str) -> None:
    cues = [{"name": "storm", "fade": 1, "set": {"strength": 0.8}}]
    show = {"recipe": "passthrough", "source": {"transport": "testcard"}, "resume": False, "cues": cues,
            "parameters": {"strength": 0.2}}
    one = Daemon(tmp_path, show)
    add_osc_keys(one, report=report)
    with one, reflecting_udp(one, 0) as peer:
        wait_for(lambda: peer.heard, 5, "all values")
        peer.heard.clear()
        Surface(one.osc_port).send("/lcm/cue/go", 1)
        wait_for(lambda: peer.heard and abs(peer.heard[-1] - 0.8) < 1e-6, 20, "the end of the fade")
        if report == "target":
            assert len(peer.heard) == 1
        else:
            assert 8 <= len(peer.heard) <= 30
            assert peer.heard == sorted(peer.heard), "what comes back does not disturb the fade"
        time.sleep(0.2)
        becomes(one, "strength", 0.8, 1.0)
