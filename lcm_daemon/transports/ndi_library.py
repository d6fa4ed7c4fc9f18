"""The NDI runtime of Vizrt NDI AB, as the package ndi-python ships it, called through ctypes.

The package's own functions hand out copies of the first plane only, and raise an error for a list of senders of which
one has a name that is not UTF-8. So only its runtime is used. Structures and numbers are those of the NDI SDK 6
(Processing.NDI.structs.h, Processing.NDI.Recv.h, Processing.NDI.Send.h, Processing.NDI.Find.h).
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lcm_daemon.core.errors import MissingIntegration, TransportError

Plane = NDArray[np.uint8]

UYVY, UYVA, RGBA = (int.from_bytes(name, "little") for name in (b"UYVY", b"UYVA", b"RGBA"))  # FourCC
INTERLEAVED, PROGRESSIVE, FIELD_0, FIELD_1 = range(4)  # frame_format_type
COLOR_FORMAT_FASTEST = 100  # UYVY, and UYVA of senders with alpha, as they are decoded
BANDWIDTHS: Mapping[str, int] = {"highest": 100, "lowest": 0}
FRAME_TYPE_NONE, FRAME_TYPE_VIDEO, FRAME_TYPE_ERROR = 0, 1, 4
TIMECODE_SYNTHESIZE = (1 << 63) - 1

_LIBRARIES = ("libndi.so.*", "libndi*.dylib", "Processing.NDI.Lib*.dll")  # on Linux, macOS, Windows
_lock = threading.Lock()
_loaded: list[Any] = []


class _Source(ctypes.Structure):
    _fields_ = (("name", ctypes.c_char_p), ("address", ctypes.c_char_p))


class _FindSettings(ctypes.Structure):
    _fields_ = (("show_local_sources", ctypes.c_bool), ("groups", ctypes.c_char_p), ("extra_ips", ctypes.c_char_p))


class _ReceiveSettings(ctypes.Structure):
    _fields_ = (("source", _Source), ("color_format", ctypes.c_int), ("bandwidth", ctypes.c_int),
                ("allow_video_fields", ctypes.c_bool), ("name", ctypes.c_char_p))


class _SendSettings(ctypes.Structure):
    _fields_ = (("name", ctypes.c_char_p), ("groups", ctypes.c_char_p),
                ("clock_video", ctypes.c_bool), ("clock_audio", ctypes.c_bool))


class NdiVideo(ctypes.Structure):
    """One frame or field. xres and yres in pixels; stride in bytes; aspect: width : height of the picture, 0: of the
    pixels; metadata: XML."""

    _fields_ = (
        ("xres", ctypes.c_int), ("yres", ctypes.c_int), ("four_cc", ctypes.c_uint32),
        ("rate_n", ctypes.c_int), ("rate_d", ctypes.c_int), ("aspect", ctypes.c_float),
        ("frame_format", ctypes.c_int), ("timecode", ctypes.c_int64), ("data", ctypes.c_void_p),
        ("stride", ctypes.c_int), ("metadata", ctypes.c_char_p), ("timestamp", ctypes.c_int64),
    )


@dataclass(frozen=True)
class NdiSender:
    """A sender that was found.

    Attributes:
        name: full name, "MACHINE (Sender)"; bytes that are not UTF-8 are shown as U+FFFD.
        address: "ip:port".
        raw_name: the name as the runtime knows it.
    """

    name: str
    address: str
    raw_name: bytes


_POINTER = ctypes.c_void_p
_SIGNATURES: Mapping[str, tuple[Any, tuple[Any, ...]]] = {
    "initialize": (ctypes.c_bool, ()),
    "version": (ctypes.c_char_p, ()),
    "find_create_v2": (_POINTER, (ctypes.POINTER(_FindSettings),)),
    "find_destroy": (None, (_POINTER,)),
    "find_get_current_sources": (ctypes.POINTER(_Source), (_POINTER, ctypes.POINTER(ctypes.c_uint32))),
    "recv_create_v3": (_POINTER, (ctypes.POINTER(_ReceiveSettings),)),
    "recv_destroy": (None, (_POINTER,)),
    "recv_connect": (None, (_POINTER, ctypes.POINTER(_Source))),
    "recv_capture_v2": (ctypes.c_int, (_POINTER, ctypes.POINTER(NdiVideo), _POINTER, _POINTER, ctypes.c_uint32)),
    "recv_free_video_v2": (None, (_POINTER, ctypes.POINTER(NdiVideo))),
    "recv_get_no_connections": (ctypes.c_int, (_POINTER,)),
    "send_create": (_POINTER, (ctypes.POINTER(_SendSettings),)),
    "send_destroy": (None, (_POINTER,)),
    "send_send_video_async_v2": (None, (_POINTER, ctypes.POINTER(NdiVideo))),
    "send_get_no_connections": (ctypes.c_int, (_POINTER, ctypes.c_uint32)),
}


class NdiRuntime:
    """The functions of the runtime, with Python's types. A handle is an int, or None if the runtime refuses."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._call = {}
        for name, (result, arguments) in _SIGNATURES.items():
            function = getattr(library, f"NDIlib_{name}")
            function.restype, function.argtypes = result, arguments
            self._call[name] = function

    def initialize(self) -> bool:
        return bool(self._call["initialize"]())

    def version(self) -> str:
        return _text(self._call["version"]())

    def find_create(self, groups: str, addresses: str) -> Any:
        return self._call["find_create_v2"](_FindSettings(True, _bytes(groups), _bytes(addresses)))

    def find_destroy(self, finder: Any) -> None:
        self._call["find_destroy"](finder)

    def senders(self, finder: Any) -> list[NdiSender]:
        """Every sender that the finder knows now, also those whose names are not UTF-8."""
        count = ctypes.c_uint32()
        sources = self._call["find_get_current_sources"](finder, count)
        found = [(sources[index].name or b"", sources[index].address) for index in range(count.value)]
        return [NdiSender(_text(name), _text(address), name) for name, address in found]

    def recv_create(self, bandwidth: str, name: str) -> Any:
        settings = _ReceiveSettings(_Source(), COLOR_FORMAT_FASTEST, BANDWIDTHS[bandwidth], False, _bytes(name))
        return self._call["recv_create_v3"](settings)

    def recv_destroy(self, receiver: Any) -> None:
        self._call["recv_destroy"](receiver)

    def recv_connect(self, receiver: Any, raw_name: bytes, address: str) -> None:
        """Connect to a sender by its name, its address, or both."""
        self._call["recv_connect"](receiver, _Source(raw_name or None, _bytes(address)))

    def recv_capture(self, receiver: Any, milliseconds: int) -> tuple[int, NdiVideo]:
        """Wait for a video frame. Returns its type; one of FRAME_TYPE_VIDEO must be freed by `recv_free`."""
        video = NdiVideo()
        return int(self._call["recv_capture_v2"](receiver, video, None, None, milliseconds)), video

    def recv_free(self, receiver: Any, video: NdiVideo) -> None:
        self._call["recv_free_video_v2"](receiver, video)

    def recv_get_no_connections(self, receiver: Any) -> int:
        return int(self._call["recv_get_no_connections"](receiver))

    def send_create(self, name: str, groups: str) -> Any:
        return self._call["send_create"](_SendSettings(_bytes(name), _bytes(groups), False, False))

    def send_destroy(self, sender: Any) -> None:
        self._call["send_destroy"](sender)

    def send_video(self, sender: Any, video: NdiVideo) -> None:
        """Send without waiting. The runtime reads the frame's memory until the call after this one."""
        self._call["send_send_video_async_v2"](sender, video)

    def send_get_no_connections(self, sender: Any) -> int:
        return int(self._call["send_get_no_connections"](sender, 0))


