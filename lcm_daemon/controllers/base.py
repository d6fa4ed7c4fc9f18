"""Base class of the controllers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from lcm_daemon.core.control_state import ControlState
from lcm_daemon.core.schema import Choice, Field, Fields, complete_options

LIVE = "live"
REPORT = Field(
    Choice(("target", LIVE)), "target",
    "what is sent while a value fades: what it was set to, or `live` the value in force, 20 times a second")


class Controller(ABC):
    """One protocol in the desk process (OSC, MIDI, ...). It runs on the desk's event loop and uses its ControlState.

    A controller that fails to start raises LcmDaemonError; the other controllers keep running.
    """

    on_by_default: ClassVar[bool] = False  # whether a show has this controller without naming it
    fields: ClassVar[Fields] = {}  # the controller's keys in a show file

    def __init__(self, controls: ControlState, options: Mapping[str, Any]) -> None:
        """Check the options and add the defaults.

        Args:
            controls: Control state of the show.
            options: Values by key of `fields`; missing keys get their default.

        Raises:
            ValueError: An option is not in `fields`.
        """
        self.controls = controls
        self.options = complete_options(type(self).__name__, options, self.fields)

    @abstractmethod
    async def start(self) -> None:
        """Open ports or devices and start listening. Raises LcmDaemonError, for example if a port is in use."""

    @abstractmethod
    async def stop(self) -> None:
        """Close ports and devices. Safe to call at any time, also twice."""
