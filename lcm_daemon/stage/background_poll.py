"""BackgroundPoll: asks for something again and again on a thread, since the answer may take long."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from lcm_daemon.core.clock import Clock, MonotonicClock

log = logging.getLogger(__name__)

T = TypeVar("T")


class BackgroundPoll(Generic[T]):
    """Keeps the newest answer.

    Args:
        name: Of the thread, for the log: "disks".
        ask: Called on the thread. Returns None for "never again".
        seconds: Pause between two calls.

    Attributes:
        answer: The newest answer; None before the first.
    """

    def __init__(self, name: str, ask: Callable[[], T | None], seconds: float, clock: Clock | None = None) -> None:
        self.answer: T | None = None
        self._name, self._ask, self._seconds, self._clock = name, ask, seconds, clock or MonotonicClock()
        self._asked_at: float | None = None  # while a call runs
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread, unless it was started before."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Ask the thread to end. It is not waited for: the call may hang."""
        self._stop.set()

    def waits_since(self, now: float) -> float:
        """Seconds for which the present call has taken; 0.0 between two calls. now: monotonic seconds."""
        asked_at = self._asked_at
        return 0.0 if asked_at is None else max(0.0, now - asked_at)

    def _run(self) -> None:
        last_error = ""
        while not self._stop.is_set():
            self._asked_at = self._clock.now()
            try:
                answer = self._ask()
                if answer is None:
                    return
                self.answer, last_error = answer, ""
            except Exception as error:  # top of the thread: what is watched must not end the watching
                if (text := f"{type(error).__name__}: {error}") != last_error:
                    log.exception("%s: cannot be read; it is tried again", self._name)
                last_error = text
            finally:
                self._asked_at = None
            self._stop.wait(self._seconds)
