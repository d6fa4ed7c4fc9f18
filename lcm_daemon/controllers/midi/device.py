"""One MIDI device: its controls set parameters, run commands and change banks; its indicators show the values."""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from lcm_daemon.controllers.echo_gate import EchoGate
from lcm_daemon.controllers.midi.binding import Binding
from lcm_daemon.controllers.midi.buttons import button_values, next_toggle_value
from lcm_daemon.controllers.midi.feedback import IndicatorValue, indicator_values
from lcm_daemon.controllers.midi.fourteen_bit import HOLD
from lcm_daemon.controllers.midi.mapping import MidiMap
from lcm_daemon.controllers.midi.messages import Control, ControlEvent, MessageDecoder
from lcm_daemon.controllers.midi.pending_values import PendingValues
from lcm_daemon.controllers.midi.port_names import DevicePort
from lcm_daemon.controllers.midi.takeover import PICKUP_DISTANCE, RELATIVE, ControlScale, scale_of, take_over
from lcm_daemon.core.control_state import ControlState
from lcm_daemon.core.metrics import LogThrottle
from lcm_daemon.core.parameters import Parameter, Refused, Value
from lcm_daemon.core.presses import HELD_SECONDS
from lcm_daemon.core.refusals import Refusal
from lcm_daemon.core.requests import Change

if TYPE_CHECKING:
    from mido import Message

log = logging.getLogger(__name__)

PLACES = ("cue/goto", "cue/load", "prompts/play")  # commands whose argument is a place in a list
ECHO_LATENCY = 0.1  # seconds in which a motor fader sends back the position that it was sent


class _PortState:
    """What one input of a device has sent so far."""

    def __init__(self, decoder: MessageDecoder) -> None:
        self.decoder = decoder
        self.positions: dict[Control, float] = {}
        self.engaged: set[Binding] = set()  # bindings whose value follows the fader
        self.places: dict[Binding, int] = {}  # the last place that each fader has sent, see PLACES
        self._pressed: dict[Control, tuple[int, float]] = {}  # what each pressed button has sent last, and when

    def is_repeat(self, event: ControlEvent, now: float) -> bool:
        """Record an event. Returns whether it belongs to the press before: a button that is held may send again."""
        raw, time_ = self._pressed.pop(event.control, (None, now))
        if event.pressed:
            self._pressed[event.control] = event.raw, now
        return event.pressed and raw == event.raw and now - time_ < HELD_SECONDS


