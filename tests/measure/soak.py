"""Soak: play a show, kill and stop its child processes, and measure what the audience sees.

    python -m tests.measure.soak --seconds 60 --recipe builtin --transport ndi

The engine is killed twice (SIGKILL) and stopped once (SIGSTOP); the desk is killed once. The report has the gaps
between frames at the receiver, the number of black frames, and the time until an engine renders again. With --flood
50000, the program sends 50,000 OSC messages a second instead.
"""

from __future__ import annotations

import argparse
import itertools
import signal
import socket
import struct
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

from lcm_daemon.core.metrics import quantile_of
from lcm_daemon.transports import load
from tests.rigs.daemon import Daemon, wait_for
from tests.rigs.network import namespace


@dataclass
class Watch:
    """Receives frames on a thread, and records the time and the mean brightness of each."""

    transport: str
    name: str
    times: list[float] = field(default_factory=list)
    means: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(5)

    def _run(self) -> None:
        kind = load(self.transport).source
        assert kind is not None
        source = kind({"name": self.name})
        source.open()
        while not self._stop.is_set():
            frame = source.read(0.2)
            if frame is not None:
                self.times.append(time.perf_counter())
                self.means.append(float(frame.pixels[::16, ::16, :3].mean()))
        source.close()

    def gaps(self) -> list[float]:
        return sorted(b - a for a, b in itertools.pairwise(self.times))


def hurt(daemon: Daemon, seconds: float) -> list[tuple[str, float]]:
    """Cause four failures, evenly spread; return each, and the seconds until an engine or desk was back."""
    events: list[tuple[str, Callable[[], int]]] = [
        ("engine kill -9", lambda: daemon.signal_engine(signal.SIGKILL)),
        ("engine SIGSTOP", lambda: daemon.signal_engine(signal.SIGSTOP)),
        ("desk kill -9", daemon.kill_desk),
        ("engine kill -9", lambda: daemon.signal_engine(signal.SIGKILL)),
    ]
    results = []
    for what, act in events:
        begun = time.perf_counter()
        pid = act()
        daemon.wait_rendering(60, not_by=pid)
        results.append((what, time.perf_counter() - begun))
        time.sleep(max(0.0, seconds / (len(events) + 1) - (time.perf_counter() - begun)))
    return results


def flood(port: int, rate: float, seconds: float) -> None:
    """Send `rate` messages to `/lcm/strength` a second, in bursts of 100; the last value is 0.25."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.connect(("127.0.0.1", port))
        head = b"/lcm/strength\0\0\0,f\0\0"
        begun, sent = time.perf_counter(), 0
        while sent < rate * seconds:
            for _ in range(100):
                sender.send(head + struct.pack(">f", sent % 1000 / 1000))
                sent += 1
            time.sleep(max(0.0, begun + sent / rate - time.perf_counter()))
        print(f"sent {sent} OSC messages in {time.perf_counter() - begun:.2f} s")
        time.sleep(0.5)
        sender.send(head + struct.pack(">f", 0.25))


def drown(daemon: Daemon, rate: float, seconds: float) -> list[tuple[str, float]]:
    """Flood the daemon with OSC from another process; return how long the last value took to be in force."""
    sender = get_context("spawn").Process(target=flood, args=(daemon.osc_port, rate, seconds))
    sender.start()
    sender.join()
    begun = time.perf_counter()
    wait_for(lambda: daemon.values().get("strength") == 0.25, 10, "the last value of the flood")
    return [(f"flood of {rate:.0f}/s", time.perf_counter() - begun)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--recipe", default="builtin")
    parser.add_argument("--transport", default="memory", choices=("memory", "ndi"))
    parser.add_argument("--flood", type=float, default=0.0, help="OSC messages a second, instead of the accidents")
    parser.add_argument("--fps", type=float, default=30.0)
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.transport == "ndi" and not options.inside:  # on a network of its own, where senders have names
        with namespace() as net:
            sys.exit(net.popen([sys.executable, "-m", "tests.measure.soak", *sys.argv[1:], "--inside"]).wait())
    show = {
        "name": "soak", "recipe": options.recipe, "output": {"size": [512, 512], "fps": options.fps},
        "sinks": [{"transport": options.transport, "name": "soak"}], "engine": {"spare": True},
    }
    with tempfile.TemporaryDirectory() as folder, Daemon(Path(folder), show) as daemon:
        daemon.wait_rendering()
        with Watch(options.transport, "soak") as watch:
            time.sleep(options.seconds / 5)
            results = drown(daemon, options.flood, options.seconds) if options.flood else hurt(daemon, options.seconds)
        status = daemon.status()
        print(daemon.log())
    gaps = watch.gaps()
    for what, seconds in results:
        print(f"{what:16} recovered after {seconds:5.2f} s")
    print(f"frames {len(watch.times)}, interval {1000 / options.fps:.1f} ms; gaps p50 "
          f"{1000 * quantile_of(gaps, 0.5):.1f}, p99 {1000 * quantile_of(gaps, 0.99):.1f}, "
          f"p99.9 {1000 * quantile_of(gaps, 0.999):.1f}, longest {1000 * gaps[-1]:.1f} ms")
    print(f"darkest frame {min(watch.means):.1f} of 255")
    print({key: status.get(key) for key in ("fps", "latency", "render", "late", "dropped", "replaced")})


if __name__ == "__main__":
    main()
