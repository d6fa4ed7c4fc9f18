"""Syphon: textures shared between programs on one Mac. Wraps the Metal client and server of syphon-python.

A shared surface has its first row at the bottom and is BGRA. The sink lets Syphon flip the frame while it copies; the
source flips it back. Servers are announced on the main thread's run loop, which `pump` runs.
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
PUMP_INTERVAL = 0.1  # seconds between two runs of the run loop
RUN_LOOP_SECONDS = 0.001  # how long one run may wait; syphon-python's own value is a whole second
LISTING_SECONDS = 1.0  # how long an error message searches for servers to list
RGBA8, BGRA8 = 70, 80  # MTLPixelFormatRGBA8Unorm, MTLPixelFormatBGRA8Unorm in Metal's MTLPixelFormat.h

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Library:
    """The modules used of syphon-python and of PyObjC, on which it depends."""

    syphon: Any
    raw: Any
    objc: Any
    foundation: Any


@dataclass
class _State:
    """State that exists once per process."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    library: _Library | None = None
    activity: Any = None  # while it is held, macOS does not put the process to sleep
    directory: Any = None  # created and used on the main thread only
    servers: Sequence[Any] = ()
    next_pump: float = 0.0


_state = _State()


def _library() -> _Library:
    """Return the native modules. The first call loads them and disables App Nap."""
    with _state.lock:
        if _state.library is None:
            _state.library = library = _load()
            foundation = library.foundation
            options = foundation.NSActivityUserInitiated | foundation.NSActivityLatencyCritical
            information = foundation.NSProcessInfo.processInfo()
            _state.activity = information.beginActivityWithOptions_reason_(options, "live video")
        return _state.library


def _load() -> _Library:
    names = ("syphon", "syphon.utils.raw", "objc", "Foundation")
    try:
        return _Library(*map(importlib.import_module, names))
    except ImportError as error:
        reason = "Syphon exists on macOS only" if sys.platform != "darwin" else f"syphon-python does not load ({error})"
        raise MissingIntegration("syphon", reason, 'pip install "lcm-daemon[syphon]" (on macOS)') from error


def pump() -> None:
    """Run the main thread's run loop once, at most ten times a second, and store the list of servers."""
    library, now = _state.library, time.perf_counter()
    if library is None or now < _state.next_pump or threading.current_thread() is not threading.main_thread():
        return
    _state.next_pump = now + PUMP_INTERVAL
    with library.objc.autorelease_pool():
        if _state.directory is None:
            _state.directory = library.syphon.SyphonServerDirectory()
            _state.directory.run_loop_interval = RUN_LOOP_SECONDS
        _state.servers = tuple(_state.directory.servers)  # reading it runs the run loop


def _title(server: Any) -> str:
    return f"{server.app_name}: {server.name}"


