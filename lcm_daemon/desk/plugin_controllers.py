"""The controllers of a show. One of a plugin that fails is reported, and the others go on without it."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import Any

from lcm_daemon import controllers
from lcm_daemon.controllers.base import Controller
from lcm_daemon.core.control_state import ControlState
from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.core.plugins import Plugin, blame

log = logging.getLogger(__name__)


def build_controllers(controls: ControlState, options: Mapping[str, Mapping[str, Any]]) -> Iterator[Controller]:
    """Make each controller that a show has. options: by names in CONTROLLERS, the keys of each section."""
    for name, own in options.items():
        plugin = controllers.CONTROLLERS.plugin(name)
        if plugin is None:
            yield controllers.load(name)(controls, own)
            continue
        try:
            with blame(plugin):
                controller = controllers.load(name)(controls, own)
        except LcmDaemonError as error:
            log.error("%s", error)
        else:
            yield PluginController(plugin, controller)


class PluginController(Controller):
    """A controller of a plugin. Its errors at the start and at the end are reported, and do not end the desk."""

    def __init__(self, plugin: Plugin, controller: Controller) -> None:
        self.controls, self.options = controller.controls, controller.options
        self._plugin, self._controller = plugin, controller

    async def start(self) -> None:
        try:
            with blame(self._plugin):
                await self._controller.start()
        except LcmDaemonError as error:
            log.error("%s", error)

    async def stop(self) -> None:
        try:
            with blame(self._plugin):
                await self._controller.stop()
        except LcmDaemonError as error:
            log.error("%s", error)
