"""How long a MIDI move takes to the stage's value: `python -m tests.controllers.midi_latency [COUNT [RATE]]`.

Another process sends through JACK; a real desk process receives and hands over; this process is the stage's end of it,
and takes the time when the value has been set. The clock (perf_counter) is the same in all three.
"""

from __future__ import annotations

import importlib.util
import multiprocessing.connection
import subprocess
import sys
import time

from lcm_daemon.desk import Setup
from lcm_daemon.desk_supervisor import DeskSupervisor
from lcm_daemon.health import Health, quantile_of
from lcm_daemon.parameters import Parameter, Parameters, table_of

from .midi_rig import PATIENCE, jack, options

LIMIT = 0.010  # seconds, at the 99th of 100
TABLE = table_of([Parameter("probe", "int", 0, "Which message came.", 0, 16383)])
SHOW = '{devices: [{name: "probe*"}], map: [{pitchbend: , to: probe, feedback: false}], backend: jack}'


def measure(count: int = 1000, rate: int = 200) -> list[float]:
    """Seconds from each message's sending to its value's setting, ascending; an overtaken value counts to the next."""
    command = [sys.executable, "-m", "tests.controllers.midi_peer", "probe", str(count), str(rate)]
    desk = DeskSupervisor(Setup("latency", TABLE, {"probe": 0}, {"midi": options(SHOW)}), (64, 64), Health())
    peer = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert peer.stdout is not None
        assert peer.stdin is not None
        assert peer.stdout.readline().strip() == "ready"
        desk.open({"probe": 0}, time.perf_counter())
        _listen(desk, 3.0, 0)  # until the desk has found the device
        peer.stdin.write("go\n")
        peer.stdin.flush()
        applied = _listen(desk, count / rate + PATIENCE, count)
        sent = [float(word) for word in peer.stdout.readline().split()]
    finally:
        peer.kill()
        peer.wait()
        desk.stop()
    return sorted(_after(applied, number) - sent[number - 1] for number in range(1, count + 1))


def _listen(desk: DeskSupervisor, seconds: float, last: int) -> list[tuple[int, float]]:
    """What a stage does with what the desk asks for, and when each value was set."""
    parameters, applied = Parameters(TABLE), []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        multiprocessing.connection.wait(desk.waitables(), 0.1)
        for pending in desk.step(parameters.targets(), time.perf_counter()):
            for change in pending.changes.values():
                value = parameters.set(change.name, change.value, time.perf_counter())
                applied.append((int(value), time.perf_counter()))
                if value == last:
                    return applied
    return applied


def _after(applied: list[tuple[int, float]], number: int) -> float:
    return next(when for value, when in applied if value >= number)


def main(count: int = 1000, rate: int = 200) -> int:
    with jack():
        times = measure(count, rate)
    shown = ", ".join(f"p{round(q * 100)} {quantile_of(times, q) * 1e3:.2f} ms" for q in (0.5, 0.9, 0.99))
    print(f"MIDI to value, {len(times)} messages at {rate} a second: {shown}, longest {times[-1] * 1e3:.2f} ms")
    return int(quantile_of(times, 0.99) > LIMIT)


if __name__ == "__main__":
    assert importlib.util.find_spec("rtmidi"), "python-rtmidi is not installed"
    sys.exit(main(*map(int, sys.argv[1:])))
