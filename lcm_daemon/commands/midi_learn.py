"""`midi learn`: walks through a show's parameters and writes the controls that were moved for them into the show.
`midi monitor`: prints what arrives."""

from __future__ import annotations

import functools
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lcm_daemon.controllers.midi.learn_detect import DetectedControl, detect_control, is_button
from lcm_daemon.controllers.midi.learn_write import MapLine, add_map_lines
from lcm_daemon.controllers.midi.mapping import matches_name
from lcm_daemon.controllers.midi.messages import ControlEvent, MessageDecoder
from lcm_daemon.controllers.midi.ports import BACKENDS, MidiBackend, MidiPorts, RtMidi
from lcm_daemon.core.atomic_file import write_atomically
from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.core.metrics import Metrics
from lcm_daemon.core.parameters import Parameter
from lcm_daemon.core.schema import nearest
from lcm_daemon.shows.library import find_show
from lcm_daemon.shows.reader import load_show

if TYPE_CHECKING:
    from mido import Message

QUIET = 0.6  # seconds without a message after which a control has been moved
LONG = 6.0  # seconds after which it has been moved anyway
SKIP, END = "", "q"  # what is typed


def _say(text: str) -> None:
    print(text, flush=True)


class Ears:
    """Every MIDI input, and the keyboard, in one queue."""

    def __init__(self, connect: Callable[[], MidiBackend], patterns: Sequence[str] = ("*",)) -> None:
        connect().close()  # raises here and now where there is no MIDI
        self.heard: queue.Queue[tuple[str, Any]] = queue.Queue()
        self.inputs: tuple[str, ...] = ()
        self.port = ""  # where the last gesture came from
        self._patterns = patterns
        self._ports = MidiPorts(patterns, connect, self._receive, self._plug, Metrics())

    def __enter__(self) -> Ears:
        self._ports.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ports.stop()

    def device(self) -> dict[str, str]:
        """What a line needs to mean that port alone, where the show has several devices."""
        pattern = next((pattern for pattern in self._patterns if matches_name(pattern, self.port)), "*")
        return {"device": pattern} if len(self._patterns) > 1 else {}

    def listen_to_keyboard(self) -> None:
        """Lines typed arrive as ("", line); the end of the input as END."""
        threading.Thread(target=self._type, name="keyboard", daemon=True).start()

    def _type(self) -> None:
        for line in sys.stdin:
            self.heard.put(("", line.strip()))
        self.heard.put(("", END))

    def _receive(self, device: int, port: str, when: float, message: Message) -> None:
        self.heard.put((port, message))

    def _plug(self, device: int, inputs: Sequence[str], outputs: Sequence[str]) -> None:
        self.inputs = tuple(inputs)
        self.heard.put(("", None))


# Monitor

def monitor(backend: str = "auto", connect: Callable[[], MidiBackend] | None = None,
            say: Callable[[str], None] = _say) -> int:
    """Print every message until Ctrl-C. Raises LcmDaemonError where there is no MIDI, or no such backend."""
    if backend not in BACKENDS:
        raise LcmDaemonError(f"MIDI: there is no backend {backend!r}{nearest(backend, BACKENDS)}")
    with Ears(connect or functools.partial(RtMidi, backend)) as ears:
        say("what arrives over MIDI; Ctrl-C ends it")
        decoders: dict[str, MessageDecoder] = {}
        before: tuple[str, ...] = ()
        try:
            while True:
                port, message = ears.heard.get()
                if port:
                    say(f"{port}: {describe(message, decoders.setdefault(port, MessageDecoder(nrpn=True)))}")
                elif ears.inputs != before:
                    before = ears.inputs
                    say("devices: " + (", ".join(before) or "none"))
        except KeyboardInterrupt:
            return 0


def describe(message: Message, decoder: MessageDecoder) -> str:
    """One message in words, and the bytes."""
    event = decoder.decode(message)
    words = "part of an NRPN" if message.is_cc() else message.type.replace("_", " ")
    if event is not None:
        words = f"{event.control}, channel {event.control.channel}: {_moved(event)}"
    return f"{words}   ({message.hex().lower()})"


def _moved(event: ControlEvent) -> str:
    return ("up" if event.step > 0 else "down") if event.step else f"{event.raw} of {event.top}"


