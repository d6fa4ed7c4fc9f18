"""NDI: video over the network, found by name, with the NDI runtime of Vizrt NDI AB (ndi_library.py).

Senders are found by mDNS (on Linux through avahi-daemon), at a Discovery Server (ndi_discovery.py), by asking listed
machines, or at a given address and port. Frames are sent as compressed YUV 4:2:2, and converted here (ndi_colour.py):
flat areas come back within 3 of 255 after two hops; alpha is kept.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, nullcontext
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar, overload

import numpy as np

from lcm_daemon.core.alpha import is_opaque
from lcm_daemon.core.errors import LcmDaemonError, MissingIntegration, TransportError
from lcm_daemon.core.frame import Frame, Pixels, Size
from lcm_daemon.core.schema import Choice, Field, Fields, Text
from lcm_daemon.core.thread_priority import inherited
from lcm_daemon.transports import ndi_library as ndi_sdk
from lcm_daemon.transports.base import Probe, Sink, Source, Transport
from lcm_daemon.transports.ndi_colour import BT709_TAG, MatrixChoice, deinterlace, to_rgba, to_uyvy
from lcm_daemon.transports.ndi_discovery import servers_in_use
from lcm_daemon.transports.ndi_library import NdiSender, NdiVideo, Plane, planes, runtime
from lcm_daemon.transports.placement import ALPHA

SEARCH_INTERVAL = 1.0  # seconds between two checks of the list of senders
RECONNECT_AFTER = 3  # checks without a connection to a listed sender, after which it is connected again
QUIET_CHECKS = 3  # checks before a missing sender is logged: discovery takes a second or two
LISTING_SECONDS = 2.0  # how long an error message searches for names to list
BUFFERS = 3  # asynchronous sending still reads the last buffer, and may read the one before it

_log = logging.getLogger(__name__)


def sender_part(name: str) -> str:
    """The sender's part of a full name: "lcm" of "STAGE (lcm)"."""
    return name.partition(" (")[2].removesuffix(")")


def matching_senders(wanted: str, names: Sequence[str]) -> list[str]:
    """Full names that `wanted` may mean: the same name, else those with that sender part, else those containing it."""
    if wanted in names:
        return [wanted]
    exact = [name for name in names if sender_part(name) == wanted]
    return exact or [name for name in names if wanted.casefold() in name.casefold()]


def frame_rate(fps: float) -> tuple[int, int]:
    """Frame rate as NDI's numerator and denominator; NTSC rates such as 29.97 become n * 1000 / 1001."""
    ntsc = round(fps * 1.001)
    if fps != round(fps) and abs(fps * 1.001 - ntsc) < 0.005:
        return ntsc * 1000, 1001
    rate = Fraction(fps).limit_denominator(1000)
    return rate.numerator, rate.denominator


def pixel_aspect(picture_aspect: float, size: Size) -> float:
    """Width : height of a pixel; 1 for square ones.

    Args:
        picture_aspect: width : height of the picture; 0 if the sender does not say.
        size: (width, height) in pixels. Odd sizes have lost a column or line on their way.
    """
    width, height = size
    is_square = picture_aspect <= 0 or (width - 1) / (height + 2) <= picture_aspect <= (width + 2) / (height - 1 or 1)
    return 1.0 if is_square else min(max(picture_aspect * height / width, 0.1), 10.0)


@overload
def _progressive(plane: Plane, frame_format: int) -> Plane: ...
@overload
def _progressive(plane: Plane | None, frame_format: int) -> Plane | None: ...
def _progressive(plane: Plane | None, frame_format: int) -> Plane | None:
    """The lines of a whole frame, from one of its fields if it is interlaced."""
    if plane is None or frame_format == ndi_sdk.PROGRESSIVE:
        return plane
    own = plane[::2] if frame_format == ndi_sdk.INTERLEAVED else plane
    return deinterlace(own, is_second=frame_format == ndi_sdk.FIELD_1)


def _listing(names: Sequence[str]) -> str:
    return f"available: {', '.join(map(repr, sorted(names))) or 'none'}"


