"""Spout: textures shared between programs on one Windows machine. Wraps SpoutGL.

A shared texture has its first row at the top, as frames here have, so neither endpoint inverts. All native calls of an
endpoint come from the thread that opened it, because that thread owns the OpenGL context. This module relies on the
behaviour of Spout's source (2.007): `Spout::ReceiveImage`, `spoutGL::UnloadTexturePixels`, `Spout::SetSenderName`.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any, ClassVar

import numpy as np

from lcm_daemon.core.errors import LcmDaemonError, MissingIntegration, TransportError
from lcm_daemon.core.frame import Frame, Pixels, Size
from lcm_daemon.core.schema import Field, Fields, Text
from lcm_daemon.transports.base import Probe, Sink, Source, Transport

POLL_SECONDS = 0.002  # Spout has no wait that works with every sender
UNFILLED_READS = 4  # pixels are read back one or two frames late; until then the buffer comes back unchanged

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
    """Receives the sender of one exact name. Waits for it, and finds it again after a restart."""

    is_listed = True
    fields: ClassVar[Fields] = {"name": Field(Text(), "", "the sender's exact name, as other Spout programs list it")}

    def __init__(self, options: Mapping[str, Any]) -> None:
        super().__init__(options)
        self._number = 0
        self._receiver: Any = None
        self._buffer: Pixels | None = None
        self._unfilled = 0
        self._is_connected = False

    @property
    def is_connected(self) -> bool:
        return self._is_connected

    @classmethod
    def discover(cls, seconds: float) -> list[str]:
        return sorted(_library().SpoutReceiver().getSenderList())

    def _open_source(self) -> None:
        spout = _library()
        if not self.options["name"]:
            names = ", ".join(map(repr, self.discover(0.0)))
            raise TransportError(f"spout: the source needs the name of a sender; available: {names or 'none'}")
        self._format = spout.enums.GL_RGBA
        self._is_empty = spout.helpers.isBufferEmpty
        self._buffer, self._unfilled = None, 0
        receiver = spout.SpoutReceiver()
        _create_context(receiver)
        self._receiver = receiver
        receiver.setReceiverName(self.options["name"])

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
        """Receive into the buffer; whether it holds a new frame now."""
        receiver = self._receiver
        # True without a new frame, too: `receiveImage` then has found the sender and its texture.
        self._is_connected = bool(receiver.receiveImage(self._buffer, self._format, False, 0))
        if receiver.isUpdated():  # must be asked at every cycle; after an update nothing is received until it was
            width, height = receiver.getSenderWidth(), receiver.getSenderHeight()
            self._buffer = np.zeros((height, width, 4), np.uint8) if width and height else None
            self._unfilled = UNFILLED_READS
            return False
        if not self._is_connected or self._buffer is None:
            return False
        if receiver.isFrameCountEnabled() and not receiver.isFrameNew():
            return False
        return self._is_filled(self._buffer)

    def _is_filled(self, buffer: Pixels) -> bool:
        """False for the first reads after a change, as long as nothing was written to the buffer."""
        if self._unfilled > 0:
            self._unfilled -= 1
            if self._is_empty(buffer):
                return False
            self._unfilled = 0
        return True

    def _close(self) -> None:
        receiver, self._receiver, self._buffer = self._receiver, None, None
        self._is_connected = False
        if receiver is not None:
            with ExitStack() as stack:
                stack.callback(receiver.closeOpenGL)
                receiver.releaseReceiver()


class SpoutSink(Sink):
    """Sends frames under a name."""

    fields: ClassVar[Fields] = {"name": Field(Text(), "lcm", "the sender's name, as receivers list it")}

    def __init__(self, options: Mapping[str, Any]) -> None:
        super().__init__(options)
        self._sender: Any = None

    def _open_sink(self, size: Size, fps: float) -> None:
        spout, name = _library(), self.options["name"]
        if size[0] % 4:
            _log.warning("spout: width %d is not a multiple of 4; some receivers need that", size[0])
        self._format = spout.enums.GL_RGBA
        sender = spout.SpoutSender()
        # A crashed sender stays in Spout's list and would turn this name into "lcm_1". Setting a name removes it.
        sender.setSenderName(name)
        if sender.getSenderInfo(name) is not None:
            raise TransportError(f"spout: a sender {name!r} exists already; give this sink another name")
        _create_context(sender)
        self._sender = sender
        sender.setSenderName(name)

    def _write(self, frame: Frame) -> None:
        width, height = frame.size
        if not self._sender.sendImage(frame.pixels, width, height, self._format, False, 0):
            raise TransportError("spout: the frame was not accepted; the GPU may have been reset")

    def _close(self) -> None:
        sender, self._sender = self._sender, None
        if sender is not None:
            with ExitStack() as stack:
                stack.callback(sender.closeOpenGL)
                sender.releaseSender()


def probe() -> Probe:
    """Test whether Spout can be used here."""
    try:
        version = getattr(_library(), "__version__", "")
    except MissingIntegration as error:
        return Probe(False, error.reason, error.install)
    except LcmDaemonError as error:
        return Probe(False, str(error))
    return Probe(True, f"SpoutGL {version}".strip())


TRANSPORT = Transport(SpoutSource, SpoutSink, probe)
