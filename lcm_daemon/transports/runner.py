"""Runners: one thread for each source or sink, with a one-slot mailbox between it and the tick.

An endpoint that fails is closed and reopened with back-off for as long as the show lasts. Other endpoints are not
affected.
"""

from __future__ import annotations

import logging
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator

from lcm_daemon.core.clock import MonotonicClock
from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.core.frame import Fit, Frame, Size
from lcm_daemon.core.metrics import LogThrottle, Metrics
from lcm_daemon.transports.base import Endpoint, Sink, Source
from lcm_daemon.transports.resize import fit

log = logging.getLogger(__name__)

WAIT_SECONDS = 0.1  # longest wait for a frame, and so the delay until a thread sees that it should stop
SILENCE_SECONDS = 2.0  # an open source without a frame for that long is "waiting"
WAITING = "waiting"
MAX_RETRY_DELAY = 10.0  # seconds


def retry_delays() -> Iterator[float]:
    """Yield the seconds to wait before each new attempt: 0.25, 0.5, 1, ... 8, then 10 for ever."""
    delay = 0.25
    while True:
        yield delay
        delay = min(2 * delay, MAX_RETRY_DELAY)


class Runner(ABC):
    """Opens its endpoint, works with it, and reopens it after a failure.

    Attributes:
        label: name of the endpoint in log and status.
        state: "opening", "running", WAITING, or the reason of the last failure.
    """

    def __init__(self, label: str, endpoint: Endpoint, metrics: Metrics) -> None:
        self.label, self.endpoint, self.metrics = label, endpoint, metrics
        self._clock = MonotonicClock()
        self.state = "opening"
        self._last_failure = ""
        self._throttle = LogThrottle(log, Metrics())
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=label, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ask the thread to end; `join` waits for it."""
        self._stop.set()

    def join(self, seconds: float) -> bool:
        """Wait for the thread; False if a library still blocks it after `seconds` (a daemon thread: exit is safe)."""
        if self._thread.ident is not None:  # it was started
            self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        delays = retry_delays()
        while not self._stop.is_set():
            opened: float | None = None
            try:
                self._open()
                self.state, opened = "running", self._clock.now()
                while not self._stop.is_set():
                    self._step()
            except LcmDaemonError as error:
                self._record_failure(str(error))
            except Exception as error:  # top of the thread: the endpoint is reopened after any error of a library
                reason = f"{type(error).__name__}: {error}"
                if reason != self._last_failure:
                    log.exception("%s: unexpected error; it is reopened", self.label)
                self._record_failure(reason)
            finally:
                self._close()
            # An endpoint that fails at its first write did not work.
            if opened is not None and self._clock.now() - opened > MAX_RETRY_DELAY:
                delays, self._last_failure = retry_delays(), ""
            self._stop.wait(next(delays))

    def _record_failure(self, reason: str) -> None:
        """Count a failure and log it: a new reason at once, a repeated one more and more rarely."""
        if reason != self._last_failure:
            self._last_failure, self._throttle = reason, LogThrottle(log, Metrics())
        self._throttle.warn("failures", f"{self.label}: {reason}")
        self.state = reason
        self.metrics.count(f"failed/{self.label}")

    def _close(self) -> None:
        try:
            self.endpoint.close()
        except Exception:  # top of the thread as well: a failing close must not end it
            log.exception("%s: close failed", self.label)

    @abstractmethod
    def _open(self) -> None: ...

    @abstractmethod
    def _step(self) -> None:
        """Read or write once; wait for at most about WAIT_SECONDS."""


class SourceRunner(Runner):
    """Keeps the newest input frame, fitted to the output size.

    Args:
        on_frame: called after each new frame, on this runner's thread.
        kind: name of the source in the metrics, "source" or "guide".
    """

    def __init__(
        self, label: str, source: Source, size: Size, mode: Fit, metrics: Metrics, on_frame: Callable[[], None],
        kind: str = "source",
    ) -> None:
        super().__init__(label, source, metrics)
        self._source, self._size, self._mode, self._on_frame, self._kind = source, size, mode, on_frame, kind
        self.newest: Frame | None = None
        self._last_number = -1
        self._last_arrival = 0.0  # time of the last frame, or of opening the source

    def _open(self) -> None:
        self._source.open()
        self._last_number, self._last_arrival = -1, self._clock.now()

    def _step(self) -> None:
        frame, now = self._source.read(WAIT_SECONDS), self._clock.now()
        if frame is None:
            if now - self._last_arrival > SILENCE_SECONDS:
                self.state = WAITING
            return
        self.state, self._last_arrival = "running", now
        if self._last_number >= 0 and frame.number > self._last_number + 1:
            self.metrics.count(f"dropped/{self._kind}", frame.number - self._last_number - 1)
        self._last_number = frame.number
        self.metrics.count(f"{self._kind}/frames")
        self.newest = Frame(fit(frame.pixels, self._size, self._mode), frame.number, frame.time)
        self._on_frame()


class SinkRunner(Runner):
    """Sends the newest output frame. A frame that is replaced before it could be sent is dropped and counted."""

    def __init__(self, label: str, sink: Sink, size: Size, fps: float, metrics: Metrics) -> None:
        super().__init__(label, sink, metrics)
        self._sink, self._size, self._fps = sink, size, fps
        self._condition = threading.Condition()
        self._pending: Frame | None = None

    def post(self, frame: Frame) -> None:
        """Put a frame into the mailbox; never waits."""
        with self._condition:
            if self._pending is not None and self.state == "running":
                self.metrics.count("dropped/sink")
            self._pending = frame
            self._condition.notify()

    def stop(self) -> None:
        super().stop()
        with self._condition:
            self._condition.notify()

    def _open(self) -> None:
        self._sink.open(self._size, self._fps)

    def _step(self) -> None:
        with self._condition:
            if self._pending is None:
                self._condition.wait(WAIT_SECONDS)
            frame, self._pending = self._pending, None
        if frame is not None:
            self._sink.write(frame)
            self.metrics.count(f"sent/{self.label}")
