"""Files for other programs: `GET /export/<what>`, by the names of `exports/formats.py`."""

from __future__ import annotations

import asyncio
import ipaddress
import math
import urllib.parse
from dataclasses import replace

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from lcm_daemon.controllers.panel.monitoring import NO_STORE
from lcm_daemon.core.control_state import ControlState
from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.core.local_addresses import machine_name
from lcm_daemon.core.status_table import STATUS
from lcm_daemon.exports.formats import FORMATS, Format
from lcm_daemon.exports.surface import Surface

LIST = "exports"  # what the page's menu offers
KEPT_SECONDS = 2.0  # for which a file that was built is given again: a flood of requests builds few
MOST_KEPT = 32  # files, one for each export and address of the page


class ExportRoutes:
    """Builds the files from the show as it plays: its parameters, values, looks and prompts of this moment.

    Args:
        controls: The show.
        fixed: What the control state does not know: sources, sinks, ports. None if nothing is known; then no file can
            be built.
    """

    def __init__(self, controls: ControlState, fixed: Surface | None) -> None:
        self._controls, self._fixed = controls, fixed
        self._building = asyncio.Lock()  # one after the other: some take 0.2 s of a core
        self._rest_until = -math.inf  # event loop's time: a flood of names and hosts leaves half of the time to others
        self._kept: dict[tuple[str, str], tuple[float, bytes]] = {}  # when it was built, by export and host

    def routes(self) -> list[Route]:
        """The one route."""
        return [Route("/export/{what}", self._get)]

    def update_list(self) -> None:
        """List the exports for the page. missing: Why one cannot be built; empty if it can."""
        fixed = self._fixed
        self._controls.set_list(LIST, tuple(
            {"name": name, "program": kind.program or name, "help": kind.help, "missing": fixed.missing(*kind.needs)}
            for name, kind in FORMATS.items()) if fixed else ())

    async def _get(self, request: Request) -> Response:
        kind = FORMATS.get(request.path_params["what"])
        if kind is None or self._fixed is None:
            return PlainTextResponse(f"no such export; there are {', '.join(FORMATS)}\n", 404, headers=NO_STORE)
        try:
            async with self._building:
                data = await self._build(request.path_params["what"], kind, self._fixed, _asked_at(request))
        except LcmDaemonError as error:
            return PlainTextResponse(f"{error}\n", 409, headers=NO_STORE)
        name = urllib.parse.quote(kind.file_name(self._fixed.show))
        return Response(data, media_type="application/octet-stream", headers={
            **NO_STORE, "X-Content-Type-Options": "nosniff",
            "Content-Disposition": f"attachment; filename*=UTF-8''{name}"})

    async def _build(self, what: str, kind: Format, fixed: Surface, host: str) -> bytes:
        """The file; the last one if that is new. Raises LcmDaemonError."""
        now = asyncio.get_running_loop().time()
        built, data = self._kept.get((what, host), (-math.inf, b""))
        if now - built < KEPT_SECONDS:
            return data
        await asyncio.sleep(self._rest_until - now)
        began = asyncio.get_running_loop().time()
        data = await asyncio.to_thread(kind.build, self._surface(fixed, host))
        now = asyncio.get_running_loop().time()
        self._rest_until = 2 * now - began
        self._kept.pop((what, host), None)
        while len(self._kept) >= MOST_KEPT:
            del self._kept[next(iter(self._kept))]
        self._kept[what, host] = now, data
        return data

    def _surface(self, fixed: Surface, host: str) -> Surface:
        """The surface of this moment. host: That of the page's address: the file is for the machine that asks."""
        controls = self._controls
        texts = {int(row["number"]): str(row["text"]) for row in controls.lists.get("prompts", ())}
        return replace(
            fixed, table=dict(controls.table), values=dict(controls.values), commands=controls.commands, status=STATUS,
            cues=tuple(str(row["name"]) for row in controls.lists.get("looks", ())),
            recipes=controls.commands["recipe"].arguments[0].choices,
            recipe=str(controls.status.get("recipe", fixed.recipe)),
            prompts=tuple(texts.get(place, "") for place in range(1, max(texts, default=0) + 1)),
            host=_reached(fixed.host, host), page_host=fixed.page_host if is_this_machine(host) else host,
            query_host=_reached(fixed.query_host, host), machine=machine_name())


def _asked_at(request: Request) -> str:
    """The host of the page's address; "" for this machine."""
    host = request.url.hostname or ""
    return "" if is_this_machine(host) else host


def _reached(own: str, host: str) -> str:
    """The address of a server for a program on the machine that asks.

    Args:
        own: The one address that the show gives it, or that of this machine.
        host: That of the page's address.
    """
    return own if is_this_machine(host) or not is_this_machine(own) else host


def is_this_machine(host: str) -> bool:
    """Whether a host of a URL is an address of this machine for itself; also "", which says nothing."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.rstrip(".").lower() in ("", "localhost")
