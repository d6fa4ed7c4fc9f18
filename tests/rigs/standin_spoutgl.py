"""A stand-in for SpoutGL in memory. Its names and signatures are checked against the real ones in SpoutGL.json.

It imitates Spout 2.007's source: shared textures are BGRA with the first row at the top; after an update, receiveImage
does nothing until isUpdated is called; pixels are read back one frame late through two buffers, so the first read
leaves the caller's buffer unchanged; a sender whose name exists becomes NAME_1; a crashed sender stays in the list of
names until a name is set; an OpenGL context belongs to the thread that created it.
"""

# ruff: noqa: N802, N803 - the names are the real package's

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np

GL_RGBA, GL_BGRA_EXT = 0x1908, 0x80E1
ORDERS = {GL_RGBA: [2, 1, 0, 3], GL_BGRA_EXT: [0, 1, 2, 3]}  # between that format and the texture's BGRA


@dataclass
class Shared:
    """A sender as all programs see it."""

    texture: np.ndarray  # (H, W, 4), BGRA, first row at the top
    handle: object = field(default_factory=object)  # changes with the size
    count: int = 1


class Machine:
    """The memory that Spout programs share."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.senders: dict[str, Shared] = {}

    def clean(self) -> None:
        self.names = [name for name in self.names if name in self.senders]

    def crash(self, name: str) -> None:
        """End the sender's process without a release: its memory is freed, its name stays in the list."""
        del self.senders[name]

    def shown(self, name: str) -> np.ndarray:
        """RGBA pixels as another program shows them, first row at the top."""
        return self.senders[name].texture[..., [2, 1, 0, 3]]

    def publish(self, name: str, pixels: np.ndarray) -> None:
        """Send RGBA pixels, first row at the top, as another program."""
        texture = pixels[..., [2, 1, 0, 3]].copy()
        old = self.senders.get(name)
        if old is None or old.texture.shape != texture.shape:
            self.senders[name] = Shared(texture, count=old.count + 1 if old else 1)
            self.names = sorted({*self.names, name})
        else:
            old.texture, old.count = texture, old.count + 1


class Common:
    machine: Machine

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None

    def createOpenGL(self) -> bool:
        self._thread = threading.current_thread()
        return True

    def closeOpenGL(self) -> bool:
        self._check()
        self._thread = None
        return True

    def getSenderInfo(self, senderName: str) -> object:
        shared = self.machine.senders.get(senderName)
        if shared is None:
            return None
        return SimpleNamespace(name=senderName, width=shared.texture.shape[1], height=shared.texture.shape[0])

    def _check(self) -> None:
        if self._thread is not threading.current_thread():
            raise RuntimeError("no OpenGL context on this thread: Spout would fall back to the CPU")


class SpoutSender(Common):
    def __init__(self) -> None:
        super().__init__()
        self._name = ""

    def setSenderName(self, name: str) -> None:
        self._name, number = name, 0
        while self._name in self.machine.names:
            number += 1
            self._name = f"{name}_{number}"
        self.machine.clean()

    def sendImage(self, pixels: Any, width: int, height: int, glFormat: int, invert: bool, hostFbo: int) -> bool:
        self._check()
        data = np.frombuffer(pixels, np.uint8)
        if data.size < width * height * 4:
            raise BufferError("Buffer not large enough")
        image = data[: width * height * 4].reshape(height, width, 4)[..., ORDERS[glFormat]]
        self.machine.publish(self._name, (image[::-1] if invert else image)[..., [2, 1, 0, 3]])
        return True

    def releaseSender(self) -> None:
        self.machine.senders.pop(self._name, None)
        self.machine.clean()


class SpoutReceiver(Common):
    def __init__(self) -> None:
        super().__init__()
        self._setup, self._width, self._height = "", 0, 0
        self._forget()

    def _forget(self) -> None:
        self._handle: object = None
        self._width = self._height = self._last = 0
        self._updated = self._new = False
        self._read_back: list[np.ndarray] = []

    def setReceiverName(self, name: str) -> None:
        self._setup = name

    def receiveImage(self, buffer: Any, glFormat: int, invert: bool, hostFbo: int) -> bool:
        self._check()
        if buffer is not None and buffer.nbytes < self._width * self._height * 4:
            raise BufferError("Buffer not large enough")
        if self._updated:
            return True
        shared = self.machine.senders.get(self._setup or next(iter(self.machine.names), ""))
        if shared is None:
            self._forget()
            return False
        if shared.handle is not self._handle:
            self._forget()
            self._handle, self._updated = shared.handle, True
            self._height, self._width = shared.texture.shape[:2]
            return True
        if buffer is None:
            return False
        self._new = shared.count != self._last
        self._last = shared.count
        if self._new:
            self._read(shared.texture[..., ORDERS[glFormat]], buffer, invert)
        return True

    def _read(self, image: np.ndarray, buffer: Any, invert: bool) -> None:
        self._read_back.append(image[::-1] if invert else image)
        if len(self._read_back) == 2:
            np.frombuffer(buffer, np.uint8)[: image.size] = self._read_back.pop(0).ravel()

    def isUpdated(self) -> bool:
        updated, self._updated = self._updated, False
        return updated

    def isFrameCountEnabled(self) -> bool:
        return True

    def isFrameNew(self) -> bool:
        return self._new

    def getSenderList(self) -> list[str]:
        return list(self.machine.names)

    def getSenderWidth(self) -> int:
        return self._width

    def getSenderHeight(self) -> int:
        return self._height

    def releaseReceiver(self) -> None:
        self._forget()


def package(machine: Machine) -> SimpleNamespace:
    """The module SpoutGL on that machine."""
    ends = {end.__name__: type(end.__name__, (end,), {"machine": machine}) for end in (SpoutSender, SpoutReceiver)}
    enums = SimpleNamespace(GL_RGBA=GL_RGBA, GL_BGRA_EXT=GL_BGRA_EXT)
    helpers = SimpleNamespace(isBufferEmpty=lambda buffer: not np.frombuffer(buffer, np.uint8).any())
    return SimpleNamespace(**ends, enums=enums, helpers=helpers, __version__="0.1.1")
