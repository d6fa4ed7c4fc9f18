"""Runners: one thread for each source or sink, with a one-slot mailbox between it and the tick.

An endpoint that fails is closed and reopened with back-off for as long as the show lasts. Other endpoints are not
affected.
"""

from __future__ import annotations

import logging
import math
import threading
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import ClassVar

from lcm_daemon.core.alpha import Alpha, from_straight, to_straight
from lcm_daemon.core.clock import MonotonicClock
from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.core.frame import Fit, Frame, Pixels, Size
from lcm_daemon.core.metrics import LogThrottle, Metrics
from lcm_daemon.core.thread_priority import TimeKeeper
from lcm_daemon.transports.base import Endpoint, Sink, Source
from lcm_daemon.transports.placement import DEFAULT_VIEW, View
from lcm_daemon.transports.resize import fit
from lcm_daemon.transports.silence import DEFAULT_SILENCE, SilencePolicy

log = logging.getLogger(__name__)

WAIT_SECONDS = 0.1  # longest wait for a frame, and so the delay until a thread sees that it should stop
SILENCE_SECONDS = 2.0  # an open source without a frame for that long is "waiting"
WAITING = "waiting"
OFF = "off"
MAX_RETRY_DELAY = 10.0  # seconds
MAX_SOURCE_DELAY = 1.0  # the same of a source: it shows within two seconds after its return
ANSWER_SECONDS = 10.0  # opening, reading and writing take less, unless a driver or a file server hangs


def retry_delays(longest: float = MAX_RETRY_DELAY) -> Iterator[float]:
    """Yield the seconds to wait before each new attempt: 0.25, 0.5, 1, ... 8, then 10 (or `longest`) for ever."""
    delay = 0.25
    while True:
        yield delay
        delay = min(2 * delay, longest)


