"""Ports: opens the MIDI devices that fit the show's patterns, finds them again when they come back, and sends to them.

A device that is pulled out raises nothing: its port is silent. So one thread reads the names of all ports every POLL
seconds and opens and closes by them. The same thread sends, so that a slow device never holds the desk up. It keeps one
probe for the names: a new one takes half a second under JACK. Nothing but this file touches python-rtmidi.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from lcm_daemon.controllers.midi.mapping import fits
from lcm_daemon.controllers.midi.messages import parse
from lcm_daemon.core.errors import LcmDaemonError, MissingIntegration
from lcm_daemon.core.metrics import LogThrottle, Metrics

if TYPE_CHECKING:
    from mido import Message

log = logging.getLogger(__name__)

POLL = 0.5  # seconds between two looks at the names: what is plugged in plays within the second
RETRY = 10.0  # seconds between two tries to reach a MIDI system that is not there
OURS = ("RtMidi*", "lcm-daemon*", "Midi Through*")  # ports that "*" must not mean: what is sent there comes back

Received = Callable[[int, str, float, "Message"], None]  # (device, port, perf_counter seconds, one message)

BACKENDS: Mapping[str, str] = {  # the show's word, python-rtmidi's
    "auto": "API_UNSPECIFIED", "alsa": "API_LINUX_ALSA", "jack": "API_UNIX_JACK", "coremidi": "API_MACOSX_CORE",
    "windows": "API_WINDOWS_MM",
}


_Errors = Callable[[], contextlib.AbstractContextManager[None]]


class Port(Protocol):
    def close(self) -> None: ...

    def send(self, message: bytes) -> None: ...


class Backend(Protocol):
    """A MIDI system. Every call may raise OSError."""

    def names(self) -> tuple[list[str], list[str]]: ...

    def open_input(self, name: str, take: Callable[[Sequence[int]], None]) -> Port: ...

    def open_output(self, name: str) -> Port: ...

    def close(self) -> None: ...


class _RtMidiPort:
    def __init__(self, native: Any, name: str, errors: _Errors) -> None:
        self._native, self._errors = native, errors
        with errors():
            names = native.get_ports()
            if name not in names:
                raise OSError("it has gone")
            native.open_port(names.index(name), "lcm-daemon")

    def close(self) -> None:
        with self._errors():
            if hasattr(self._native, "cancel_callback"):
                self._native.cancel_callback()
            self._native.close_port()
            self._native.delete()

    def send(self, message: bytes) -> None:
        with self._errors():
            self._native.send_message(message)


def lacking(python: tuple[int, ...] = sys.version_info[:2]) -> MissingIntegration:
    """What to say where python-rtmidi is missing. python: its version; the extra leaves out what has no wheel."""
    if python < (3, 13):
        return MissingIntegration("MIDI", "python-rtmidi is not installed", 'pip install "lcm-daemon[midi]"')
    return MissingIntegration("MIDI", f"python-rtmidi is not installed: it has no wheel for Python 3.{python[1]}",
                              "Python 3.12, or with a C++ compiler: pip install python-rtmidi")


class RtMidi:
    """python-rtmidi. Raises MissingIntegration where it is missing, LcmDaemonError or OSError where MIDI is."""

    def __init__(self, backend: str = "auto", clock: bool = True) -> None:
        try:
            import rtmidi  # type: ignore[import-not-found, import-untyped, unused-ignore]
        except ImportError as error:
            raise lacking() from error
        self._rtmidi, self._clock = rtmidi, clock
        self._api = getattr(rtmidi, BACKENDS[backend])
        alsa = backend == "alsa" or (backend == "auto" and sys.platform == "linux")
        if alsa and not Path("/dev/snd/seq").exists():  # libasound would write its own complaint at every try
            raise LcmDaemonError("MIDI: this system has no /dev/snd/seq (the snd-seq kernel module is not loaded)")
        with self._errors():
            self._inputs, self._outputs = rtmidi.MidiIn(self._api), rtmidi.MidiOut(self._api)

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        """python-rtmidi's own errors as OSError."""
        try:
            yield
        except self._rtmidi.RtMidiError as error:
            raise OSError(str(error)) from error

    def names(self) -> tuple[list[str], list[str]]:
        with self._errors():
            return self._inputs.get_ports(), self._outputs.get_ports()

    def open_input(self, name: str, take: Callable[[Sequence[int]], None]) -> Port:
        with self._errors():
            native = self._rtmidi.MidiIn(self._api, "lcm-daemon")
            native.ignore_types(sysex=True, timing=not self._clock, active_sense=True)
        port = _RtMidiPort(native, name, self._errors)
        native.set_callback(lambda data, _: take(data[0]))
        return port

    def open_output(self, name: str) -> Port:
        with self._errors():
            native = self._rtmidi.MidiOut(self._api, "lcm-daemon")
        return _RtMidiPort(native, name, self._errors)

    def close(self) -> None:
        with self._errors():
            self._inputs.delete()
            self._outputs.delete()


@dataclass
class _Open:
    inputs: dict[str, Port] = field(default_factory=dict)
    outputs: dict[str, Port] = field(default_factory=dict)


