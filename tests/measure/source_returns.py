"""How soon a source shows its sender again: after a kill, a pause, another size, another rate, another name.

    python -m tests.measure.source_returns --transport memory ndi

A sender in a process of its own is hurt and comes back. The report has the seconds from its first new frame to the
first frame that the source's runner has. The sender says when it has sent its first frame.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from lcm_daemon.core.frame import Frame, solid
from lcm_daemon.core.metrics import Metrics
from lcm_daemon.transports import load
from lcm_daemon.transports.endpoint import EndpointConfig
from lcm_daemon.transports.factory import build_source
from lcm_daemon.transports.runner import SourceRunner
from tests.rigs.daemon import wait_for
from tests.rigs.network import namespace

SIZE = (256, 256)
NAME = "returns"
PATIENCE = 30.0  # seconds that a frame may take


def send(transport: str, name: str, fps: float, size: tuple[int, int]) -> None:
    """Send frames until the process is killed; print a line once the first one is sent."""
    kind = load(transport).sink
    assert kind is not None
    sink = kind({"name": name})
    sink.open(size, fps)
    number = 0
    while True:
        sink.write(Frame(solid(size, (number % 200, 0, 0, 255)), number, time.perf_counter()))
        if number == 0:
            print("sent", flush=True)
        number += 1
        time.sleep(1 / fps)


class Sender:
    """A sender in a process of its own. It is there once its first frame is sent."""

    def __init__(self, transport: str, name: str = NAME, fps: float = 30.0, size: tuple[int, int] = SIZE) -> None:
        words = [transport, name, str(fps), *map(str, size)]
        self.process = subprocess.Popen([sys.executable, "-m", "tests.measure.source_returns", "--send", *words],
                                        stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        self.process.stdout.readline()
        self.sent_at = time.perf_counter()

    def kill(self) -> None:
        self.process.send_signal(signal.SIGCONT)
        self.process.kill()
        self.process.wait()


@dataclass
class Case:
    """A runner of a source, and the sender that it shows."""

    transport: str
    runner: SourceRunner
    sender: Sender

    def replace(self, away: float = 1.0, **options: object) -> float:
        """Kill the sender; another one comes after `away` seconds. Returns the seconds until it is seen."""
        self.sender.kill()
        time.sleep(away)
        before = self.runner.newest
        self.sender = Sender(self.transport, **options)  # type: ignore[arg-type]
        wait_for(lambda: self.runner.newest is not before, PATIENCE, "a frame of the new sender")
        return time.perf_counter() - self.sender.sent_at

    def pause(self, seconds: float) -> float:
        """Stop the sender for a while. Returns the seconds from its continuation until it is seen."""
        self.sender.process.send_signal(signal.SIGSTOP)
        time.sleep(seconds)
        before = self.runner.newest
        self.sender.process.send_signal(signal.SIGCONT)
        begun = time.perf_counter()
        wait_for(lambda: self.runner.newest is not before, PATIENCE, "a frame after the pause")
        return time.perf_counter() - begun

    def rename(self) -> float:
        """Another name for some seconds, then the wanted one again."""
        self.sender.kill()
        self.sender = Sender(self.transport, name="another")
        time.sleep(4.0)
        return self.replace(0.5)


CASES: Mapping[str, Callable[[Case], float]] = {
    "killed, back after 1 s": lambda case: case.replace(),
    "killed, back after 20 s": lambda case: case.replace(20.0),
    "killed, back at once": lambda case: case.replace(0.0),
    "another size": lambda case: case.replace(1.0, size=(640, 360)),
    "1 fps": lambda case: case.replace(1.0, fps=1.0),
    "240 fps": lambda case: case.replace(1.0, fps=240.0),
    "30 fps again": lambda case: case.replace(1.0),
    "stopped for 3 s": lambda case: case.pause(3.0),
    "stopped for 15 s": lambda case: case.pause(15.0),
    "renamed and back": lambda case: case.rename(),
}


def measure(transport: str) -> None:
    """Print a line for every case."""
    sender = Sender(transport)
    runner = build_source(EndpointConfig(transport, {"name": NAME}), "source", SIZE, Metrics(), lambda: None)
    assert runner is not None
    runner.start()
    case = Case(transport, runner, sender)
    wait_for(lambda: runner.newest is not None, PATIENCE, "the first frame")
    for name, act in CASES.items():
        print(f"{transport:8} {name:26} {act(case):5.2f} s   {runner.state}", flush=True)
    runner.stop()
    case.sender.kill()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--transport", nargs="+", default=["memory"], choices=("memory", "ndi"))
    parser.add_argument("--send", nargs=5, help=argparse.SUPPRESS)
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.send:
        transport, name, fps, width, height = options.send
        send(transport, name, float(fps), (int(width), int(height)))
    if "ndi" in options.transport and not options.inside:  # on a network of its own, where senders have names
        with namespace() as net:
            command = [sys.executable, "-m", "tests.measure.source_returns", *sys.argv[1:], "--inside"]
            sys.exit(net.popen(command).wait())
    for transport in options.transport:
        measure(transport)


if __name__ == "__main__":
    main()