class Runner(ABC):
    """Opens its endpoint, works with it, and reopens it after a failure.

    Attributes:
        label: name of the endpoint in log and status.
        state: "opening", "running", WAITING, OFF, "unchanged for 40 s", or the reason of the last failure.
        failure: why the endpoint is not open; "" while it is, and before the first try.
        longest_delay: seconds between two attempts to open it, at most.
    """

    longest_delay: ClassVar[float] = MAX_RETRY_DELAY

    def __init__(self, label: str, endpoint: Endpoint, metrics: Metrics) -> None:
        self.label, self.endpoint, self.metrics = label, endpoint, metrics
        self._clock = MonotonicClock()
        self.state, self.failure = "opening", ""
        self._last_failure = ""
        self._throttle = LogThrottle(log, Metrics())
        self._stop, self._hurry = threading.Event(), threading.Event()
        self._step_begun = math.inf  # when the endpoint was last called; while none of its calls runs, infinity
        self._switches = 0  # how often it was switched; odd: it is off. Off and on within one write still reopens it
        self._thread = threading.Thread(target=self._run, name=label, daemon=True)

    def start(self) -> None:
        """Start the thread, unless it runs already."""
        if self._thread.ident is None:
            self._thread.start()

    def stop(self) -> None:
        """Ask the thread to end; `join` waits for it."""
        self._stop.set()
        self._hurry.set()

    @property
    def is_on(self) -> bool:
        return self._switches % 2 == 0

    @property
    def is_stuck(self) -> bool:
        """Whether the endpoint has not answered a call for ANSWER_SECONDS; the runner cannot reopen it then."""
        return self._clock.now() - self._step_begun >= ANSWER_SECONDS

    def switch(self, on: bool) -> None:
        """Open the endpoint, or close it until it is switched on again. Returns at once."""
        if on == self.is_on:
            return
        self.state = "opening" if on else OFF
        self._switches += 1
        self._hurry.set()

    def join(self, seconds: float) -> bool:
        """Wait for the thread; False if a library still blocks it after `seconds` (a daemon thread: exit is safe)."""
        if self._thread.ident is not None:  # it was started
            self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        delays, keeper = retry_delays(self.longest_delay), TimeKeeper(self.label)
        opened: float | None
        while not self._stop.is_set():
            switches, opened = self._switches, None
            if switches % 2:
                self.state, self.failure, self._last_failure, delays = OFF, "", "", retry_delays(self.longest_delay)
                self._pause(WAIT_SECONDS)
                continue
            try:
                self._step_begun = self._clock.now()
                self._open()
                self.state, self.failure, opened = "running", "", self._clock.now()
                while switches == self._switches and not self._stop.is_set():
                    self._step_begun = self._clock.now()
                    self._step()
                    keeper.check()
            except LcmDaemonError as error:
                self._record_failure(str(error))
            except Exception as error:  # top of the thread: the endpoint is reopened after any error of a library
                reason = f"{type(error).__name__}: {error}"
                if reason != self._last_failure:
                    log.exception("%s: unexpected error; it is reopened", self.label)
                self._record_failure(reason)
            finally:
                self._close()
                self._step_begun = math.inf
            # An endpoint that fails at its first write did not work.
            if opened is not None and self._clock.now() - opened > MAX_RETRY_DELAY:
                delays, self._last_failure = retry_delays(self.longest_delay), ""
            if switches == self._switches:
                self._pause(next(delays))

    def _pause(self, seconds: float) -> None:
        """Wait until `seconds` have passed, or the runner is switched or stopped."""
        self._hurry.wait(seconds)
        self._hurry.clear()

    def _record_failure(self, reason: str) -> None:
        """Count a failure and log it: a new reason at once, a repeated one more and more rarely."""
        reason = reason.removeprefix(f"{self.label.partition(' ')[0]}: ")  # the label names the transport
        if reason != self._last_failure:
            self._last_failure, self._throttle = reason, LogThrottle(log, Metrics())
        self._throttle.warn("failures", f"{self.label}: {reason}")
        self.state = self.failure = reason
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
        silence: what it means that no new frame comes.
        view: how frames are turned, mirrored and aligned, and what their alpha means.
    """

    longest_delay = MAX_SOURCE_DELAY

    def __init__(
        self, label: str, source: Source, size: Size, mode: Fit, metrics: Metrics, on_frame: Callable[[], None],
        kind: str = "source", silence: SilencePolicy = DEFAULT_SILENCE, view: View = DEFAULT_VIEW,
    ) -> None:
        super().__init__(label, source, metrics)
        self._silence, self._view = silence, view
        self._source, self._size, self._mode, self._on_frame, self._kind = source, size, mode, on_frame, kind
        self.newest: Frame | None = None
        self._placed: Callable[[], Pixels | None] = lambda: None  # what `newest` was made from, while it is kept
        self._last_number = -1
        self._last_arrival = 0.0  # time of the last frame, or of opening the source
        self._live_at = 0.0  # when `newest` was last known to be what the sender shows

    def age(self, now: float) -> float | None:
        """Seconds since the newest frame was known to be the sender's present one; None before the first frame."""
        return None if self.newest is None else max(0.0, now - self._live_at)

    def _open(self) -> None:
        self._source.open()
        self._last_number, self._last_arrival = -1, self._clock.now()

    def _step(self) -> None:
        frame, now = self._source.read(WAIT_SECONDS), self._clock.now()
        if frame is None:
            self._on_silence(now)
            return
        self.state, self._last_arrival = "running", now
        if self._last_number >= 0 and frame.number > self._last_number + 1:
            self.metrics.count(f"dropped/{self._kind}", frame.number - self._last_number - 1)
        self._last_number = frame.number
        self.metrics.count(f"{self._kind}/frames")
        self.newest, self._live_at = Frame(self._place_once(frame), frame.number, frame.time), now
        self._on_frame()

    def _place_once(self, frame: Frame) -> Pixels:
        """As `_place`; pixels that the source has sent before, as those of a still picture, are not scaled again."""
        if self.newest is not None and self._placed() is frame.pixels:
            return self.newest.pixels
        pixels = self._place(frame)
        self._placed = weakref.ref(frame.pixels)
        return pixels

    def _place(self, frame: Frame) -> Pixels:
        """Pixels of the output's size, with straight alpha."""
        view, size = self._view, self._size
        sideways = (size[1], size[0]) if view.is_sideways else size
        pixels = fit(frame.pixels, sideways, self._mode, frame.pixel_aspect, view.anchor, view.alpha)
        return view.orient(to_straight(pixels, view.alpha))

    def _on_silence(self, now: float) -> None:
        """No new frame has come: decide whether the last one is still good."""
        silence, is_connected = now - self._last_arrival, self._source.is_connected
        if self._silence.is_live(silence, is_connected):
            self._live_at = now
        elif is_connected:
            self._live_at = self._last_arrival
        if is_connected and self.newest is not None:
            is_long = silence >= self._silence.unchanged_after
            self.state = f"unchanged for {silence:.0f} s" if is_long else "running"
        elif silence > SILENCE_SECONDS:
            self.state = WAITING


class SinkRunner(Runner):
    """Sends the newest output frame. A frame that is replaced before it could be sent is dropped and counted.

    Args:
        alpha: how the sink wants its pixels.
    """

    def __init__(
        self, label: str, sink: Sink, size: Size, fps: float, metrics: Metrics, alpha: Alpha = "straight"
    ) -> None:
        super().__init__(label, sink, metrics)
        self._sink, self._size, self._fps, self._alpha = sink, size, fps, alpha
        self._condition = threading.Condition()
        self._pending: Frame | None = None
        self.wrote_at: float | None = None  # when it last took a frame, in monotonic seconds

    def post(self, frame: Frame) -> None:
        """Put a frame into the mailbox; never waits. A sink that is off takes none."""
        if not self.is_on:
            return
        with self._condition:
            if self._pending is not None and self.state == "running":
                self.metrics.count("dropped/sink")
            self._pending = frame
            self._condition.notify()

    def stop(self) -> None:
        super().stop()
        with self._condition:
            self._condition.notify()

    def switch(self, on: bool) -> None:
        super().switch(on)
        with self._condition:
            if not on:
                self._pending = None
            self._condition.notify()

    def _open(self) -> None:
        self._sink.open(self._size, self._fps)

    def _step(self) -> None:
        with self._condition:
            if self._pending is None:
                self._condition.wait(WAIT_SECONDS)
            frame, self._pending = self._pending, None
        if frame is not None:
            if self._alpha != "straight":
                frame = replace(frame, pixels=from_straight(frame.pixels, self._alpha))
            self._sink.write(frame)
            self.wrote_at = self._clock.now()
            self.metrics.count(f"sent/{self.label}")
