"""`lcm-daemon midi monitor`: prints every incoming MIDI message."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from lcm_daemon.commands.midi_inputs import MidiInputs, MidiMessage, PortsChanged
from lcm_daemon.commands.midi_list import backend_opener
from lcm_daemon.commands.output import PrintLine, print_line
from lcm_daemon.controllers.midi.messages import ControlEvent, MessageDecoder
from lcm_daemon.controllers.midi.ports import MidiBackend
from lcm_daemon.controllers.midi.show_control import MMC, MSC

if TYPE_CHECKING:
    from mido import Message

CONTROLS: Mapping[int, str] = {MSC: "MIDI Show Control", MMC: "MIDI Machine Control"}


def monitor(
    backend: str = "auto", connect: Callable[[], MidiBackend] | None = None,
    print_line: PrintLine = print_line,
) -> int:
    """Print every message until Ctrl-C. Return the exit code.

    Args:
        backend: name of the MIDI system.
        connect: opens the MIDI system in place of `backend`.
        print_line: receives the output.

    Raises:
        LcmDaemonError: MIDI is not available, or the backend is unknown.
    """
    opener = connect or backend_opener(backend, sysex=True)
    decoders: dict[str, MessageDecoder] = {}
    connected: tuple[str, ...] | None = None
    with MidiInputs(opener) as inputs:
        print_line("MIDI messages; press Ctrl-C to end")
        try:
            while True:
                event = inputs.events.get()
                if isinstance(event, MidiMessage):
                    decoder = decoders.setdefault(event.port, MessageDecoder(nrpn=True, rpn=True))
                    print_line(f"{event.port}: {describe(event.message, decoder)}")
                elif isinstance(event, PortsChanged) and event.inputs != connected:
                    connected = event.inputs
                    print_line("devices: " + (", ".join(connected) or "none"))
        except KeyboardInterrupt:
            return 0


def describe(message: Message, decoder: MessageDecoder) -> str:
    """Return a message in words, and its bytes in hexadecimal."""
    event = decoder.decode(message)
    words = "part of an NRPN" if message.is_cc() else message.type.replace("_", " ")
    if message.type == "sysex" and len(message.data) > 2:
        words = CONTROLS.get(message.data[2], words)
    if event is not None:
        words = f"{event.control}, channel {event.control.channel}: {_movement(event)}"
    return f"{words}   ({message.hex().lower()})"


def _movement(event: ControlEvent) -> str:
    if event.step:
        return "up" if event.step > 0 else "down"
    return f"{event.raw} of {event.top}"
