"""Locked out: flood a real daemon in each way, and measure how long the operator waits during it.

    python -m tests.measure.locked_out [--flood NAME] [--seconds 6]

Each flood runs in a process of its own on this machine. After it has begun this program opens the page (its file, its
status, and its WebSocket until the first message), and sends a value by OSC, again and again. The report has the waits:
for the page, and until a page hears that the value is in force. The program ends with 1 if a page took longer than 1 s,
or one of ten values longer than 0.3 s. `quiet` has no flood.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import itertools
import json
import multiprocessing
import os
import select
import socket
import struct
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from lcm_daemon.controllers.osc_protocol.encoder import encode
from tests.rigs.daemon import Daemon, free_port, wait_for

PAGE_SECONDS, OSC_SECONDS = 1.0, 0.3
PATIENCE = 15.0  # seconds after which a probe counts as lost
CONNECTIONS = 1100
FLOODER = "127.0.0.66"
READERS = 32


@dataclass(frozen=True)
class Ports:
    """Where the daemon listens."""

    page: int
    osc: int
    tcp: int
    query: int


def _connected(port: int) -> socket.socket:
    """A connection from another address of this machine: the ports of 127.0.0.1 are the operator's."""
    return socket.create_connection(("127.0.0.1", port), 1, (FLOODER, 0))


# --- floods: each runs until its process is ended ---

def _bundle(messages: list[bytes]) -> bytes:
    return b"#bundle\0" + struct.pack(">Q", 1) + b"".join(len(each).to_bytes(4, "big") + each for each in messages)


def bundles(ports: Ports) -> None:
    """Datagrams of 64 KB: bundles of moves of five parameters."""
    names = ("strength", "guidance", "mix", "steps", "seed")
    moves = [encode(f"/lcm/{names[n % 5]}", [n / 1020]) for n in range(1020)]
    packet = _bundle([*moves, b"/lcm/prompt\0,s\0\0" + b"ocean, " * 4200 + b"\0" * 4])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        while True:
            sender.sendto(packet, ("127.0.0.1", ports.osc))


def messages(ports: Ports) -> None:
    """Datagrams of one move each."""
    packets = [encode("/lcm/strength", [n / 100]) for n in range(100)]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.connect(("127.0.0.1", ports.osc))
        for packet in itertools.cycle(packets):
            sender.send(packet)


def questions(ports: Ports) -> None:
    """Datagrams that ask for all values, from many ports."""
    senders = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(200)]
    packet = encode("/lcm/get", [])
    for sender in itertools.cycle(senders):
        sender.sendto(packet, ("127.0.0.1", ports.osc))


def commands(ports: Ports) -> None:
    """Bundles of commands and of moves, one after the other."""
    packet = _bundle([each for n in range(300) for each in (encode("/lcm/adjust", ["mix", 0.001]),
                                                            encode("/lcm/strength", [n / 300]))])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        while True:
            sender.sendto(packet, ("127.0.0.1", ports.osc))


def tcp_bundles(ports: Ports) -> None:
    """Bundles of 64 KB over 20 TCP connections."""
    packet = _bundle([encode("/lcm/strength", [n / 1020]) for n in range(1020)])
    data = len(packet).to_bytes(4, "big") + packet
    _write_all([_connected(ports.tcp) for _ in range(20)], data)


def _write_all(connections: list[socket.socket], data: bytes) -> None:
    """Write the data again and again to all of them."""
    left = dict.fromkeys(connections, b"")
    for each in connections:
        each.setblocking(False)
    while left:
        for each in select.select([], list(left), [], 1)[1]:
            try:
                rest = left[each] or data
                left[each] = rest[each.send(rest):]
            except BlockingIOError:
                continue
            except OSError:
                del left[each]


def _idle(port: int) -> Callable[[], None]:
    def hold() -> None:
        opened: list[socket.socket] = []
        while True:
            with contextlib.suppress(OSError):
                opened.append(_connected(port))
            if len(opened) > CONNECTIONS:
                opened.pop(0).close()
    return hold


def idle_page(ports: Ports) -> None:
    """1,100 idle connections to the page, each replaced when there are more."""
    _idle(ports.page)()


def idle_query(ports: Ports) -> None:
    """1,100 idle connections to OSCQuery."""
    _idle(ports.query)()


