"""LiveSource: a source of a running show, which is changed without a gap in the picture.

    PLAYING ──change──► OPENING ──first frame──► FADING ──► PLAYING
       ▲  it cannot be opened,  │
       └──── or sends nothing ──┘

The new source opens beside the old one, in threads of its own: nothing here blocks the tick.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable

from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.core.frame import Frame
from lcm_daemon.core.parameters import Refused, clean
from lcm_daemon.render.failsafe import blend
from lcm_daemon.transports.endpoint import EndpointConfig
from lcm_daemon.transports.runner import Runner, SourceRunner
from lcm_daemon.transports.source_table import OWN, PAGE, SourceTable, split_listed

log = logging.getLogger(__name__)

OPEN_SECONDS = 10.0  # how long a new source may take to its first frame; finding an NDI sender takes two or three
REOPEN_PAUSE = 10.0  # seconds between two tries to replace a source that is stuck; each pause is twice as long
MAX_REOPEN_PAUSE = 300.0
MAX_STUCK = 3  # threads that a driver may hold; further tries wait until one of them ends
FAIL_SECONDS = 2.0  # how long one that cannot be opened is tried: a camera may still be closing

BuildSource = Callable[[EndpointConfig], SourceRunner | None]


class _Opening:
    """A source that is looked up, built and started on a thread of its own: transports load libraries and search."""

    def __init__(self, name: str, table: SourceTable, build: BuildSource, now: float) -> None:
        self.name, self.asked_at = name, now
        self.config: EndpointConfig | None = None  # once it is found
        self.runner: SourceRunner | None = None  # once it has started
        self._table, self._build = table, build
        self._problem = ""
        self._lock = threading.Lock()
        self._given_up = False
        threading.Thread(target=self._run, name=f"open {name}", daemon=True).start()

    def _run(self) -> None:
        try:
            config = self.config = self._table.find(self.name)
            runner = self._build(config) if config else None
        except LcmDaemonError as error:
            self._problem = str(error)
        except Exception as error:  # top of the thread: a library's own error must reach the status
            log.exception("source %s: unexpected error", self.name)
            self._problem = f"{type(error).__name__}: {error}".splitlines()[0]
        else:
            if config is None or runner is None:
                self._problem = "its integration is not installed"
                return
            runner.label = source_label(self.name, config, self._table)
            with self._lock:
                if not self._given_up:
                    runner.start()
                    self.runner = runner

    def problem(self, now: float) -> str:
        """Why it will not deliver; "" while it may."""
        waited = now - self.asked_at
        failure = self.runner.failure if self.runner else ""
        if self._problem or (failure and waited >= FAIL_SECONDS):
            return self._problem or failure
        return f"no frame within {OPEN_SECONDS:g} s" if waited >= OPEN_SECONDS else ""

    def give_up(self) -> SourceRunner | None:
        """Stop it; return its runner, which may take a moment to end."""
        with self._lock:
            self._given_up = True
        if self.runner is not None:
            self.runner.stop()
        return self.runner


def source_label(name: str, config: EndpointConfig, table: SourceTable) -> str:
    """Name in log and status: "ndi CAM 1", or "wide (ndi CAM 1)" for one of the show's `sources`."""
    if name in (OWN, PAGE):
        return config.label if name == OWN else PAGE
    return f"{name} ({config.label})" if name in table.named else " ".join(split_listed(name)).strip()