class Ports:
    """The open ports of every pattern. `received` is called in a thread of the backend's, `changed` in this one's.

    connect: makes the backend; where it raises LcmDaemonError, that is logged once and tried again.
    changed: (device, names of its inputs, names of its outputs) whenever they have become others.
    """

    def __init__(self, patterns: Sequence[str], connect: Callable[[], Backend], received: Received,
                 changed: Callable[[int, Sequence[str], Sequence[str]], None], metrics: Metrics) -> None:
        self._patterns, self._connect, self._received, self._changed = patterns, connect, received, changed
        self._health, self._throttle = metrics, LogThrottle(log, metrics)
        self._backend: Backend | None = None
        self._connected = 0.0  # when the backend was
        self._complaint = ""
        self._open = [_Open() for _ in patterns]
        self._outbox: dict[tuple[int, object], Sequence[bytes]] = {}
        self._something = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="midi", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeouts: float = 5.0) -> None:
        """Send what is waiting, close every port and end the thread."""
        with self._something:
            self._stopping = True
            self._something.notify()
        if self._thread.is_alive():
            self._thread.join(timeouts)

    def send(self, device: int, messages: Mapping[object, Sequence[bytes]]) -> None:
        """Send to every output of a device, shortly; of several messages under one key the newest counts."""
        with self._something:
            self._outbox.update({(device, key): sent for key, sent in messages.items()})
            self._something.notify()

    # In the thread

    def _run(self) -> None:
        due = 0.0
        while not self._stopping:
            if time.perf_counter() >= due:
                due = time.perf_counter() + (POLL if self._poll() else RETRY)
            self._post(due)
        self._post(0.0)
        self._lose()

    def _post(self, due: float) -> None:
        """Send what there is; wait for it until `due`."""
        with self._something:
            if not self._outbox and not self._stopping:
                self._something.wait(max(0.0, due - time.perf_counter()))
            outbox, self._outbox = self._outbox, {}
        for (device, _), messages in outbox.items():
            for name, port in self._open[device].outputs.items():
                for message in messages:
                    self._try(f"to {name!r}", port.send, message)

    def _poll(self) -> bool:
        """Open what has come, close what has gone; whether there is a MIDI system at all."""
        try:
            inputs, outputs = self._names()
        except (LcmDaemonError, OSError) as error:
            self._lose()
            return self._complain(str(error) if isinstance(error, LcmDaemonError) else f"MIDI: {error}")
        self._complaint = ""
        mine = self._share(inputs), self._share(outputs)
        for device in range(len(self._patterns)):
            self._update(device, mine[0][device], mine[1][device])
        return True

    def _names(self) -> tuple[list[str], list[str]]:
        if self._backend is None:
            self._backend, self._connected = self._connect(), time.perf_counter()
        inputs, outputs = self._backend.names()
        if not inputs and not outputs and time.perf_counter() > self._connected + RETRY:
            self._lose()  # a JACK server that was started anew is seen by a new probe alone
        return inputs, outputs

    def _share(self, names: Sequence[str]) -> list[list[str]]:
        """The names by device: each belongs to the first pattern that it fits."""
        shares: list[list[str]] = [[] for _ in self._patterns]
        for name in names:
            device = next((i for i, pattern in enumerate(self._patterns) if _wanted(pattern, name)), None)
            if device is not None:
                shares[device].append(name)
        return shares

    def _update(self, device: int, inputs: Sequence[str], outputs: Sequence[str]) -> None:
        mine = self._open[device]
        before = list(mine.inputs), list(mine.outputs)
        self._match(mine.inputs, inputs, lambda name: self._open_input(device, name))
        self._match(mine.outputs, outputs, lambda name: self._backend.open_output(name))  # type: ignore[union-attr]
        after = list(mine.inputs), list(mine.outputs)
        if after != before:
            self._changed(device, *after)

    def _match(self, ports: dict[str, Port], names: Sequence[str], opener: Callable[[str], Port]) -> None:
        for name in [name for name in ports if name not in names]:
            self._try(f"{name!r} was not closed", ports.pop(name).close)
        for name in [name for name in names if name not in ports]:
            port = self._try(f"{name!r} cannot be opened", opener, name)
            if port is not None:
                ports[name] = port

    def _open_input(self, device: int, name: str) -> Port:
        def take(data: Sequence[int]) -> None:
            now, message = time.perf_counter(), parse(data)
            if message is None:
                self._health.count("midi/malformed")
            else:
                self._received(device, name, now, message)

        assert self._backend is not None
        return self._backend.open_input(name, take)

    def _try(self, what: str, act: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return act(*arguments)
        except OSError as error:
            self._throttle.warn("midi/failed", f"MIDI {what}: {error}")
            return None

    def _complain(self, text: str) -> bool:
        self._health.count("midi/missing")
        if text != self._complaint:
            log.warning("%s; the show goes on without MIDI", text)
        self._complaint = text
        return False

    def _lose(self) -> None:
        """Close everything."""
        for device in range(len(self._patterns)):
            self._update(device, [], [])
        if self._backend is not None:
            self._try("was not left", self._backend.close)
        self._backend = None


def _wanted(pattern: str, name: str) -> bool:
    return fits(pattern, name) and (not pattern.startswith("*") or not any(fits(own, name) for own in OURS))