def idle_tcp(ports: Ports) -> None:
    """1,100 idle connections to OSC over TCP."""
    _idle(ports.tcp)()


def _drip(port: int, head: bytes) -> None:
    opened: list[socket.socket] = []
    while True:
        with contextlib.suppress(OSError):
            opened.append(_connected(port))
            opened[-1].sendall(head)
        for each in opened[::7]:
            with contextlib.suppress(OSError):
                each.sendall(b"a")
        if len(opened) > CONNECTIONS:
            opened.pop(0).close()


def slow_heads(ports: Ports) -> None:
    """Requests whose heads never end, a byte now and then."""
    _drip(ports.page, b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Long: ")


def slow_bodies(ports: Ports) -> None:
    """Requests whose bodies never end, a byte now and then."""
    _drip(ports.page, b"POST /pictures HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: image/png\r\n"
                      b"Content-Length: 9000000\r\n\r\n")


def _ask(port: int, request: bytes) -> None:
    opened: list[socket.socket] = []
    while True:
        for _ in range(READERS + 8 - len(opened)):
            with contextlib.suppress(OSError):
                one = _connected(port)
                one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                one.sendall(request)
                opened.append(one)
        ended = select.select(opened, [], [], 0.2)[0]
        for each in ended:
            with contextlib.suppress(OSError):
                if each.recv(1, socket.MSG_PEEK):
                    continue
            opened.remove(each)
            each.close()
        time.sleep(0.05)


def slow_streams(ports: Ports) -> None:
    """40 readers of /stream.mjpg that do not read."""
    _ask(ports.page, b"GET /stream.mjpg HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")


def _sockets(port: int, path: str, count: int) -> list[Any]:
    opened = []
    for _ in range(count):
        with contextlib.suppress(Exception):
            opened.append(connect(f"ws://127.0.0.1:{port}{path}", max_size=None))
    return opened


def slow_pages(ports: Ports) -> None:
    """40 WebSockets of the page that do not read."""
    key = (b"GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
           b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n")
    _ask(ports.page, key)


def busy_pages(ports: Ports) -> None:
    """20 WebSockets of the page that set everything as fast as they can."""
    text = json.dumps({"set": {f"strength{' ' * n}": 0.5 for n in range(300)}})
    pages = _sockets(ports.page, "/ws", 20)
    while True:
        for page in pages:
            page.socket.setblocking(True)
            with contextlib.suppress(Exception):
                page.send(text)


def requests(ports: Ports) -> None:
    """Requests for the page and for the tree of OSCQuery, over 60 connections at once."""
    pairs = [(ports.page, b"/"), (ports.page, b"/health"), (ports.query, b"/")]
    opened: dict[socket.socket, bytes] = {}
    while True:
        for _ in range(60 - len(opened)):
            port, path = pairs[len(opened) % 3]
            with contextlib.suppress(OSError):
                one = _connected(port)
                opened[one] = b"GET " + path + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
                one.sendall(opened[one])
        for each in select.select(list(opened), [], [], 0.5)[0]:
            with contextlib.suppress(OSError):
                if each.recv(1 << 20):
                    each.sendall(opened[each])
                    continue
            del opened[each]
            each.close()


def quiet(ports: Ports) -> None:
    """No flood, to compare with."""
    time.sleep(3600)


FLOODS: Mapping[str, Callable[[Ports], None]] = {each.__name__: each for each in (
    quiet, bundles, messages, questions, commands, tcp_bundles, idle_page, idle_query, idle_tcp, slow_heads,
    slow_bodies, slow_streams, slow_pages, busy_pages, requests)}


def _flood(name: str, ports: Ports, begun: Any) -> None:
    os.nice(10)
    begun.set()
    FLOODS[name](ports)


@contextlib.contextmanager
def flooding(names: Sequence[str], ports: Ports) -> Iterator[None]:
    """Run some of FLOODS. They yield the processors to the daemon: real ones have processors of their own."""
    context = multiprocessing.get_context("spawn")
    with contextlib.ExitStack() as stack:
        for name in names:
            begun = context.Event()
            flood = context.Process(target=_flood, args=(name, ports, begun), daemon=True)
            flood.start()
            stack.callback(flood.join)
            stack.callback(flood.kill)
            if not begun.wait(60):
                raise RuntimeError(f"the flood {name} does not begin")
        time.sleep(1.5)
        yield


# --- the operator ---

def open_page(ports: Ports) -> float:
    """Seconds until the page, its status and the first message of its WebSocket are there."""
    begun = time.perf_counter()
    for path in ("/", "/health"):
        with urllib.request.urlopen(f"http://127.0.0.1:{ports.page}{path}", timeout=PATIENCE) as answer:
            answer.read()
    with connect(f"ws://127.0.0.1:{ports.page}/ws", max_size=None, open_timeout=PATIENCE) as page:
        page.recv(PATIENCE)
        return time.perf_counter() - begun


def set_by_osc(ports: Ports, page: Any, number: int) -> float:
    """Seconds until a page hears that a value that was sent once by OSC is in force."""
    value = round(0.1 + number % 80 / 100, 3)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        begun = time.perf_counter()
        sender.sendto(encode("/lcm/smooth", [value]), ("127.0.0.1", ports.osc))
        while time.perf_counter() < begun + 2:
            message = page.recv(2)
            if isinstance(message, bytes):
                page.send('{"frame": "ack"}')
            elif "changes" in (found := json.loads(message)):
                for change in found["changes"]:
                    if change["name"] == "smooth" and abs(change["value"] - value) < 1e-3:
                        return time.perf_counter() - begun
    return 2.0


def attempt(probe: Callable[[], float]) -> float:
    """What a probe returns; PATIENCE, or longer, if it was refused or closed."""
    begun = time.perf_counter()
    try:
        return probe()
    except (OSError, ValueError, http.client.HTTPException, WebSocketException):
        return max(PATIENCE, time.perf_counter() - begun)


@dataclass(frozen=True)
class Waits:
    """How long the operator waited, in seconds."""

    page: list[float]
    osc: list[float]

    @property
    def are_good(self) -> bool:
        """Whether every page, and nine of ten values, came in time: UDP may lose one."""
        return max(self.page) <= PAGE_SECONDS and sorted(self.osc)[len(self.osc) * 9 // 10] <= OSC_SECONDS

    def __str__(self) -> str:
        page, osc = (f"p50 {sorted(each)[len(each) // 2]:5.2f} max {max(each):5.2f} s"
                     for each in (self.page, self.osc))
        return f"page {page}  OSC {osc}  ({len(self.page)} tries)  {'good' if self.are_good else 'BAD'}"


def measure(name: str, ports: Ports, seconds: float) -> Waits:
    """Flood, and measure the operator's waits."""
    with connect(f"ws://127.0.0.1:{ports.page}/ws", max_size=None) as page, flooding([name], ports):
        waits, end = Waits([], []), time.perf_counter() + seconds
        while time.perf_counter() < end:
            waits.page.append(attempt(lambda: open_page(ports)))
            waits.osc.append(attempt(lambda: set_by_osc(ports, page, len(waits.osc))))
    return waits


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flood", choices=FLOODS, action="append")
    parser.add_argument("--seconds", type=float, default=6.0)
    arguments = parser.parse_args()
    ports = Ports(free_port(), free_port(socket.SOCK_DGRAM), free_port(), free_port())
    show = {"recipe": "passthrough", "source": {"transport": "testcard"}, "oscquery": {"port": ports.query},
            "output": {"size": [512, 288], "fps": 30}, "osc": {"port": ports.osc, "tcp": ports.tcp}}
    is_good = True
    with tempfile.TemporaryDirectory() as folder:
        daemon = Daemon(Path(folder), {**show, "panel": {"port": ports.page}})
        daemon.panel_port = ports.page
        with daemon:
            desk = daemon.wait_rendering()["desk_pid"]
            for name in arguments.flood or FLOODS:
                waits = measure(name, ports, arguments.seconds)
                status = wait_for(daemon.status)
                print(f"{name:14} {waits}  output {status['output_fps']:.0f} fps", flush=True)
                is_good = is_good and waits.are_good
            print("the desk is the same" if status["desk_pid"] == desk else "the desk was replaced")
            print(f"log: {len(daemon.log())} bytes")
    raise SystemExit(0 if is_good else 1)


if __name__ == "__main__":
    main()
