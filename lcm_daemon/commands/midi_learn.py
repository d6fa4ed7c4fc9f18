"""`lcm-daemon midi learn`: goes through the parameters of a show and writes the controls moved for them into it."""

from __future__ import annotations

import functools
import queue
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lcm_daemon.commands.midi_inputs import MidiInputs, MidiMessage, TypedLine
from lcm_daemon.commands.output import PrintLine, print_line
from lcm_daemon.controllers.midi.learn_detect import DetectedControl, detect_control, is_button
from lcm_daemon.controllers.midi.learn_write import MapLine, add_map_lines
from lcm_daemon.controllers.midi.port_names import DevicePattern
from lcm_daemon.controllers.midi.ports import MidiBackend, RtMidi
from lcm_daemon.core.atomic_file import write_atomically
from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.core.parameters import Parameter
from lcm_daemon.shows.library import find_show
from lcm_daemon.shows.reader import load_show

if TYPE_CHECKING:
    from mido import Message

QUIET_SECONDS = 0.6  # a gesture ends after this time without a message
MAX_GESTURE = 6.0  # seconds; a gesture that does not become quiet ends after this time
SKIP, END = "", "q"  # what the user types


def learn(
    show_path: str, connect: Callable[[], MidiBackend] | None = None, inputs: MidiInputs | None = None,
    print_line: PrintLine = print_line,
) -> int:
    """Go through the parameters, then write the learned controls into the show. Return the exit code.

    Args:
        show_path: the show file. Its MIDI devices are used, or all devices if it names none.
        connect: opens the MIDI system, in place of the show's backend.
        inputs: where messages and typed lines come from, in place of the devices and the keyboard.
        print_line: receives the output.

    Raises:
        LcmDaemonError: the show has mistakes, MIDI is not available, or the file cannot be written.
    """
    show, path = load_show(show_path), find_show(show_path).resolve()
    options: Mapping[str, Any] = show.controllers["midi"] or {}
    devices: Sequence[Mapping[str, Any]] = options.get("devices") or ({"name": "*"},)
    patterns = [DevicePattern(device["name"], device.get("number")) for device in devices]
    backend = functools.partial(RtMidi, options.get("backend", "auto"))
    with inputs or MidiInputs(connect or backend, patterns) as opened:
        if inputs is None:
            opened.read_keyboard()
        lines: list[MapLine] = []
        try:
            for line in _learn_lines(show.table(show.recipe).values(), opened, print_line):
                lines.append(line)
        except KeyboardInterrupt:
            print_line("")  # behind the terminal's ^C
    if not lines:
        print_line("no controls learned; the show is unchanged")
        return 0
    _write_lines(path, lines)
    print_line(f"{path}: {len(lines)} line{'s' if len(lines) > 1 else ''} written under midi, map")
    return 0


def _learn_lines(
    parameters: Iterable[Parameter], inputs: MidiInputs, print_line: PrintLine,
) -> Iterator[MapLine]:
    print_line("move a control for each parameter; press Enter to skip one, q and Enter or Ctrl-C to end and write")
    for parameter in parameters:
        if parameter.kind == "text":
            continue  # no fader sends text; a button can, written by hand: {note: 36, to: prompt, value: lava}
        span = ", ".join(parameter.choices) or f"{parameter.low:g} to {parameter.high:g}"
        print_line(f"{parameter.name} ({'on or off' if parameter.kind == 'bool' else span})")
        gesture = _read_gesture(inputs)
        if gesture is None:
            return
        device, messages = gesture
        control = detect_control(messages)
        if control is None:
            continue
        line = {**_map_line(parameter, control, messages, inputs, print_line), **inputs.device_key(device)}
        print_line(f"  {line}")
        yield line


def _read_gesture(inputs: MidiInputs) -> tuple[int, list[Message]] | None:
    """Return the device (the index of its pattern) and the messages that one of its ports sends until it is quiet.

    The messages are empty if the user typed Enter. The result is None if the user ended.
    """
    messages: list[Message] = []
    device, port, started = 0, "", time.perf_counter()
    while not messages or time.perf_counter() < started + MAX_GESTURE:
        try:
            event = inputs.events.get(timeout=QUIET_SECONDS if messages else None)
        except queue.Empty:
            if detect_control(messages) is not None:
                return device, messages
            messages = []
            continue
        if isinstance(event, TypedLine) and event.text in (END, None):
            return None
        if isinstance(event, TypedLine) and event.text == SKIP:
            return device, []
        if isinstance(event, MidiMessage) and hasattr(event.message, "channel") and port in ("", event.port):
            if not messages:
                started = time.perf_counter()
            device, port = event.device, event.port
            messages.append(event.message)
    return device, messages


def _map_line(
    parameter: Parameter, control: DetectedControl, messages: list[Message], inputs: MidiInputs,
    print_line: PrintLine,
) -> MapLine:
    """Return the map line for a control. A control that was pressed, not turned, is a button."""
    if not is_button(control, messages):
        return {**control, "to": parameter.name}
    if parameter.kind == "bool":
        return {**control, "to": parameter.name, "button": "toggle"}
    if not parameter.choices:
        return {**control, "to": parameter.name}
    return _radio_line(parameter, control, inputs, print_line)


def _radio_line(
    parameter: Parameter, control: DetectedControl, inputs: MidiInputs, print_line: PrintLine,
) -> MapLine:
    """Ask for one button for each option of a choice, until another kind of control comes."""
    kind = next(iter(control))
    numbers = [control[kind]]
    for choice in parameter.choices[1:]:
        print_line(f"  this button sets {parameter.choices[len(numbers) - 1]}; press the one for {choice}")
        gesture = _read_gesture(inputs)
        other = detect_control(gesture[1]) if gesture else None
        if other is None or kind not in other or other["channel"] != control["channel"]:
            break
        numbers.append(other[kind])
    if len(numbers) == 1:
        return {**control, "to": parameter.name, "value": parameter.choices[0]}
    return {kind: numbers, "channel": control["channel"], "to": parameter.name, "button": "radio"}


def _write_lines(path: Path, lines: Sequence[MapLine]) -> None:
    """Write the mapping into the show file, in one step."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            text = file.read()
        write_atomically(path, add_map_lines(text, str(path), lines))
    except OSError as error:
        raise LcmDaemonError(f"{path}: cannot be written: {error.strerror or error}") from error
