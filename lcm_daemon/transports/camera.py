"""Camera source: cameras and capture cards that the operating system lists, through PyAV's input devices."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from glob import glob
from typing import Any

import numpy as np

from lcm_daemon.core.clock import Clock, MonotonicClock
from lcm_daemon.core.errors import LcmDaemonError, TransportError
from lcm_daemon.core.frame import Frame, Pixels
from lcm_daemon.core.schema import Field, Number, PixelSize, Text
from lcm_daemon.transports import camera_modes, pyav
from lcm_daemon.transports.base import Probe, Source, Transport
from lcm_daemon.transports.camera_modes import PREFERRED, CameraMode, format_name, read_modes

STALL_SECONDS = 5.0  # without a frame for that long, the camera counts as lost
JOIN_SECONDS = 2.0  # how long closing waits for a driver that does not respond
ANY = "any"  # the format that the driver chooses
RETRY_SECONDS = 0.005  # pause before asking again a camera that had no complete frame


@dataclass(frozen=True)
class CameraBackend:
    """How cameras are opened on one operating system.

    Attributes:
        format: FFmpeg's input format.
        address: converts the option `device` to FFmpeg's address.
        options: options that FFmpeg needs for every camera.
        format_options: converts a format's name to FFmpeg's options.
        preferred: the format that is tried first if the show names none; "" for the driver's own choice.
        question: options with which opening a camera fails and logs its modes; empty where FFmpeg has none.
        parse_modes: reads that log.
    """

    format: str
    address: Callable[[str], str]
    options: Mapping[str, str] = field(default_factory=dict)
    format_options: Callable[[str], dict[str, str]] = camera_modes.v4l2_format
    preferred: str = ""
    question: Mapping[str, str] = field(default_factory=dict)
    parse_modes: Callable[[Iterable[str]], list[CameraMode]] = camera_modes.v4l2_modes


def _linux_address(device: str) -> str:
    return f"/dev/video{device or 0}" if device.isdigit() or not device else _path_of(device)


def _path_of(name: str) -> str:
    """Path of a camera that `list sources` prints under `name`; any other text is a path already."""
    paths = {description: path for path, description in _enumerate("v4l2")}
    return paths.get(name, name)


def _windows_address(device: str) -> str:
    """DirectShow addresses cameras by name only."""
    if device and not device.isdigit():
        return f"video={device}"
    names = [description for _, description in _enumerate("dshow")]
    index = int(device or 0)
    if index >= len(names):
        raise TransportError(f"camera: camera number {index} does not exist; {_listing(names)}")
    return f"video={names[index]}"


# avfoundation refuses to open a camera at a rate that the camera does not list. FFmpeg's own default is such a rate.
BACKENDS: Mapping[str, CameraBackend] = {
    "linux": CameraBackend("v4l2", _linux_address, preferred=PREFERRED, question={"list_formats": "all"}),
    "darwin": CameraBackend(
        "avfoundation", lambda device: f"{device or 0}:none", {"framerate": "30"}, camera_modes.avfoundation_format,
        question={"framerate": "1000"}, parse_modes=camera_modes.avfoundation_modes,
    ),
    "win32": CameraBackend(
        "dshow", _windows_address, {}, camera_modes.dshow_format, PREFERRED, {"list_options": "true"},
        camera_modes.dshow_modes,
    ),
}


class CameraSource(Source):
    """The newest frame of a camera. A thread reads every frame from the driver, so that no frame ages in its queue.

    The time of a frame is the time at which it was read from the driver.
    """

    is_listed = True
    fields = {
        "device": Field(Text(), "", "the camera's number, name or path; empty: the first camera"),
        "size": Field(PixelSize(), None, "width and height to request from the camera; it may choose the nearest"),
        "fps": Field(Number(0, 1000), 0.0, "frames per second to request from the camera; 0: the camera's choice"),
        "format": Field(Text(), "", "mjpeg, yuyv422, nv12, ...; empty: mjpeg where the camera has it; any: its own"),
    }

    def __init__(
        self, options: Mapping[str, Any], clock: Clock | None = None, backend: CameraBackend | None = None
    ) -> None:
        super().__init__(options)
        self._clock = clock or MonotonicClock()
        self._backend = backend or BACKENDS.get(sys.platform)
        self._capture: _CaptureThread | None = None
        self._last_number = -1
        self._last_time = 0.0  # of the last frame, or of opening the camera

    @classmethod
    def listed_options(cls, label: str) -> Mapping[str, Any] | None:
        """The label is looked up in the list: `device` may also be a path, which a label never becomes."""
        return {"device": label} if label in cls.discover(0.0) else None

    @classmethod
    def discover(cls, seconds: float) -> list[str]:
        backend = BACKENDS.get(sys.platform)
        return [description for _, description in _enumerate(backend.format)] if backend else []

    @classmethod
    def details(cls, label: str) -> list[str]:
        backend = BACKENDS.get(sys.platform)
        if backend is None:
            return []
        av = pyav.load("camera")
        return [str(mode) for mode in _modes(av, backend, backend.address(label))]

    def _open_source(self) -> None:
        if self._backend is None:
            raise TransportError(f"camera: cameras are not supported on {sys.platform}")
        av = pyav.load("camera")
        container = self._open_camera(av, self._backend)
        with ExitStack() as on_failure:
            on_failure.callback(container.close)  # the thread closes it, once it runs
            capture = _CaptureThread(container, av, self._clock)
            capture.start()
            on_failure.pop_all()
        self._capture = capture
        self._last_number, self._last_time = -1, self._clock.now()

    def _open_camera(self, av: Any, backend: CameraBackend) -> Any:
        """Open the container with the wanted format, or with the first one of those to try that the camera has."""
        address = backend.address(self.options["device"])
        wanted = format_name(self.options["format"])
        formats = [wanted] if wanted else [backend.preferred, ANY] if backend.preferred else [ANY]
        requested = self._requested(backend)
        for format_ in formats:
            options = requested if format_ == ANY else {**requested, **backend.format_options(format_)}
            try:
                return av.open(address, format=backend.format, options=options)
            except (av.FFmpegError, OSError, ValueError) as error:
                if format_ == formats[-1]:
                    hint = self._hint(av, backend, address, wanted)
                    raise TransportError(f"camera: cannot open {address}: {pyav.reason(error)}; {hint}") from error
        raise AssertionError

    def _hint(self, av: Any, backend: CameraBackend, address: str, wanted: str) -> str:
        """What would be right: the modes if some were requested, else the cameras."""
        if wanted or self.options["size"] or self.options["fps"]:
            if modes := _modes(av, backend, address):
                return f"its modes: {'; '.join(map(str, modes))}"
        return _listing(self.discover(0.0))

    def _requested(self, backend: CameraBackend) -> dict[str, str]:
        requested = dict(backend.options)
        if self.options["size"]:
            requested["video_size"] = "{}x{}".format(*self.options["size"])
        if self.options["fps"]:
            requested["framerate"] = f"{self.options['fps']:g}"
        return requested

    def _read(self, timeout: float) -> Frame | None:
        assert self._capture is not None
        newest = self._capture.newest(self._last_number, timeout)
        if newest is None:
            if self._clock.now() - self._last_time > STALL_SECONDS:
                raise TransportError(f"camera: no frame for {STALL_SECONDS:g} s")
            return None
        video_frame, self._last_number, self._last_time = newest
        return Frame(_to_rgba(video_frame), self._last_number, self._last_time)

    def _close(self) -> None:
        capture, self._capture = self._capture, None
        if capture is not None:
            capture.stop()


class _CaptureThread(threading.Thread):
    """Reads every frame from the driver and keeps the newest. Owns the container, and closes it at its end."""

    def __init__(self, container: Any, av: Any, clock: Clock) -> None:
        super().__init__(name="camera", daemon=True)
        self._container, self._clock = container, clock
        self._fatal_errors = (av.FFmpegError, OSError, ValueError)
        self._passing_errors = (BlockingIOError, av.error.InvalidDataError)  # not there yet, or damaged in transfer
        self._changed = threading.Condition()
        self._newest: tuple[Any, int, float] | None = None  # frame, number, clock time
        self._problem = ""
        self._stopping = False

    def newest(self, after: int, timeout: float) -> tuple[Any, int, float] | None:
        """Return frame, number and time of the newest frame whose number is above `after`.

        Waits at most `timeout` seconds, then returns None. Raises TransportError once the camera has ended.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._problem or (self._newest and self._newest[1] > after), timeout)
            if self._newest and self._newest[1] > after:
                return self._newest
            if self._problem:
                raise TransportError(f"camera: {self._problem}")
            return None

    def stop(self) -> None:
        self._stopping = True
        self.join(JOIN_SECONDS)

    def run(self) -> None:
        problem = "the stream has ended"
        try:
            self._read_all()
        except self._fatal_errors as error:
            problem = f"the stream has ended: {pyav.reason(error)}"
        finally:
            with self._changed:
                self._problem = problem
                self._changed.notify_all()
            self._container.close()

    def _read_all(self) -> None:
        number = 0
        while not self._stopping:
            try:
                for video_frame in self._container.decode(video=0):
                    self._set_newest(video_frame, number)
                    number += 1
                    if self._stopping:
                        return
            except self._passing_errors:
                self._clock.sleep(RETRY_SECONDS)
            else:
                return

    def _set_newest(self, video_frame: Any, number: int) -> None:
        with self._changed:
            self._newest = video_frame, number, self._clock.now()
            self._changed.notify_all()


