"""Measure the throughput and latency of OSC: `python -m tests.measure.osc_throughput`.

    throughput      20,000 messages a second over UDP for 10 s, spread over 2,000 known addresses: how many arrive
    latency         1,000 messages a second: from the sending of a message to the moment the stage has its value
    tick            how late the stage's tick of 60 Hz is during the flood, and while nothing arrives

There are three processes, as in a show: the sender, the real desk, and this process, which acts as the stage: it ticks,
pops the desk's requests and echoes the changes. All three use the same clock, `time.perf_counter`.
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
STAMPS = 16  # of them, used one after another, so that the stage sees each message before it is replaced
TICK_RATE = 60.0  # Hz
BURST = 0.01  # seconds of messages that a delayed sender sends at once; the rest is sent later
STAMP_MODULUS = 2**31  # microseconds; a stamp is an int of 32 bits

FADERS = [f"fader/{n}" for n in range(KNOWN - STAMPS)]
STAMPED = [f"stamp/{n}" for n in range(STAMPS)]
TABLE = table_of([
    *(Parameter(name, "float", 0.0, "", 0.0, 1.0) for name in FADERS),
    *(Parameter(name, "int", 0, "", 0, STAMP_MODULUS - 1) for name in STAMPED),
])


def send(port: int, rate: float, seconds: float, stamped: bool, report: Connection) -> None:
    """Run the sender: send messages at an even rate; after a delay, catch up by at most BURST."""
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
            sock.send(heads[number % STAMPS] + struct.pack(">i", int(time.perf_counter() * 1e6) % STAMP_MODULUS))
        else:
            sock.send(faders[number % len(faders)])
        number += 1
    report.send((number, time.perf_counter() - begun))


@dataclass
class StandInStage:
    """A stand-in for the stage.

    Attributes:
        desk: The desk.
        values: Value of each parameter.
        late: Lateness of each tick in seconds.
        delays: Delay of each stamp in seconds.
    """

    desk: DeskSupervisor
    values: dict[str, Any]
    late: list[float] = field(default_factory=list)
    delays: list[float] = field(default_factory=list)

    def run(self, until: Connection | None, seconds: float) -> Any:
        """Tick until a message arrives through a pipe, and return it; or tick for some seconds."""
        clock = MonotonicClock()
        ticker, end = Ticker(TICK_RATE, clock), clock.now() + seconds
        self.late, self.delays = [], []
        while clock.now() < end:
            if until is not None and until.poll():
                return until.recv()
            self._serve_until(ticker.due)
            self.late.append(ticker.advance())
        return None

    def _serve_until(self, due: float) -> None:
        """Serve the desk until the next tick is due, as Stage does."""
        while True:
            self._serve()
            left = due - time.perf_counter()
            if left < 0.0015:
                time.sleep(max(left, 0.0))
                return
            wait(self.desk.waitables(), left - 0.001)

    def _serve(self) -> None:
        queues = self.desk.step(self.values, time.perf_counter())
        now = time.perf_counter()
        for requests in queues:
            for change in requests.changes.values():
                if change.name.startswith("stamp/"):
                    self.delays.append((now * 1e6 - float(change.value)) % STAMP_MODULUS / 1e6)
                self.values[change.name] = change.value
            self.desk.tell([Change(c.name, c.value, c.origin) for c in requests.changes.values()])

    def settle(self) -> None:
        """Run until no more messages arrive."""
        before = -1
        while before != (before := self.desk.counts.get("osc/packets", 0)):
            self.desk.tell([], {"now": time.perf_counter()})  # upon a status, the desk reports its counters
            late = self.late, self.delays
            self.run(None, 0.5)
            self.late, self.delays = late


def measure(stage: StandInStage, port: int, rate: float, seconds: float, stamped: bool) -> tuple[int, float, int]:
    """Return the number of messages sent, the seconds that it took, and the number of messages that arrived."""
    before = stage.desk.counts.get("osc/packets", 0)
    receiver, report = multiprocessing.Pipe()
    sender = multiprocessing.get_context("spawn").Process(target=send, args=(port, rate, seconds, stamped, report))
    sender.start()
    number, took = stage.run(receiver, seconds * 10 + 60)
    stage.settle()
    sender.join()
    return number, took, stage.desk.counts.get("osc/packets", 0) - before


def format_quantiles(name: str, seconds: list[float]) -> str:
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
    stage = StandInStage(desk, values)
    load = f", load {os.getloadavg()[0]:.1f} on {os.cpu_count()} CPUs" if hasattr(os, "getloadavg") else ""
    print(f"{KNOWN} addresses{load}; UDP {check_receive_buffer()}")
    stage.run(None, arguments.seconds)
    print(format_quantiles("tick, idle", stage.late))
    busy = sum(psutil.Process(desk.pid).cpu_times()[:2])
    number, took, came = measure(stage, port, arguments.rate, arguments.seconds, stamped=False)
    lost = number - came
    print(f"{'throughput':24} {number} messages in {took:.1f} s ({number / took:.0f}/s): {came} arrived, {lost} lost")
    busy = sum(psutil.Process(desk.pid).cpu_times()[:2]) - busy
    print(f"{'desk':24} {1e6 * busy / max(came, 1):.1f} us of CPU time a message")
    print(format_quantiles("tick, under load", stage.late))
    number, took, came = measure(stage, port, 1000.0, arguments.seconds, stamped=True)
    lost += number - came
    print(f"{'latency':24} {number} messages in {took:.1f} s ({number / took:.0f}/s): {came} arrived")
    print(f"{'lost':24} {lost} of all messages")
    print(format_quantiles("sent to applied value", stage.delays))
    desk.stop()
    raise SystemExit(1 if lost else 0)


if __name__ == "__main__":
    main()
