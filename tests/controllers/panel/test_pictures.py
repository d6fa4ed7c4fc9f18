"""Pictures that are sent over HTTP: accepted, shown, removed, and every way to be refused."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from lcm_daemon.controllers.panel import pictures
from lcm_daemon.controllers.panel.controller import Panel
from lcm_daemon.core.picture_store import MOST_FILE_BYTES
from tests.rigs.panel import PATIENCE, Answer, Page, Rig, serving, visiting

MIB = 1 << 20


def png(size: tuple[int, int] = (64, 48)) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, (0, 200, 0)).save(out, "PNG")
    return out.getvalue()


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LCM_DAEMON_STATE", str(tmp_path))


async def send(
    panel: Panel, method: str, path: str, body: bytes = b"", length: int | None = None, **headers: str
) -> Answer:
    """A request by hand: the Content-Length may be any, and the body need not come whole."""
    fields = {"Host": f"127.0.0.1:{panel.port}", "Connection": "close",
              "Content-Length": str(len(body) if length is None else length), **headers}
    reader, writer = await asyncio.open_connection("127.0.0.1", panel.port)
    try:
        lines = [f"{method} {path} HTTP/1.1", *(f"{k.replace('_', '-')}: {v}" for k, v in fields.items()), "", ""]
        writer.write("\r\n".join(lines).encode() + body)
        async with asyncio.timeout(PATIENCE):
            head, _, content = (await reader.read()).partition(b"\r\n\r\n")
    finally:
        writer.close()
    first, *rest = head.decode().split("\r\n")
    return Answer(int(first.split()[1]), {k.lower(): v for k, v in (line.split(": ", 1) for line in rest)}, content)


@asynccontextmanager
async def running(**options: Any) -> AsyncIterator[tuple[Rig, Panel]]:
    rig = Rig()
    async with serving(rig, **options) as panel:
        yield rig, panel


async def heard(page: Page) -> Any:
    """The list of the pictures, when it comes next."""
    while "pictures" not in (lists := await page.heard("lists")):
        pass
    return lists["pictures"]


def test_a_picture_is_sent_listed_shown_and_removed() -> None:
    async def scenario() -> None:
        async with running() as (rig, panel), visiting(panel) as page:
            assert page.hello["lists"]["pictures"] == []
            answer = await send(panel, "POST", "/pictures", png(), Content_Type="image/png")
            assert (answer.status, json.loads(answer.body)) == (201, {"number": 1, "source": "picture 1"})
            (row,) = await heard(page)
            assert (row["number"], row["source"], row["width"], row["height"]) == (1, "picture 1", 64, 48)
            small = await send(panel, "GET", row["thumbnail"])
            assert Image.open(io.BytesIO(small.body)).format == "JPEG"
            assert (await send(panel, "DELETE", "/pictures/1")).status == 204
            assert await heard(page) == []
            assert (await send(panel, "DELETE", "/pictures/1")).status == 404
            assert (await send(panel, "GET", row["thumbnail"])).status == 404
            assert rig.controls.metrics.counts()["panel/pictures/refused"] == 1

    asyncio.run(scenario())


def test_what_is_refused_is_one_clear_line() -> None:
    async def scenario() -> None:
        async with running() as (rig, panel):
            image = {"Content_Type": "image/png"}
            refusals = [
                await send(panel, "POST", "/pictures", png(), Content_Type="text/html"),
                await send(panel, "POST", "/pictures", png()),
                await send(panel, "POST", "/pictures", b"<script>", **image),
                await send(panel, "POST", "/pictures", length=200 * MIB, **image),
                await send(panel, "POST", "/pictures", length=-1, **image),
                await send(panel, "POST", "/pictures", png(), Origin="https://evil.example", **image),
                await send(panel, "DELETE", "/pictures/1", Origin="https://evil.example"),
                await send(panel, "PUT", "/pictures", png(), **image),
                await send(panel, "DELETE", "/pictures/..%2f..%2fetc"),
                await send(panel, "GET", "/thumbnails/pictures/..%2f1.jpg"),
            ]
            assert [each.status for each in refusals] == [415, 415, 422, 413, 400, 403, 403, 405, 404, 404]
            assert refusals[2].body == b"this is not a picture of a known kind; JPEG, PNG, WebP, GIF and others are\n"
            assert refusals[3].body == b"the file is too large: at most 32 MiB are accepted\n"
            assert rig.controls.lists["pictures"] == ()

    asyncio.run(scenario())


def test_200_mb_in_chunks_end_the_connection_and_the_panel_still_answers() -> None:
    async def scenario() -> None:
        async with running() as (_, panel):
            reader, writer = await asyncio.open_connection("127.0.0.1", panel.port)
            writer.write(f"POST /pictures HTTP/1.1\r\nHost: 127.0.0.1:{panel.port}\r\nContent-Type: image/png\r\n"
                         "Transfer-Encoding: chunked\r\n\r\n".encode())
            sent, chunk = 0, b"100000\r\n" + bytes(MIB) + b"\r\n"
            try:
                async with asyncio.timeout(PATIENCE):
                    while sent < 200 * MIB:
                        writer.write(chunk)
                        await writer.drain()
                        sent += MIB
                        if reader.at_eof() or reader._buffer:  # type: ignore[attr-defined]
                            break
            except ConnectionError:
                pass
            assert MOST_FILE_BYTES <= sent < 2 * MOST_FILE_BYTES
            writer.close()
            assert (await send(panel, "POST", "/pictures", png(), Content_Type="image/png")).status == 201

    asyncio.run(scenario())


def test_only_a_few_are_received_at_the_same_time_and_a_slow_one_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "UPLOAD_SECONDS", 0.5)

    async def scenario() -> None:
        async with running() as (_, panel):
            slow = [asyncio.create_task(send(panel, "POST", "/pictures", b"x", 1000, Content_Type="image/png"))
                    for _ in range(pictures.MOST_UPLOADS + 1)]
            answers = sorted([answer.status for answer in await asyncio.gather(*slow)])
            assert answers == [*[408] * pictures.MOST_UPLOADS, 503]
            assert (await send(panel, "POST", "/pictures", png(), Content_Type="image/png")).status == 201

    asyncio.run(scenario())


def test_a_client_that_may_only_look_sends_and_removes_nothing() -> None:
    async def scenario() -> None:
        async with running() as (rig, panel):
            assert panel._server is not None
            panel._server._pictures._may_play = lambda connection: False
            for method, path in (("POST", "/pictures"), ("DELETE", "/pictures/1")):
                answer = await send(panel, method, path, png(), Content_Type="image/png")
                assert (answer.status, b"may only look" in answer.body) == (403, True)
            assert rig.controls.lists["pictures"] == ()

    asyncio.run(scenario())