def planes(video: NdiVideo) -> tuple[Plane, Plane | None]:
    """The lines of a frame or field without padding: UYVY, uint8 (H, 2 * W), and alpha, uint8 (H, W), or None.

    They share the frame's memory until it is freed.

    Raises:
        TransportError: the frame has another format.
    """
    if video.four_cc not in (UYVY, UYVA):
        name = video.four_cc.to_bytes(4, "little").decode("ascii", "replace")
        raise TransportError(f"ndi: the runtime delivers the format {name!r}, not UYVY or UYVA")
    width, height, stride = video.xres, video.yres, video.stride
    lines = _view(video.data, height, stride, 2 * width)
    has_alpha = video.four_cc == UYVA
    return lines, _view(video.data + stride * height, height, stride // 2, width) if has_alpha else None


def _view(address: int, height: int, stride: int, width: int) -> Plane:
    memory = ctypes.cast(address, ctypes.POINTER(ctypes.c_uint8))
    return np.ctypeslib.as_array(memory, (height, stride))[:, :width]


def runtime() -> Any:
    """The runtime, loaded and initialised once per process; raises MissingIntegration or TransportError."""
    with _lock:
        if not _loaded:
            _loaded.append(_load())
        return _loaded[0]


def is_loaded() -> bool:
    """Whether the runtime is loaded in this process: it has read its configuration then."""
    return bool(_loaded)


def _load() -> NdiRuntime:
    try:
        import NDIlib  # loads the runtime and what it needs; raises an error that names a missing library

        library = ctypes.CDLL(str(_library_file(Path(str(NDIlib.__file__)).parent)))
        loaded = NdiRuntime(library)
    except (ImportError, OSError, AttributeError) as error:
        raise missing(error) from error
    if not loaded.initialize():
        raise TransportError("ndi: the NDI runtime does not start on this processor; it needs SSE4.2 or NEON")
    return loaded


def _library_file(folder: Path) -> Path:
    """The runtime's file in the folder of ndi-python: the one that ndi-python itself has loaded."""
    found = sorted((file for pattern in _LIBRARIES for file in folder.glob(pattern)), key=lambda file: len(file.name))
    if not found:
        raise ImportError(f"no NDI runtime in {folder}")
    return found[0]


def missing(error: Exception) -> MissingIntegration:
    """What to install, for an error of loading."""
    if isinstance(error, ModuleNotFoundError) and error.name == "NDIlib":
        return MissingIntegration("ndi", "ndi-python is not installed", 'pip install "lcm-daemon[ndi]"')
    if "avahi" in str(error):
        return MissingIntegration("ndi", "libavahi-client is not installed", "apt install libavahi-client3")
    reason = f"ndi-python does not load ({str(error).splitlines()[0]})"
    return MissingIntegration("ndi", reason, 'pip install --force-reinstall "ndi-python>=6.3"')


def _text(raw: bytes | None) -> str:
    return (raw or b"").decode("utf-8", "replace")


def _bytes(text: str) -> bytes | None:
    return text.encode() or None
