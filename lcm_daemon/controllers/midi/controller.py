"""MIDI: faders, knobs, keys and pads set parameters; the lamps, rings and motors of the devices show the values.

    midi:
      devices:                                   # the devices; default: all
        - {name: "nanoKONTROL*", map: nanokontrol2}     # a ready map, in addition to or instead of own lines
        - {name: Pad, number: 1}                 # of two devices of one kind, each has a number
        - {name: Pad, number: 2}
      map:                                       # what the controls do
        - {cc: 0, to: strength, range: [0.2, 0.9], curve: exp}
        - {note: 36, to: freeze, button: toggle}
        - {note: 40, command: panic}
      banks:                                     # further lines, of which one bank is active at a time
        one: [{cc: 1, to: mix}]
        two: [{cc: 1, to: blend}]
      clock: {device: Drums}                     # follow the MIDI clock of this device; true: of any
      send_clock: [{name: Synth}]                # send MIDI clock at the show's tempo
      timecode: {device: DAW}                    # cues start at the MIDI timecode of this device; true: of any
      show_control: {device_id: 1}               # MIDI Show Control for this number, or true: for any
      machine_control: true                      # MIDI Machine Control
      report: live                               # motor faders follow a fade; target: they go to its end at once

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

from lcm_daemon.controllers.base import LIVE, Controller
from lcm_daemon.controllers.midi.binding import Binding
from lcm_daemon.controllers.midi.clock import CLOCK_MESSAGES, MidiClock
from lcm_daemon.controllers.midi.clock_out import ClockSender
from lcm_daemon.controllers.midi.device import MidiDevice
from lcm_daemon.controllers.midi.feedback import FeedbackQueue
from lcm_daemon.controllers.midi.map_owner import MidiMapOwner
from lcm_daemon.controllers.midi.mapping import MidiMap, build_map
from lcm_daemon.controllers.midi.options import FIELDS
from lcm_daemon.controllers.midi.pending_values import PendingValues
from lcm_daemon.controllers.midi.port_names import DevicePattern, DevicePort, device_name
from lcm_daemon.controllers.midi.ports import MidiBackend, MidiPorts, RtMidi
from lcm_daemon.core.control_state import ControlState
from lcm_daemon.core.parameters import Value
from lcm_daemon.core.requests import Change
from lcm_daemon.core.schema import Fields
from lcm_daemon.core.suggestions import nearest
from lcm_daemon.core.tempo import ExternalTempo

if TYPE_CHECKING:
    from mido import Message

    from lcm_daemon.controllers.midi.system_messages import SystemMessages

log = logging.getLogger(__name__)

MAX_WAITING = 4096  # messages that wait for the event loop; further ones replace the oldest
MESSAGES_PER_TURN = 256  # handled before the loop's other work runs
SYSTEM_MESSAGES = frozenset({"quarter_frame", "sysex"})  # mido's names
ANY_DEVICE = "*"
CLOCK_ORIGIN = "midi/clock"  # origin of the tempo
REFRESH_DELAY = 0.4  # seconds after which a new device gets all feedback again: at first it may not listen yet

class Midi(Controller):
    """The MIDI controller. It keeps the tempo of MIDI clock as "tempo" for the stage."""

    fields: ClassVar[Fields] = FIELDS

    def __init__(self, controls: ControlState, options: Mapping[str, Any],
                 connect: Callable[[], MidiBackend] | None = None) -> None:
        super().__init__(controls, options)
        self._system = self._read_system_messages()
        has_clock = bool(self.options["clock"] or self.options["timecode"])
        self._connect = connect or functools.partial(
            RtMidi, self.options["backend"], has_clock, self._system is not None)
        self._values = PendingValues(controls)
        devices: Sequence[Mapping[str, Any]] = self.options["devices"] or ({"name": ANY_DEVICE, "map": None},)
        self._device_options = devices
        self._patterns = [DevicePattern(str(device["name"]), device.get("number")) for device in devices]
        self.devices = [self._build_device(i, device.get("map")) for i, device in enumerate(devices)]
        clock = self.options["clock"]
        self._clock_source = None  # any device
        if isinstance(clock, Mapping):
            self._clock_source = DevicePattern(str(clock["device"]), clock.get("number"), outputs=False)
        self._clock_receivers = [DevicePattern(str(receiver["name"]), receiver.get("number"), inputs=False)
                                 for receiver in self.options["send_clock"]]
        kept = controls.kept.get("tempo")
        self._clock = MidiClock(kept.tempo if kept and kept.origin == CLOCK_ORIGIN else None)
        self._clock_port: DevicePort | None = None  # where the clock that the show follows comes from
        self._arrived: deque[tuple[int, DevicePort, float, Message]] = deque(maxlen=MAX_WAITING)
        self._scheduled = False  # whether the loop will handle what has arrived
        self._ports: MidiPorts | None = None
        self._owner = MidiMapOwner(
            controls.learning, self.options["map"], self._all_bindings, self._use_bindings,
            [self._device_key(pattern) for pattern in self._patterns])

    def _read_system_messages(self) -> SystemMessages | None:
        """What carries out MTC, MSC and MMC; None for a show without them."""
        if not any(self.options[key] for key in ("timecode", "show_control", "machine_control")):
            return None
        from lcm_daemon.controllers.midi.system_messages import SystemMessages

        return SystemMessages(self.controls, self.options)

    def _device_key(self, pattern: DevicePattern) -> Mapping[str, str]:
        """The key of a learned line that limits it to one device, if the show has several."""
        name = device_name(pattern.name, pattern.number) if pattern.number else pattern.name
        return {"device": name} if len(self._patterns) > 1 else {}

    def _build_map(self, device: int, ready: str | None) -> MidiMap:
        pattern = self._patterns[device]
        name, plain = device_name(pattern.name, pattern.number), device_name(pattern.name)
        return build_map(name, ready, self.options["map"], self.options["banks"], plain)

    def _build_device(self, device: int, ready: str | None) -> MidiDevice:
        pattern = self._patterns[device]
        name = device_name(pattern.name, pattern.number)
        return MidiDevice(
            name, self._build_map(device, ready), self.controls, self._values, lambda: self._refresh(device),
            lambda shown: self._feedback.add(device, shown), lambda delay, act: self._loop.call_later(delay, act),
            self.options["report"] == LIVE)

    def _all_patterns(self) -> list[DevicePattern]:
        """The patterns of the devices, then those of ports that are opened for the clock alone."""
        clocks = [*filter(None, [self._clock_source]), *(self._system.patterns if self._system else ())]
        return [*self._patterns, *clocks, *self._clock_receivers]

    async def start(self) -> None:
        """Start looking for the devices. A machine without MIDI is only logged."""
        if self._ports is not None:
            return
        self._loop = asyncio.get_running_loop()
        self._ports = MidiPorts(
            self._all_patterns(), self._connect, self._on_message, self._on_ports, self.controls.metrics)
        self._feedback = FeedbackQueue(self._ports.send)
        self._unsubscribe_controls = self.controls.subscribe(
            on_changes=self._on_changes, on_table=self._on_table, on_moving=self._on_moving,
            on_panic=self._on_panic)
        self._warn_of_unknown_targets()
        self.controls.learning.register(self._owner)
        self._ports.start()
        if self._clock_receivers:
            self._sender = ClockSender(functools.partial(self._clock_outputs, self._ports), lambda: self.controls.tempo)
            self._unsubscribe_tempo = self.controls.subscribe(on_tempo=lambda tempo: self._sender.wake())
            self._sender.start()

    async def stop(self) -> None:
        if self._ports is None:
            return
        ports, self._ports = self._ports, None
        self._unsubscribe_controls()
        if self._clock_receivers:
            self._unsubscribe_tempo()
            await asyncio.to_thread(self._sender.stop)
        self._owner.close()
        self._feedback.close()
        await asyncio.to_thread(ports.stop)

    def _warn_of_unknown_targets(self) -> None:
        """Log lines without a target. A parameter may come with another recipe, so this is not an error."""
        for binding in self._all_bindings():
            if binding.to and binding.to not in self.controls.table:
                log.warning("MIDI: %s does nothing now: the recipe has no parameter %r%s",
                            binding, binding.to, nearest(binding.to, self.controls.table))
            if binding.command:
                arguments = binding.command_arguments(binding.numbers[0])
                if binding.action == "send":
                    arguments = (*arguments, (binding.span or (0.0,))[0])
                refusal = self.controls.refusal(binding.command, arguments)
                if refusal:
                    log.warning("MIDI: %s cannot run its command: %s", binding, refusal)

    def _all_bindings(self) -> set[Binding]:
        return {binding for device in self.devices for binding in device.map.all_bindings()}

    def _use_bindings(self, bindings: Sequence[Binding], learned: Binding | None) -> None:
        """Use other lines of the map."""
        self.options["map"] = bindings
        for number, (device, settings) in enumerate(zip(self.devices, self._device_options, strict=True)):
            device.replace_map(self._build_map(number, settings.get("map")), learned)
            self._refresh(number)

    # In the threads of the ports

    def _clock_outputs(self, ports: MidiPorts) -> list[tuple[DevicePort, Callable[[bytes], None]]]:
        """The open outputs that receive the clock. A device whose clock the show follows is none of them."""
        leader = self._clock_port
        return [(port, output.send) for port, output in ports.outputs()
                if any(receiver.matches(port) for receiver in self._clock_receivers)
                and (leader is None or (leader.kind, leader.number) != (port.kind, port.number))]

    def _on_message(self, device: int, port: DevicePort, time: float, message: Message) -> None:
        if len(self._arrived) == MAX_WAITING:
            self.controls.metrics.count("midi/dropped")
        self._arrived.append((device, port, time, message))
        if not self._scheduled:
            self._scheduled = True
            self._call_on_loop(self._handle_arrived)

    def _on_ports(self, device: int, inputs: Sequence[DevicePort], outputs: Sequence[DevicePort]) -> None:
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
            device, port, time, message = self._arrived.popleft()
            if message.type in CLOCK_MESSAGES:
                if self._clock_source is None or self._clock_source.matches(port):
                    self._clock_port = port if self.options["clock"] else None
                    self._on_clock(message, time)
                continue
            if message.type in SYSTEM_MESSAGES:
                if self._system is not None:
                    self._system.receive(message, port, time)
                continue
            self.controls.activity.note("midi", message, port)
            if device < len(self.devices) and self.controls.learning.target:
                self._owner.collect(device, port, message)
            elif device < len(self.devices):  # else the port is open for its clock alone
                self.devices[device].receive(message, port, time)
        if self._arrived and not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._handle_arrived)

    def _on_clock(self, message: Message, time: float) -> None:
        if self.options["clock"] and self._clock.receive(message, time):
            self.controls.keep_for_restart("tempo", ExternalTempo(self._clock.tempo, CLOCK_ORIGIN))

    def _on_device_ports(self, device: int, inputs: Sequence[DevicePort], outputs: Sequence[DevicePort]) -> None:
        if self._ports is None:
            return
        ports = ", ".join(sorted({str(port) for port in (*inputs, *outputs)}))
        if device >= len(self.devices):
            name = self._all_patterns()[device].name
            log.info("MIDI: clock or timecode of %s: %s", name, f"connected: {ports}" if ports else "disconnected")
            return
        one = self.devices[device]
        if self._patterns[device] == DevicePattern(ANY_DEVICE):
            one.name = inputs[0].name.partition(":")[0] if len(inputs) == 1 else "any"
        if ports:
            log.info("MIDI: device %s connected: %s", one.name, ports)
        else:
            log.info("MIDI: device %s disconnected; its values stay", one.name)
        one.reset()
        if outputs:
            self._refresh(device)
            self._loop.call_later(REFRESH_DELAY, self._refresh, device, True)

    def _refresh(self, device: int, again: bool = False) -> None:
        """Send all feedback to a device. again: it was sent shortly before."""
        if self._ports is not None:
            self._feedback.add(device, self.devices[device].all_indicators(again))

    def _on_changes(self, changes: list[Change]) -> None:
        self._values.on_changes(changes)
        for number, device in enumerate(self.devices):
            self._feedback.add(number, device.on_changes(changes))

    def _on_moving(self, values: Mapping[str, Value]) -> None:
        for number, device in enumerate(self.devices):
            self._feedback.add(number, device.on_moving(values))

    def _on_panic(self) -> None:
        for device in self.devices:
            device.drop_waiting()

    def _on_table(self) -> None:
        self._values.clear()
        for number, device in enumerate(self.devices):
            device.release_faders()
            self._refresh(number)