def _create_finder(ndi: Any, groups: str = "", addresses: str = "") -> Any:
    finder = ndi.find_create(groups, addresses)
    if finder is None:
        raise TransportError("ndi: cannot create a finder")
    return finder


def _find_names(ndi: Any, seconds: float, groups: str = "", addresses: str = "") -> list[str]:
    """Search for `seconds` and return the full names of the senders found."""
    finder = _create_finder(ndi, groups, addresses)
    try:
        time.sleep(seconds)
        return sorted(sender.name for sender in ndi.senders(finder))
    finally:
        ndi.find_destroy(finder)


class SenderSearch:
    """Decides which of the listed senders is the wanted one. Once it has been found, no other is ever chosen."""

    def __init__(self, wanted: str) -> None:
        self._wanted, self._is_found = wanted, False
        self._last_candidates: list[str] = []
        self._checks = 0
        self._logged = ""

    def choose(self, names: Sequence[str]) -> str | None:
        """Return the full name of the sender to receive, or None. Call once a second with the names listed then."""
        if self._is_found:
            candidates = [name for name in names if name == self._wanted]
        else:
            candidates = matching_senders(self._wanted, names)
        # Senders are discovered one after another: a part of a name must mean the same sender at two checks.
        is_sure = self._wanted in names or candidates == self._last_candidates
        self._last_candidates = candidates
        self._checks += 1
        if len(candidates) != 1:
            self._log_reason(candidates, names)
        elif is_sure:
            self._wanted, self._is_found, self._logged = candidates[0], True, ""
            return candidates[0]
        return None

    def _log_reason(self, candidates: Sequence[str], names: Sequence[str]) -> None:
        """Log why no sender is chosen, unless that was the last message."""
        text = f"ndi: no sender is named {self._wanted!r} now; {_listing(names)}"
        if candidates:
            listed = ", ".join(map(repr, sorted(candidates)))
            text = f"ndi: {self._wanted!r} may mean {listed}; none is received: give the full name"
        if self._checks > QUIET_CHECKS and text != self._logged:
            self._logged = text
            _log.warning(text)


