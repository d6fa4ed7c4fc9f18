"""How much OSC a show takes, and how soon: `python -m tests.measure.osc_throughput`.

    throughput      20,000 messages a second over UDP for 10 s, spread over 2,000 known addresses: how many came
    latency         1,000 messages a second: from the moment one is sent to the moment the stage has its value
    tick            how late the stage's beat of 60 Hz is meanwhile, and while nothing comes

Three processes, as in a show: the sender, the desk (its own, behind its supervisor), and the stage, for which this one
stands in: it ticks, takes what the desk asks for, and echoes it. One clock for all, `time.perf_counter`.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import socket
import struct
import time
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any

import psutil

from lcm_daemon.controllers.osc.udp import check_receive_buffer
from lcm_daemon.controllers.osc_protocol.encoder import encode
from lcm_daemon.core.clock import MonotonicClock, Ticker
from lcm_daemon.core.metrics import Metrics, quantile_of
from lcm_daemon.core.parameters import Parameter, table_of
from lcm_daemon.core.requests import Change
from lcm_daemon.desk.desk import DeskConfig
from lcm_daemon.desk.desk_supervisor import DeskSupervisor
from tests.rigs.daemon import free_port

KNOWN = 2000  # addresses
STAMPS = 16  # of them, taken in turn, so that no message is overtaken before the stage has seen it
BEAT = 60.0  # Hz
BURST = 0.01  # seconds' worth of messages, which a sender that was kept waiting sends at once; the rest comes later
MODULUS = 2**31  # microseconds; a stamp is an int of 32 bits

FADERS = [f"fader/{n}" for n in range(KNOWN - STAMPS)]
STAMPED = [f"stamp/{n}" for n in range(STAMPS)]
TABLE = table_of([
    *(Parameter(name, "float", 0.0, "", 0.0, 1.0) for name in FADERS),
    *(Parameter(name, "int", 0, "", 0, MODULUS - 1) for name in STAMPED),
])


def send(port: int, rate: float, seconds: float, stamped: bool, report: Connection) -> None:
    """The sender's process: messages at an even rate. What was late it catches up with, up to BURST."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.connect(("127.0.0.1", port))
    faders = [encode(f"/lcm/{name}", [n / len(FADERS)]) for n, name in enumerate(FADERS)]
    heads = [encode(f"/lcm/{name}", [0])[:-4] for name in STAMPED]
    begun, number = time.perf_counter(), 0
    while number < int(rate * seconds):
        due = begun + number / rate
        if (left := due - time.perf_counter()) > 0:
            time.sleep(left)
        begun += max(0.0, -left - BURST)
        if stamped:
            sock.send(heads[number % STAMPS] + struct.pack(">i", int(time.perf_counter() * 1e6) % MODULUS))
        else:
            sock.send(faders[number % len(faders)])
        number += 1
    report.send((number, time.perf_counter() - begun))


@dataclass
class Stage:
    """What stands in for the stage. `late`: of every beat; `delays`: of every stamp. Both in seconds."""

    desk: DeskSupervisor
    values: dict[str, Any]
    late: list[float] = field(default_factory=list)
    delays: list[float] = field(default_factory=list)

    def play(self, until: Connection | None, seconds: float) -> Any:
        """Tick until something comes through a pipe (its answer), or for some seconds."""
        clock = MonotonicClock()
        ticker, end = Ticker(BEAT, clock), clock.now() + seconds
        self.late, self.delays = [], []
        while clock.now() < end:
            if until is not None and until.poll():
                return until.recv()
            self._serve_until(ticker.due)
            self.late.append(ticker.advance())
        return None

    def _serve_until(self, due: float) -> None:
        """As Stage._serve_until has it."""
        while True:
            self._attend()
            left = due - time.perf_counter()
            if left < 0.0015:
                time.sleep(max(left, 0.0))
                return
            wait(self.desk.waitables(), left - 0.001)

    def _attend(self) -> None:
        asked = self.desk.step(self.values, time.perf_counter())
        now = time.perf_counter()
        for pending in asked:
            for change in pending.changes.values():
                if change.name.startswith("stamp/"):
                    self.delays.append((now * 1e6 - float(change.value)) % MODULUS / 1e6)
                self.values[change.name] = change.value
            self.desk.tell([Change(c.name, c.value, c.origin) for c in pending.changes.values()])

    def settle(self) -> None:
        """Play on until nothing more comes in."""
        before = -1
        while before != (before := self.desk.counts.get("osc/packets", 0)):
            self.desk.tell([], {"now": time.perf_counter()})  # a status, upon which the desk tells its counters
            late = self.late, self.delays
            self.play(None, 0.5)
            self.late, self.delays = late


def measure(stage: Stage, port: int, rate: float, seconds: float, stamped: bool) -> tuple[int, float, int]:
    """Messages sent, the seconds that took, and the messages that came."""
    before = stage.desk.counts.get("osc/packets", 0)
    ours, theirs = multiprocessing.Pipe()
    sender = multiprocessing.get_context("spawn").Process(target=send, args=(port, rate, seconds, stamped, theirs))
    sender.start()
    number, took = stage.play(ours, seconds * 10 + 60)
    stage.settle()
    sender.join()
    return number, took, stage.desk.counts.get("osc/packets", 0) - before


def shown(name: str, seconds: list[float]) -> str:
    ordered = sorted(seconds)
    quantiles = " ".join(f"{label} {1000 * quantile_of(ordered, q):.2f}" for label, q in (
        ("p50", 0.5), ("p99", 0.99), ("max", 1.0)))
    return f"{name:24} {quantiles} ms ({len(ordered)})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rate", type=float, default=20_000.0)
    arguments = parser.parse_args()
    port = free_port(socket.SOCK_DGRAM)
    values = {name: p.default for name, p in TABLE.items()}
    desk = DeskSupervisor(DeskConfig("throughput", TABLE, values, {"osc": {"port": port}}), (64, 64), Metrics())
    desk.open(values, time.perf_counter())
    stage = Stage(desk, values)
    load = f", load {os.getloadavg()[0]:.1f} on {os.cpu_count()} CPUs" if hasattr(os, "getloadavg") else ""
    print(f"{KNOWN} addresses{load}; UDP {check_receive_buffer()}")
    stage.play(None, arguments.seconds)
    print(shown("tick, idle", stage.late))
    busy = sum(psutil.Process(desk.pid).cpu_times()[:2])
    number, took, came = measure(stage, port, arguments.rate, arguments.seconds, stamped=False)
    lost = number - came
    print(f"{'throughput':24} {number} messages in {took:.1f} s ({number / took:.0f}/s): {came} came, {lost} lost")
    busy = sum(psutil.Process(desk.pid).cpu_times()[:2]) - busy
    print(f"{'desk':24} {1e6 * busy / max(came, 1):.1f} us of CPU time a message")
    print(shown("tick, meanwhile", stage.late))
    number, took, came = measure(stage, port, 1000.0, arguments.seconds, stamped=True)
    lost += number - came
    print(f"{'latency':24} {number} messages in {took:.1f} s ({number / took:.0f}/s): {came} came, {lost} lost in all")
    print(shown("sent to applied value", stage.delays))
    desk.stop()
    raise SystemExit(1 if lost else 0)


if __name__ == "__main__":
    main()