class SyphonSource(Source):
    """Receives one server, found by exact name, application, or both. Waits for it, and finds it after a restart."""

    is_listed = True
    fields: ClassVar[Fields] = {
        "name": Field(Text(), "", "the server's exact name; may be empty if the application has only one"),
        "app": Field(Text(), "", "exact name of the server's application; empty: any"),
        "flip": Field(Boolean(), False, "flip vertically, for a server that publishes its frames upside down"),
    }

    def __init__(self, options: Mapping[str, Any]) -> None:
        super().__init__(options)
        self._number = 0
        self._client: Any = None
        self._buffer: Any = None
        self._logged: list[str] = []

    @classmethod
    def listed_options(cls, label: str) -> Mapping[str, Any] | None:
        """The label is "Application: Server", or a server's name alone."""
        app, colon, name = label.partition(": ")
        return ({"app": app, "name": name} if colon else {"name": label}) if label else None

    @property
    def is_connected(self) -> bool:
        return self._client is not None and bool(self._client.is_valid)

    @classmethod
    def pump(cls) -> None:
        pump()

    @classmethod
    def discover(cls, seconds: float) -> list[str]:
        """Names as "Application: Server". Only the main thread can discover new servers."""
        _library()
        until = time.perf_counter() + seconds
        while time.perf_counter() < until and threading.current_thread() is threading.main_thread():
            pump()
            time.sleep(POLL_SECONDS)
        return sorted(map(_title, _state.servers))

    def _open_source(self) -> None:
        self._library = _library()
        if not self.options["name"] and not self.options["app"]:
            titles = ", ".join(self.discover(LISTING_SECONDS))
            raise TransportError(f"syphon: the source needs a server's name or app; available: {titles or 'none'}")
        self._logged = []

    def _read(self, timeout: float) -> Frame | None:
        until = time.perf_counter() + timeout
        while True:
            with self._library.objc.autorelease_pool():  # PyObjC creates none for Python's threads
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
        """Return the client of a running server, or None."""
        if self._client is not None and not self._client.is_valid:
            self._stop_client()
        if self._client is None and (server := self._find()) is not None:
            try:
                self._client = self._library.syphon.SyphonMetalClient(server)
            except RuntimeError as error:
                raise TransportError(f"syphon: cannot connect to {_title(server)}: {error}") from error
        return self._client

    def _find(self) -> Any:
        """Return the wanted server; None if no server matches, or several do."""
        name, app = self.options["name"], self.options["app"]
        found = [s for s in _state.servers if name in ("", s.name) and app in ("", s.app_name)]
        if len(found) == 1:
            return found[0]
        titles = sorted(map(_title, found))
        if titles and titles != self._logged:
            _log.warning("syphon: %s all match; none is received: give name and app", ", ".join(titles))
        self._logged = titles
        return None

    def _pixels(self, texture: Any) -> Pixels:
        """Copy a texture to RGBA, first row at the top."""
        layout, width, height = texture.pixelFormat(), texture.width(), texture.height()
        if layout not in (RGBA8, BGRA8):
            raise TransportError(f"syphon: the server's pixel format {layout} is not 8-bit RGBA or BGRA")
        if self._buffer is None or len(self._buffer) != width * height * 4:
            self._buffer = ctypes.create_string_buffer(width * height * 4)
        data = self._library.raw.copy_mtl_texture_to_bytes(texture, self._buffer)
        rows = np.frombuffer(data, np.uint8).reshape(height, width, 4)
        if not self.options["flip"]:
            rows = rows[::-1]
        return swap_red_blue(rows) if layout == BGRA8 else np.array(rows, order="C")

    def _stop_client(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.stop()

    def _close(self) -> None:
        self._buffer = None
        self._stop_client()


class SyphonSink(Sink):
    """Publishes frames under a name."""

    fields: ClassVar[Fields] = {"name": Field(Text(), "lcm", "the server's name, as receivers list it")}

    @classmethod
    def pump(cls) -> None:
        pump()

    def __init__(self, options: Mapping[str, Any]) -> None:
        super().__init__(options)
        self._server: Any = None
        self._texture: Any = None

    def _open_sink(self, size: Size, fps: float) -> None:
        self._library = _library()
        try:
            self._server = self._library.syphon.SyphonMetalServer(self.options["name"])
        except RuntimeError as error:
            raise TransportError(f"syphon: cannot create the server: {error}") from error

    def _write(self, frame: Frame) -> None:
        with self._library.objc.autorelease_pool():
            texture = self._texture_of(frame.size)
            self._library.raw.copy_bytes_to_mtl_texture(frame.pixels.tobytes(), texture)
            self._server.publish_frame_texture(texture, is_flipped=True)

    def _texture_of(self, size: Size) -> Any:
        """Return the sink's texture, recreated when the size changes. One texture per frame would fill the GPU."""
        if self._texture is None or (self._texture.width(), self._texture.height()) != size:
            self._texture = self._library.raw.create_mtl_texture(self._server.device, size[0], size[1], RGBA8)
        if self._texture is None:
            raise TransportError(f"syphon: cannot create a Metal texture of {size[0]}x{size[1]} pixels")
        return self._texture

    def _close(self) -> None:
        metal_server, self._server, self._texture = self._server, None, None
        if metal_server is not None:
            metal_server.stop()


def probe() -> Probe:
    """Test whether Syphon can be used here."""
    try:
        _load()
    except MissingIntegration as error:
        return Probe(False, error.reason, error.install)
    except LcmDaemonError as error:
        return Probe(False, str(error))
    return Probe(True, "syphon-python")


TRANSPORT = Transport(SyphonSource, SyphonSink, probe)
