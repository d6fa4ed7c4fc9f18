"""Measure the time from a MIDI message to the stage's value: `python -m tests.measure.midi_latency`.

One process sends through JACK, a real desk process receives and passes on, and this process acts as the stage and
records when the value has been set. All three use the same clock, perf_counter.
"""

from __future__ import annotations

import argparse
import multiprocessing.connection
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

from lcm_daemon.controllers.midi.rtmidi_library import load_rtmidi
from lcm_daemon.core.live_values import Parameters
from lcm_daemon.core.metrics import Metrics, quantile_of
from lcm_daemon.core.parameters import Parameter, table_of
from lcm_daemon.desk.desk import DeskConfig
from lcm_daemon.desk.desk_supervisor import DeskSupervisor
from tests.rigs.midi import PATIENCE, jack, options

MAX_P99 = 0.010  # seconds
KEPT: list[Any] = []  # ports that must stay open
TABLE = table_of([Parameter("probe", "int", 0, "Number of the message.", 0, 16383)])
SHOW = '{devices: [{name: "probe*"}], map: [{pitchbend: , to: probe, feedback: false}], backend: jack}'


def measure(count: int = 1000, rate: int = 200) -> tuple[list[float], list[float]]:
    """Send messages, and measure how long they take.

    Args:
        count: Number of messages.
        rate: Messages a second.

    Returns:
        Seconds from the sending of each message to the setting of its value, and to its arrival at a plain JACK port of
        this process; both sorted. A value that is replaced before the stage sees it counts as set with the next one.
    """
    command = [sys.executable, "-m", "tests.rigs.midi_peer", "probe", str(count), str(rate)]
    desk = DeskSupervisor(DeskConfig("latency", TABLE, {"probe": 0}, {"midi": options(SHOW)}), (64, 64), Metrics())
    peer = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert peer.stdout is not None
        assert peer.stdin is not None
        assert peer.stdout.readline().strip() == "ready"
        arrived = _record_arrivals()
        desk.open({"probe": 0}, time.perf_counter())
        _act_as_stage(desk, 3.0, 0)  # until the desk has found the device
        peer.stdin.write("go\n")
        peer.stdin.flush()
        applied = _act_as_stage(desk, count / rate + PATIENCE, count)
        sent = [float(word) for word in peer.stdout.readline().split()]
    finally:
        peer.kill()
        peer.wait()
        desk.stop()
    numbers = range(1, count + 1)
    plain = sorted(arrived[number] - sent[number - 1] for number in numbers if number in arrived)
    return sorted(_time_applied(applied, number) - sent[number - 1] for number in numbers), plain


def _record_arrivals() -> dict[int, float]:
    """Record when each message arrives at a plain JACK port: the time that JACK and the load of the machine take."""
    rtmidi = load_rtmidi()
    native, arrived = rtmidi.MidiIn(rtmidi.api("UNIX_JACK"), "plain"), {}
    native.open_port(next(i for i, name in enumerate(native.get_ports()) if name.startswith("probe")))

    def on_data(data: Sequence[int]) -> None:
        arrived[data[2] << 7 | data[1]] = time.perf_counter()

    rtmidi.set_callback(native, on_data)
    KEPT.append(native)
    return arrived


def _act_as_stage(desk: DeskSupervisor, seconds: float, last: int) -> list[tuple[int, float]]:
    """Apply the desk's requests until value `last` is set. Return each value and the time when it was set."""
    parameters, applied = Parameters(TABLE), []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        multiprocessing.connection.wait(desk.waitables(), 0.1)
        for requests in desk.step(parameters.targets(), time.perf_counter()):
            for change in requests.changes.values():
                value = parameters.set(change.name, change.value, time.perf_counter())
                applied.append((int(value), time.perf_counter()))
                if value == last:
                    return applied
    return applied


def _time_applied(applied: list[tuple[int, float]], number: int) -> float:
    return next(when for value, when in applied if value >= number)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1000, help="messages to send")
    parser.add_argument("--rate", type=int, default=200, help="messages a second")
    asked = parser.parse_args()
    with jack():
        times, plain = measure(asked.count, asked.rate)
    print(f"{asked.count} messages at {asked.rate} a second, to the value: {_format(times)}; "
          f"to a plain JACK port: {_format(plain)}")
    return int(quantile_of(times, 0.99) > MAX_P99)


def _format(times: list[float]) -> str:
    quantiles = ", ".join(f"p{round(q * 100)} {quantile_of(times, q) * 1e3:.2f}" for q in (0.5, 0.9, 0.99))
    return f"{quantiles}, longest {times[-1] * 1e3:.2f} ms"


if __name__ == "__main__":
    sys.exit(main())
