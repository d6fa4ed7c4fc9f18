"""A show's desk in this process: the real Desk with every controller that the show has, and a stage at its other end.

The stage is Parameters and Automation as the real one has them, without engine and ends. MIDI is a stand-in device.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any, cast
from unittest import mock

from lcm_daemon.automation.automation import Automation
from lcm_daemon.controllers.midi import controller
from lcm_daemon.core.live_values import Parameters
from lcm_daemon.core.parameters import Parameter, Table, Value, table_of
from lcm_daemon.core.requests import Change, CommandRequest, RequestQueue
from lcm_daemon.desk.desk import Desk, DeskConfig, DeskRequests, DeskUpdate
from lcm_daemon.processes.channel import ChildChannel
from lcm_daemon.processes.protocol import Ready
from lcm_daemon.shows.reader import load_show
from tests.rigs.midi import Plugboard

PATIENCE = 10.0  # seconds, only ever spent where a test fails


class Stage:
    """The desk's other end. Its clock, `now`, stands still unless the test moves it."""

    def __init__(self, file: Path, more: Sequence[Parameter] = ()) -> None:
        self.show = load_show(file)
        self.table: Table = {**self.show.table(self.show.recipe), **table_of(more)}
        self.parameters = Parameters(self.table, self.show.start_values(self.show.recipe))
        self.automation = Automation(self.show.cues, self.show.modulators, self.parameters, lambda recipe: None)
        self.now = 0.0
        self.calls: list[CommandRequest] = []
        self.changes: list[Change] = []  # as they were told
        self.status: dict[str, Value] = {}  # told with that of the automation
        self.lists: dict[str, Any] = {}  # the same
        self.midi = Plugboard("Pad")
        self.ready = asyncio.Event()
        self._mail: queue.Queue[DeskUpdate | None] = queue.Queue()

    @property
    def values(self) -> dict[str, Value]:
        return self.parameters.targets()

    def config(self) -> DeskConfig:
        return DeskConfig(self.show.name, self.table, self.values, self.show.desk_options, tuple(self.show.catalogue()))

    def move(self, name: str, value: Value) -> None:
        """Somebody moves a parameter who is no controller."""
        self._tell([Change(name, self.parameters.set(name, value, self.now), "test")])

    def step(self) -> None:
        """Begin the cues that are due."""
        self._tell(self.automation.update(self.now, None))

    def receive(self) -> DeskUpdate | None:
        """The desk's end of the pipe: the next message, None at the end."""
        return self._mail.get()

    def send(self, message: Any) -> None:
        """The desk's end of the pipe."""
        if isinstance(message, Ready):
            self.ready.set()
            self._tell([])
        elif isinstance(message, DeskRequests) and message.queue:
            self._obey(message.queue)

    def close(self) -> None:
        self._mail.put(None)

    def _obey(self, pending: RequestQueue) -> None:
        done: list[Change] = []
        for step in pending:
            if isinstance(step, Change):
                value = self.parameters.set(step.name, step.value, self.now)
                done.append(Change(step.name, value, step.origin))
            elif step.name not in ("panic", "recipe", "size"):
                done += self.automation.execute(step, self.now)
        self.calls += pending.commands
        self._tell([*done, *self.automation.update(self.now, None)])

    def _tell(self, changes: list[Change]) -> None:
        self.changes += changes
        lists = {"looks": self.automation.editor.rows(), **self.automation.bank.lists(), **self.lists}
        self._mail.put(DeskUpdate(changes, {**self.automation.status(self.now), **self.status}, lists=lists))


@contextlib.asynccontextmanager
async def running(file: Path, more: Sequence[Parameter] = ()) -> AsyncIterator[Stage]:
    """The desk of a show with `more` parameters; its MIDI device is plugged in."""
    stage = Stage(file, more)
    with mock.patch.object(controller, "RtMidi", return_value=stage.midi):
        desk = asyncio.create_task(Desk(cast(ChildChannel, stage), stage.config()).run())
        waiting = asyncio.create_task(stage.ready.wait())
        await asyncio.wait({desk, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if desk.done():
            waiting.cancel()
            await desk
        try:
            yield stage
        finally:
            stage.close()
            await desk


async def until(condition: Callable[[], Any], seconds: float = PATIENCE) -> bool:
    """Wait for a condition that other tasks bring about; whether they did."""
    end = time.perf_counter() + seconds
    while not condition():
        if time.perf_counter() > end:
            return False
        await asyncio.sleep(0.002)
    return True
