"""One MIDI device: its controls set parameters, run commands and change banks; its indicators show the values."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from lcm_daemon.controllers.midi.binding import Binding
from lcm_daemon.controllers.midi.buttons import button_values, next_toggle_value
from lcm_daemon.controllers.midi.feedback import IndicatorValue, indicator_values
from lcm_daemon.controllers.midi.mapping import MidiMap
from lcm_daemon.controllers.midi.messages import Control, ControlEvent, MessageDecoder
from lcm_daemon.controllers.midi.pending_values import PendingValues
from lcm_daemon.controllers.midi.takeover import PICKUP_DISTANCE, RELATIVE, scale_of, take_over
from lcm_daemon.core.control_state import ControlState
from lcm_daemon.core.metrics import LogThrottle
from lcm_daemon.core.parameters import Parameter, Refused
from lcm_daemon.core.requests import Change

if TYPE_CHECKING:
    from mido import Message

log = logging.getLogger(__name__)


class MidiDevice:
    """A device, its map, and the positions of its controls. All calls are made on the desk's event loop.

    Args:
        name: Name of the device, for origins and log lines.
        midi_map: Its map.
        controls: Control state of the show.
        values: The values, with pending requests.
        on_bank_change: Called after the device has changed its bank.
    """

    def __init__(
        self, name: str, midi_map: MidiMap, controls: ControlState, values: PendingValues,
        on_bank_change: Callable[[], None],
    ) -> None:
        self.name, self.map = name, midi_map
        self._controls, self._values, self._on_bank_change = controls, values, on_bank_change
        self._throttle = LogThrottle(log, controls.metrics)
        self._engaged: set[Binding] = set()  # bindings whose value follows the fader
        self.reset()

    def reset(self) -> None:
        """Forget the positions of all controls: another device may have been connected."""
        bindings = list(self.map.all_bindings())
        coarse = {number for b in bindings if b.kind == "cc14" for number in b.numbers if number is not None}
        self._decoder = MessageDecoder(coarse, any(b.kind == "nrpn" for b in bindings))
        self._positions: dict[Control, float] = {}
        self._channel = 1  # of the last message
        self._engaged.clear()

    def origin(self, binding: Binding) -> str:
        """Return the origin of a binding's changes."""
        return f"midi/{self.name}/{binding}"

    # Receiving

    def receive(self, message: Message) -> None:
        """Handle a message from the device."""
        event = self._decoder.decode(message)
        if event is None:
            return
        before = self._positions.get(event.control)
        self._positions[event.control] = event.position
        self._channel = event.control.channel
        for binding in self.map.find(event.control):
            try:
                self._apply(binding, event, before)
            except Refused as refusal:
                self._throttle.warn("midi/refused", f"MIDI: {self.origin(binding)} is refused: {refusal}")

    def _apply(self, binding: Binding, event: ControlEvent, before: float | None) -> None:
        """Do what a binding says. `before` is the control's position before, or None if it is unknown."""
        action = "relative" if event.step else binding.action
        match action:
            case "absolute":
                self._move_to(binding, event, before)
            case "relative":
                self._move_by(binding, event)
            case "program":
                self._values.set(binding.to, event.raw, self.origin(binding))
            case "momentary":
                released, pressed = button_values(binding, self._parameter(binding))
                self._values.set(binding.to, pressed if event.pressed else released, self.origin(binding))
            case _:
                if _is_press(event, before):
                    self._press(action, binding, event)

    def _press(self, action: str, binding: Binding, event: ControlEvent) -> None:
        """Do what a button does when it is pressed."""
        match action:
            case "set":
                self._values.set(binding.to, binding.values[0], self.origin(binding))
            case "toggle":
                values = button_values(binding, self._parameter(binding))
                self._values.set(binding.to, next_toggle_value(values, self._values[binding.to]), self.origin(binding))
            case "radio":
                values = button_values(binding, self._parameter(binding))
                index = binding.numbers.index(event.control.number)
                if index < len(values):
                    self._values.set(binding.to, values[index], self.origin(binding))
            case "command":
                if self._controls.command(binding.command, self.origin(binding), binding.arguments):
                    self._values.clear()  # a panic cancels what was requested before
            case "bank":
                if self.map.change_bank(binding.bank):
                    self._engaged.clear()
                    self._on_bank_change()

    def _parameter(self, binding: Binding) -> Parameter:
        parameter = self._values.parameter(binding.to)
        if parameter is None:
            raise Refused(f"the present recipe has no parameter {binding.to!r:.80}")
        return parameter

    def _move_to(self, binding: Binding, event: ControlEvent, before: float | None) -> None:
        """Set the value to the position of a fader or knob, if the fader has taken it over."""
        parameter, now = self._parameter(binding), event.position
        if parameter.kind == "text":
            raise Refused(f"{binding.to} is text; only a button with `value` can set it")
        if event.control.kind == "note" and not event.raw:
            return  # the velocity of the press counts, not the release
        scale = scale_of(parameter, binding.span, binding.curve)
        position: float | None = now
        if binding not in self._engaged:
            position = take_over(binding.takeover, before, now, scale.position(self._values[binding.to]))
        if position is None:
            return
        if abs(position - now) <= PICKUP_DISTANCE / 4:
            self._engaged.add(binding)
        self._values.set(binding.to, scale.value(position), self.origin(binding))

    def _move_by(self, binding: Binding, event: ControlEvent) -> None:
        """Change the value by the detents of an endless encoder."""
        parameter = self._parameter(binding)
        if parameter.kind == "text":
            raise Refused(f"{binding.to} is text; an encoder cannot set it")
        detents = event.step or RELATIVE[binding.relative](event.raw)
        scale = scale_of(parameter, binding.span, "linear")
        value = self._values[binding.to]
        number = float(parameter.choices.index(str(value)) if parameter.choices else value)
        step = binding.step or ((scale.high - scale.low) / 127 if parameter.kind == "float" else 1.0)
        low, high = sorted((scale.low, scale.high))
        self._values.set(binding.to, min(max(number + detents * step, low), high), self.origin(binding))

    # Feedback

    def on_changes(self, changes: Iterable[Change]) -> dict[Control, int]:
        """Handle changes of parameters: a fader whose value something else has changed no longer has it.

        Returns:
            What the indicators show now. A fader gets no feedback of its own moves. A button and an encoder do, because
            the daemon controls the lamp beside them.
        """
        shown: dict[Control, int] = {}
        newest = {change.name: change for change in changes}
        for binding in self.map.active_bindings():
            change = newest.get(binding.to)
            if change is None:
                continue
            own = change.origin == self.origin(binding)
            if not own:
                self._engaged.discard(binding)
            if not own or binding.action != "absolute":
                shown.update(self._indicators(binding))
        return shown

    def all_indicators(self) -> dict[Control, int]:
        """Return the values of all indicators: the present ones in the active bank, dark in the other banks."""
        dark = {indicator: low for binding in self.map.all_bindings() for indicator, low in self._dark(binding)}
        active = self.map.active_bindings()
        return dark | {indicator: raw for binding in active for indicator, raw in self._indicators(binding)}

    def release_faders(self) -> None:
        """Make every fader take its value over again: each parameter may have another value."""
        self._engaged.clear()

    def _indicators(self, binding: Binding) -> Iterator[IndicatorValue]:
        parameter = self._values.parameter(binding.to)
        value = self._values[binding.to] if parameter else 0.0
        try:
            yield from indicator_values(binding, parameter, value, self.map.active_bank, self._channel)
        except Refused:
            return  # logged when the control is moved

    def _dark(self, binding: Binding) -> Iterator[IndicatorValue]:
        target = binding.feedback
        if target is not None and binding.action not in ("absolute", "command"):
            for number in target.numbers:
                yield Control(target.kind, number, target.channel or binding.channel or self._channel), target.low


def _is_press(event: ControlEvent, before: float | None) -> bool:
    """Whether a button was pressed just now. A button that never sends its release sends the same value again."""
    if event.control.kind in ("note", "program"):
        return event.pressed
    return event.pressed and (before is None or before < 0.5 or before == event.position)
