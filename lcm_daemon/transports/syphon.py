"""Syphon: textures shared between programs on one Mac. Wraps syphon-python and its Metal ends.

A shared surface has its first row at the bottom and is BGRA: the sink lets Syphon turn the picture over while it
copies, the source turns it back. Servers are announced on the main thread's run loop, which `pump` turns.
"""

from __future__ import annotations

import ctypes
import importlib
import logging
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from lcm_daemon.core.errors import LcmDaemonError, MissingIntegration, TransportError
from lcm_daemon.core.frame import Frame, Pixels, Size
from lcm_daemon.core.schema import Boolean, Field, Fields, Text
from lcm_daemon.transports.base import Probe, Sink, Source, Transport
from lcm_daemon.transports.resize import swap_red_blue

POLL_SECONDS = 0.002
PUMP_SECONDS = 0.1  # between two turns of the run loop
TURN_SECONDS = 0.001  # how long a turn may wait; syphon-python's own value is a whole second
LOOK_SECONDS = 1.0
RGBA8, BGRA8 = 70, 80  # MTLPixelFormatRGBA8Unorm, MTLPixelFormatBGRA8Unorm in Metal's MTLPixelFormat.h

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Library:
    """What is used of syphon-python and of PyObjC, which it brings."""

    syphon: Any
    raw: Any
    objc: Any
    foundation: Any


@dataclass
class _State:
    """What there is once in a process."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    library: _Library | None = None
    activity: Any = None  # while it is held, macOS does not put the process to sleep
    directory: Any = None  # made and used on the main thread alone
    servers: Sequence[Any] = ()
    next_turn: float = 0.0


_state = _State()


def _library() -> _Library:
    """The native modules, loaded once; App Nap is held off from then on."""
    with _state.lock:
        if _state.library is None:
            _state.library = library = _load()
            foundation = library.foundation
            options = foundation.NSActivityUserInitiated | foundation.NSActivityLatencyCritical
            information = foundation.NSProcessInfo.processInfo()
            _state.activity = information.beginActivityWithOptions_reason_(options, "live pictures")
        return _state.library


def _load() -> _Library:
    names = ("syphon", "syphon.utils.raw", "objc", "Foundation")
    try:
        return _Library(*map(importlib.import_module, names))
    except ImportError as error:
        reason = "Syphon exists on macOS only" if sys.platform != "darwin" else f"syphon-python does not load ({error})"
        raise MissingIntegration("syphon", reason, 'pip install "lcm-daemon[syphon]" (on macOS)') from error


def pump() -> None:
    """Turn the main thread's run loop once, a few times a second, and note which servers there are."""
    library, now = _state.library, time.perf_counter()
    if library is None or now < _state.next_turn or threading.current_thread() is not threading.main_thread():
        return
    _state.next_turn = now + PUMP_SECONDS
    with library.objc.autorelease_pool():
        if _state.directory is None:
            _state.directory = library.syphon.SyphonServerDirectory()
            _state.directory.run_loop_interval = TURN_SECONDS
        _state.servers = tuple(_state.directory.servers)  # this is what turns the run loop


def _title(server: Any) -> str:
    return f"{server.app_name}: {server.name}"


