"""Source finder: a program that lists the sources on this machine and its network, with small pictures of them.

    python -m lcm_daemon.transports.source_finder '{"wide": {"transport": "file", "options": {"path": "..."}}}'

It is a process of its own because native libraries search and connect here, some for seconds. The argument has the
show's own sources by name. It searches again and again, and ends with its standard input. Standard output has one JSON
object a line:

    {"transport": "ndi", "labels": ["STAGE (CAM 1)"], "problem": ""}      what was found, as `list sources` prints it
    {"thumbnail": "ndi STAGE (CAM 1)", "jpeg": "..."}                     a small picture, in base64
    {"round": 1}                                                          everything has been searched
"""

from __future__ import annotations

import base64
import io
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

from lcm_daemon.core.alpha import over_black
from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.core.frame import Pixels
from lcm_daemon.transports import TRANSPORTS, load
from lcm_daemon.transports.base import Source
from lcm_daemon.transports.resize import fit

SEARCH_SECONDS = 2.0  # for the transports that search a network
READ_SECONDS = 2.0  # for the first frame of a source
ROUND_SECONDS = 4.0  # for pictures at a time; the sources that were not reached come first in the next round
PAUSE_SECONDS = 1.0  # between two rounds
MOST_SOURCES = 200  # of a transport
READERS = 4  # sources that are read at the same time
SIZE = (128, 72)  # pixels of a small picture
# A camera belongs to one program and lights its lamp when it is opened: its picture is never taken.
SHOWN = ("file", "memory", "ndi", "picture", "spout", "syphon", "testcard")
ON_MAIN_THREAD = ("syphon",)  # its library needs the main run loop
SLOW = ("ndi", "syphon")  # they wait for answers
SYSTEMS = {"spout": "win32", "syphon": "darwin"}  # transports that exist on one system only

Say = Callable[[Mapping[str, Any]], None]
Sources = Mapping[str, tuple[str, Mapping[str, Any]]]  # transport and options by name


class SourceFinder:
    """Searches, and takes small pictures.

    Args:
        own: The show's sources.
        say: Receives each message.
    """

    def __init__(self, own: Sources, say: Say) -> None:
        self._own, self._say = own, say
        self._pool = ThreadPoolExecutor(READERS, "thumbnail")
        self._taken_at: dict[str, float] = {}  # when each picture was last tried
        self._reading: dict[str, Future[None]] = {}

    @property
    def is_stuck(self) -> bool:
        """Whether every reader waits for a library that does not return."""
        return sum(not future.done() for future in self._reading.values()) >= READERS

    def search(self) -> None:
        """Do one round: the transports that answer at once, then the slow ones."""
        here = [name for name in TRANSPORTS if SYSTEMS.get(name, sys.platform) == sys.platform]
        found = dict(self._own)
        for transports in ([name for name in here if name not in SLOW], [name for name in here if name in SLOW]):
            for transport in transports:
                found |= self._search(transport)
            self._take_pictures({name: each for name, each in found.items() if each[0] in SHOWN})
            found = {}

    def _search(self, transport: str) -> dict[str, tuple[str, Mapping[str, Any]]]:
        labels, problem = [], ""
        try:
            source = load(transport).source
            if source is None or not source.is_listed:
                return {}
            labels = source.discover(SEARCH_SECONDS)[:MOST_SOURCES]
        except LcmDaemonError as error:
            problem = str(error).removeprefix(f"{transport}: ")
        self._say({"transport": transport, "labels": labels, "problem": problem})
        return {f"{transport} {label}": (transport, {}) for label in labels}

    def _take_pictures(self, sources: Sources) -> None:
        """Take the pictures that are oldest, for a few seconds."""
        until = time.monotonic() + ROUND_SECONDS
        self._reading = {name: future for name, future in self._reading.items() if not future.done()}
        waiting = sorted((name for name in sources if name not in self._reading),
                         key=lambda name: self._taken_at.get(name, 0.0))
        while waiting and time.monotonic() < until and not self.is_stuck:
            name = waiting.pop(0)
            self._taken_at[name] = time.monotonic()
            transport, options = sources[name]
            if transport in ON_MAIN_THREAD:
                self._take_picture(name, transport, options)
                continue
            self._reading[name] = self._pool.submit(self._take_picture, name, transport, options)
            busy = [future for future in self._reading.values() if not future.done()]
            if len(busy) >= READERS:
                wait(busy, max(0.0, until - time.monotonic()), "FIRST_COMPLETED")
        wait([*self._reading.values()], max(0.0, until - time.monotonic()))

    def _take_picture(self, name: str, transport: str, options: Mapping[str, Any]) -> None:
        """Read one frame and send it; nothing is sent of a source that sends nothing, or is gone."""
        source_type = load(transport).source
        assert source_type is not None
        try:
            given = options or source_type.listed_options(name.removeprefix(f"{transport} "))
            if given is None:
                return
            preview = {"bandwidth": "lowest"} if transport == "ndi" else {}
            pixels = _read_frame(source_type({**given, **preview}))
        except (LcmDaemonError, ValueError):
            return
        if pixels is not None:
            self._say({"thumbnail": name, "jpeg": base64.b64encode(encode(pixels)).decode()})


def _read_frame(source: Source) -> Pixels | None:
    """Open a source, read its first frame and close it. Raises LcmDaemonError."""
    source.open()
    try:
        until = time.monotonic() + READ_SECONDS
        while time.monotonic() < until:
            source.pump()
            frame = source.read(0.1)
            if frame is not None:
                return fit(frame.pixels, SIZE, "cover", frame.pixel_aspect)
        return None
    finally:
        source.close()


def encode(pixels: Pixels) -> bytes:
    """A JPEG of uint8 (H, W, 4) pixels, on black."""
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(over_black(pixels)[..., :3]).save(out, "JPEG", quality=75)
    return out.getvalue()


def read_sources(text: str) -> dict[str, tuple[str, Mapping[str, Any]]]:
    """The show's sources as the program's argument gives them."""
    def items() -> Iterator[tuple[str, tuple[str, Mapping[str, Any]]]]:
        for name, given in json.loads(text).items():
            options = {key: tuple(value) if isinstance(value, list) else value
                       for key, value in given["options"].items()}
            yield name, (given["transport"], options)
    return dict(items())


def _own_output() -> Say:
    """Standard output for messages alone: libraries that print write to standard error from here on."""
    output = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    lock = threading.Lock()

    def say(message: Mapping[str, Any]) -> None:
        with lock:
            output.write(json.dumps(message) + "\n")
            output.flush()

    return say


def _end_with_input() -> None:
    """The daemon closes the input, or has ended: a library that hangs must not keep this process."""
    sys.stdin.buffer.read()
    os._exit(0)


def main(arguments: list[str]) -> int:
    threading.Thread(target=_end_with_input, daemon=True).start()
    say = _own_output()
    finder = SourceFinder(read_sources(arguments[0] if arguments else "{}"), say)
    number = 0
    while not finder.is_stuck:
        finder.search()
        number += 1
        say({"round": number})
        time.sleep(PAUSE_SECONDS)
    return 1


if __name__ == "__main__":
    os._exit(main(sys.argv[1:]))  # readers that hang must not keep it
