"""Spare: a process with its libraries imported, which waits to become the next engine. Engines of a show share it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from lcm_daemon.core.metrics import Metrics
from lcm_daemon.pipelines.base import DeviceMemory
from lcm_daemon.processes.channel import CLOSED
from lcm_daemon.processes.child import Child
from lcm_daemon.processes.protocol import Failed, Ready
from lcm_daemon.processes.supervisor import Reaper
from lcm_daemon.recipes.recipe import Recipe
from lcm_daemon.render.engine import LoadRecipe
from lcm_daemon.render.policy import lacks

log = logging.getLogger(__name__)

PAUSE = 5.0  # seconds between two tries to start a spare


class Spare:
    """At most one waiting process.

    Args:
        loads: Let it load a recipe too, so that it takes over within a frame; twice the memory.
    """

    def __init__(self, metrics: Metrics, loads: bool = False) -> None:
        self.metrics, self.loads = metrics, loads
        self.child: Child | None = None
        self.warm = False  # it has imported its libraries; until then a new process is quicker
        self.recipe: Recipe | None = None  # what it loads; None while it waits for that
        self.loaded: Ready | None = None  # that it has loaded
        self._reaper = Reaper()
        self._tried_at = -PAUSE

    @property
    def gone(self) -> bool:
        """Whether no process is left after `drop`."""
        self._reaper.reap()
        return self.child is None and not len(self._reaper)

    def waitables(self) -> list[Any]:
        return [self.child.channel.pipe] if self.child is not None else []

    def keep(self, now: float, recipe: Recipe, memory: DeviceMemory | None, spawn: Callable[[], Child]) -> None:
        """Start the process if there is none, and let it load if it is to.

        Args:
            now: Monotonic seconds.
            recipe: What an engine renders that it may have to replace.
            memory: Of that engine's device; None where nothing is known.
            spawn: Starts the process; raises OSError where the system has no room.
        """
        if self.child is None and now >= self._tried_at + PAUSE:
            self._tried_at = now  # one that cannot start, or dies at once, is not tried in every tick
            try:
                self.child, self.warm = spawn(), False
            except OSError as error:
                log.warning("engine: no spare can be started: %s", error)
        if self.child is not None and self.loads and self.warm and self.recipe is None and not lacks(memory):
            self.recipe = recipe
            self.child.channel.send_without_credit(LoadRecipe(recipe, beside=True))

    def read(self) -> None:
        """Read its messages."""
        self._reaper.reap()
        if self.child is None:
            return
        try:
            messages = self.child.channel.receive()
        except CLOSED:
            self.metrics.count("engine/spare_died")
            self.drop()
            return
        for message in messages:
            if isinstance(message, Ready):
                self.loaded = message
            elif isinstance(message, Failed):
                log.warning("engine: the spare cannot load %s: %s", self.recipe.name if self.recipe else "",
                            message.text)
                self.loads = False  # one that only waits is kept
                self.drop()
                return
        self.warm = self.warm or bool(messages)

    def pop(self) -> Child | None:
        """Give it to an engine that loads; None if there is none that is alive and warm."""
        if self.recipe is not None:  # it cannot load another one; what it has loaded only takes memory
            self.drop()
        if self.child is None or not self.warm or not self.child.process.is_alive():
            return None
        child, self.child = self.child, None
        return child

    def pop_loaded(self, recipe: Recipe) -> tuple[Child, Ready | None] | None:
        """Give it to an engine of a recipe that it has loaded, or is loading: then without `Ready`."""
        child, loaded = self.child, self.loaded
        if child is None or self.recipe != recipe or not child.process.is_alive():
            return None
        self.child, self.recipe, self.loaded = None, None, None
        return child, loaded

    def drop(self, seconds: float = 0.0) -> None:
        """Kill the process, and wait up to `seconds` for its end."""
        if self.child is not None:
            self._reaper.kill(self.child)
            self._reaper.reap(seconds)
        self.child, self.recipe, self.loaded = None, None, None
