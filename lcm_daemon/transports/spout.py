"""Spout: textures shared between programs on one Windows machine. Wraps SpoutGL.

A shared texture has its first row at the top, as pictures here have, so neither end inverts. Every native call of an
end comes from the thread that opened it: that thread owns the OpenGL context. What is relied upon stands in Spout's
own source (2.007): `Spout::ReceiveImage`, `spoutGL::UnloadTexturePixels`, `Spout::SetSenderName`.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from lcm_daemon.core.errors import LcmDaemonError, MissingIntegration, TransportError
from lcm_daemon.core.frame import Frame, Pixels, Size
from lcm_daemon.core.schema import Field, Fields, Text
from lcm_daemon.transports.base import Probe, Sink, Source, Transport

POLL_SECONDS = 0.002  # Spout has no wait that works with every sender
UNFILLED_READS = 4  # pixels are read back one or two frames late: until then the buffer comes back as it was

_log = logging.getLogger(__name__)


def _library() -> Any:
    try:
        import SpoutGL
    except ImportError as error:
        reason = "Spout exists on Windows only" if sys.platform != "win32" else f"SpoutGL does not load ({error})"
        raise MissingIntegration("spout", reason, 'pip install "lcm-daemon[spout]" (on Windows)') from error
    return SpoutGL


def _create_context(native: Any) -> None:
    if not native.createOpenGL():
        raise TransportError("spout: no OpenGL here; it needs a logged-in desktop session and the GPU's own driver")


class SpoutSource(Source):
    """Receives one sender by its exact name, before and after it is there."""

    fields: ClassVar[Fields] = {"name": Field(Text(), "", "the sender's exact name, as other Spout programs list it")}

    def __init__(self, options: Mapping[str, Any]) -> None:
        super().__init__(options)
        self._number = 0

    @classmethod
    def discover(cls, seconds: float) -> list[str]:
        return sorted(_library().SpoutReceiver().getSenderList())

    def _open_source(self) -> None:
        spout = _library()
        if not self.options["name"]:
            names = ", ".join(map(repr, self.discover(0.0)))
            raise TransportError(f"spout: the source needs the name of a sender; there are {names or 'none'}")
        self._format = spout.enums.GL_RGBA
        self._is_empty = spout.helpers.isBufferEmpty
        self._buffer: Pixels | None = None
        self._unfilled = 0
        receiver = spout.SpoutReceiver()
        _create_context(receiver)
        receiver.setReceiverName(self.options["name"])
        self._receiver: Any = receiver

    def _read(self, timeout: float) -> Frame | None:
        until = time.perf_counter() + timeout
        while not self._receive():
            left = until - time.perf_counter()
            if left <= 0:
                return None
            time.sleep(min(POLL_SECONDS, left))
        assert self._buffer is not None
        self._number += 1
        return Frame(self._buffer.copy(), self._number - 1, time.perf_counter())

    def _receive(self) -> bool:
        """Whether a new picture has come into the buffer."""
        receiver = self._receiver
        there = receiver.receiveImage(self._buffer, self._format, False, 0)
        if receiver.isUpdated():  # to be asked at every cycle; nothing is received until it was
            width, height = receiver.getSenderWidth(), receiver.getSenderHeight()
            self._buffer = np.zeros((height, width, 4), np.uint8) if width and height else None
            self._unfilled = UNFILLED_READS
            return False
        if not there or self._buffer is None:
            return False
        if receiver.isFrameCountEnabled() and not receiver.isFrameNew():
            return False
        return self._is_filled(self._buffer)

    def _is_filled(self, buffer: Pixels) -> bool:
        """False for the first reads after a change, while the buffer has not been written to."""
        if self._unfilled > 0:
            self._unfilled -= 1
            if self._is_empty(buffer):
                return False
            self._unfilled = 0
        return True

    def _close(self) -> None:
        self._receiver.releaseReceiver()
        self._receiver.closeOpenGL()
        self._receiver = self._buffer = None


class SpoutSink(Sink):
    """Sends under a name of its own."""

    fields: ClassVar[Fields] = {"name": Field(Text(), "lcm", "the sender's name, as receivers list it")}

    def _open_sink(self, size: Size, fps: float) -> None:
        spout, name = _library(), self.options["name"]
        if size[0] % 4:
            _log.warning("spout: receivers may want a width that is a multiple of 4, not %d", size[0])
        self._format = spout.enums.GL_RGBA
        sender = spout.SpoutSender()
        # A crashed sender stays in Spout's list and would make this one "lcm_1"; setting a name clears such away.
        sender.setSenderName(name)
        if sender.getSenderInfo(name) is not None:
            raise TransportError(f"spout: there is a sender {name!r} already; give this sink another name")
        _create_context(sender)
        sender.setSenderName(name)
        self._sender: Any = sender

    def _write(self, frame: Frame) -> None:
        width, height = frame.size
        if not self._sender.sendImage(frame.pixels, width, height, self._format, False, 0):
            raise TransportError("spout: the picture was not taken; the GPU may have been reset")

    def _close(self) -> None:
        self._sender.releaseSender()
        self._sender.closeOpenGL()
        self._sender = None


def probe() -> Probe:
    """Whether Spout can be used here."""
    try:
        version = getattr(_library(), "__version__", "")
    except MissingIntegration as error:
        return Probe(False, error.reason, error.install)
    except LcmDaemonError as error:
        return Probe(False, str(error))
    return Probe(True, f"SpoutGL {version}".strip())


TRANSPORT = Transport(SpoutSource, SpoutSink, probe)
