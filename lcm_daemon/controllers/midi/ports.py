"""Opens the MIDI ports that match the show's patterns, opens them again when they come back, and sends to them.

A disconnected device raises no error: its port is only silent. Therefore one thread reads the names of all ports every
PORT_SCAN seconds, and opens and closes ports accordingly. The same thread sends, so that a slow device never blocks the
desk. It keeps one client open for the names, because a new one takes half a second under JACK.
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

from lcm_daemon.controllers.midi.messages import is_foreign_sysex, parse
from lcm_daemon.controllers.midi.port_names import DevicePattern, DevicePort, PortNumbers
from lcm_daemon.controllers.midi.rtmidi_library import RtMidiLibrary, load_rtmidi
from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.core.metrics import LogThrottle, Metrics

if TYPE_CHECKING:
    from mido import Message

log = logging.getLogger(__name__)

PORT_SCAN = 0.5  # seconds between two scans of the port names, so that a new device works within a second
RECONNECT = 10.0  # seconds between two attempts to reach a MIDI system that does not answer

OnMessage = Callable[[int, DevicePort, float, "Message"], None]  # (device, port, perf_counter seconds, message)
OnPorts = Callable[[int, Sequence[DevicePort], Sequence[DevicePort]], None]  # (device, its inputs, its outputs)
ErrorContext = Callable[[], contextlib.AbstractContextManager[None]]

BACKENDS: Mapping[str, str] = {  # names in a show: names in RtMidi
    "auto": "UNSPECIFIED", "alsa": "LINUX_ALSA", "jack": "UNIX_JACK", "coremidi": "MACOSX_CORE",
    "windows": "WINDOWS_MM",
}


class MidiPort(Protocol):
    """An open input or output. Every call may raise OSError."""

    def close(self) -> None: ...

    def send(self, message: bytes) -> None: ...


class MidiBackend(Protocol):
    """A MIDI system. Every call may raise OSError."""

    def port_names(self) -> tuple[list[str], list[str]]:
        """Return the names of the inputs and of the outputs."""
        ...

    def open_input(self, name: str, on_data: Callable[[Sequence[int]], None], place: int = 0) -> MidiPort:
        """Open an input. `place` is its place among inputs with exactly this name."""
        ...

    def open_output(self, name: str, place: int = 0) -> MidiPort: ...

    def close(self) -> None: ...


class RtMidiPort:
    """A port of RtMidi. `send` may be called from two threads: that of the feedback and that of the clock."""

    def __init__(
        self, library: RtMidiLibrary, native: Any, name: str, place: int, translate_errors: ErrorContext,
    ) -> None:
        self._library, self._native, self._translate_errors = library, native, translate_errors
        self._lock, self._is_open = threading.Lock(), False
        with translate_errors():
            try:
                places = [i for i, other in enumerate(native.get_ports()) if other == name]
                if place >= len(places):
                    raise OSError("the port is gone")
                native.open_port(places[place], "lcm-daemon")
                self._is_open = True
            finally:
                if not self._is_open:
                    native.delete()  # else its client stays visible to other programs

    def close(self) -> None:
        with self._lock, self._translate_errors():
            self._is_open = False
            if hasattr(self._native, "cancel_callback"):
                self._library.cancel_callback(self._native)
            self._native.close_port()
            self._native.delete()

    def send(self, message: bytes) -> None:
        with self._lock, self._translate_errors():
            if not self._is_open:
                raise OSError("the port is closed")
            self._native.send_message(message)


class RtMidi:
    """The MIDI system, through RtMidi.

    Args:
        backend: Key of BACKENDS.
        clock: Whether inputs receive MIDI clock and MIDI timecode.
        sysex: Whether inputs receive system exclusive messages.

    Raises:
        MissingIntegration: No binding of RtMidi is installed.
        LcmDaemonError: The system has no MIDI.
        OSError: The MIDI system does not answer.
    """

    def __init__(self, backend: str = "auto", clock: bool = True, sysex: bool = False) -> None:
        self._rtmidi = load_rtmidi()
        self._clock, self._sysex, self._api = clock, sysex, self._rtmidi.api(BACKENDS[backend])
        alsa = backend == "alsa" or (backend == "auto" and sys.platform == "linux")
        if alsa and not Path("/dev/snd/seq").exists():  # else libasound writes its own error at every attempt
            raise LcmDaemonError("MIDI: this system has no /dev/snd/seq (the snd-seq kernel module is not loaded)")
        with self._translate_errors():
            self._inputs, self._outputs = self._rtmidi.MidiIn(self._api), self._rtmidi.MidiOut(self._api)
            self._inputs.get_port_count()  # supriya-midi raises for a system that does not answer not before this

    @contextlib.contextmanager
    def _translate_errors(self) -> Iterator[None]:
        """Raise the library's own errors as OSError."""
        try:
            yield
        except self._rtmidi.errors as error:
            raise OSError(str(error)) from error

    def port_names(self) -> tuple[list[str], list[str]]:
        with self._translate_errors():
            return self._inputs.get_ports(), self._outputs.get_ports()

    def open_input(self, name: str, on_data: Callable[[Sequence[int]], None], place: int = 0) -> MidiPort:
        with self._translate_errors():
            native = self._rtmidi.MidiIn(self._api, "lcm-daemon")
            native.ignore_types(sysex=not self._sysex, timing=not self._clock, active_sense=True)
        port = RtMidiPort(self._rtmidi, native, name, place, self._translate_errors)
        self._rtmidi.set_callback(native, on_data)
        return port

    def open_output(self, name: str, place: int = 0) -> MidiPort:
        with self._translate_errors():
            native = self._rtmidi.MidiOut(self._api, "lcm-daemon")
        return RtMidiPort(self._rtmidi, native, name, place, self._translate_errors)

    def close(self) -> None:
        with self._translate_errors():
            self._inputs.delete()
            self._outputs.delete()


