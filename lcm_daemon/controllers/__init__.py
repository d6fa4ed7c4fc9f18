"""The controllers by name. Importing a controller opens nothing; its `start` does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from lcm_daemon.controllers.base import Controller
from lcm_daemon.core.control_state import ControlState
from lcm_daemon.core.plugins import NameTable
from lcm_daemon.core.schema import Fields, are_fields

RESERVED = frozenset((
    "name", "recipe", "recipes", "safety", "accelerate", "source", "guide", "sources", "output", "sinks", "parameters",
    "prompts", "glides", "cues", "cue_list", "modulation", "network", "audience", "resume", "engine", "engines",
    "opening_hours", "log", "crash_reports", "alarms", "care", "memory", "real_time",
))
"""The keys of a show that are not controllers: a controller's name becomes a key beside them."""

CONTROLLERS = NameTable("controller", {
    "dmx": "lcm_daemon.controllers.dmx.controller:Dmx",
    "midi": "lcm_daemon.controllers.midi.controller:Midi",
    "osc": "lcm_daemon.controllers.osc.controller:Osc",
    "oscquery": "lcm_daemon.controllers.oscquery.controller:OscQuery",
    "tempo": "lcm_daemon.controllers.ableton_link:AbletonLink",
    "audio": "lcm_daemon.controllers.audio.controller:Audio",
    "panel": "lcm_daemon.controllers.panel.controller:Panel",
}, RESERVED)


class ControllerType(Protocol):
    """A controller's class: its keys in a show file, and its constructor."""

    fields: Fields
    on_by_default: bool

    def __call__(self, controls: ControlState, options: Mapping[str, Any]) -> Controller: ...


def load(name: str) -> ControllerType:
    """Import and return the class of a controller.

    Raises:
        KeyError: CONTROLLERS does not have the name.
        PluginError: The controller is of a plugin, and cannot be imported.
    """
    kind: ControllerType = CONTROLLERS.load(name, _is_controller, "a class of Controller whose fields are Fields")
    return kind


def _is_controller(part: Any) -> bool:
    return isinstance(part, type) and issubclass(part, Controller) and are_fields(part.fields)
