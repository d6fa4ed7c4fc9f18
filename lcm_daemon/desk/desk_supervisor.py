"""DeskSupervisor: keeps one desk open, and collects what it should hear."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.core.frame import Frame, Size
from lcm_daemon.core.metrics import Metrics
from lcm_daemon.core.parameters import Table, Value
from lcm_daemon.core.requests import Change, ParameterState, RequestQueue
from lcm_daemon.desk import desk
from lcm_daemon.processes.channel import CLOSED
from lcm_daemon.processes.child import Child, Reaper, RestartLimit
from lcm_daemon.processes.protocol import Failed, FrameResult, Ready

log = logging.getLogger(__name__)

SILENCE = 5.0  # seconds in which a desk asks for nothing more, after which it is replaced
START = 30.0  # seconds a desk may take to open
PAUSE = 5.0  # seconds before another try, once three desks in a minute have failed


class DeskSupervisor:
    """One desk after another; the values live in the stage, so a new desk only has to be told them."""

    def __init__(self, setup: desk.DeskConfig, size: Size, metrics: Metrics) -> None:
        self.metrics = metrics
        self.child: Child | None = None
        self.ready = False
        self.error = ""
        self.counts: Mapping[str, int] = {}
        self.kept: Mapping[str, Any] = {}  # what the controllers left for a later desk, and for the stage
        self._setup, self._size = setup, size
        self._changes: dict[str, Change] = {}
        self._status: Mapping[str, Value] | None = None
        self._live: Mapping[str, ParameterState] | None = None
        self._table: Table | None = None  # what the desk must still be told
        self._begun = 0.0
        self._listened_at: float | None = 0.0  # when the desk last was ready for more; None: it has only just opened
        self._counts_before: dict[str, int] = {}  # what the desks before this one had counted
        self._wait_until = 0.0
        self._restarts = RestartLimit()
        self._reaper = Reaper()

    @property
    def pid(self) -> int:
        """The desk's process; 0 while there is none."""
        return (self.child.pid if self.child else 0) or 0

    def start(self, values: Mapping[str, Value], now: float) -> None:
        """Open a desk that knows the present values."""
        setup = replace(self._setup, values=dict(values), kept=self.kept)
        self.child = Child("lcm-desk", desk.run, self._size, setup, logging.getLogger().level)
        self.ready, self._begun, self._listened_at = False, now, now
        self._table = None

    def _restart(self, values: Mapping[str, Value], now: float) -> None:
        try:
            self.start(values, now)
        except OSError as error:
            log.warning("no desk can be started: %s", error)
            self._wait_until = now + PAUSE

    def open(self, values: Mapping[str, Value], now: float) -> None:
        """Start the first desk and wait until it listens; raise LcmDaemonError (a port in use, say) if it cannot."""
        try:
            self.start(values, now)
        except OSError as error:
            raise LcmDaemonError(f"the desk (OSC, panel) cannot be started: {error}") from error
        while not self.ready:
            if self.child is None or not self._speaks(self.child):
                raise LcmDaemonError("the desk (OSC, panel) did not start")
            self._hear(self.child, now)
            if self.error:
                raise LcmDaemonError(self.error)

    def _speaks(self, child: Child) -> bool:
        """Wait for the desk's first word, or its end."""
        try:
            return child.link.pipe.poll(START)
        except InterruptedError:  # Ctrl-C on Windows: the signal's handler has seen to it
            return True
        except CLOSED:
            return True  # `_hear` meets the same end, after its last words

    def waitables(self) -> list[Any]:
        return [self.child.link.pipe] if self.child is not None else []

    def step(self, values: Mapping[str, Value], now: float) -> list[RequestQueue]:
        """Hear what the controllers ask for, pass on the news, replace a desk that died or hangs."""
        self._reaper.visit()
        if self.child is None:
            if now >= self._wait_until:
                self._restart(values, now)
            return []
        asked = self._hear(self.child, now)
        if self._listened_at is None or (self.child is not None and self.child.link.listens):
            self._listened_at = now
        if self.child is not None and self._overdue(now):
            self._replace("does not answer", now)
        self._pass_on(values)
        return asked

    def tell(
        self, changes: list[Change], status: Mapping[str, Value] | None = None,
        live: Mapping[str, ParameterState] | None = None,
    ) -> None:
        """Keep news for the desk; of several changes of one parameter the newest counts."""
        self._changes.update({change.name: change for change in changes})
        self._status = status if status is not None else self._status
        self._live = live if live is not None else self._live

    def adopt(self, table: Table) -> None:
        """The show's parameters are others from now on."""
        self._setup, self._table = replace(self._setup, table=table), table

    def show(self, frame: Frame, now: float) -> None:
        """Hand over a picture for the preview, if the desk wants one."""
        if self.ready and self.child is not None:
            try:
                self.child.link.submit(frame, {}, now)
            except CLOSED:
                return  # `step` sees the same closed pipe

    def stop(self, seconds: float = 1.0) -> None:
        if self.child is not None:
            self._reaper.bury(self.child)
        self.child = None
        self._reaper.visit(seconds)

    def _pass_on(self, values: Mapping[str, Value]) -> None:
        if not self.ready or self.child is None or not (self._changes or self._status or self._table):
            return
        told = dict(values) if self._table else {}
        news = desk.DeskUpdate(list(self._changes.values()), self._status, self._live, self._table, told)
        try:
            if self.child.link.send(news):
                self._changes, self._status, self._live, self._table = {}, None, None, None
        except CLOSED:
            return

    def _hear(self, child: Child, now: float) -> list[RequestQueue]:
        asked: list[RequestQueue] = []
        try:
            messages = child.link.receive()
        except CLOSED:
            self._replace("died", now)
            return asked
        for message in messages:
            if isinstance(message, desk.DeskRequests):
                asked.append(message.pending)
                self.kept = message.kept
                self.counts = {p: n + self._counts_before.get(p, 0) for p, n in message.counts.items()}
            elif isinstance(message, FrameResult):
                child.link.release(message)
            elif isinstance(message, Ready):
                self.ready, self.error, self._listened_at = True, "", None  # its first wants may come a moment later
            elif isinstance(message, Failed):
                self.error = message.text
        return asked

    def _overdue(self, now: float) -> bool:
        if self.child is None:
            return False
        if not self.ready:
            return now - self._begun > START
        return self._listened_at is not None and now - self._listened_at > SILENCE

    def _replace(self, reason: str, now: float) -> None:
        log.warning("desk %s: %s", self.child.pid if self.child else None, self.error or reason)
        self.metrics.count("desk/replaced")
        self._counts_before = {**self._counts_before, **self.counts}
        if self.child is not None:
            self._reaper.bury(self.child)
        self.child, self.ready = None, False
        self._wait_until = now if self._restarts.spend(now) else now + PAUSE
