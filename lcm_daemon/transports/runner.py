"""Runners: one thread for each end, with a one-slot mailbox between it and the tick.

An end that fails is closed and opened again with back-off, for as long as the show lasts; the others never notice.
"""

from __future__ import annotations

import logging
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator

from lcm_daemon.core.clock import MonotonicClock
from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.core.frame import Fit, Frame, Size
from lcm_daemon.core.metrics import Metrics
from lcm_daemon.transports.base import Endpoint, Sink, Source
from lcm_daemon.transports.resize import fit

log = logging.getLogger(__name__)

POLL = 0.1  # seconds a read may wait: how soon a thread sees that it should end
SILENCE = 2.0  # seconds without a picture until a source that is open is said to wait
WAITING = "waiting"
LONGEST_PAUSE = 10.0  # seconds between tries to open an end


def pauses() -> Iterator[float]:
    """Seconds to wait before each new try: 0.25, 0.5, 1, ... up to 10, which it keeps."""
    pause = 0.25
    while True:
        yield pause
        pause = min(2 * pause, LONGEST_PAUSE)


class Runner(ABC):
    """Opens its end, works it, and opens it again after a failure."""

    def __init__(self, label: str, end: Endpoint, metrics: Metrics) -> None:
        self.label, self.end, self.metrics = label, end, metrics
        self._clock = MonotonicClock()
        self.state = "opening"  # "opening", "running", WAITING, or why it does not work
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=label, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ask the thread to end; `join` waits for it."""
        self._stop.set()

    def join(self, seconds: float) -> bool:
        """Wait up to `seconds`; False if a library still holds the thread (it is a daemon: the process can end)."""
        if self._thread.ident is not None:  # it was started
            self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        waits = pauses()
        while not self._stop.is_set():
            opened = self._clock.now()
            try:
                self._open()
                self.state, opened = "running", self._clock.now()
                while not self._stop.is_set():
                    self._work()
            except LcmDaemonError as error:
                self._note(str(error))
            except Exception as error:  # the top of the thread: whatever a library does, the end is opened again
                log.exception("%s failed", self.label)
                self._note(f"{type(error).__name__}: {error}")
            finally:
                self._close()
            if self._clock.now() - opened > LONGEST_PAUSE:  # it worked: one that fails at its first write did not
                waits = pauses()
            self._stop.wait(next(waits))

    def _note(self, reason: str) -> None:
        if reason != self.state:
            log.warning("%s: %s", self.label, reason)
        self.state = reason
        self.metrics.count(f"failed/{self.label}")

    def _close(self) -> None:
        try:
            self.end.close()
        except Exception:  # the top of the thread as well: a close that fails must not end it
            log.exception("%s could not be closed", self.label)

    @abstractmethod
    def _open(self) -> None: ...

    @abstractmethod
    def _work(self) -> None: ...


class SourceRunner(Runner):
    """Keeps the newest input frame, fitted to the output size. `arrived` is called for each, on this thread.

    kind: under which its frames are counted, "source" or "guide".
    """

    def __init__(
        self, label: str, source: Source, size: Size, how: Fit, metrics: Metrics, arrived: Callable[[], None],
        kind: str = "source",
    ) -> None:
        super().__init__(label, source, metrics)
        self._source, self._size, self._how, self._arrived, self._kind = source, size, how, arrived, kind
        self.newest: Frame | None = None
        self._last = -1
        self._heard = 0.0  # when the last frame came, or the source was opened

    def _open(self) -> None:
        self._source.open()
        self._last, self._heard = -1, self._clock.now()

    def _work(self) -> None:
        frame, now = self._source.read(POLL), self._clock.now()
        if frame is None:
            self.state = WAITING if now - self._heard > SILENCE else self.state
            return
        self.state, self._heard = "running", now
        if self._last >= 0 and frame.number > self._last + 1:
            self.metrics.count(f"dropped/{self._kind}", frame.number - self._last - 1)
        self._last = frame.number
        self.metrics.count(f"{self._kind}/frames")
        self.newest = Frame(fit(frame.pixels, self._size, self._how), frame.number, frame.time)
        self._arrived()


class SinkRunner(Runner):
    """Sends the newest output frame; what comes while it is still sending the last but one is dropped and counted."""

    def __init__(self, label: str, sink: Sink, size: Size, fps: float, metrics: Metrics) -> None:
        super().__init__(label, sink, metrics)
        self._sink, self._size, self._fps = sink, size, fps
        self._condition = threading.Condition()
        self._letter: Frame | None = None

    def post(self, frame: Frame) -> None:
        """Leave a frame in the mailbox; never waits."""
        with self._condition:
            if self._letter is not None and self.state == "running":
                self.metrics.count("dropped/sink")
            self._letter = frame
            self._condition.notify()

    def stop(self) -> None:
        super().stop()
        with self._condition:
            self._condition.notify()

    def _open(self) -> None:
        self._sink.open(self._size, self._fps)

    def _work(self) -> None:
        with self._condition:
            if self._letter is None:
                self._condition.wait(POLL)
            frame, self._letter = self._letter, None
        if frame is not None:
            self._sink.write(frame)
            self.metrics.count(f"sent/{self.label}")
