"""Desk: the child process of the controllers (OSC, panel), away from the tick."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lcm_daemon import controllers
from lcm_daemon.core.control_state import ControlState
from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.core.frame import Frame
from lcm_daemon.core.metrics import Metrics
from lcm_daemon.core.parameters import Table, Value
from lcm_daemon.core.requests import Change, ParameterState, RequestQueue, commands
from lcm_daemon.processes.bootstrap import begin_child
from lcm_daemon.processes.channel import ChildChannel, ChildEndpoint
from lcm_daemon.processes.protocol import Credit, Failed, FrameRequest, FrameResult, Ready

log = logging.getLogger(__name__)

FLUSH = 0.002  # seconds between two hand-overs to the stage: a flood becomes 500 messages a second


@dataclass(frozen=True)
class DeskUpdate:
    """Stage to desk, on `Want`: what changed since the last time, and now and then the status."""

    changes: list[Change]
    status: Mapping[str, Value] | None = None
    live: Mapping[str, ParameterState] | None = None  # with the status: every parameter, and who set it
    table: Table | None = None  # the parameters from now on, with the values of all, where they are others
    values: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True)
class DeskRequests:
    """Desk to stage: what the controllers ask for, the desk's own counters, and what a later desk should know."""

    pending: RequestQueue
    counts: Mapping[str, int]
    kept: Mapping[str, Any]


@dataclass(frozen=True)
class DeskConfig:
    """All that a desk is started with. `options` by controller name; one left out is switched off."""

    show: str
    table: Table
    values: Mapping[str, Value]
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    recipes: tuple[str, ...] = ()  # the names that can be changed to
    kept: Mapping[str, Any] = field(default_factory=dict)  # what the desk before this one left
    browser_source: str = ""  # name of the show's browser source; empty if it has none


def run(arguments: ChildEndpoint, setup: DeskConfig, level: int) -> None:
    """The process: open every controller, then carry changes both ways until the stage is gone."""
    begin_child(level)
    port = ChildChannel(arguments)
    try:
        asyncio.run(Desk(port, setup).run())
    except LcmDaemonError as error:
        port.say(Failed(str(error)))
    except Exception as error:  # the top of the desk's loop: say it, and let a fresh desk take over
        log.exception("the desk failed")
        port.say(Failed(f"{type(error).__name__}: {error}".splitlines()[0]))
    finally:
        port.close()


class Desk:
    """One event loop for every controller, one thread that listens to the stage."""

    def __init__(self, port: ChildChannel, setup: DeskConfig) -> None:
        self.metrics = Metrics()
        self.controls = ControlState(setup.table, setup.values, self.metrics, self._wake, commands(setup.recipes))
        self.controls.show, self.controls.kept = setup.show, dict(setup.kept)
        self.controls.browser_source = setup.browser_source
        self._port = port
        self._controllers = [controllers.load(name)(self.controls, options) for name, options in setup.options.items()]
        self._flush: asyncio.TimerHandle | None = None
        self._flushed = 0.0

    async def run(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._gone = asyncio.Event()
        try:
            for controller in self._controllers:
                await controller.start()
            self._port.say(Ready())
            threading.Thread(target=self._listen, name="listen", daemon=True).start()
            for _ in range(2):  # one for news, one for a picture
                self._port.say(Credit())
            await self._gone.wait()
        finally:
            await asyncio.gather(*(c.stop() for c in self._controllers), return_exceptions=True)

    def _listen(self) -> None:
        while (message := self._port.receive()) is not None:
            self._loop.call_soon_threadsafe(self._take, message)
        self._loop.call_soon_threadsafe(self._gone.set)

    def _take(self, message: FrameRequest | DeskUpdate) -> None:
        try:
            if isinstance(message, FrameRequest):
                self.controls.frame = Frame(self._port.slots.taken[message.slot].copy(), message.number, message.time)
                self._port.say(FrameResult(message.slot, message.number, message.time))
            else:
                if message.table is not None:
                    self.controls.replace_table(message.table, message.values)
                self.controls.apply_update(message.changes, message.status, message.live)
                if message.status is not None:
                    self._wake()  # the stage's status is due soon, and the desk's counters belong in it
        finally:
            self._port.say(Credit())  # a listener that failed must not leave the desk deaf

    def _wake(self) -> None:
        """The board has something for the stage: send it at once, or shortly if much is coming."""
        if self._flush is None:
            delay = max(0.0, self._flushed + FLUSH - self._loop.time())
            self._flush = self._loop.call_later(delay, self._hand_over)

    def _hand_over(self) -> None:
        self._flush, self._flushed = None, self._loop.time()
        self._port.say(DeskRequests(self.controls.pop_requests(), self.metrics.counts(), self.controls.kept))
