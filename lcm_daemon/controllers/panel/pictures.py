"""The pictures that pages send to the daemon: routes of the panel's web server, and the list "pictures".

    POST /pictures                      the body is a picture file; the answer is {"number": 3, "source": "picture 3"}
    DELETE /pictures/3                  remove a picture
    GET /thumbnails/pictures/3.jpg      a small picture

A refusal is one line of text. Pictures are read and written in threads, one at a time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from starlette.requests import ClientDisconnect, HTTPConnection, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from lcm_daemon.core.control_state import ControlState, Row
from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.core.picture_store import MOST_FILE_BYTES, PictureStore
from lcm_daemon.core.pictures import PictureError
from lcm_daemon.web.address import is_open, network_of
from lcm_daemon.web.open_connections import OWN_DEADLINE

log = logging.getLogger(__name__)

UPLOAD_SECONDS = 120.0  # for receiving one picture
START_SECONDS, LEAST_RATE = 5.0, 65_536.0  # seconds, and bytes a second, within which it must come besides
MOST_UPLOADS = 4  # that are received or wait to be read
MOST_OF_ADDRESS = 2  # of one address of the network
NO_STORE = {"Cache-Control": "no-store", "Cross-Origin-Resource-Policy": "same-origin"}
LIST = "pictures"


class PictureRoutes:
    """Receives pictures.

    Args:
        may_play: Whether this client may change the show; others may only look.
        store: Where the pictures are.
    """

    def __init__(
        self, controls: ControlState, may_play: Callable[[HTTPConnection], bool], store: PictureStore | None = None
    ) -> None:
        self._controls, self._may_play, self._store = controls, may_play, store or PictureStore()
        self._uploads: list[str] = []  # addresses
        self._reading = asyncio.Lock()

    def routes(self) -> list[Route]:
        return [
            Route("/pictures", self._add, methods=["POST"]),
            Route("/pictures/{number:int}", self._remove, methods=["DELETE"]),
            Route("/thumbnails/pictures/{number:int}.jpg", self._get_thumbnail),
        ]

    async def update_list(self) -> None:
        """Tell the pages which pictures there are."""
        try:
            self._controls.set_list(LIST, await asyncio.to_thread(self._rows))
        except LcmDaemonError as error:
            log.warning("panel: pictures cannot be kept: %s", error)

    def _rows(self) -> tuple[Row, ...]:
        return tuple(
            {"number": each.number, "source": f"picture {each.number}", "width": each.size[0], "height": each.size[1],
             "thumbnail": f"/thumbnails/pictures/{each.number}.jpg?v={each.version}"}
            for each in self._store.pictures())

    async def _add(self, request: Request) -> Response:
        if not self._may_play(request):
            return self._refuse(403, "this page may only look; it may not send pictures")
        if not request.headers.get("content-type", "").startswith("image/"):
            return self._refuse(415, "this is not a picture: its content type must be image/...")
        if int(request.headers.get("content-length") or 0) > MOST_FILE_BYTES:
            return self._refuse(413, f"the file is too large: at most {MOST_FILE_BYTES >> 20} MiB are accepted")
        address = network_of(request.client.host if request.client else "")
        is_many = is_open(address) and self._uploads.count(address) >= MOST_OF_ADDRESS
        if len(self._uploads) >= MOST_UPLOADS or is_many:
            return self._refuse(503, "other pictures are being received; send it again")
        self._uploads.append(address)
        request.scope[OWN_DEADLINE] = True
        try:
            return await self._receive(request)
        finally:
            self._uploads.remove(address)

    async def _receive(self, request: Request) -> Response:
        data = bytearray()
        try:
            begun = asyncio.get_running_loop().time()
            async with asyncio.timeout(min(START_SECONDS, UPLOAD_SECONDS)) as limit:
                async for chunk in request.stream():
                    data += chunk
                    limit.reschedule(begun + min(START_SECONDS + len(data) / LEAST_RATE, UPLOAD_SECONDS))
                    if len(data) > MOST_FILE_BYTES:
                        break  # the store refuses it
            async with self._reading:
                number = await asyncio.to_thread(self._store.add, bytes(data))
        except TimeoutError:
            return self._refuse(408, f"the picture came too slowly: it must come within {UPLOAD_SECONDS:g} s, and with "
                                     f"{LEAST_RATE / 1024:g} KiB a second")
        except ClientDisconnect:
            return self._refuse(400, "the connection was closed before the whole picture had arrived")
        except LcmDaemonError as error:
            return self._refuse(413 if len(data) > MOST_FILE_BYTES else 422, str(error))
        await self.update_list()
        return JSONResponse({"number": number, "source": f"picture {number}"}, 201, headers=NO_STORE)

    async def _remove(self, request: Request) -> Response:
        number = int(request.path_params["number"])
        if not self._may_play(request):
            return self._refuse(403, "this page may only look; it may not remove pictures")
        try:
            is_removed = await asyncio.to_thread(self._store.remove, number)
        except PictureError as error:
            return self._refuse(500, str(error))
        await self.update_list()
        return Response(status_code=204) if is_removed else self._refuse(404, f"picture {number} does not exist")

    async def _get_thumbnail(self, request: Request) -> Response:
        jpeg = await asyncio.to_thread(self._store.thumbnail, int(request.path_params["number"]))
        if jpeg is None:
            return PlainTextResponse("this picture was removed\n", 404, headers=NO_STORE)
        headers = {**NO_STORE, "Cache-Control": "private, max-age=86400"}  # the address changes with the picture
        return Response(jpeg, media_type="image/jpeg", headers=headers)

    def _refuse(self, status: int, reason: str) -> Response:
        self._controls.metrics.count("panel/pictures/refused")
        return PlainTextResponse(f"{reason}\n", status, headers=NO_STORE)