class NdiSource(Source):
    """Receives one sender. Searches for it by name every second, before it starts and after it has stopped.

    Without mDNS, give its name and the address of its machine: it is then found again after a restart. "ip:port"
    receives whichever sender uses that port; a restarted sender may get another port.
    """

    is_listed = True

    fields: ClassVar[Fields] = {
        "name": Field(Text(), "", 'the sender: "MACHINE (Sender)", or a part of it that only one sender has'),
        "address": Field(Text(), "", 'machines to ask where mDNS does not reach ("10.0.0.7,10.0.0.8"), or "ip:port"'),
        "groups": Field(Text(), "", "NDI groups to search, separated by commas; empty: the public group"),
        "bandwidth": Field(Choice(("highest", "lowest")), "highest", "lowest receives the sender's small preview"),
    }

    def __init__(self, options: Mapping[str, Any]) -> None:
        super().__init__(options)
        self._ndi: Any = None
        self._receiver: Any = None
        self._finder: Any = None
        self._number = 0

    @classmethod
    def discover(cls, seconds: float) -> list[str]:
        return _find_names(runtime(), seconds)

    @property
    def is_connected(self) -> bool:
        return self._receiver is not None and self._ndi.recv_get_no_connections(self._receiver) > 0

    def _open_source(self) -> None:
        self._ndi = runtime()
        self._search = SenderSearch(self.options["name"])
        self._connected: tuple[str, str] | None = None  # name and address
        self._unconnected = 0
        self._next_search = time.perf_counter()
        self._matrix = MatrixChoice()
        direct = self._direct_address()
        self._receiver = self._create_receiver()
        if direct:
            self._ndi.recv_connect(self._receiver, b"", direct)
        else:
            self._finder = _create_finder(self._ndi, self.options["groups"], self.options["address"])

    def _direct_address(self) -> str:
        """The "ip:port" to connect to without a search by name, or ""."""
        name, address, groups = (self.options[key] for key in ("name", "address", "groups"))
        if ":" in address:
            if name or "," in address:
                raise TransportError(f"ndi: the address {address!r} has a port; use it without name and commas")
            return str(address.strip())
        if not name:
            names = _find_names(self._ndi, LISTING_SECONDS, groups, address)
            raise TransportError(f"ndi: the source needs the name of a sender; {_listing(names)}")
        return ""

    def _create_receiver(self) -> Any:
        receiver = self._ndi.recv_create(self.options["bandwidth"], "lcm-daemon")
        if receiver is None:
            raise TransportError("ndi: cannot create a receiver")
        return receiver

    def _read(self, timeout: float) -> Frame | None:
        until = time.perf_counter() + timeout
        while True:
            self._search_sender()
            left = until - time.perf_counter()
            video = self._newest(min(max(0.0, left), SEARCH_INTERVAL))
            if video is not None:
                return self._to_frame(video)
            if left <= 0:
                return None

    def _newest(self, wait: float) -> Any:
        """Return the newest video frame received within `wait` seconds, or None; free all older ones."""
        ndi, newest, until = self._ndi, None, time.perf_counter() + wait
        while True:
            left = 0.0 if newest is not None else max(0.0, until - time.perf_counter())
            kind, video = ndi.recv_capture(self._receiver, int(left * 1000))
            if kind == ndi_sdk.FRAME_TYPE_VIDEO:
                if newest is not None:
                    ndi.recv_free(self._receiver, newest)
                newest = video
            elif kind in (ndi_sdk.FRAME_TYPE_NONE, ndi_sdk.FRAME_TYPE_ERROR):
                time.sleep(left if kind == ndi_sdk.FRAME_TYPE_ERROR else 0.0)  # an error returns at once: do not spin
                return newest

    def _to_frame(self, video: Any) -> Frame:
        now = time.perf_counter()
        try:
            pixels = self._convert(video)
            aspect = pixel_aspect(video.aspect, (pixels.shape[1], pixels.shape[0]))
        finally:
            self._ndi.recv_free(self._receiver, video)
        self._number += 1
        return Frame(pixels, self._number - 1, now, aspect)

    def _convert(self, video: Any) -> Pixels:
        """Pixels of a frame, or of a field with the lines between its own filled in."""
        lines, alpha = planes(video)
        is_field = video.frame_format in (ndi_sdk.FIELD_0, ndi_sdk.FIELD_1)
        metadata, size = video.metadata or b"", (video.xres, video.yres * (2 if is_field else 1))
        matrix = self._matrix.of(lines, size, metadata, alpha is not None)
        lines, alpha = _progressive(lines, video.frame_format), _progressive(alpha, video.frame_format)
        is_rounded_down = alpha is not None and not metadata  # sent as RGB, and not by this transport
        return to_rgba(lines, video.xres, matrix, alpha, is_rounded_down)

    def _search_sender(self) -> None:
        """Once a second: connect to the sender if it has appeared, returned, or moved."""
        now = time.perf_counter()
        if self._finder is None or now < self._next_search:
            return
        self._next_search = now + SEARCH_INTERVAL
        listed = {sender.name: sender for sender in self._ndi.senders(self._finder)}
        name = self._search.choose(list(listed))
        if name is None:
            self._connected = None
        else:
            self._connect(name, listed[name])

    def _connect(self, name: str, sender: NdiSender) -> None:
        target = (name, sender.address)
        is_alive = self._ndi.recv_get_no_connections(self._receiver) > 0
        self._unconnected = 0 if is_alive else self._unconnected + 1
        if target == self._connected and self._unconnected < RECONNECT_AFTER:
            return
        _log.info("ndi: receiving %s", name)
        self._matrix = MatrixChoice()
        self._ndi.recv_connect(self._receiver, sender.raw_name, sender.address)
        self._connected, self._unconnected = target, 0

    def _close(self) -> None:
        finder, receiver, self._finder, self._receiver = self._finder, self._receiver, None, None
        with ExitStack() as stack:
            if receiver is not None:
                stack.callback(self._ndi.recv_destroy, receiver)
            if finder is not None:
                self._ndi.find_destroy(finder)


