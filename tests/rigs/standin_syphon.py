"""A stand-in for syphon-python in memory. Its names and signatures are checked against the real ones in syphon.json.

It imitates: surfaces are BGRA with the first row at the bottom; a server is visible only after the main thread has run
its run loop; `is_flipped` flips a texture while it is copied; Metal objects need an autorelease pool; pixels can be
copied only from 8-bit RGBA and BGRA textures.
"""

# ruff: noqa: N802 - the names are the real package's

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np

RGBA8, BGRA8, RGBA16F = 70, 80, 115


@dataclass(eq=False)
class Texture:
    data: np.ndarray  # (H, W, 4)
    format: int

    def width(self) -> int:
        return int(self.data.shape[1])

    def height(self) -> int:
        return int(self.data.shape[0])

    def pixelFormat(self) -> int:
        return self.format


@dataclass(eq=False)
class Server:
    """A server as all programs see it; also its description."""

    name: str
    app_name: str
    surface: Texture | None = None
    count: int = 0
    is_alive: bool = True


@dataclass
class Mac:
    servers: list[Server] = field(default_factory=list)
    pools: int = 0  # autorelease pools that are open
    textures: int = 0  # that were made
    activities: list[str] = field(default_factory=list)
    directories: int = 0

    def publish(self, name: str, app: str, pixels: np.ndarray, layout: int = BGRA8) -> Server:
        """Publish RGBA pixels, first row at the top, as another program."""
        server = next((s for s in self.servers if (s.name, s.app_name) == (name, app)), None)
        if server is None:
            server = Server(name, app)
            self.servers.append(server)
        order = [2, 1, 0, 3] if layout == BGRA8 else [0, 1, 2, 3]
        server.surface, server.count = Texture(pixels[::-1][..., order].copy(), layout), server.count + 1
        return server

    def retire(self, server: Server) -> None:
        server.is_alive = False
        self.servers.remove(server)

    def shown(self, name: str) -> np.ndarray:
        """What another program shows: RGBA, first row at the top."""
        (server,) = [s for s in self.servers if s.name == name]
        assert server.surface is not None
        return server.surface.data[::-1][..., [2, 1, 0, 3]]

    def need_pool(self) -> None:
        if not self.pools:
            raise RuntimeError("autoreleased with no pool in place: this would leak")


class SyphonServerDirectory:
    mac: Mac

    def __init__(self) -> None:
        self.run_loop_interval = 1.0
        self.mac.directories += 1

    @property
    def servers(self) -> list[Server]:
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("only the main run loop hears of servers")
        if self.run_loop_interval > 0.01:
            raise RuntimeError("this would hold up the main thread")
        return list(self.mac.servers)


class SyphonMetalServer:
    mac: Mac

    def __init__(self, name: str, device: Any = None, command_queue: Any = None, *, is_private: bool = False) -> None:
        self.device = device or object()
        self._server = Server(name, "Python")
        self.mac.servers.append(self._server)

    def publish_frame_texture(
        self,
        texture: Texture,
        region: Any = None,
        size: Any = None,
        is_flipped: bool = False,
        command_buffer: Any = None,
        auto_commit: bool = True,
    ) -> None:
        self.mac.need_pool()
        data = texture.data[::-1] if is_flipped else texture.data
        data = data[..., [2, 1, 0, 3]] if texture.format == RGBA8 else data
        self._server.surface, self._server.count = Texture(data.copy(), BGRA8), self._server.count + 1

    def stop(self) -> None:
        self.mac.retire(self._server)


class SyphonMetalClient:
    mac: Mac

    def __init__(
        self, description: Server, device: Any = None, *, new_frame_handler: Any = None, callback_loop: Any = None
    ) -> None:
        if not description.is_alive:
            raise RuntimeError("Syphon could not create the client")
        self._server, self._seen, self._stopped = description, 0, False

    @property
    def is_valid(self) -> bool:
        return self._server.is_alive and not self._stopped

    @property
    def has_new_frame(self) -> bool:
        return self.is_valid and self._server.count > self._seen

    @property
    def new_frame_image(self) -> Texture | None:
        self.mac.need_pool()
        self._seen = self._server.count
        return self._server.surface

    def stop(self) -> None:
        self._stopped = True


def copy_bytes_to_mtl_texture(data: bytes, texture: Texture) -> None:
    if not isinstance(data, bytes):
        raise TypeError("bytes are wanted")
    texture.data[:] = np.frombuffer(data, np.uint8).reshape(texture.data.shape)


def copy_mtl_texture_to_bytes(texture: Texture, buffer: Any = None) -> bytes:
    if texture.format not in (RGBA8, BGRA8):
        raise Exception("Not correct pixel format")
    if len(buffer) != texture.data.size:
        raise Exception("Buffer is not big enough")
    buffer.raw = texture.data.tobytes()
    return bytes(buffer.raw)


def modules(mac: Mac) -> dict[str, Any]:
    """syphon, and what it brings of PyObjC, on that machine: for sys.modules."""
    classes = (SyphonServerDirectory, SyphonMetalServer, SyphonMetalClient)

    def create_mtl_texture(device: Any, width: int, height: int, pixel_format: int = RGBA8) -> Texture:
        mac.textures += 1
        return Texture(np.zeros((height, width, 4), np.uint8), pixel_format)

    @contextmanager
    def autorelease_pool() -> Iterator[None]:
        mac.pools += 1
        yield
        mac.pools -= 1

    def begin(options: int, reason: str) -> object:
        mac.activities.append(reason)
        return object()

    information = SimpleNamespace(beginActivityWithOptions_reason_=begin)
    raw = SimpleNamespace(
        create_mtl_texture=create_mtl_texture,
        copy_bytes_to_mtl_texture=copy_bytes_to_mtl_texture,
        copy_mtl_texture_to_bytes=copy_mtl_texture_to_bytes,
    )
    return {
        "syphon": SimpleNamespace(**{made.__name__: type(made.__name__, (made,), {"mac": mac}) for made in classes}),
        "syphon.utils": SimpleNamespace(raw=raw),
        "syphon.utils.raw": raw,
        "objc": SimpleNamespace(autorelease_pool=autorelease_pool),
        "Foundation": SimpleNamespace(
            NSActivityUserInitiated=0x00FFFFFF,
            NSActivityLatencyCritical=0xFF00000000,
            NSProcessInfo=SimpleNamespace(processInfo=lambda: information),
        ),
    }