class MidiDevice:
    """A device, its map, and the positions of its controls. All calls are made on the desk's event loop.

    Args:
        name: Name of the device, for origins and log lines.
        midi_map: Its map.
        controls: Control state of the show.
        values: The values, with pending requests.
        on_bank_change: Called after the device has changed its bank.
        show_again: Called with what indicators must show now, where no change of a value says so.
        call_later: Calls a function in some seconds.
        live: Whether the indicators show the values in force, or the values that were set.
    """

    def __init__(
        self, name: str, midi_map: MidiMap, controls: ControlState, values: PendingValues,
        on_bank_change: Callable[[], None], show_again: Callable[[dict[Control, int]], None],
        call_later: Callable[[float, Callable[[], None]], object], live: bool = False,
    ) -> None:
        self.name, self.map = name, midi_map
        self._controls, self._values, self._on_bank_change = controls, values, on_bank_change
        self._show_again, self._call_later, self._live = show_again, call_later, live
        self._throttle = LogThrottle(log, controls.metrics)
        self._echoes = EchoGate(latency=ECHO_LATENCY)  # of motor faders
        self._learned: Binding | None = None  # the next move of its control sets the value, wherever that is
        self.reset()

    def reset(self) -> None:
        """Forget the positions of all controls: another device may have been connected."""
        bindings = list(self.map.all_bindings())
        self._coarse = {number for b in bindings if b.kind == "cc14" for number in b.numbers if number is not None}
        self._kinds = {binding.kind for binding in bindings}
        self._ports: dict[DevicePort, _PortState] = {}
        self._touches = {binding.touch for binding in bindings if binding.touch}
        self._touched: set[Control] = set()  # controls that say that a fader is touched
        self._flushing = False  # whether `_flush` will be called
        self._channel = 1  # of the last message

    def origin(self, binding: Binding) -> str:
        """Return the origin of a binding's changes."""
        return f"midi/{self.name}/{binding}"

    # Receiving

    def receive(self, message: Message, port: DevicePort, now: float) -> None:
        """Handle a message from an input of the device that arrived at `now` (perf_counter)."""
        state = self._port_state(port)
        event = state.decoder.decode(message, now)
        if event is not None:
            self._on_event(event, state, now)
        if state.decoder.is_waiting and not self._flushing:
            self._flushing = True
            self._call_later(HOLD, self._flush)

    def _port_state(self, port: DevicePort) -> _PortState:
        if port not in self._ports:
            decoder = MessageDecoder(self._coarse, "nrpn" in self._kinds, "rpn" in self._kinds)
            self._ports[port] = _PortState(decoder)
        return self._ports[port]

    def replace_map(self, midi_map: MidiMap, learned: Binding | None = None) -> None:
        """Use another map. Faders keep what they have taken over.

        Args:
            midi_map: The map.
            learned: The binding of the control that has just been learned; its next move sets the value at once.
        """
        before, midi_map.active_bank = self._ports, self.map.active_bank
        self.map = midi_map
        self.reset()
        kept = {*midi_map.all_bindings()}
        for port, old in before.items():
            state = self._port_state(port)
            state.positions, state.engaged = old.positions, old.engaged & kept
        self._learned = learned

    def _flush(self) -> None:
        """Handle halves of 14-bit values whose other half does not come."""
        self._flushing, now = False, time.perf_counter()
        for state in self._ports.values():
            for event in state.decoder.flush(now):
                self._on_event(event, state, now)
        if any(state.decoder.is_waiting for state in self._ports.values()):
            self._flushing = True
            self._call_later(HOLD / 2, self._flush)

    def _on_event(self, event: ControlEvent, state: _PortState, now: float) -> None:
        before = state.positions.get(event.control)
        state.positions[event.control] = event.position
        self._channel = event.control.channel
        self._on_touch(event)
        carry_out = functools.partial(self._carry_out, event, before, state, state.is_repeat(event, now))
        if self._echoes.is_move((self.name,), self.name, event.control, event.raw, carry_out):
            carry_out()

    def _carry_out(self, event: ControlEvent, before: float | None, state: _PortState, is_repeat: bool) -> None:
        for binding in self.map.find(event.control):
            try:
                self._apply(binding, event, before, state, is_repeat)
            except Refused as refusal:
                self._throttle.warn("midi/refused", f"MIDI: {self.origin(binding)} is refused: {refusal}")
                self._controls.report_refusal(Refusal(self.origin(binding), str(refusal)))

    def _on_touch(self, event: ControlEvent) -> None:
        """Note that a motor fader is touched, or move it to its value once it is released."""
        control = event.control
        if not any(touch.is_sent_by(control) for touch in self._touches):
            return
        if event.pressed:
            self._touched.add(control)
        elif control in self._touched:
            self._touched.discard(control)
            released = [b for b in self.map.active_bindings() if b.touch and b.touch.is_sent_by(control)]
            self._show_again({indicator: raw for binding in released for indicator, raw in self._indicators(binding)})

    def _is_touched(self, binding: Binding) -> bool:
        return binding.touch is not None and any(binding.touch.is_sent_by(control) for control in self._touched)

    def _apply(
        self, binding: Binding, event: ControlEvent, before: float | None, state: _PortState, is_repeat: bool,
    ) -> None:
        """Do what a binding says.

        Args:
            binding: The binding.
            event: The event.
            before: The control's position before, or None if it is unknown.
            state: What the input has sent so far.
            is_repeat: Whether the event belongs to the press before.
        """
        action = "relative" if event.step else binding.action
        match action:
            case "absolute" if binding.touch is None or self._is_touched(binding):
                self._move_to(binding, event, before, state)
            case "absolute":
                return  # its motor moves it
            case "send" if event.control.kind != "note" or event.raw:
                self._send_position(binding, event, state)
            case "send":
                return  # the velocity of the press counts, not the release
            case "relative":
                self._move_by(binding, event)
            case "program":
                self._values.set(binding.to, event.raw, self.origin(binding))
            case "momentary":
                released, pressed = button_values(binding, self._parameter(binding))
                self._values.set(binding.to, pressed if event.pressed else released, self.origin(binding))
            case _:
                if _is_press(event, before) and not is_repeat:
                    self._press(action, binding, event)

    def _send_position(self, binding: Binding, event: ControlEvent, state: _PortState) -> None:
        """Run the command with the value of a fader. A fader that chooses a place sends each place once."""
        low, high = binding.span or (0.0, 1.0)
        value = ControlScale(low, high, binding.curve).value(event.position)
        if binding.command in PLACES and not (binding.arguments or isinstance(value, str)):
            value = place = round(value)
            if event.control.kind != "note" and state.places.get(binding) == place:
                return
            state.places[binding] = place
        self._controls.command(binding.command, self.origin(binding), (*binding.arguments, value))

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
                arguments = binding.command_arguments(event.control.number)
                if self._controls.command(binding.command, self.origin(binding), arguments):
                    self._values.clear()  # a panic cancels what was requested before
            case "bank":
                if self.map.change_bank(binding.bank):
                    self.release_faders()
                    self._on_bank_change()

    def _parameter(self, binding: Binding) -> Parameter:
        parameter = self._values.parameter(binding.to)
        if parameter is None:
            raise Refused(f"the present recipe has no parameter {binding.to!r:.80}")
        return parameter

    def _move_to(self, binding: Binding, event: ControlEvent, before: float | None, state: _PortState) -> None:
        """Set the value to the position of a fader or knob, if the fader has taken it over."""
        parameter, now = self._parameter(binding), event.position
        if parameter.kind == "text":
            raise Refused(f"{binding.to} is text; only a button with `value` can set it")
        if event.control.kind == "note" and not event.raw:
            return  # the velocity of the press counts, not the release
        scale = scale_of(parameter, binding.span, binding.curve)
        position: float | None = now
        if binding == self._learned:
            self._learned = None
        elif binding not in state.engaged:
            position = take_over(binding.takeover, before, now, scale.position(self._values.in_force(binding.to)))
        if position is None:
            return
        for other in self._ports.values():
            if other is not state:
                other.engaged.discard(binding)
        if abs(position - now) <= PICKUP_DISTANCE / 4:
            state.engaged.add(binding)
        self._values.set(binding.to, scale.value(position), self.origin(binding))

    def _move_by(self, binding: Binding, event: ControlEvent) -> None:
        """Change the value by the detents of an endless encoder."""
        parameter = self._parameter(binding)
        if parameter.kind == "text":
            raise Refused(f"{binding.to} is text; an encoder cannot set it")
        detents = event.step or RELATIVE[binding.relative](event.raw)
        scale = scale_of(parameter, binding.span, "linear")
        value = self._values.start_of_step(binding.to)
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
                self._release(binding)
            if not own or binding.action != "absolute" or (binding.feedback and binding.feedback.echo):
                shown.update(self._indicators(binding, own))
        return shown

    def on_moving(self, values: Mapping[str, Value]) -> dict[Control, int]:
        """Return what the indicators show now that these values in force have changed."""
        if not self._live:
            return {}
        engaged = {binding for state in self._ports.values() for binding in state.engaged if binding.touch is None}
        moved = [b for b in self.map.active_bindings() if b.to in values and b not in engaged]  # else a hand moves it
        return {indicator: raw for binding in moved for indicator, raw in self._indicators(binding)}

    def all_indicators(self, again: bool = False) -> dict[Control, int]:
        """Return the values of all indicators: the present ones in the active bank, dark in the other banks.

        Args:
            again: Whether the same was sent shortly before: motor faders have come to their positions since.
        """
        dark = {indicator: low for binding in self.map.all_bindings() for indicator, low in self._dark(binding)}
        active = self.map.active_bindings()
        return dark | {
            indicator: raw for binding in active for indicator, raw in self._indicators(binding, echoes=not again)}

    def drop_waiting(self) -> None:
        """Drop moves that wait: a panic cancels them."""
        self._echoes.clear_waiting()

    def release_faders(self) -> None:
        """Make every fader take its value over again: each parameter may have another value."""
        self.drop_waiting()
        for state in self._ports.values():
            state.engaged.clear()

    def _release(self, binding: Binding) -> None:
        for state in self._ports.values():
            state.engaged.discard(binding)

    def _indicators(self, binding: Binding, own: bool = False, echoes: bool = True) -> Iterator[IndicatorValue]:
        """What the indicators of a binding show.

        Args:
            own: Whether the fader itself has moved the value there.
            echoes: Whether a motor fader is expected to report the position that it is sent.
        """
        if self._is_touched(binding):
            return
        parameter = self._values.parameter(binding.to)
        value: Value = 0.0
        if parameter:
            value = self._controls.in_force(binding.to) if self._live else self._values[binding.to]
        try:
            shown = list(indicator_values(binding, parameter, value, self.map.active_bank, self._channel))
        except Refused:
            return  # logged when the control is moved
        if binding.action == "absolute" and binding.touch is None and echoes:
            for control, raw in shown:
                self._echoes.report(self.name, control, raw, self.name if own else "")
        yield from shown

    def _dark(self, binding: Binding) -> Iterator[IndicatorValue]:
        target = binding.feedback
        if target is not None and binding.action not in ("absolute", "command", "send"):
            for number in target.numbers:
                yield Control(target.kind, number, target.channel or binding.channel or self._channel), target.low


def _is_press(event: ControlEvent, before: float | None) -> bool:
    """Whether a button was pressed just now. A button that never sends its release sends the same value again."""
    if event.control.kind in ("note", "program"):
        return event.pressed
    return event.pressed and (before is None or before < 0.5 or before == event.position)
