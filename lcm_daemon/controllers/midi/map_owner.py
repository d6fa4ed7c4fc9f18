"""The MIDI map while it is learned and changed: its lines as a show has them, and the gesture that is being learned."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lcm_daemon.controllers.midi.binding import BINDING, Binding
from lcm_daemon.controllers.midi.learn_detect import DetectedControl, detect_control, is_button
from lcm_daemon.controllers.midi.mapping import overlap
from lcm_daemon.controllers.midi.port_names import DevicePort, matches_name
from lcm_daemon.core.bindings import MIDI, MIDI_KINDS, BindingEdit, Line
from lcm_daemon.core.document import Problems, compose
from lcm_daemon.core.learning import Learning
from lcm_daemon.core.parameters import Refused

if TYPE_CHECKING:
    from mido import Message

QUIET_SECONDS = 0.3  # a gesture ends after this time without a message
MAX_MESSAGES = 256  # of a gesture; it ends with the last one

UseBindings = Callable[[Sequence[Binding], Binding | None], None]


class MidiMapOwner:
    """The MIDI controller's side of learning.

    Args:
        learning: What is being learned.
        bindings: The lines of the show's map.
        active: Returns every binding, also those of ready maps and banks.
        use: Called with the new lines, and with the one that was learned.
        device_keys: By the number of each device, the keys of a line that is for that device alone.
    """

    section = MIDI
    command_key = "command"

    def __init__(
        self, learning: Learning, bindings: Sequence[Binding], active: Callable[[], Iterable[Binding]],
        use: UseBindings, device_keys: Sequence[Mapping[str, str]],
    ) -> None:
        self._learning, self._bindings, self._active = learning, list(bindings), active
        self._use_bindings, self._device_keys = use, device_keys
        self._messages: list[Message] = []
        self._from: tuple[int, DevicePort] | None = None  # what sends the gesture
        self._timer: asyncio.TimerHandle | None = None

    # --- the map ---

    def lines(self) -> Sequence[Line]:
        return [line_of(binding) for binding in self._bindings]

    def users(self, line: Line) -> Sequence[Line]:
        wanted = read_line({**_control(line), "to": "-"})
        return [line_of(binding) for binding in dict.fromkeys((*self._bindings, *self._active()))
                if overlap(binding, wanted) and _same_device(binding.device, wanted.device)]

    def use(self, edit: BindingEdit) -> None:
        lines = self.lines()
        place, changed = edit.place(lines), list(self._bindings)
        learned = None
        if edit.removed:
            changed = [binding for i, binding in enumerate(changed) if i != place]
        elif place is None or edit.replaces is not None:
            learned = read_line(edit.changed(None))
            changed = [*changed, learned] if place is None else [*changed[:place], learned, *changed[place + 1:]]
        else:
            changed[place] = _with_keys(changed[place], lines[place], edit.put)
        self._bindings = changed
        self._use_bindings(tuple(changed), learned)

    def label(self, line: Line) -> str:
        kind = _kind(line)
        numbers = line[kind] if isinstance(line[kind], list) else [line[kind]]
        channel = f"ch {line['channel']}" if line.get("channel") else ""
        parts = (kind, ", ".join(str(number) for number in numbers if number is not None), channel, line.get("device"))
        return " ".join(str(part) for part in parts if part)

    # --- the gesture ---

    def collect(self, device: int, port: DevicePort, message: Message) -> None:
        """Collect a message that is not to be acted on. Those of the first port that sends one make up the gesture."""
        if not self._learning.wants(MIDI) or not hasattr(message, "channel"):
            return
        if self._from is None:
            self._from = device, port
        if self._from != (device, port):
            return
        self._messages.append(message)
        if self._timer is not None:
            self._timer.cancel()
        seconds = QUIET_SECONDS if len(self._messages) < MAX_MESSAGES else 0.0
        self._timer = asyncio.get_running_loop().call_later(seconds, self._end_gesture)

    def close(self) -> None:
        """Forget the gesture."""
        if self._timer is not None:
            self._timer.cancel()
        self._messages, self._from, self._timer = [], None, None

    def _end_gesture(self) -> None:
        messages, source = self._messages, self._from
        self.close()
        found = detect_control(messages)
        if found is not None and source is not None:
            self._learning.offer(MIDI, {**found, **self._device_keys[source[0]]}, is_button(found, messages))


def line_of(binding: Binding) -> Line:
    """A binding as a line of a show: its control, its target, and what pages show of it."""
    numbers: Any = binding.numbers[0] if len(binding.numbers) == 1 else list(binding.numbers)
    values = {"value": binding.values[0]} if len(binding.values) == 1 else {"values": list(binding.values)}
    found = {
        binding.kind: numbers, "channel": binding.channel or None, "device": _unless("*", binding.device),
        "to": binding.to or None, "command": binding.command or None, "bank": binding.bank or None,
        "with": list(binding.arguments) or None,
        "range": list(binding.span) if binding.span else None, "curve": _unless("linear", binding.curve),
        "relative": binding.relative or None, "step": binding.step, "button": binding.button or None,
        **(values if binding.values else {}),
    }
    return {key: value for key, value in found.items() if value is not None or key == binding.kind}


def _unless(default: str, value: str) -> str | None:
    return None if value == default else value


def read_line(line: Line) -> Binding:
    """Read a line of a map. Raises Refused for a mistake."""
    problems = Problems()
    binding = BINDING.read(compose(json.dumps(dict(line)), "learned"), problems)
    if problems.found:
        raise Refused(f"learn: {problems.found[0].text}")
    assert isinstance(binding, Binding)
    return binding


def _with_keys(binding: Binding, line: Line, put: Line) -> Binding:
    """A binding with another range or curve. Raises Refused for a mistake."""
    read = read_line({**_control(line), "to": binding.to, **put})
    span = read.span if "range" in put else binding.span
    return replace(binding, span=span, curve=read.curve if "curve" in put else binding.curve)


def _control(line: Line) -> DetectedControl:
    """The keys of a line that say which control it is."""
    return {key: line[key] for key in (_kind(line), "channel", "device") if key in line}


def _kind(line: Line) -> str:
    return next(kind for kind in MIDI_KINDS if kind in line)


def _same_device(one: str, other: str) -> bool:
    return matches_name(one, other) or matches_name(other, one)
