"""MIDI: faders, knobs, keys and pads set parameters; the lamps, rings and motors of the devices show the values.

    midi:
      devices:                                   # the devices; default: all
        - {name: "nanoKONTROL*", map: nanokontrol2}     # a ready map, in addition to or instead of own lines
      map:                                       # what the controls do
        - {cc: 0, to: strength, range: [0.2, 0.9], curve: exp}
        - {note: 36, to: freeze, button: toggle}
        - {note: 40, command: panic}
      banks:                                     # further lines, of which one bank is active at a time
        one: [{cc: 1, to: mix}]
        two: [{cc: 1, to: blend}]
      clock: true                                # follow MIDI clock

binding.py lists the keys of a line. If a device is disconnected, its values stay. When it is connected again, it is
found by its name, and its indicators are updated. Without python-rtmidi or without MIDI on the machine, there is one
line in the log, and the show runs without MIDI.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from lcm_daemon.controllers.base import Controller
from lcm_daemon.controllers.midi.clock import CLOCK_MESSAGES, MidiClock
from lcm_daemon.controllers.midi.device import MidiDevice
from lcm_daemon.controllers.midi.feedback import FeedbackQueue
from lcm_daemon.controllers.midi.mapping import MAP_FIELDS, READY_MAP, build_map
from lcm_daemon.controllers.midi.pending_values import PendingValues
from lcm_daemon.controllers.midi.ports import BACKENDS, MidiBackend, MidiPorts, RtMidi
from lcm_daemon.core.control_state import ControlState
from lcm_daemon.core.requests import Change
from lcm_daemon.core.schema import Boolean, Choice, Field, Fields, Items, Section, Text, nearest
from lcm_daemon.core.tempo import ExternalTempo

if TYPE_CHECKING:
    from mido import Message

log = logging.getLogger(__name__)

MAX_WAITING = 4096  # messages that wait for the event loop; further ones replace the oldest
MESSAGES_PER_TURN = 256  # handled before the loop's other work runs
ANY_DEVICE = "*"
CLOCK_ORIGIN = "midi/clock"  # origin of the tempo
REFRESH_DELAY = 0.4  # seconds after which a new device gets all feedback again: at first it may not listen yet

_DEVICE_FIELDS: Fields = {
    "name": Field(Text(), help="name of the device, or a pattern such as nanoKONTROL*"),
    "map": Field(READY_MAP, None, "ready map for the device"),
}


class Midi(Controller):
    """The MIDI controller. It keeps the tempo of MIDI clock as "tempo" for the stage."""

    fields: ClassVar[Fields] = {
        "devices": Field(Items(Section(_DEVICE_FIELDS)), (), "devices by name pattern, with or without a ready map"),
        **MAP_FIELDS,
        "clock": Field(Boolean(), False, "follow MIDI clock, start and stop"),
        "backend": Field(Choice(tuple(BACKENDS)), "auto", "MIDI system; use jack on a machine without a sound card"),
    }

    def __init__(self, controls: ControlState, options: Mapping[str, Any],
                 connect: Callable[[], MidiBackend] | None = None) -> None:
        super().__init__(controls, options)
        self._connect = connect or functools.partial(RtMidi, self.options["backend"], self.options["clock"])
        self._values = PendingValues(controls)
        devices: Sequence[Mapping[str, Any]] = self.options["devices"] or ({"name": ANY_DEVICE, "map": None},)
        self._patterns = [str(device["name"]) for device in devices]
        self.devices = [self._build_device(i, device["name"], device.get("map")) for i, device in enumerate(devices)]
        kept = controls.kept.get("tempo")
        self._clock = MidiClock(kept.tempo if kept and kept.origin == CLOCK_ORIGIN else None)
        self._arrived: deque[tuple[int, float, Message]] = deque(maxlen=MAX_WAITING)
        self._scheduled = False  # whether the loop will handle what has arrived
        self._ports: MidiPorts | None = None

    def _build_device(self, device: int, pattern: str, ready: str | None) -> MidiDevice:
        name = pattern.rstrip("* ") or "any"
        midi_map = build_map(name, ready, self.options["map"], self.options["banks"])
        return MidiDevice(name, midi_map, self.controls, self._values, lambda: self._refresh(device))

    async def start(self) -> None:
        """Start looking for the devices. A machine without MIDI is only logged."""
        if self._ports is not None:
            return
        self._loop = asyncio.get_running_loop()
        self._ports = MidiPorts(
            self._patterns, self._connect, self._on_message, self._on_ports, self.controls.metrics)
        self._feedback = FeedbackQueue(self._ports.send)
        self._unsubscribe_controls = self.controls.subscribe(on_changes=self._on_changes, on_table=self._on_table)
        self._warn_of_unknown_targets()
        self._ports.start()

    async def stop(self) -> None:
        if self._ports is None:
            return
        ports, self._ports = self._ports, None
        self._unsubscribe_controls()
        self._feedback.close()
        await asyncio.to_thread(ports.stop)

    def _warn_of_unknown_targets(self) -> None:
        """Log lines without a target. A parameter may come with another recipe, so this is not an error."""
        for binding in {binding for device in self.devices for binding in device.map.all_bindings()}:
            if binding.to and binding.to not in self.controls.table:
                log.warning("MIDI: %s does nothing now: the recipe has no parameter %r%s",
                            binding, binding.to, nearest(binding.to, self.controls.table))
            if binding.command:
                refusal = self.controls.refusal(binding.command, binding.arguments)
                if refusal:
                    log.warning("MIDI: %s cannot run its command: %s", binding, refusal)

    # In the threads of the ports

    def _on_message(self, device: int, port: str, time: float, message: Message) -> None:
        if len(self._arrived) == MAX_WAITING:
            self.controls.metrics.count("midi/dropped")
        self._arrived.append((device, time, message))
        if not self._scheduled:
            self._scheduled = True
            self._call_on_loop(self._handle_arrived)

    def _on_ports(self, device: int, inputs: Sequence[str], outputs: Sequence[str]) -> None:
        self._call_on_loop(self._on_device_ports, device, inputs, outputs)

    def _call_on_loop(self, act: Callable[..., None], *arguments: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(act, *arguments)
        except RuntimeError:  # the loop is closed: the desk is ending
            self._scheduled = False

    # On the event loop

    def _handle_arrived(self) -> None:
        """Handle the messages of one turn; the rest follows after the loop's other work."""
        self._scheduled = False
        for _ in range(min(len(self._arrived), MESSAGES_PER_TURN)):
            device, time, message = self._arrived.popleft()
            if message.type in CLOCK_MESSAGES:
                self._on_clock(message, time)
            else:
                self.devices[device].receive(message)
        if self._arrived and not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._handle_arrived)

    def _on_clock(self, message: Message, time: float) -> None:
        if self.options["clock"] and self._clock.receive(message, time):
            self.controls.keep_for_restart("tempo", ExternalTempo(self._clock.tempo, CLOCK_ORIGIN))

    def _on_device_ports(self, device: int, inputs: Sequence[str], outputs: Sequence[str]) -> None:
        if self._ports is None:
            return
        one = self.devices[device]
        if self._patterns[device] == ANY_DEVICE:
            one.name = inputs[0].partition(":")[0] if len(inputs) == 1 else "any"
        ports = ", ".join(sorted({*inputs, *outputs}))
        if ports:
            log.info("MIDI: device %s connected: %s", one.name, ports)
        else:
            log.info("MIDI: device %s disconnected; its values stay", one.name)
        one.reset()
        if outputs:
            self._refresh(device)
            self._loop.call_later(REFRESH_DELAY, self._refresh, device)

    def _refresh(self, device: int) -> None:
        """Send all feedback to a device."""
        if self._ports is not None:
            self._feedback.add(device, self.devices[device].all_indicators())

    def _on_changes(self, changes: list[Change]) -> None:
        self._values.on_changes(changes)
        for number, device in enumerate(self.devices):
            self._feedback.add(number, device.on_changes(changes))

    def _on_table(self) -> None:
        self._values.clear()
        for number, device in enumerate(self.devices):
            device.release_faders()
            self._refresh(number)
