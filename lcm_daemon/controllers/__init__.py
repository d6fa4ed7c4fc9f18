"""The controllers by name. Importing a controller opens nothing; its `start` does."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, Protocol

from lcm_daemon.controllers.base import Controller
from lcm_daemon.core.control_state import ControlState
from lcm_daemon.core.schema import Fields

CONTROLLERS: Mapping[str, str] = {
    "midi": "lcm_daemon.controllers.midi.controller:Midi",
    "osc": "lcm_daemon.controllers.osc.controller:Osc",
    "oscquery": "lcm_daemon.controllers.oscquery.controller:OscQuery",
    "tempo": "lcm_daemon.controllers.ableton_link:AbletonLink",
    "panel": "lcm_daemon.controllers.panel.controller:Panel",
}


class ControllerType(Protocol):
    """A controller's class: its keys in a show file, and its constructor."""

    fields: Fields
    on_by_default: bool

    def __call__(self, controls: ControlState, options: Mapping[str, Any]) -> Controller: ...


def load(name: str) -> ControllerType:
    """Import and return the class of a controller. Raises KeyError if CONTROLLERS does not have the name."""
    module, _, attribute = CONTROLLERS[name].partition(":")
    kind: ControllerType = getattr(importlib.import_module(module), attribute)
    return kind
