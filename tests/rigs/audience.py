"""Rig of the audience server's tests: a server in this event loop, a stage that answers it, and visitors."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
from PIL import Image
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from lcm_daemon.audience import lobby, messages
from lcm_daemon.audience.config import ServerConfig
from lcm_daemon.audience.server import AudienceServer
from lcm_daemon.core.network import NO_POLICY, NetworkPolicy
from lcm_daemon.core.parameter_table import TABLE
from lcm_daemon.core.parameters import Table, Value
from lcm_daemon.processes.channel import Channel, ChildChannel
from lcm_daemon.processes.protocol import Failed, Ready
from lcm_daemon.shows.audience import AudienceConfig

SIZE = (64, 64)
SHARED: Table = {name: TABLE[name] for name in ("prompt", "strength")}
START: Mapping[str, Value] = {"prompt": "sea", "strength": 0.5}
PATIENCE = 20.0
STEP = 0.01  # seconds between two looks of the stage


def colour_of(session: int) -> tuple[int, int, int]:
    """The colour of every picture of a session: no two of 64 sessions have one that is near."""
    return 40 + 60 * (session % 4), 40 + 60 * (session // 4 % 4), 40 + 60 * (session // 16 % 4)


def jpeg_of(colour: tuple[int, int, int], size: tuple[int, int] = (256, 256), **options: Any) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, "JPEG", quality=90, **options)
    return file.getvalue()


def colour_in(jpeg: bytes) -> tuple[int, int, int]:
    """The colour of the middle of a JPEG."""
    image = Image.open(io.BytesIO(jpeg)).convert("RGB")
    found = image.getpixel((image.width // 2, image.height // 2))
    assert isinstance(found, tuple)
    return found[:3]


def is_near(one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    return all(abs(a - b) < 12 for a, b in zip(one, other, strict=True))


class Stage:
    """Gives each seat pictures of its session's colour, and notes what the server says.

    Attributes:
        seats: The session of each seat that is taken.
        turns: Every session that had a seat, in the order of their turns.
        values: What each session has set.
        cameras: The colour of each session's newest camera frame.
        verdict: Whether pictures may be shown.
    """

    def __init__(self, config: ServerConfig) -> None:
        self.channel = Channel(SIZE, slots=config.audience.places)
        self.seats: dict[int, int] = {}
        self.turns: list[int] = []
        self.values: dict[int, dict[str, Any]] = {}
        self.cameras: dict[int, tuple[int, int, int]] = {}
        self.numbers: dict[int, list[int]] = {}
        self.reports: list[str] = []
        self.errors: list[str] = []
        self.address = ""
        self.sessions: messages.SessionList | None = None
        self.kept: messages.Kept | None = None
        self.verdict = True
        self.reads_frames = True
        self._unread: set[int] = set()
        self._count = 0
        self._waiting: list[Any] = []

    def send(self, message: Any) -> None:
        self._waiting.append(message)

    async def play(self) -> None:
        while True:
            for message in self.channel.receive():
                self._on_message(message)
            while self._waiting and self.channel.send(self._waiting[0]):
                self._waiting.pop(0)
            self._render()
            await asyncio.sleep(STEP)

    def _on_message(self, message: Any) -> None:
        match message:
            case messages.SeatTaken():
                assert self.seats.get(message.seat, message.session) == message.session, "the seat was not free"
                if message.seat not in self.seats:
                    self.turns.append(message.session)
                self.seats[message.seat] = message.session
            case messages.SeatLeft():
                assert self.seats.pop(message.seat) == message.session
            case messages.SeatValues():
                assert self.seats[message.seat] == message.session
                self.values.setdefault(message.session, {}).update(message.values)
            case messages.SeatFrame():
                pixels = self.channel._slots.outputs[message.seat]
                if self.seats.get(message.seat) == message.session:
                    self.cameras[message.session] = tuple(int(each) for each in pixels[32, 32, :3])
                    self.numbers.setdefault(message.session, []).append(message.number)
                if self.reads_frames:
                    self.channel.send_without_credit(messages.FrameRead(message.seat))
            case messages.PictureRead():
                self._unread.discard(message.seat)
            case messages.SessionList():
                self.sessions = message
            case messages.Kept():
                self.kept = (self.kept or messages.Kept({})).updated(message)
            case messages.AudienceReport():
                self.reports.append(message.text)
            case Ready():
                self.address = message.report
            case Failed():
                self.errors.append(message.text)

    def _render(self) -> None:
        for seat, session in self.seats.items():
            if seat not in self._unread:
                self._unread.add(seat)
                self._count += 1
                np.copyto(self.channel._slots.inputs[seat], np.array([*colour_of(session), 255], np.uint8))
                self.channel.send_without_credit(
                    messages.SeatPicture(seat, session, self._count, 0.0, self.verdict))


class Answer:
    """An HTTP answer."""

    def __init__(self, status: int, headers: dict[str, list[str]], body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body

    def json(self) -> Any:
        return json.loads(self.body)


async def ask(
    port: int, path: str, method: str = "GET", cookie: str = "", tls: ssl.SSLContext | None = None, **headers: str,
) -> Answer:
    """One HTTP request on a connection of its own."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls)
    sent = {"Host": f"127.0.0.1:{port}", "Connection": "close", "Content-Length": "0",
            **({"Cookie": cookie} if cookie else {}), **headers}
    lines = [f"{method} {path} HTTP/1.1", *(f"{key}: {value}" for key, value in sent.items()), "", ""]
    writer.write("\r\n".join(lines).encode())
    async with asyncio.timeout(PATIENCE):
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    first, *lines = head.decode().split("\r\n")
    found: dict[str, list[str]] = {}
    for line in lines:
        name, _, value = line.partition(": ")
        found.setdefault(name.lower(), []).append(value)
    return Answer(int(first.split()[1]), found, body)