# Learn

def learn(show_path: str, connect: Callable[[], MidiBackend] | None = None, ears: Ears | None = None,
          say: Callable[[str], None] = _say) -> int:
    """Walk through the parameters, then write what was learnt into the show. Raises LcmDaemonError.

    0: written, or nothing was learnt. The show's own devices are listened to, or all where it names none.
    """
    show, path = load_show(show_path), find_show(show_path).resolve()
    given: Mapping[str, Any] = show.controllers["midi"] or {}
    patterns = [device["name"] for device in given.get("devices") or ()] or ["*"]
    backend = functools.partial(RtMidi, given.get("backend", "auto"))
    with ears or Ears(connect or backend, patterns) as listening:
        if ears is None:
            listening.listen_to_keyboard()
        lines = list(_walk(show.table(show.recipe).values(), listening, say))
    if not lines:
        say("nothing learnt; the show is as it was")
        return 0
    _save(path, lines)
    say(f"{path}: {len(lines)} line{'s' if len(lines) > 1 else ''} written under midi, map")
    return 0


def _walk(parameters: Any, ears: Ears, say: Callable[[str], None]) -> Iterator[MapLine]:
    say("move a control for each; Enter leaves one out, q and Enter ends and writes")
    for parameter in parameters:
        if parameter.kind == "text":
            continue  # no fader sends text; a button can: {note: 36, to: prompt, value: lava}
        span = ", ".join(parameter.choices) or f"{parameter.low:g} to {parameter.high:g}"
        say(f"{parameter.name} ({'on or off' if parameter.kind == 'bool' else span})")
        heard = _gesture(ears)
        if heard is None:
            return
        found = detect_control(heard)
        if found is None:
            continue
        line = {**_line(parameter, found, heard, ears, say), **ears.device()}
        say(f"  {line}")
        yield line


def _gesture(ears: Ears) -> list[Message] | None:
    """What one device sends until it is quiet; empty where Enter was typed, None at the end."""
    messages: list[Message] = []
    port, begun = "", time.perf_counter()
    while not messages or time.perf_counter() < begun + LONG:
        try:
            where, what = ears.heard.get(timeout=QUIET if messages else None)
        except queue.Empty:
            if detect_control(messages) is not None:
                return messages
            messages = []
            continue
        if not where and what == END:
            return None
        if not where and what == SKIP:
            return []
        if where and hasattr(what, "channel") and port in ("", where):
            begun = begun if messages else time.perf_counter()
            port = ears.port = where
            messages.append(what)
    return messages


def _line(parameter: Parameter, found: DetectedControl, heard: list[Message], ears: Ears,
          say: Callable[[str], None]) -> MapLine:
    """The map's line: a control that was pressed is a button."""
    if not is_button(found, heard):
        return {**found, "to": parameter.name}
    if parameter.kind == "bool":
        return {**found, "to": parameter.name, "button": "toggle"}
    if not parameter.choices:
        return {**found, "to": parameter.name}
    return _radio(parameter, found, ears, say)


def _radio(parameter: Parameter, found: DetectedControl, ears: Ears, say: Callable[[str], None]) -> MapLine:
    """One button for each option of a choice, as far as they are pressed."""
    kind = next(iter(found))
    numbers = [found[kind]]
    for choice in parameter.choices[1:]:
        say(f"  that is {parameter.choices[len(numbers) - 1]}; press the one for {choice}")
        heard = _gesture(ears)
        other = detect_control(heard) if heard else None
        if other is None or kind not in other or other["channel"] != found["channel"]:
            break
        numbers.append(other[kind])
    chosen = numbers[0] if len(numbers) == 1 else numbers
    if len(numbers) == 1:
        return {**found, "to": parameter.name, "value": parameter.choices[0]}
    return {kind: chosen, "channel": found["channel"], "to": parameter.name, "button": "radio"}


def _save(path: Path, lines: Sequence[MapLine]) -> None:
    """Write the mapping into the show file, in one step."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            text = file.read()
        write_atomically(path, add_map_lines(text, str(path), lines))
    except OSError as error:
        raise LcmDaemonError(f"{path}: cannot be written: {error.strerror or error}") from error