class SyphonSource(Source):
    """Receives one server, found by its exact name, its application's, or both, before and after it is there."""

    fields: ClassVar[Fields] = {
        "name": Field(Text(), "", "the server's exact name; may be empty where the application has only one"),
        "app": Field(Text(), "", "the exact name of the server's application; empty: any"),
        "flip": Field(Boolean(), False, "turn the picture over, for a server that publishes it upside down"),
    }

    def __init__(self, options: Mapping[str, Any]) -> None:
        super().__init__(options)
        self._number = 0

    @classmethod
    def pump(cls) -> None:
        pump()

    @classmethod
    def discover(cls, seconds: float) -> list[str]:
        """Names as "Application: Server"; only the main thread can look for new ones."""
        _library()
        until = time.perf_counter() + seconds
        while time.perf_counter() < until and threading.current_thread() is threading.main_thread():
            pump()
            time.sleep(POLL_SECONDS)
        return sorted(map(_title, _state.servers))

    def _open_source(self) -> None:
        self._library = _library()
        if not self.options["name"] and not self.options["app"]:
            titles = ", ".join(self.discover(LOOK_SECONDS))
            raise TransportError(f"syphon: the source needs a server's name, or its app; there are {titles or 'none'}")
        self._client: Any = None
        self._buffer: Any = None
        self._said: list[str] = []

    def _read(self, timeout: float) -> Frame | None:
        until = time.perf_counter() + timeout
        while True:
            with self._library.objc.autorelease_pool():  # PyObjC gives Python's threads none
                pixels = self._receive()
            if pixels is not None:
                self._number += 1
                return Frame(pixels, self._number - 1, time.perf_counter())
            left = until - time.perf_counter()
            if left <= 0:
                return None
            time.sleep(min(POLL_SECONDS, left))

    def _receive(self) -> Pixels | None:
        client = self._connected()
        if client is None or not client.has_new_frame:
            return None
        texture = client.new_frame_image
        return None if texture is None else self._pixels(texture)

    def _connected(self) -> Any:
        """The client of a server that lives; None while there is none."""
        if self._client is not None and not self._client.is_valid:
            self._client.stop()
            self._client = None
        if self._client is None and (server := self._find()) is not None:
            try:
                self._client = self._library.syphon.SyphonMetalClient(server)
            except RuntimeError as error:
                raise TransportError(f"syphon: no connection to {_title(server)}: {error}") from error
        return self._client

    def _find(self) -> Any:
        """The one server that is meant; None where there is none, or several."""
        name, app = self.options["name"], self.options["app"]
        found = [s for s in _state.servers if name in ("", s.name) and app in ("", s.app_name)]
        if len(found) == 1:
            return found[0]
        titles = sorted(map(_title, found))
        if titles and titles != self._said:
            _log.warning("syphon: %s are all meant; none is taken: give name and app", ", ".join(titles))
        self._said = titles
        return None

    def _pixels(self, texture: Any) -> Pixels:
        """RGBA, first row at the top."""
        layout, width, height = texture.pixelFormat(), texture.width(), texture.height()
        if layout not in (RGBA8, BGRA8):
            raise TransportError(f"syphon: the server's pixel format {layout} is not 8-bit RGBA or BGRA")
        if self._buffer is None or len(self._buffer) != width * height * 4:
            self._buffer = ctypes.create_string_buffer(width * height * 4)
        data = self._library.raw.copy_mtl_texture_to_bytes(texture, self._buffer)
        rows = np.frombuffer(data, np.uint8).reshape(height, width, 4)
        rows = rows if self.options["flip"] else rows[::-1]
        return swap_red_blue(rows) if layout == BGRA8 else np.array(rows, order="C")

    def _close(self) -> None:
        if self._client is not None:
            self._client.stop()
        self._client = self._buffer = None


class SyphonSink(Sink):
    """Publishes under a name of its own."""

    fields: ClassVar[Fields] = {"name": Field(Text(), "lcm", "the server's name, as receivers list it")}

    @classmethod
    def pump(cls) -> None:
        pump()

    def _open_sink(self, size: Size, fps: float) -> None:
        self._library = _library()
        self._texture: Any = None
        try:
            self._server: Any = self._library.syphon.SyphonMetalServer(self.options["name"])
        except RuntimeError as error:
            raise TransportError(f"syphon: the server could not be made: {error}") from error

    def _write(self, frame: Frame) -> None:
        with self._library.objc.autorelease_pool():
            texture = self._texture_of(frame.size)
            self._library.raw.copy_bytes_to_mtl_texture(frame.pixels.tobytes(), texture)
            self._server.publish_frame_texture(texture, is_flipped=True)

    def _texture_of(self, size: Size) -> Any:
        """The one texture, made anew when the size changes: one for each frame would fill the GPU."""
        if self._texture is None or (self._texture.width(), self._texture.height()) != size:
            self._texture = self._library.raw.create_mtl_texture(self._server.device, size[0], size[1], RGBA8)
        if self._texture is None:
            raise TransportError(f"syphon: no Metal texture of {size[0]} x {size[1]}")
        return self._texture

    def _close(self) -> None:
        self._server.stop()
        self._server = self._texture = None


def probe() -> Probe:
    """Whether Syphon can be used here."""
    try:
        _load()
    except MissingIntegration as error:
        return Probe(False, error.reason, error.install)
    except LcmDaemonError as error:
        return Probe(False, str(error))
    return Probe(True, "syphon-python")


TRANSPORT = Transport(SyphonSource, SyphonSink, probe)
