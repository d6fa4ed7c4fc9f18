"""The sources that a page can choose from: the lists "sources" and "source_problems", and their small pictures.

A process of its own searches (transports/source_finder.py), only while a page has its menu open: the page says so every
second with {"look": "sources"}.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from lcm_daemon.controllers.panel.pictures import NO_STORE
from lcm_daemon.core.control_state import ControlState, Row
from lcm_daemon.transports import ndi_discovery
from lcm_daemon.transports.browser import memory_label

log = logging.getLogger(__name__)

PROGRAM = ("-m", "lcm_daemon.transports.source_finder")
LOOK_SECONDS = 5.0  # after the last page has looked, the search ends
RESTART_SECONDS = 5.0  # between two starts of the process
SILENCE_SECONDS = 30.0  # without a message, the process hangs
LINE_LIMIT = 1 << 20  # bytes of a message
LIST, PROBLEMS = "sources", "source_problems"


class SourceSearch:
    """Runs the process while someone looks, and keeps what it finds.

    Args:
        now: Monotonic seconds.
        command: What to run; the show's sources follow as its last argument.
    """

    def __init__(
        self, controls: ControlState, now: Callable[[], float] = time.monotonic,
        command: Sequence[str] = (sys.executable, *PROGRAM),
    ) -> None:
        self._controls, self._now, self._command = controls, now, command
        self._labels: dict[str, list[str]] = {}
        self._problems: dict[str, str] = {}
        self._pictures: dict[str, tuple[int, bytes]] = {}  # version and JPEG by name
        self._keys: dict[str, int] = {}  # the number of each name in the address of its picture
        self._numbers = itertools.count(1)
        self._looked_at = self._started_at = -max(LOOK_SECONDS, RESTART_SECONDS)
        self._task: asyncio.Task[None] | None = None
        self._process: asyncio.subprocess.Process | None = None

    def routes(self) -> list[Route]:
        return [Route("/thumbnails/sources/{key:int}.jpg", self._get_thumbnail)]

    def look(self) -> None:
        """A page shows the sources now. Starts the search if it does not run."""
        self._looked_at = self._now()
        if self._task is None and self._now() - self._started_at >= RESTART_SECONDS:
            self._started_at = self._now()
            self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def update_list(self) -> None:
        """Tell the pages what there is."""
        own = [self._row(name, str(each["label"]), str(each["transport"]), is_own=True)
               for name, each in self._controls.sources.items()]
        found = [self._row(f"{transport} {label}", label, transport, is_own=False)
                 for transport, labels in sorted(self._labels.items()) for label in labels
                 if (transport, label) != ("memory", memory_label(self._controls.browser_source))]
        self._controls.set_list(LIST, (*own, *found))
        self._controls.set_list(PROBLEMS, tuple(
            {"transport": transport, "problem": problem} for transport, problem in sorted(self._problems.items())))

    def _row(self, name: str, label: str, transport: str, is_own: bool) -> Row:
        picture = self._pictures.get(name)
        address = f"/thumbnails/sources/{self._keys[name]}.jpg?v={picture[0]}" if picture else ""
        return {"name": name, "label": label, "transport": transport, "own": is_own, "thumbnail": address}

    async def _run(self) -> None:
        own = {name: each for name, each in self._controls.sources.items() if each["transport"] != "browser"}
        try:
            self._process = process = await asyncio.create_subprocess_exec(
                *self._command, json.dumps(own), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL, limit=LINE_LIMIT,
                env={**os.environ, **ndi_discovery.variables(self._controls.network.ndi_discovery)})
        except OSError as error:
            log.warning("panel: sources cannot be searched: %s", error)
            self._task = None
            return
        try:
            await self._read(process)
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
            self._task = None

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        """Read messages until the process ends or hangs, or no page looks."""
        assert process.stdout is not None
        heard_at = self._now()
        while self._now() - self._looked_at < LOOK_SECONDS and self._now() - heard_at < SILENCE_SECONDS:
            try:
                async with asyncio.timeout(1.0):
                    line = await process.stdout.readline()
            except TimeoutError:
                continue
            except ValueError:  # longer than LINE_LIMIT
                return
            if not line:
                return
            heard_at = self._now()
            with contextlib.suppress(ValueError, KeyError, TypeError):
                self._take(json.loads(line))

    def _take(self, message: Mapping[str, Any]) -> None:
        if "thumbnail" in message:
            name = str(message["thumbnail"])
            version = self._pictures.get(name, (0, b""))[0]
            jpeg = base64.b64decode(message["jpeg"])
            if self._pictures.get(name, (0, b""))[1] != jpeg:
                if name not in self._keys:
                    self._keys[name] = next(self._numbers)
                self._pictures[name] = version + 1, jpeg
        elif "transport" in message:
            transport = str(message["transport"])
            self._labels[transport] = [str(label) for label in message["labels"]]
            self._problems.pop(transport, None)
            if message["problem"]:
                self._problems[transport] = str(message["problem"])
        else:
            self._forget_pictures()
        self.update_list()

    def _forget_pictures(self) -> None:
        """After a round: drop the pictures of sources that are gone."""
        known = {*self._controls.sources, *(f"{transport} {label}" for transport, labels in self._labels.items()
                                            for label in labels)}
        for name in self._pictures.keys() - known:
            del self._pictures[name], self._keys[name]

    async def _get_thumbnail(self, request: Request) -> Response:
        key = int(request.path_params["key"])
        name = next((name for name, number in self._keys.items() if number == key), "")
        if name not in self._pictures:
            return PlainTextResponse("this source has no picture\n", 404, headers=NO_STORE)
        return Response(self._pictures[name][1], media_type="image/jpeg", headers=NO_STORE)
