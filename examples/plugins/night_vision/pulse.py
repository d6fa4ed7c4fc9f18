"""Controller `pulse`: sets a parameter to 0 and to 1 by turns."""

from __future__ import annotations

import asyncio
import contextlib
import itertools

from lcm_daemon.controllers.base import Controller
from lcm_daemon.core.schema import Field, Number, Text


class Pulse(Controller):
    fields = {
        "parameter": Field(Text(), "mix", "the parameter that it sets"),
        "seconds": Field(Number(0.1, 60), 1.0, "how long each value is kept"),
    }
    _task = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _run(self) -> None:
        for value in itertools.cycle((0.0, 1.0)):
            self.controls.set(self.options["parameter"], value, origin="pulse")
            await asyncio.sleep(self.options["seconds"])
