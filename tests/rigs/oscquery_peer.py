"""An OSC and OSCQuery client, written from the specifications alone.

https://opensoundcontrol.stanford.edu/spec-1_0.html and https://github.com/Vidvox/OSCQueryProposal. It shares no code
with the daemon or with python-osc, so that both sides cannot share a misunderstanding.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import socket
import struct
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

PATIENCE = 30.0  # seconds, only ever spent where a test fails
FIXED: Mapping[str, str] = {"i": ">i", "f": ">f", "h": ">q", "d": ">d"}
BARE: Mapping[str, Any] = {"T": True, "F": False, "N": None, "I": None}


def _string(text: str) -> bytes:
    data = text.encode()
    return data + b"\0" * (4 - len(data) % 4)


def pack(address: str, tags: str = "", *arguments: Any) -> bytes:
    """Encode a message. `tags` are the type tags without the comma. Arguments of T, F, N and I are not sent."""
    tags = "".join("TF"[not value] if tag in "TF" else tag for tag, value in zip(tags, arguments, strict=True))
    body = b"".join(_string(value) if tag == "s" else struct.pack(FIXED[tag], value)
                    for tag, value in zip(tags, arguments, strict=True) if tag not in BARE)
    return _string(address) + _string("," + tags) + body


def unpack(packet: bytes) -> tuple[str, list[Any]]:
    """Decode a message into its address and arguments."""
    address, rest = _text(packet)
    tags, rest = _text(rest)
    found: list[Any] = []
    for tag in tags[1:]:
        if tag in BARE:
            found.append(BARE[tag])
        elif tag == "s":
            text, rest = _text(rest)
            found.append(text)
        else:
            size = struct.calcsize(FIXED[tag])
            found += struct.unpack(FIXED[tag], rest[:size])
            rest = rest[size:]
    assert rest == b""
    return address, found


def _text(data: bytes) -> tuple[str, bytes]:
    end = data.index(0)
    return data[:end].decode(), data[(end // 4 + 1) * 4:]


class Udp:
    """An OSC socket that sends to the port `target` and receives the replies."""

    def __init__(self, target: int) -> None:
        self._target = ("127.0.0.1", target)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.bind(("127.0.0.1", 0))

    def __enter__(self) -> Udp:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, address: str, tags: str = "", *arguments: Any) -> None:
        self._socket.sendto(pack(address, tags, *arguments), self._target)

    def received(self) -> Iterator[tuple[str, list[Any]]]:
        """Yield the messages that have arrived."""
        with contextlib.suppress(BlockingIOError):
            while True:
                yield unpack(self._socket.recv(65536))


class Stream:
    """The WebSocket: commands, and OSC packets in both directions."""

    def __init__(self, web: ClientConnection) -> None:
        self._web = web

    async def command(self, command: str, path: str) -> None:
        await self._web.send(json.dumps({"COMMAND": command, "DATA": path}))

    async def send(self, address: str, tags: str = "", *arguments: Any) -> None:
        await self._web.send(pack(address, tags, *arguments))

    async def receive(self) -> tuple[str, Any]:
        """Return the next message: a command and its path, or an address and its arguments."""
        async with asyncio.timeout(PATIENCE):
            message = await self._web.recv()
        if isinstance(message, bytes):
            return unpack(message)
        found = json.loads(message)
        return found["COMMAND"], found["DATA"]

    async def receive_from(self, name: str) -> Any:
        """Return the content of the next message with this command or address; skip other messages."""
        while True:
            received, content = await self.receive()
            if received == name:
                return content


class Query:
    """The HTTP side."""

    def __init__(self, host: str, port: int) -> None:
        self.host, self.port = host, port

    async def get(self, path: str) -> tuple[int, Any]:
        """Return the status and the JSON, or None if the answer is not JSON."""
        return await asyncio.to_thread(self._get, path)

    def _get(self, path: str) -> tuple[int, Any]:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=PATIENCE)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            body = answer.read()
            is_json = answer.headers.get_content_type() == "application/json"
            return answer.status, json.loads(body) if is_json else None
        finally:
            connection.close()

    async def methods(self, path: str = "/") -> dict[str, dict[str, Any]]:
        """Return every method (node with a TYPE) below `path`, by its path, and check the place of each."""
        status, node = await self.get(path)
        assert status == 200, (path, status)
        return dict(_walk(node, path))

    @contextlib.asynccontextmanager
    async def stream(self) -> AsyncIterator[Stream]:
        async with connect(f"ws://{self.host}:{self.port}/", proxy=None) as web:
            yield Stream(web)


def _walk(node: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    assert node["FULL_PATH"] == path, (node["FULL_PATH"], path)
    if "TYPE" in node:
        assert "CONTENTS" not in node, f"{path} is both a method and a container"
        yield path, node
    for name, inside in node.get("CONTENTS", {}).items():
        yield from _walk(inside, f"{path.rstrip('/')}/{name}")
