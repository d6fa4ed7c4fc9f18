"""A controller of a plugin that fails is one line in the log; the others are made and start."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from lcm_daemon.controllers import CONTROLLERS
from lcm_daemon.core import plugins
from lcm_daemon.core.control_state import ControlState
from lcm_daemon.core.metrics import Metrics
from lcm_daemon.core.parameter_table import TABLE
from lcm_daemon.core.requests import commands
from lcm_daemon.desk.plugin_controllers import build_controllers
from tests.rigs.plugins import install

CODE = """
from lcm_daemon.controllers.base import Controller
class Good(Controller):
    running = False
    async def start(self): self.running = True
    async def stop(self): self.running = False
class Late(Good):
    async def start(self): raise OSError("the port is in use")
class Never(Good):
    def __init__(self, controls, options): raise KeyError("box")
"""


def test_one_that_fails_leaves_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
) -> None:
    install(tmp_path, "a-pack", "2", {"lcm_daemon.controllers": {
        "never": "some_boxes:Never", "late": "some_boxes:Late", "good": "some_boxes:Good", "gone": "no_boxes:Box"}},
        {"some_boxes": CODE})
    monkeypatch.syspath_prepend(tmp_path)
    plugins.declared.cache_clear()
    monkeypatch.setattr(CONTROLLERS, "_found", None)
    values = {name: parameter.default for name, parameter in TABLE.items()}
    controls = ControlState(TABLE, values, Metrics(), lambda: None, commands([]))
    with caplog.at_level(logging.ERROR):
        made = list(build_controllers(controls, {name: {} for name in ("never", "late", "gone", "good", "midi")}))

        async def start() -> None:
            for each in made[:2]:
                await each.start()
                await each.stop()

        asyncio.run(start())
    plugins.declared.cache_clear()
    assert len(made) == 3
    lines = [record.getMessage() for record in caplog.records]
    assert lines == [
        "the controller never of a-pack 2 does not work: KeyError: 'box'",
        "the controller gone of a-pack 2 does not work: ModuleNotFoundError: No module named 'no_boxes'",
        "the controller late of a-pack 2 does not work: OSError: the port is in use"]
