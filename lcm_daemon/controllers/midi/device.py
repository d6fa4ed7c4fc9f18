"""Surface: one device in the hand. What it sends moves parameters, gives commands and changes banks."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from lcm_daemon.controllers.midi.binding import Binding
from lcm_daemon.controllers.midi.buttons import next_state, states
from lcm_daemon.controllers.midi.feedback import Lamp, lamps
from lcm_daemon.controllers.midi.mapping import Map
from lcm_daemon.controllers.midi.messages import Control, Decoder, Event
from lcm_daemon.controllers.midi.pending_values import Values
from lcm_daemon.controllers.midi.takeover import NEAR, RELATIVE, scale_of, take_over
from lcm_daemon.core.control_state import ControlState
from lcm_daemon.core.metrics import LogThrottle
from lcm_daemon.core.parameters import Parameter, Refused
from lcm_daemon.core.requests import Change

if TYPE_CHECKING:
    from mido import Message

log = logging.getLogger(__name__)


class Surface:
    """A device, its map, and where its controls stand. All calls on the desk's loop. switched: called on a new bank."""

    def __init__(self, name: str, layout: Map, controls: ControlState, values: Values, switched: Callable[[], None]) -> None:
        self.name, self.map = name, layout
        self._board, self._values, self._switched = controls, values, switched
        self._throttle = LogThrottle(log, controls.metrics)
        self._engaged: set[Binding] = set()  # whose value follows the fader
        self.forget()

    def forget(self) -> None:
        """Another device may have been plugged in: nobody knows where its controls stand."""
        bindings = list(self.map.everything())
        fine = {number for b in bindings if b.kind == "cc14" for number in b.numbers if number is not None}
        self._decoder = Decoder(fine, any(b.kind == "nrpn" for b in bindings))
        self._positions: dict[Control, float] = {}
        self._channel = 1  # the one last heard on
        self._engaged.clear()

    def origin(self, binding: Binding) -> str:
        """Under which a binding's moves go to the board."""
        return f"midi/{self.name}/{binding}"

    # Receiving

    def take(self, message: Message) -> None:
        """Do what a message asks for."""
        event = self._decoder.decode(message)
        if event is None:
            return
        before = self._positions.get(event.control)
        self._positions[event.control] = event.position
        self._channel = event.control.channel
        for binding in self.map.find(event.control):
            try:
                _HANDS["relative" if event.step else binding.manner](self, binding, event, before)
            except Refused as refusal:
                self._throttle.warn("midi/refused", f"{self.origin(binding)}: {refusal}")

    def _parameter(self, binding: Binding) -> Parameter:
        parameter = self._values.parameter(binding.to)
        if parameter is None:
            raise Refused(f"there is no parameter {binding.to!r:.80} now")
        return parameter

    def _absolute(self, binding: Binding, event: Event, before: float | None) -> None:
        parameter, now = self._parameter(binding), event.position
        if parameter.kind == "text":
            raise Refused(f"{binding.to} is text: a press can set it, with `value`")
        if event.control.kind == "note" and not event.raw:
            return  # the velocity counts, not the end of it
        scale = scale_of(parameter, binding.span, binding.curve)
        where: float | None = now
        if binding not in self._engaged:
            where = take_over(binding.takeover, before, now, scale.position(self._values[binding.to]))
        if where is None:
            return
        if abs(where - now) <= NEAR / 4:
            self._engaged.add(binding)
        self._values.set(binding.to, scale.value(where), self.origin(binding))

    def _relative(self, binding: Binding, event: Event, before: float | None) -> None:
        parameter = self._parameter(binding)
        if parameter.kind == "text":
            raise Refused(f"{binding.to} is text: an encoder cannot turn it")
        detents = event.step or RELATIVE[binding.relative](event.raw)
        scale = scale_of(parameter, binding.span, "linear")
        value = self._values[binding.to]
        here = float(parameter.choices.index(str(value)) if parameter.choices else value)
        step = binding.step or ((scale.high - scale.low) / 127 if parameter.kind == "float" else 1.0)
        low, high = sorted((scale.low, scale.high))
        self._values.set(binding.to, min(max(here + detents * step, low), high), self.origin(binding))

    def _program(self, binding: Binding, event: Event, before: float | None) -> None:
        self._values.set(binding.to, event.raw, self.origin(binding))

    def _set(self, binding: Binding, event: Event, before: float | None) -> None:
        if _struck(event, before):
            self._values.set(binding.to, binding.values[0], self.origin(binding))

    def _toggle(self, binding: Binding, event: Event, before: float | None) -> None:
        if _struck(event, before):
            found = states(binding, self._parameter(binding))
            self._values.set(binding.to, next_state(found, self._values[binding.to]), self.origin(binding))

    def _momentary(self, binding: Binding, event: Event, before: float | None) -> None:
        released, pressed = states(binding, self._parameter(binding))
        self._values.set(binding.to, pressed if event.pressed else released, self.origin(binding))

    def _radio(self, binding: Binding, event: Event, before: float | None) -> None:
        if _struck(event, before):
            found = states(binding, self._parameter(binding))
            which = binding.numbers.index(event.control.number)
            if which < len(found):
                self._values.set(binding.to, found[which], self.origin(binding))

    def _command(self, binding: Binding, event: Event, before: float | None) -> None:
        if _struck(event, before) and self._board.command(binding.command, self.origin(binding), binding.arguments):
            self._values.forget()  # a panic voids what was asked for

    def _bank(self, binding: Binding, event: Event, before: float | None) -> None:
        if _struck(event, before) and self.map.choose(binding.bank):
            self._engaged.clear()
            self._switched()

    # Telling

    def moved(self, changes: Iterable[Change]) -> dict[Control, int]:
        """What others moved is no longer in the hand; what the lamps, rings and motors are to show of it.

        A fader is not told of its own moves; a button and an encoder are, since the lamp beside them is ours.
        """
        told: dict[Control, int] = {}
        newest = {change.name: change for change in changes}
        for binding in self.map.bindings():
            change = newest.get(binding.to)
            if change is None:
                continue
            own = change.origin == self.origin(binding)
            if not own:
                self._engaged.discard(binding)
            if not own or binding.manner != "absolute":
                told.update(self._lamps(binding))
        return told

    def everything(self) -> dict[Control, int]:
        """All lamps, rings and motors: those of the live bank as things are, those of other banks dark."""
        dark = {lamp: low for binding in self.map.everything() for lamp, low in self._dark(binding)}
        return dark | {lamp: raw for binding in self.map.bindings() for lamp, raw in self._lamps(binding)}

    def release(self) -> None:
        """Every parameter may have another value or none: no fader holds one."""
        self._engaged.clear()

    def _lamps(self, binding: Binding) -> Iterator[Lamp]:
        parameter = self._values.parameter(binding.to)
        value = self._values[binding.to] if parameter else 0.0
        try:
            yield from lamps(binding, parameter, value, self.map.live, self._channel)
        except Refused:
            return  # it was said when the control moved

    def _dark(self, binding: Binding) -> Iterator[Lamp]:
        where = binding.feedback
        if where is not None and binding.manner not in ("absolute", "command"):
            for number in where.numbers:
                yield Control(where.kind, number, where.channel or binding.channel or self._channel), where.low


def _struck(event: Event, before: float | None) -> bool:
    """Whether a button was pressed just now. One that never says it was let go sends the same again."""
    if event.control.kind in ("note", "program"):
        return event.pressed
    return event.pressed and (before is None or before < 0.5 or before == event.position)


_HANDS: Mapping[str, Callable[[Surface, Binding, Event, float | None], None]] = {
    "absolute": Surface._absolute, "relative": Surface._relative, "program": Surface._program, "set": Surface._set,
    "toggle": Surface._toggle, "momentary": Surface._momentary, "radio": Surface._radio,
    "command": Surface._command, "bank": Surface._bank,
}