class Phone:
    """A visitor's browser: it keeps the cookie, answers every state, and takes pictures."""

    def __init__(self, port: int, tls: ssl.SSLContext | None = None) -> None:
        self.port, self.tls, self.cookie, self.number = port, tls, "", 0
        self.socket: ClientConnection | None = None
        self.phase, self.place, self.left, self.ended, self.code = "", 0, 0.0, "", 0
        self.values: dict[str, Any] = {}
        self.hello: dict[str, Any] = {}
        self.table: dict[str, Any] = {}
        self.errors: list[str] = []
        self.pictures: list[bytes] = []
        self.acks = self.withheld = 0
        self.answers = True  # whether it answers states and pictures
        self._reading: asyncio.Task[None] | None = None

    async def join(self) -> Answer:
        answer = await ask(self.port, "/join", "POST", self.cookie, self.tls)
        if answer.status == 201:
            self.cookie = answer.headers["set-cookie"][0].partition(";")[0]
        if answer.status in (200, 201):
            self.number = answer.json()["number"]
        return answer

    async def connect(self) -> None:
        headers = {"Cookie": self.cookie} if self.cookie else {}
        url = f"{'wss' if self.tls else 'ws'}://127.0.0.1:{self.port}/join/ws"
        self.socket = await connect(url, additional_headers=headers, max_size=None, proxy=None, ssl=self.tls)
        self._reading = asyncio.create_task(self._read(self.socket))

    async def arrive(self) -> None:
        """Join and connect."""
        assert (await self.join()).status in (200, 201)
        await self.connect()

    async def send(self, **message: Any) -> None:
        assert self.socket is not None
        await self.socket.send(json.dumps(message))

    async def send_bytes(self, data: bytes) -> None:
        assert self.socket is not None
        await self.socket.send(data)

    async def until(self, condition: Callable[[Phone], Any]) -> Any:
        """Wait until something holds for this phone."""
        async with asyncio.timeout(PATIENCE):
            while not (found := condition(self)):
                await asyncio.sleep(0.01)
        return found

    async def drop(self) -> None:
        """Lose the connection."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
        if self.socket is not None:
            self.socket.transport.abort()

    async def _read(self, socket: ClientConnection) -> None:
        with contextlib.suppress(Exception):
            async for data in socket:
                await self._receive(data, socket)
        self.code = socket.close_code or 0

    async def _receive(self, data: str | bytes, socket: ClientConnection) -> None:
        if isinstance(data, bytes):
            self.pictures.append(data)
            await self._answer(socket, '{"picture":"ack"}')
            return
        message = json.loads(data)
        if state := message.get("state"):
            self.phase, self.place, self.left = state["phase"], state.get("place", 0), state.get("left", 0.0)
            await self._answer(socket, '{"here":true}')
        self.hello = message.get("hello", self.hello)
        if "table" in message:
            self.table, self.values = message["table"], dict(message["table"]["values"])
        self.values.update(message.get("values", {}))
        self.ended = message.get("ended", self.ended)
        self.errors += [message["error"]] if "error" in message else []
        self.acks += "camera" in message
        self.withheld += "withheld" in message


    async def _answer(self, socket: ClientConnection, text: str) -> None:
        if self.answers:
            with contextlib.suppress(ConnectionClosed):  # what was received before the end is still read
                await socket.send(text)


class House:
    """A server with its stage."""

    def __init__(self, config: ServerConfig) -> None:
        self.config, self.stage = config, Stage(config)
        self.server = AudienceServer(ChildChannel(self.stage.channel.child_endpoint()), config)
        self.stage.send(messages.SharedTable(SHARED, START))
        self.port = 0
        self.phones: list[Phone] = []

    def phone(self) -> Phone:
        self.phones.append(Phone(self.port))
        return self.phones[-1]

    async def visitor(self) -> Phone:
        """A phone that has joined and connected."""
        phone = self.phone()
        await phone.arrive()
        return phone

    def counts(self, prefix: str = "") -> dict[str, int]:
        return self.server.metrics.counts(prefix)

    async def until(self, condition: Callable[[Stage], Any]) -> Any:
        """Wait until something holds for the stage."""
        async with asyncio.timeout(PATIENCE):
            while not (found := condition(self.stage)):
                await asyncio.sleep(0.01)
        return found


@asynccontextmanager
async def open_house(
    kept: messages.Kept | None = None, network: NetworkPolicy = NO_POLICY, **audience: Any,
) -> AsyncIterator[House]:
    """Serve an audience until the block ends. audience: keys of AudienceConfig."""
    options = {"parameters": ("prompt", "strength"), "port": 0, **audience}
    house = House(ServerConfig("Mirror", AudienceConfig(**options), network, kept))
    works = [asyncio.create_task(house.server.run()), asyncio.create_task(house.stage.play())]
    try:
        await house.until(lambda stage: stage.address or stage.errors or works[0].done())
        if works[0].done():
            works[0].result()
        house.port = int(house.stage.address.split(":")[2].split("/")[0])
        yield house
        assert not any(work.done() for work in works), [work.exception() for work in works if work.done()]
    finally:
        for phone in house.phones:
            await phone.drop()
        for work in works:
            work.cancel()
        await asyncio.gather(*works, return_exceptions=True)
        house.stage.channel.close()


__all__ = ["PATIENCE", "Phone", "Stage", "ask", "colour_in", "colour_of", "is_near", "jpeg_of", "lobby", "open_house"]
