"""Lamps: the list "activity", from which a page lights its lamps for OSC and MIDI."""

from __future__ import annotations

import asyncio

from lcm_daemon.core.control_state import ControlState

INTERVAL = 0.2  # seconds between two looks
LIST = "activity"


class Lamps:
    """Tells the pages a few times a second what came in over OSC and MIDI."""

    def __init__(self, controls: ControlState) -> None:
        self._controls = controls
        self._counts: dict[str, int] = {}
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="lamps")

    async def stop(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            self.update_list()
            await asyncio.sleep(INTERVAL)

    def update_list(self) -> None:
        """Replace the list if messages have come."""
        inputs = self._controls.activity.inputs
        counts = {name: each.count for name, each in inputs.items()}
        if counts != self._counts:
            self._counts = counts
            self._controls.set_list(LIST, tuple(
                {"name": name, "count": each.count, "last": each.describe()} for name, each in inputs.items()))