def _to_rgba(video_frame: Any) -> Pixels:
    return np.ascontiguousarray(video_frame.to_ndarray(format="rgba"))


def _enumerate(format_: str) -> list[tuple[str, str]]:
    """Address and name of every camera; the device files if FFmpeg cannot list them."""
    try:
        av = pyav.load("camera")
        found = [(info.name, info.description) for info in av.enumerate_input_devices(format_)]
    except (LcmDaemonError, AttributeError, OSError, ValueError):  # older PyAV cannot list; some formats cannot either
        found = []
    return found or [(path, path) for path in sorted(glob("/dev/video[0-9]*"))]


def _modes(av: Any, backend: CameraBackend, address: str) -> Sequence[CameraMode]:
    if not backend.question:
        return []
    return read_modes(av, address, backend.format, backend.question, backend.parse_modes)


def _listing(names: list[str]) -> str:
    return f"available: {', '.join(names)}" if names else "no camera was found"


def _probe() -> Probe:
    loaded = pyav.probe()
    backend = BACKENDS.get(sys.platform)
    if not loaded.works:
        return loaded
    if backend is None:
        return Probe(False, f"cameras are not supported on {sys.platform}")
    names = [description for _, description in _enumerate(backend.format)]
    return Probe(True, f"{loaded.detail}, {backend.format}; {_listing(names)}")


TRANSPORT = Transport(source=CameraSource, sink=None, probe=_probe)
