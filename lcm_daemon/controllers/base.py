"""Controller: one protocol of the desk (OSC, MIDI, ...). It runs on the desk's event loop and talks to the Board."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from lcm_daemon.core.control_state import ControlState


class Controller(ABC):
    """Starts, listens, answers, stops. One that fails to start raises LcmDaemonError; the others go on."""

    on_by_default: ClassVar[bool] = False  # whether a show that does not name the controller has it

    def __init__(self, controls: ControlState) -> None:
        self.controls = controls

    @abstractmethod
    async def start(self) -> None:
        """Begin to listen; raise LcmDaemonError (a port in use, say) with one clear line."""

    @abstractmethod
    async def stop(self) -> None:
        """Let go of ports and devices. May be called at any time."""
