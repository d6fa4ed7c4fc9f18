"""MidiInputs: the messages of all MIDI inputs and the lines typed on the keyboard, in one queue."""

from __future__ import annotations

import queue
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lcm_daemon.commands.midi_list import open_backend
from lcm_daemon.controllers.midi.port_names import DevicePattern, DevicePort, device_name
from lcm_daemon.controllers.midi.ports import MidiBackend, MidiPorts
from lcm_daemon.core.metrics import Metrics

if TYPE_CHECKING:
    from mido import Message


@dataclass(frozen=True)
class MidiMessage:
    """A message, and the port that it came from. device: index of the pattern that the port matches."""

    port: str
    message: Message
    device: int = 0


@dataclass(frozen=True)
class TypedLine:
    """A line typed on the keyboard. text: None at the end of the input."""

    text: str | None


@dataclass(frozen=True)
class PortsChanged:
    """A device was plugged in or unplugged. inputs: names of the connected inputs."""

    inputs: tuple[str, ...]


InputEvent = MidiMessage | TypedLine | PortsChanged


class MidiInputs:
    """Puts what arrives into `events`, while used as a context manager.

    Args:
        connect: opens the MIDI system.
        patterns: the devices to listen to.

    Raises:
        LcmDaemonError: the MIDI system cannot be opened.
    """

    def __init__(
        self, connect: Callable[[], MidiBackend], patterns: Sequence[DevicePattern] = (DevicePattern("*"),),
    ) -> None:
        open_backend(connect).close()  # raises at once if MIDI is not available
        self.events: queue.Queue[InputEvent] = queue.Queue()
        self.patterns = tuple(patterns)
        self._ports = MidiPorts(patterns, connect, self._on_message, self._on_ports, Metrics())

    def __enter__(self) -> MidiInputs:
        self._ports.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ports.stop()

    def device_key(self, device: int) -> dict[str, str]:
        """Return the key of a map line that limits it to a device of the show. Empty if the show has one device."""
        pattern = self.patterns[device]
        name = device_name(pattern.name, pattern.number) if pattern.number else pattern.name
        return {"device": name} if len(self.patterns) > 1 else {}

    def read_keyboard(self) -> None:
        """Start to read lines from standard input."""
        threading.Thread(target=self._read_lines, name="keyboard", daemon=True).start()

    def _read_lines(self) -> None:
        for line in sys.stdin:
            self.events.put(TypedLine(line.strip()))
        self.events.put(TypedLine(None))

    def _on_message(self, device: int, port: DevicePort, when: float, message: Message) -> None:
        self.events.put(MidiMessage(str(port), message, device))

    def _on_ports(self, device: int, inputs: Sequence[DevicePort], outputs: Sequence[DevicePort]) -> None:
        self.events.put(PortsChanged(tuple(map(str, inputs))))