@dataclass
class _DevicePorts:
    """The open ports of one pattern."""

    inputs: dict[DevicePort, MidiPort] = field(default_factory=dict)
    outputs: dict[DevicePort, MidiPort] = field(default_factory=dict)


class MidiPorts:
    """The open ports of all patterns. A device is the index of its pattern.

    Args:
        patterns: The devices of the show. A port belongs to the first one that it matches.
        connect: Opens the backend. If it raises, that is logged once, and it is called again after RECONNECT.
        on_message: Called in a thread of the backend with every message.
        on_ports: Called in the thread of this object when the open ports of a device have changed.
        metrics: Counters.
    """

    def __init__(self, patterns: Sequence[DevicePattern], connect: Callable[[], MidiBackend], on_message: OnMessage,
                 on_ports: OnPorts, metrics: Metrics) -> None:
        self._patterns, self._connect, self._on_message, self._on_ports = patterns, connect, on_message, on_ports
        self._metrics, self._throttle = metrics, LogThrottle(log, metrics)
        self._backend: MidiBackend | None = None
        self._connected = 0.0  # time of the connection to the backend
        self._logged_error = ""
        self._devices = [_DevicePorts() for _ in patterns]
        self._numbers = PortNumbers()
        self._outgoing: dict[tuple[int, object], Sequence[bytes]] = {}
        self._wake_up = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="midi", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self, timeout: float = 5.0) -> None:
        """Send what is waiting, close every port and end the thread, within `timeout` seconds."""
        with self._wake_up:
            self._stopping = True
            self._wake_up.notify()
        if self._thread.is_alive():
            self._thread.join(timeout)

    def send(self, device: int, messages: Mapping[object, Sequence[bytes]]) -> None:
        """Queue messages for every output of a device. New messages replace waiting ones with the same key."""
        with self._wake_up:
            self._outgoing.update({(device, key): sent for key, sent in messages.items()})
            self._wake_up.notify()

    def outputs(self) -> list[tuple[DevicePort, MidiPort]]:
        """Return every open output. May be called from any thread."""
        return [output for device in self._devices for output in list(device.outputs.items())]

    # In the thread

    def _run(self) -> None:
        due = 0.0
        while not self._stopping:
            if time.perf_counter() >= due:
                due = time.perf_counter() + (PORT_SCAN if self._scan() else RECONNECT)
            self._send_waiting(due)
        self._send_waiting(0.0)
        self._disconnect()

    def _send_waiting(self, due: float) -> None:
        """Send the waiting messages; wait until `due` if there are none."""
        with self._wake_up:
            if not self._outgoing and not self._stopping:
                self._wake_up.wait(max(0.0, due - time.perf_counter()))
            outgoing, self._outgoing = self._outgoing, {}
        for (device, _), messages in outgoing.items():
            for place, port in self._devices[device].outputs.items():
                for message in messages:
                    self._try(f"cannot send to '{place}'", port.send, message)

    def _scan(self) -> bool:
        """Open new ports and close missing ones. Return whether the MIDI system answers."""
        try:
            inputs, outputs = self._read_names()
        except (LcmDaemonError, OSError) as error:
            self._disconnect()
            self._log_missing(str(error) if isinstance(error, LcmDaemonError) else f"MIDI: {error}")
            return False
        self._logged_error = ""
        numbered_inputs, numbered_outputs = self._numbers.number(inputs, outputs)
        inputs_by_device = self._by_device(numbered_inputs, lambda pattern: pattern.inputs)
        outputs_by_device = self._by_device(numbered_outputs, lambda pattern: pattern.outputs)
        for device in range(len(self._patterns)):
            self._update(device, inputs_by_device[device], outputs_by_device[device])
        return True

    def _read_names(self) -> tuple[list[str], list[str]]:
        if self._backend is None:
            self._backend, self._connected = self._connect(), time.perf_counter()
        inputs, outputs = self._backend.port_names()
        if not inputs and not outputs and time.perf_counter() > self._connected + RECONNECT:
            self._disconnect()  # only a new client sees a JACK server that was restarted
        return inputs, outputs

    def _by_device(
        self, ports: Sequence[DevicePort], is_wanted: Callable[[DevicePattern], bool],
    ) -> list[list[DevicePort]]:
        """The ports of each device: a port belongs to the first pattern that it matches."""
        found: list[list[DevicePort]] = [[] for _ in self._patterns]
        for port in ports:
            device = next((i for i, one in enumerate(self._patterns) if is_wanted(one) and one.matches(port)), None)
            if device is not None:
                found[device].append(port)
        return found

    def _update(self, device: int, inputs: Sequence[DevicePort], outputs: Sequence[DevicePort]) -> None:
        ports = self._devices[device]
        before = list(ports.inputs), list(ports.outputs)
        self._open_and_close(ports.inputs, inputs, lambda port: self._open_input(device, port))
        self._open_and_close(ports.outputs, outputs, self._open_output)
        after = list(ports.inputs), list(ports.outputs)
        if after != before:
            self._on_ports(device, *after)

    def _open_and_close(
        self, opened: dict[DevicePort, MidiPort], wanted: Sequence[DevicePort],
        open_port: Callable[[DevicePort], MidiPort],
    ) -> None:
        for port in [port for port in opened if port not in wanted]:
            self._try(f"cannot close '{port}'", opened.pop(port).close)
        for port in [port for port in wanted if port not in opened]:
            native = self._try(f"cannot open '{port}'", open_port, port)
            if native is not None:
                opened[port] = native

    def _open_input(self, device: int, port: DevicePort) -> MidiPort:
        def on_data(data: Sequence[int]) -> None:
            if is_foreign_sysex(data):
                return  # a dump of a device's memory may be a megabyte
            now, message = time.perf_counter(), parse(data)
            if message is None:
                self._metrics.count("midi/malformed")
            else:
                self._on_message(device, port, now, message)

        assert self._backend is not None
        return self._backend.open_input(port.name, on_data, port.place)

    def _open_output(self, port: DevicePort) -> MidiPort:
        assert self._backend is not None
        return self._backend.open_output(port.name, port.place)

    def _try(self, failure: str, act: Callable[..., Any], *arguments: Any) -> Any:
        """Call `act`; log `failure` and return None if it raises OSError."""
        try:
            return act(*arguments)
        except OSError as error:
            self._throttle.warn("midi/failed", f"MIDI: {failure}: {error}")
            return None

    def _log_missing(self, text: str) -> None:
        """Log an error of the MIDI system, unless it was the last one."""
        self._metrics.count("midi/missing")
        if text != self._logged_error:
            log.warning("%s; the show runs without MIDI", text)
        self._logged_error = text

    def _disconnect(self) -> None:
        """Close every port and the backend."""
        for device in range(len(self._patterns)):
            self._update(device, [], [])
        if self._backend is not None:
            self._try("cannot close the MIDI system", self._backend.close)
        self._backend = None
