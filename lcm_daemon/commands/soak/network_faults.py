"""Faults of the network: floods, connections that do nothing, readers that do not read."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable
from multiprocessing import get_context

from lcm_daemon.commands.show_copy import HOST
from lcm_daemon.commands.soak.scene import VALUE_SECONDS, Check, Fault, Scene
from lcm_daemon.controllers.osc_protocol.encoder import encode
from lcm_daemon.processes.bootstrap import terminal_signals_blocked

BUNDLE = 60_000  # bytes of a packet of the flood
IDLE = 1100  # connections that say nothing
SLOW = 32  # readers that do not read
HOLD = 8.0  # seconds
FLOOD_SECONDS = 4.0
VALUE_AFTER = 3.0  # seconds of the flood, after which an honest value is sent


class _NetworkFault(Fault):
    """Something that other programs of the network do to the daemon for HOLD seconds."""

    hold: float = HOLD
    limit: float = 5.0  # until the status is new again; whether the page answers is judged by itself
    from_undo: bool = True
    page_answers: bool = True

    def is_over(self, scene: Scene, since: float) -> bool:
        return scene.observer.newest is not None and scene.observer.newest.time > since - 0.5


class OscFlood(_NetworkFault):
    """Bundles of 64 KB from one sender; then one value from another."""

    name = "flood-osc"
    does = f"floods OSC with bundles of 60 kB from another process for {FLOOD_SECONDS:g} s; sends one value during it"
    hold = VALUE_AFTER

    def begin(self, scene: Scene) -> None:
        self._before = scene.value("seed")
        context = get_context("spawn")
        self._process = context.Process(
            target=_flood, args=(scene.show.osc_port, FLOOD_SECONDS, self._before or 0), daemon=True)
        with terminal_signals_blocked():
            self._process.start()

    def undo(self, scene: Scene) -> None:
        begun = time.monotonic()
        self._arrived = scene.show.carries_out(15.0, "/lcm/seed", scene.chance.randrange(1 << 20, 1 << 21))
        self._took = time.monotonic() - begun
        self._process.join(10)
        self._process.kill()
        if isinstance(self._before, int):
            scene.show.send("/lcm/seed", self._before)

    def checks(self, scene: Scene) -> list[Check]:
        seen = f"after {1000 * self._took:.0f} ms" if self._arrived else "not within 15 s"
        return [Check("an honest value counts", f"{seen} (limit {1000 * VALUE_SECONDS:.0f} ms)",
                      self._arrived and self._took <= VALUE_SECONDS)]


def _flood(port: int, seconds: float, seed: int) -> None:
    """Send bundles of messages to `/lcm/seed` for some seconds. What it sends is the value that is in force."""
    message = encode("/lcm/seed", [seed])
    element = struct.pack(">i", len(message)) + message
    packet = b"#bundle\0" + struct.pack(">q", 1) + element * ((BUNDLE - 16) // len(element))
    end = time.monotonic() + seconds
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        while time.monotonic() < end:
            with contextlib.suppress(OSError):
                sender.sendto(packet, (HOST, port))


class ManyConnections(_NetworkFault):
    """Many connections to the page. speak: What each sends; None asks for pages without end."""

    def __init__(self, name: str, does: str, count: int, speak: bytes, again: bool = False) -> None:
        self.name, self.does = name, does
        self._count, self._speak, self._again = count, speak, again

    def begin(self, scene: Scene) -> None:
        self._ending, self._open = threading.Event(), list[socket.socket]()
        work: Callable[[int], None] = self._ask_again if self._again else self._open_all
        self._thread = threading.Thread(target=work, args=(scene.show.panel_port,), daemon=True)
        self._thread.start()

    def _open_all(self, port: int) -> None:
        while len(self._open) < self._count and not self._ending.is_set():
            try:
                self._open.append(_connect(port, self._speak))
            except OSError:  # refused, as it may be
                self._ending.wait(0.02)

    def _ask_again(self, port: int) -> None:
        while not self._ending.is_set():
            with contextlib.suppress(OSError), _connect(port, self._speak) as asking:
                asking.recv(1)

    def undo(self, scene: Scene) -> None:
        self._ending.set()
        self._thread.join(5)
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.close()


def _connect(port: int, speak: bytes) -> socket.socket:
    connection = socket.socket()
    connection.settimeout(2.0)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    try:
        connection.connect((HOST, port))
        connection.sendall(speak)
    except OSError:
        connection.close()
        raise
    return connection


def _request(path: str, method: str = "GET") -> bytes:
    return f"{method} {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()


FAULTS: tuple[Fault, ...] = (
    OscFlood(),
    ManyConnections("flood-http", "asks for the page without a pause for 8 s", 1, _request("/health"), again=True),
    ManyConnections("flood-nonsense", "sends bad requests without a pause for 8 s", 1, b"\xff\xfe{}\r\n\r\n",
                    again=True),
    ManyConnections("idle-connections", f"opens {IDLE} connections that say nothing for 8 s", IDLE, b""),
    ManyConnections("half-requests", f"opens {IDLE // 4} connections with half a request for 8 s", IDLE // 4,
                    b"GET /health HTTP/1.1\r\nHost: "),
    ManyConnections("slow-readers", f"lets {SLOW} readers of the output not read for 8 s", SLOW,
                    _request("/stream.mjpg")),
)
