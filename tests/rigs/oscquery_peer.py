"""A program on the other side of the network: OSC 1.0 and an OSCQuery client, written from their documents alone.

https://opensoundcontrol.stanford.edu/spec-1_0.html and https://github.com/Vidvox/OSCQueryProposal. It shares no code
with the daemon and none with python-osc, so that a misunderstanding on one side is not made twice.
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

PATIENCE = 10.0  # seconds, only ever spent where a test fails
FIXED: Mapping[str, str] = {"i": ">i", "f": ">f", "h": ">q", "d": ">d"}
BARE: Mapping[str, Any] = {"T": True, "F": False, "N": None, "I": None}


def _string(text: str) -> bytes:
    data = text.encode()
    return data + b"\0" * (4 - len(data) % 4)


def pack(address: str, tags: str = "", *arguments: Any) -> bytes:
    """A message. `tags` as in OSC, without the comma; T, F, N and I have arguments as well, which are not sent."""
    tags = "".join("TF"[not value] if tag in "TF" else tag for tag, value in zip(tags, arguments, strict=True))
    body = b"".join(_string(value) if tag == "s" else struct.pack(FIXED[tag], value)
                    for tag, value in zip(tags, arguments, strict=True) if tag not in BARE)
    return _string(address) + _string("," + tags) + body


def unpack(packet: bytes) -> tuple[str, list[Any]]:
    """A message's address and arguments."""
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
    """A program's OSC socket: sends to `target`, and hears what comes back."""

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

    def heard(self) -> Iterator[tuple[str, list[Any]]]:
        """All that has come by now."""
        with contextlib.suppress(BlockingIOError):
            while True:
                yield unpack(self._socket.recv(65536))


class Stream:
    """The WebSocket: commands and OSC packets both ways."""

    def __init__(self, web: ClientConnection) -> None:
        self._web = web

    async def order(self, command: str, path: str) -> None:
        await self._web.send(json.dumps({"COMMAND": command, "DATA": path}))

    async def send(self, address: str, tags: str = "", *arguments: Any) -> None:
        await self._web.send(pack(address, tags, *arguments))

    async def hear(self) -> tuple[str, Any]:
        """The next message: a command and its path, or an address and its arguments."""
        async with asyncio.timeout(PATIENCE):
            message = await self._web.recv()
        if isinstance(message, bytes):
            return unpack(message)
        found = json.loads(message)
        return found["COMMAND"], found["DATA"]

    async def hear_of(self, name: str) -> Any:
        """What comes with the next message of that command or address; others are passed over."""
        while True:
            heard, content = await self.hear()
            if heard == name:
                return content


class Query:
    """The HTTP side."""

    def __init__(self, host: str, port: int) -> None:
        self.host, self.port = host, port

    async def get(self, path: str) -> tuple[int, Any]:
        """The status and the JSON; None where there is none."""
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
        """Every method from `path` down, by its path: what has a type. Checks that each stands in its place."""
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
        assert "CONTENTS" not in node, f"{path} is a method and a container at once"
        yield path, node
    for name, inside in node.get("CONTENTS", {}).items():
        yield from _walk(inside, f"{path.rstrip('/')}/{name}")
