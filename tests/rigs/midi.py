"""The MIDI controller with a stand-in for the stage, and two kinds of devices, for the tests.

`Plugboard` stands in for python-rtmidi in this process. `jack` is a real JACK server without a sound card, and `Peer`
another process with virtual ports on it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import Any
from unittest import mock

from lcm_daemon.controllers.midi import controller, feedback, ports
from lcm_daemon.controllers.midi.binding import Binding
from lcm_daemon.controllers.midi.controller import Midi
from lcm_daemon.controllers.midi.rtmidi_library import rtmidi_version
from lcm_daemon.core.control_state import ControlState
from lcm_daemon.core.document import Problems, compose
from lcm_daemon.core.metrics import Metrics
from lcm_daemon.core.parameter_table import TABLE
from lcm_daemon.core.parameters import Value
from lcm_daemon.core.requests import CommandRequest, commands
from lcm_daemon.core.schema import read_fields
from tests.conftest import need
from tests.rigs.echo import echo

PATIENCE = 20.0  # seconds, only ever spent where a test fails


def options(text: str) -> dict[str, Any]:
    """Read the `midi:` section of a show."""
    problems = Problems()
    found = read_fields(compose(text, "show.yaml"), Midi.fields, problems)
    problems.raise_if_any()
    return found


def bindings(text: str) -> tuple[Binding, ...]:
    found: tuple[Binding, ...] = options(f"map:\n  - {text}")["map"]
    return found


class Plugboard:
    """A stand-in for ports.MidiBackend. Names in `plugged` are both inputs and outputs.

    A name that is plugged in twice is that of two devices, as under CoreMIDI: the second is "Pad#1" here.

    Attributes:
        inputs: What receives the messages of each open input.
        opened: How many ports are open.
    """

    def __init__(self, *plugged: str) -> None:
        self.plugged = list(plugged)
        self.inputs: dict[str, Callable[[Sequence[int]], None]] = {}
        self.sent: list[tuple[str, tuple[int, ...]]] = []
        self.opened = 0
        self.broken: Exception | None = None

    def port_names(self) -> tuple[list[str], list[str]]:
        if self.broken is not None:
            raise self.broken
        return list(self.plugged), list(self.plugged)

    def open_input(self, name: str, on_data: Callable[[Sequence[int]], None], place: int = 0) -> PlugboardPort:
        port = PlugboardPort(self, f"{name}#{place}" if place else name)
        assert port.name not in self.inputs, "the input is open already"
        self.inputs[port.name] = on_data
        return port

    def open_output(self, name: str, place: int = 0) -> PlugboardPort:
        return PlugboardPort(self, f"{name}#{place}" if place else name, is_input=False)

    def close(self) -> None: ...

    def play(self, *message: int, name: str = "") -> None:
        """Send a message from a device."""
        self.inputs[name or self.plugged[0]](list(message))


class PlugboardPort:
    def __init__(self, plugboard: Plugboard, name: str, is_input: bool = True) -> None:
        self._plugboard, self.name, self._is_input = plugboard, name, is_input
        plugboard.opened += 1

    def close(self) -> None:
        self._plugboard.opened -= 1
        if self._is_input:
            self._plugboard.inputs.pop(self.name, None)

    def send(self, message: bytes) -> None:
        self._plugboard.sent.append((self.name, tuple(message)))


class Rig:
    """A Midi with a control state. `pass_on` stands in for the stage: it pops the requests and echoes the changes."""

    def __init__(self, given: Mapping[str, Any], connect: Callable[[], Any] | None = None) -> None:
        self.metrics = Metrics()
        values = {name: p.default for name, p in TABLE.items()}
        self.controls = ControlState(TABLE, values, self.metrics, lambda: None, commands(["ink", "sd-turbo"]))
        self.midi = Midi(self.controls, given, connect)
        self.commands: list[CommandRequest] = []
        self.origins: list[str] = []

    def pass_on(self) -> None:
        requests = echo(self.controls)
        self.commands += requests.commands
        self.origins += [change.origin for change in requests.changes.values()]

    def move(self, name: str, value: Value, origin: str = "osc/someone") -> None:
        """Change a parameter from elsewhere."""
        self.controls.set(name, value, origin)
        self.pass_on()

    async def until(self, condition: Callable[[], object]) -> None:
        """Pass on requests until a condition holds."""
        async with asyncio.timeout(PATIENCE):
            while not condition():
                self.pass_on()
                await asyncio.sleep(0.002)

    async def becomes(self, name: str, value: Value) -> None:
        await self.until(lambda: self.controls.values[name] == value)


@contextlib.asynccontextmanager
async def rig(text: str, connect: Callable[[], Any] | None = None) -> AsyncIterator[Rig]:
    one = Rig(options(text), connect)
    await one.midi.start()
    try:
        yield one
    finally:
        await one.midi.stop()


@contextlib.asynccontextmanager
async def plugged(text: str, name: str = "Pad") -> AsyncIterator[tuple[Rig, Plugboard]]:
    """A rig with one stand-in device, connected."""
    device = Plugboard(name)
    with (mock.patch.object(controller, "REFRESH_DELAY", 1e6), mock.patch.object(ports, "PORT_SCAN", 0.02),
          mock.patch.object(feedback, "SEND_INTERVAL", 0.002)):
        async with rig(text, lambda: device) as one:
            await one.until(lambda: name in device.inputs)
            await asyncio.sleep(0.01)  # until the first feedback has been sent
            yield one, device


# Real ports

def need_rtmidi() -> None:
    """Skip, or fail under CI, where no binding of RtMidi is installed."""
    need(bool(rtmidi_version()), "neither python-rtmidi nor supriya-midi is installed")


@contextlib.contextmanager
def jack(period: int = 64) -> Iterator[None]:
    """Run a JACK server; processes that are started inside use it.

    Args:
        period: Frames of 1/48000 s. With many ports, short periods leave their processes too little time.
    """
    need(shutil.which("jackd") is not None, "jackd is not installed")
    need_rtmidi()
    name, server = _start_jack(period)
    with mock.patch.dict(os.environ, JACK_DEFAULT_SERVER=name):
        try:
            yield
        finally:
            server.terminate()
            try:
                server.wait(PATIENCE / 4)
            except subprocess.TimeoutExpired:  # it waits for a client that was killed
                server.kill()
                server.wait(PATIENCE)


def _start_jack(period: int) -> tuple[str, subprocess.Popen[bytes]]:
    """Start it under the first free one of four names: JACK's registry holds eight, and keeps those of dead servers."""
    for name in (f"lcm-test-{number}" for number in range(4)):
        command = ["jackd", "-n", name, "-r", "--no-mlock", "-d", "dummy", "-r", "48000", "-p", str(period)]
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end = time.perf_counter() + PATIENCE
        while server.poll() is None and time.perf_counter() < end:
            if not subprocess.run(["jack_lsp", "-s", name], capture_output=True).returncode and server.poll() is None:
                return name, server
        server.kill()
        server.wait(PATIENCE)
    raise AssertionError("jackd does not start")


class Peer:
    """A device in another process, with a virtual input and output. `received` holds the messages it got."""

    def __init__(self, name: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.rigs.midi_peer", name], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True, bufsize=1,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._stdin, self._stdout = self._process.stdin, self._process.stdout
        assert self._stdout.readline().strip() == "ready"
        os.set_blocking(self._stdout.fileno(), False)
        self._text = ""

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_: object) -> None:
        self.unplug()

    def send(self, *message: int) -> None:
        self._stdin.write(bytes(message).hex() + "\n")
        self._stdin.flush()

    @property
    def received(self) -> list[tuple[int, ...]]:
        """Every message so far."""
        with contextlib.suppress(BlockingIOError):
            self._text += os.read(self._stdout.fileno(), 65536).decode()
        return [tuple(bytes.fromhex(line)) for line in self._text.split("\n")[:-1]]

    def unplug(self) -> None:
        """End the process: its ports disappear as if it were unplugged."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait(PATIENCE)
        self._stdin.close()
        self._stdout.close()
