"""What `lcm-daemon run` prints while the first model loads: one live line in a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from typing import TextIO

REFRESH_SECONDS = 0.25  # between two looks at the engine
LINE_SECONDS = 5.0  # between two plain lines, at least
WIDTH = 78  # columns of the live line
CLEAR = "\r\x1b[2K"


class LoadingLine:
    """Writes what an engine is doing until it renders, on a thread of its own.

    The cursor stays at the beginning of the live line, so that log lines replace it.

    Args:
        state: Returns what the engine is doing; "" once it renders.
        output: Where to write.
        on_end: Called once, with the seconds that it took, when the state is "".
        now: Monotonic time in seconds.
    """

    def __init__(
        self, state: Callable[[], str], output: TextIO, on_end: Callable[[float], None],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._state, self._output, self._on_end, self._now = state, output, on_end, now
        self._is_terminal = output.isatty()
        self._started = now()
        self._text, self._written_at = "", -LINE_SECONDS
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="loading-line", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End without `on_end`, if it has not been called. It may never have been started."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join(1.0)  # a terminal may be paused

    def step(self) -> bool:
        """Write what is new; return False at the end."""
        state, seconds = self._state(), self._now() - self._started
        if not state:
            if self._is_terminal:
                self._write(CLEAR)
            self._on_end(seconds)
            return False
        if self._is_terminal:
            self._write(f"{CLEAR}{f'{state}, {seconds:.0f} s':.{WIDTH}}\r")
        elif state != self._text and self._now() - self._written_at >= LINE_SECONDS:
            self._text, self._written_at = state, self._now()
            self._write(f"{state}\n")
        return True

    def _run(self) -> None:
        while self.step() and not self._stop.wait(REFRESH_SECONDS):
            pass

    def _write(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError):  # the output is closed: the show plays on
            self._output.write(text)
            self._output.flush()
