"""MIDI: faders, knobs, keys and pads move parameters; their lamps, rings and motors follow them. No screen is needed.

    midi:
      devices:                                   # which devices; all of them where it is left out
        - {name: "nanoKONTROL*", map: nanokontrol2}     # a ready map, under or instead of one's own
      map:                                       # what the controls do
        - {cc: 0, to: strength, range: [0.2, 0.9], curve: exp}
        - {note: 36, to: freeze, button: toggle}
        - {note: 40, command: panic}
      banks:                                     # maps of which one is live at a time
        one: [{cc: 1, to: mix}]
        two: [{cc: 1, to: blend}]
      clock: true                                # follow MIDI clock

What a line of a map may say stands in midi_binding.py. A device that is pulled out leaves its values as they are; when
it comes back it is found by name and is shown them. Without python-rtmidi or without any MIDI on the machine there is
one line in the log, and the show goes on.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from lcm_daemon.controllers.base import Controller
from lcm_daemon.controllers.midi.clock import SPOKEN, Clock
from lcm_daemon.controllers.midi.device import Surface
from lcm_daemon.controllers.midi.feedback import Outbox
from lcm_daemon.controllers.midi.mapping import MAP, READY, map_of
from lcm_daemon.controllers.midi.pending_values import Values
from lcm_daemon.controllers.midi.ports import BACKENDS, Backend, Ports, RtMidi
from lcm_daemon.core.control_state import ControlState
from lcm_daemon.core.metrics import LogThrottle
from lcm_daemon.core.requests import Change
from lcm_daemon.core.schema import Boolean, Choice, Field, Fields, Items, Section, Text, nearest
from lcm_daemon.core.tempo import ExternalTempo

if TYPE_CHECKING:
    from mido import Message

log = logging.getLogger(__name__)

FLOOD = 4096  # messages kept until the loop takes them
BURST = 256  # messages taken in one turn of the loop
ANY = "*"
CLOCK = "midi/clock"  # the origin of its tempo
AGAIN = 0.4  # seconds after which a device that came is shown everything again: the first time it may not listen yet

_DEVICE: Fields = {
    "name": Field(Text(), help="the device's name, or a pattern such as nanoKONTROL*"),
    "map": Field(READY, None, "a ready map for it"),
}


class Midi(Controller):
    """The MIDI controller. What MIDI clock says is kept as "tempo" for the stage, which lives by it."""

    fields: ClassVar[Fields] = {
        "devices": Field(Items(Section(_DEVICE)), (), "Devices by name pattern, each with a ready map or none."),
        **MAP,
        "clock": Field(Boolean(), False, "Follow MIDI clock, start and stop."),
        "backend": Field(Choice(tuple(BACKENDS)), "auto", "The MIDI system; jack where the machine has no sound card."),
    }

    def __init__(self, controls: ControlState, options: Mapping[str, Any],
                 connect: Callable[[], Backend] | None = None) -> None:
        super().__init__(controls)
        if set(options) - set(self.fields):
            raise ValueError(f"Midi knows no option {sorted(set(options) - set(self.fields))}")
        self.options = {name: options.get(name, spec.default) for name, spec in self.fields.items()}
        self._connect = connect or functools.partial(RtMidi, self.options["backend"], self.options["clock"])
        self._values = Values(controls)
        self._throttle = LogThrottle(log, controls.metrics)
        devices: Sequence[Mapping[str, Any]] = self.options["devices"] or ({"name": ANY, "map": None},)
        self._patterns = [str(device["name"]) for device in devices]
        self.surfaces = [self._surface(i, device["name"], device.get("map")) for i, device in enumerate(devices)]
        heard = controls.kept.get("tempo")
        self._clock = Clock(heard.tempo if heard and heard.origin == CLOCK else None)
        self._arrived: deque[tuple[int, float, Message]] = deque(maxlen=FLOOD)
        self._awake = False  # whether the loop has been told of what arrived
        self._ports: Ports | None = None

    def _surface(self, device: int, pattern: str, ready: str | None) -> Surface:
        name = pattern.rstrip("* ") or "any"
        layout = map_of(name, ready, self.options["map"], self.options["banks"])
        return Surface(name, layout, self.controls, self._values, lambda: self._show(device))

    async def start(self) -> None:
        """Begin to look for the devices. A machine without MIDI is a line in the log."""
        if self._ports is not None:
            return
        self._loop = asyncio.get_running_loop()
        self._ports = Ports(self._patterns, self._connect, self._receive, self._plug, self.controls.metrics)
        self._outbox = Outbox(self._ports.send)
        self._unsubscribe = self.controls.subscribe(on_changes=self._hear, on_table=self._hear_table)
        self._check()
        self._ports.start()

    async def stop(self) -> None:
        if self._ports is None:
            return
        ports, self._ports = self._ports, None
        self._unsubscribe()
        self._outbox.close()
        await asyncio.to_thread(ports.stop)

    def _check(self) -> None:
        """Say which lines lead nowhere; a parameter may come with another recipe, so that is no mistake."""
        for binding in {binding for surface in self.surfaces for binding in surface.map.everything()}:
            if binding.to and binding.to not in self.controls.table:
                log.warning("MIDI: %s goes to %r, which this recipe has not%s", binding, binding.to,
                            nearest(binding.to, self.controls.table))
            if binding.command and (objection := self.controls.refusal(binding.command, binding.arguments)):
                log.warning("MIDI: %s: %s", binding, objection)

    # From other threads

    def _receive(self, device: int, port: str, time: float, message: Message) -> None:
        if len(self._arrived) == FLOOD:
            self.controls.metrics.count("midi/dropped")
        self._arrived.append((device, time, message))
        if not self._awake:
            self._awake = True
            self._soon(self._take)

    def _plug(self, device: int, inputs: Sequence[str], outputs: Sequence[str]) -> None:
        self._soon(self._plugged, device, inputs, outputs)

    def _soon(self, act: Callable[..., None], *arguments: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(act, *arguments)
        except RuntimeError:  # the loop was closed first: the desk is ending
            self._awake = False

    # On the loop

    def _take(self) -> None:
        """One burst; of a longer one the rest comes after whatever else is due."""
        self._awake = False
        for _ in range(min(len(self._arrived), BURST)):
            device, time, message = self._arrived.popleft()
            if message.type in SPOKEN:
                self._tick(message, time)
            else:
                self.surfaces[device].take(message)
        if self._arrived and not self._awake:
            self._awake = True
            self._loop.call_soon(self._take)

    def _tick(self, message: Message, time: float) -> None:
        if not self.options["clock"] or not self._clock.take(message, time):
            return
        self.controls.keep_for_restart("tempo", ExternalTempo(self._clock.tempo, CLOCK))

    def _plugged(self, device: int, inputs: Sequence[str], outputs: Sequence[str]) -> None:
        if self._ports is None:
            return
        surface = self.surfaces[device]
        if self._patterns[device] == ANY:
            surface.name = inputs[0].partition(":")[0] if len(inputs) == 1 else "any"
        log.info("MIDI %s: %s", surface.name, ", ".join(sorted({*inputs, *outputs})) or "not here; its values stay")
        surface.forget()
        if outputs:
            self._show(device)
            self._loop.call_later(AGAIN, self._show, device)

    def _show(self, device: int) -> None:
        """Tell a device everything."""
        if self._ports is not None:
            self._outbox.tell(device, self.surfaces[device].everything())

    def _hear(self, changes: list[Change]) -> None:
        self._values.hear(changes)
        for device, surface in enumerate(self.surfaces):
            self._outbox.tell(device, surface.moved(changes))

    def _hear_table(self) -> None:
        self._values.forget()
        for device, surface in enumerate(self.surfaces):
            surface.release()
            self._show(device)
