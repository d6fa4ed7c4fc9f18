"""The thumbnails of the looks: `GET /thumbnails/looks/<name>`. Names are looked up in the list of the looks."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from lcm_daemon.core.control_state import ControlState
from lcm_daemon.core.paths import look_thumbnail

MOST_BYTES = 256 << 10  # of a thumbnail; those that the daemon writes are far smaller
HEADERS: Mapping[str, str] = {
    "Cache-Control": "private, max-age=604800, immutable",  # a new picture has a new name
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}


class LookThumbnails:
    """Serves the thumbnails that the stage has written beside the show."""

    def __init__(self, controls: ControlState) -> None:
        self._controls = controls

    def routes(self) -> list[Route]:
        return [Route("/thumbnails/looks/{name}", self._get)]

    async def _get(self, request: Request) -> Response:
        folder, name = self._controls.looks_folder, request.path_params["name"]
        known = {row["thumbnail"] for row in self._controls.lists.get("looks", ())} - {""}
        data = await asyncio.to_thread(_read, look_thumbnail(folder, name)) if folder and name in known else b""
        if not data:
            return PlainTextResponse("no such thumbnail\n", 404, headers={"Cache-Control": "no-store"})
        return Response(data, media_type="image/jpeg", headers=dict(HEADERS))


def _read(path: Path) -> bytes:
    """The content of a JPEG file; empty if there is none, or if it is too large or another kind of file."""
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError:
        return b""
    return data if len(data) <= MOST_BYTES and data.startswith(b"\xff\xd8") else b""
