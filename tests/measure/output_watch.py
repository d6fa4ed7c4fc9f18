"""Watch: receives the frames of an output on a thread, for measurements."""

from __future__ import annotations

import itertools
import threading
import time
from dataclasses import dataclass, field

from lcm_daemon.transports import load


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
