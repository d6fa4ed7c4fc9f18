"""The OSC controller with a stand-in for the stage, and OSC programs on real sockets, for the tests."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from typing import Any

from pythonosc.osc_message import OscMessage

from lcm_daemon.controllers.osc.controller import Osc
from lcm_daemon.controllers.osc_protocol.encoder import encode
from lcm_daemon.core.control_state import ControlState
from lcm_daemon.core.metrics import Metrics
from lcm_daemon.core.parameter_table import TABLE
from lcm_daemon.core.parameters import Value
from lcm_daemon.core.requests import CommandRequest, commands
from tests.rigs.echo import echo

PATIENCE = 30.0  # seconds, only ever spent where a test fails

LAST = f"/lcm/{list(TABLE)[-1]}"  # what a new subscriber hears last of all parameters


class Loop(asyncio.SelectorEventLoop):
    """An event loop whose time a test can advance; timers that are due then run without waiting."""

    ahead = 0.0  # seconds

    def time(self) -> float:
        return super().time() + self.ahead


def play(scenario: Coroutine[Any, Any, None]) -> None:
    """Run a test's scenario on a Loop."""
    with asyncio.Runner(loop_factory=Loop) as runner:
        runner.run(scenario)


def pass_time(seconds: float) -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, Loop)
    loop.ahead += seconds


class Rig:
    """An Osc on a free port. `pass_on` stands in for the stage: it pops the requests and echoes the changes."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.metrics = Metrics()
        values = {name: p.default for name, p in TABLE.items()}
        self.controls = ControlState(TABLE, values, self.metrics, lambda: None, commands(["ink", "sd-turbo"]))
        self.osc = Osc(self.controls, {"port": 0, **options})
        self.commands: list[CommandRequest] = []
        self.origins: list[str] = []

    def pass_on(self) -> None:
        requests = echo(self.controls)
        self.commands += requests.commands
        self.origins += [change.origin for change in requests.changes.values()]

    async def until(self, condition: Callable[[], bool]) -> None:
        """Pass on requests until a condition holds."""
        async with asyncio.timeout(PATIENCE):
            while not condition():
                self.pass_on()
                await asyncio.sleep(0.001)

    async def becomes(self, name: str, value: Value) -> None:
        await self.until(lambda: self.controls.values[name] == value)

    def count(self, path: str) -> int:
        return self.metrics.counts().get(path, 0)


@contextlib.asynccontextmanager
async def rig(**options: Any) -> AsyncIterator[Rig]:
    one = Rig(options)
    await one.osc.start()
    try:
        yield one
    finally:
        await one.osc.stop()


class Peer:
    """An OSC program with one UDP socket to send and to listen."""

    def __init__(self, target: int, host: str = "127.0.0.1") -> None:
        self._target = ("127.0.0.1", target)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.bind((host, 0))
        self.port: int = self._socket.getsockname()[1]

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, address: str, *arguments: Value) -> None:
        self.send_packet(encode(address, arguments))

    def send_packet(self, packet: bytes) -> None:
        self._socket.sendto(packet, self._target)

    async def receive(self) -> tuple[str, Any]:
        """The next message: its address and its first argument."""
        async with asyncio.timeout(PATIENCE):
            message = OscMessage(await asyncio.get_running_loop().sock_recv(self._socket, 65536))
        return message.address, message.params[0]

    async def receive_until(self, address: str) -> dict[str, Any]:
        """Everything up to the next message at an address."""
        received = dict([await self.receive()])
        while address not in received:
            received.update([await self.receive()])
        return received

    async def everything(self) -> dict[str, Any]:
        """Everything that arrives before the answer to a question, and the answer."""
        self.send("/lcm/get", "mix")
        return await self.receive_until("/lcm/mix")

    async def subscribed(self, *arguments: Value) -> Peer:
        """Subscribe, and receive the values that are sent at once."""
        self.send("/lcm/subscribe", *arguments)
        await self.receive_until(LAST)
        return self


class Connection:
    """An OSC program with a TCP connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self.writer = reader, writer
        self.port: int = writer.get_extra_info("sockname")[1]

    def send(self, address: str, *arguments: Value) -> None:
        self.send_packet(encode(address, arguments))

    def send_packet(self, packet: bytes) -> None:
        self.writer.write(len(packet).to_bytes(4, "big") + packet)

    async def receive(self) -> tuple[str, Any]:
        """The next message: its address and its first argument."""
        async with asyncio.timeout(PATIENCE):
            size = int.from_bytes(await self._reader.readexactly(4), "big")
            message = OscMessage(await self._reader.readexactly(size))
        return message.address, message.params[0]

    async def receive_until(self, address: str) -> dict[str, Any]:
        """Everything up to the next message at an address."""
        received = dict([await self.receive()])
        while address not in received:
            received.update([await self.receive()])
        return received

    async def ended(self) -> bool:
        """Whether the other end closes the connection within PATIENCE."""
        async with asyncio.timeout(PATIENCE):
            with contextlib.suppress(ConnectionError):
                return await self._reader.read() == b""
        return True


@contextlib.asynccontextmanager
async def connection(port: int, host: str = "127.0.0.1") -> AsyncIterator[Connection]:
    """Connect to a port of this machine, from `host`."""
    one = Connection(*await asyncio.open_connection("127.0.0.1", port, local_addr=(host, 0)))
    try:
        yield one
    finally:
        one.writer.transport.abort()