class NdiSink(Sink):
    """Sends frames under a name. Never waits for a receiver."""

    fields: ClassVar[Fields] = {
        "name": Field(Text(), "lcm", "the sender's name; receivers see it as MACHINE (name)"),
        "groups": Field(Text(), "", "NDI groups to send to, separated by commas; empty: the public group"),
        "alpha": ALPHA,
    }

    def __init__(self, options: Mapping[str, Any]) -> None:
        super().__init__(options)
        self._ndi: Any = None
        self._sender: Any = None
        self._video = NdiVideo()
        self._kept: deque[Plane] = deque(maxlen=BUFFERS)  # what the runtime may still read
        self._has_alpha = False  # whether a frame was transparent; then all frames have alpha, as a format should stay
        self._has_sent = False

    @property
    def receivers(self) -> int:
        """Number of receivers that are connected now."""
        return int(self._ndi.send_get_no_connections(self._sender)) if self.is_open else 0

    def _open_sink(self, size: Size, fps: float) -> None:
        self._ndi = runtime()
        name = self.options["name"]
        with inherited():  # by the runtime's threads that send
            self._sender = self._ndi.send_create(name, self.options["groups"])  # the tick paces, not NDI
        if self._sender is None:
            raise TransportError(f"ndi: cannot create the sender {name!r}; another one may have that name")
        self._video = NdiVideo(frame_format=ndi_sdk.PROGRESSIVE, metadata=BT709_TAG)
        self._video.timecode = ndi_sdk.TIMECODE_SYNTHESIZE
        self._video.rate_n, self._video.rate_d = frame_rate(fps)
        self._has_alpha = self._has_sent = False

    def _write(self, frame: Frame) -> None:
        pixels = frame.pixels
        if pixels.shape[0] % 2 or pixels.shape[1] % 2:  # NDI sends pairs: the last column or line is cut
            pixels = np.ascontiguousarray(pixels[: pixels.shape[0] & ~1 or 1, : pixels.shape[1] & ~1])
        if not self._has_alpha and self.options["alpha"] not in ("ignore", False):
            self._has_alpha = not is_opaque(pixels)
        height, width = pixels.shape[:2]
        lines = to_uyvy(pixels)
        if self._has_alpha:
            lines = _with_alpha(lines, pixels)
        self._kept.append(lines)
        self._video.xres, self._video.yres, self._video.stride = width, height, lines.strides[0]
        self._video.four_cc = ndi_sdk.UYVA if self._has_alpha else ndi_sdk.UYVY
        self._video.data = lines.ctypes.data
        with nullcontext() if self._has_sent else inherited():  # by the runtime's thread that compresses
            self._ndi.send_video(self._sender, self._video)
        self._has_sent = True

    def _close(self) -> None:
        sender, self._sender = self._sender, None
        if sender is not None:
            self._ndi.send_destroy(sender)  # also waits for the buffer in flight
        self._kept.clear()


def _with_alpha(lines: Plane, pixels: Pixels) -> Plane:
    """UYVA: the lines of UYVY, uint8 (H, 2 * W), and after them alpha in the same memory, uint8 (H, W)."""
    height, width = pixels.shape[:2]
    buffer = np.empty(height * width * 3, np.uint8)
    own = buffer[: 2 * width * height].reshape(height, 2 * width)
    np.copyto(own, lines)
    np.copyto(buffer[2 * width * height :].reshape(height, width), pixels[..., 3])
    return own


def probe() -> Probe:
    """Test whether NDI can be used here."""
    try:
        version = str(runtime().version())
    except MissingIntegration as error:
        return Probe(False, error.reason, error.install)
    except LcmDaemonError as error:
        return Probe(False, str(error))
    return Probe(True, version + _discovery_hint())


def _discovery_hint() -> str:
    """On Linux the runtime finds names only through avahi-daemon, or at a Discovery Server."""
    if servers := servers_in_use():
        return f"; senders are announced to the Discovery Server {' and '.join(servers)}"
    private = "DBUS_SYSTEM_BUS_ADDRESS" in os.environ
    if sys.platform != "linux" or private or Path("/run/avahi-daemon/socket").exists():
        return ""
    return "; avahi-daemon is not running: senders are found by address only (apt install avahi-daemon)"


TRANSPORT = Transport(NdiSource, NdiSink, probe)