class LiveSource:
    """The source, or the guide, that plays, and during a change the one that replaces it.

    Args:
        kind: "source" or "guide".
        table: what it can be changed to.
        build: makes a runner, not started.
        seconds: length of a crossfade.
        name: what it begins with; OWN is the show's own.
        lost_after: age in seconds of the old source from which it is not faded out: the failsafe shows another picture.
    """

    def __init__(
        self, kind: str, table: SourceTable, build: BuildSource, seconds: float = 1.0, name: str = OWN,
        lost_after: float = math.inf,
    ) -> None:
        self.kind, self.table, self.seconds, self._lost_after = kind, table, seconds, lost_after
        self.name, self.error = name, ""  # what plays; why the last change failed
        self._build = build
        self.config = config = table.find(name)  # of what plays
        self.runner = build(config) if config else None
        if self.runner is not None and config is not None:
            self.runner.label = source_label(name, config, table)
        self._opening: _Opening | None = None
        self._old: SourceRunner | None = None  # while it fades out
        self._fade_started = 0.0
        self._mixed: Frame | None = None  # of the last tick of a fade
        self._stopping: list[SourceRunner] = []
        self._reopen_at, self._reopen_pause = -math.inf, REOPEN_PAUSE

    @property
    def newest(self) -> Frame | None:
        """The newest frame, mixed while one source fades to another; None before the first."""
        return self._mixed or (self.runner.newest if self.runner else None)

    @property
    def wanted(self) -> str:
        """Name of the source that plays, or of the one that was asked for since."""
        return self._opening.name if self._opening else self.name

    def age(self, now: float) -> float | None:
        """Seconds since the newest frame was known to be the sender's present one; None before the first frame."""
        return self.runner.age(now) if self.runner else None

    def describe(self) -> str:
        """One line for the status: "ndi CAM 1: running; opening wide"."""
        text = f"{self.runner.label}: {self.runner.state}" if self.runner else "none"
        return f"{text}; opening {self._opening.name}" if self._opening else text

    def runners(self) -> list[Runner]:
        """Every runner that has a thread, also those that are about to end."""
        opening = self._opening.runner if self._opening else None
        return [runner for runner in (self.runner, self._old, opening, *self._stopping) if runner is not None]

    def change(self, name: str, now: float) -> None:
        """Open another source beside this one. A change that has not begun to fade is given up for it.

        Raises:
            Refused: the name is not known.
        """
        if name not in self.table.named and name != OWN:
            name = next((known for known in self.table.named if clean(known) == name), name)  # as controllers give it
        if name not in self.table.named and name != OWN:
            name = " ".join(split_listed(name)).strip() or name
        if problem := self.table.problem(name):
            self.error = f"{self.kind}: {problem}"
            raise Refused(self.error)
        if name == self.wanted:
            return
        self.cancel()
        self.error = ""
        if name == self.name:
            return
        if name == OWN and self.table.own is None:
            self.config = None
            self._play(None, name, now)
        else:
            log.info("%s %s: opening beside %s", self.kind, name, self.runner.label if self.runner else "nothing")
            self._opening = _Opening(name, self.table, self._build, now)

    def cancel(self) -> None:
        """Give up a change that has not begun to fade."""
        if self._opening is not None:
            self._retire(self._opening.give_up())
            self._opening = None

    def step(self, now: float) -> str:
        """Take the next step of a change; return why it has failed now, or "". Call this once a tick."""
        self._stopping = [runner for runner in self._stopping if not runner.join(0.0)]
        if self._old is not None:
            self._step_fade(now)
        elif self._opening is not None:
            return self._step_opening(self._opening, now)
        elif self.runner is not None:
            self._replace_stuck(self.runner, now)
        return ""

    def _replace_stuck(self, runner: SourceRunner, now: float) -> None:
        """Open the source that plays once more, beside itself, if a driver or a file server holds its thread."""
        if not runner.is_stuck:
            self._reopen_at, self._reopen_pause = -math.inf, REOPEN_PAUSE
        elif now >= self._reopen_at and len(self._stopping) < MAX_STUCK:
            self._reopen_at, self._reopen_pause = now + self._reopen_pause, min(2 * self._reopen_pause,
                                                                               MAX_REOPEN_PAUSE)
            log.warning("%s %s: it does not answer; it is opened once more", self.kind, runner.label)
            self.error = ""
            self._opening = _Opening(self.name, self.table, self._build, now)

    def _step_opening(self, opening: _Opening, now: float) -> str:
        if opening.runner is not None and opening.runner.newest is not None:
            self._opening, self.config = None, opening.config
            self._play(opening.runner, opening.name, now)
        elif problem := opening.problem(now):
            self.error = f"{self.kind} {opening.name}: {problem}"
            log.warning("%s; %s keeps playing", self.error, self.runner.label if self.runner else "no source")
            self.cancel()
            return self.error
        return ""

    def _play(self, runner: SourceRunner | None, name: str, now: float) -> None:
        """Begin the fade to another source; cut where a frame to fade between is missing, or no longer shown."""
        log.info("%s %s: playing", self.kind, name)
        self._retire(self._old)
        if (self.age(now) or 0.0) >= self._lost_after:
            self._retire(self.runner)
            self.runner = None
        self._old, self.runner, self.name, self._fade_started, self._mixed = self.runner, runner, name, now, None
        self._step_fade(now)

    def _step_fade(self, now: float) -> None:
        old = self._old.newest if self._old else None
        new = self.runner.newest if self.runner else None
        position = (now - self._fade_started) / self.seconds if self.seconds > 0 else 1.0
        if old is None or new is None or position >= 1.0:
            self._retire(self._old)
            self._old = self._mixed = None
        else:
            self._mixed = Frame(blend(old.pixels, new.pixels, position), new.number, new.time)

    def _retire(self, runner: SourceRunner | None) -> None:
        if runner is not None:
            runner.stop()
            self._stopping.append(runner)
