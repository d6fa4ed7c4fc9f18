"""Desk take-over: kill, stop and recycle the desk of a playing show while a peer moves values by OSC.

    python -m tests.measure.desk_takeover --rounds 10 --rate 200

The peer sends `/lcm/adjust seed 1`, so that each message that is lost or carried out twice is seen in the end. It asks
for an answer (`/lcm/sync`) a hundred times a second. The report has the longest time without an answer after each
fault, that until the page answers a new connection, and the number of messages that were sent and carried out.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import signal
import socket
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

from pythonosc.osc_message import OscMessage

from lcm_daemon.controllers.osc_protocol.encoder import encode
from tests.rigs.daemon import Daemon, wait_for

SHOW = {"source": {"transport": "testcard"}, "recipe": "passthrough", "sinks": [], "resume": False,
        "output": {"size": [64, 64], "fps": 30}}
PARAMETER, START = "seed", 0
FAULTS = ("kill", "stop")
SYNC_SECONDS = 0.01
REST = 4.0  # seconds between two faults: a spare waits again


class Peer:
    """Sends moves at a rate, and questions; notes when answers come."""

    def __init__(self, port: int, rate: float, step: float) -> None:
        self._to, self._rate, self._step = ("127.0.0.1", port), rate, step
        self.moves = 0
        self.answered: list[float] = []
        self._stop = threading.Event()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.settimeout(0.1)
        self._threads = [threading.Thread(target=each, daemon=True) for each in (self._send, self._listen)]

    def __enter__(self) -> Peer:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self._socket.close()

    def _send(self) -> None:
        begun, asked_at = time.perf_counter(), 0.0
        while not self._stop.is_set():
            now = time.perf_counter()
            while self.moves < (now - begun) * self._rate:
                self._socket.sendto(encode("/lcm/adjust", [PARAMETER, self._step]), self._to)
                self.moves += 1
            if now - asked_at >= SYNC_SECONDS:
                asked_at = now
                self._socket.sendto(encode("/lcm/sync", [1]), self._to)
            time.sleep(0.002)

    def _listen(self) -> None:
        while not self._stop.is_set():
            with contextlib.suppress(TimeoutError, ConnectionError):
                if OscMessage(self._socket.recv(4096)).address == "/lcm/sync":
                    self.answered.append(time.perf_counter())


def gap_after(times: list[float], since: float) -> float:
    """The longest time without an answer from `since` on."""
    known = [since, *(each for each in times if each > since)]
    return max((b - a for a, b in itertools.pairwise(known)), default=float("inf"))


def page_gap(daemon: Daemon, seconds: float) -> float:
    """The longest time until the page answers a new connection, over some seconds."""
    url, longest, end = f"http://127.0.0.1:{daemon.panel_port}/parameters.json", 0.0, time.perf_counter() + seconds
    while time.perf_counter() < end:
        begun = time.perf_counter()
        for _ in range(200):
            with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=2) as answer:
                answer.read()
                break
            time.sleep(0.01)
        longest = max(longest, time.perf_counter() - begun)
        time.sleep(0.02)
    return longest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--rate", type=float, default=100.0, help="moves a second")
    arguments = parser.parse_args()
    step = 1.0
    with tempfile.TemporaryDirectory() as folder, Daemon(Path(folder), SHOW) as daemon:
        print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} CPUs")
        wait_for(lambda: daemon.values().get(PARAMETER) == START, 30, "the start")
        time.sleep(13.0)  # until a spare waits
        with Peer(daemon.osc_port, arguments.rate, step) as peer:
            time.sleep(1.0)
            for number in range(arguments.rounds):
                fault = FAULTS[number % len(FAULTS)]
                pid = daemon.status()["desk_pid"]
                begun = time.perf_counter()
                os.kill(int(pid), signal.SIGKILL if fault == "kill" else signal.SIGSTOP)
                page = page_gap(daemon, 1.0)
                time.sleep(REST)
                print(f"{fault:8} OSC {gap_after(peer.answered, begun):.3f} s  page {page:.3f} s")
        time.sleep(1.5)
        arrived = (daemon.values()[PARAMETER] - START) / step
        print(f"moves: {peer.moves} sent, {arrived:.0f} carried out")
        if round(arrived) != peer.moves:
            print(daemon.log())
        raise SystemExit(0 if round(arrived) == peer.moves else 1)


if __name__ == "__main__":
    main()
