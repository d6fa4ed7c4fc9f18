"""Camera: what the operating system offers as one, through PyAV's devices."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from glob import glob
from typing import Any

import numpy as np

from lcm_daemon.core.clock import Clock, MonotonicClock
from lcm_daemon.core.errors import LcmDaemonError, TransportError
from lcm_daemon.core.frame import Frame, Pixels
from lcm_daemon.core.schema import Field, Number, PixelSize, Text
from lcm_daemon.transports import pyav
from lcm_daemon.transports.base import Probe, Source, Transport

STALL = 5.0  # seconds without a picture after which the camera is taken for lost
JOIN = 2.0  # seconds that closing waits for a driver that does not answer
RETRY = 0.005  # seconds until the next question to a camera that had no whole picture


@dataclass(frozen=True)
class System:
    """How one operating system's cameras are opened: FFmpeg's input format, its address of a device, what it needs."""

    format: str
    address: Callable[[str], str]
    options: Mapping[str, str] = field(default_factory=dict)


def _linux(device: str) -> str:
    return f"/dev/video{device or 0}" if device.isdigit() or not device else _path_of(device)


def _path_of(name: str) -> str:
    """A camera's path for its name, as `list sources` prints it; anything else is a path already."""
    found = {description: path for path, description in _enumerate("v4l2")}
    return found.get(name, name)


def _windows(device: str) -> str:
    """DirectShow knows names alone."""
    if device and not device.isdigit():
        return f"video={device}"
    names = [description for _, description in _enumerate("dshow")]
    index = int(device or 0)
    if index >= len(names):
        raise TransportError(f"camera: there is no camera number {index}; {_listing(names)}")
    return f"video={names[index]}"


# avfoundation refuses to open a camera at a rate that it does not name, and its default is one of them.
SYSTEMS: Mapping[str, System] = {
    "linux": System("v4l2", _linux),
    "darwin": System("avfoundation", lambda device: f"{device or 0}:none", {"framerate": "30"}),
    "win32": System("dshow", _windows),
}


class CameraSource(Source):
    """The newest picture of a camera. A thread of its own takes every picture from the driver, so that none grows old.

    The time of a picture is the time at which it was taken from the driver.
    """

    fields = {
        "device": Field(Text(), "", "the camera's number, its name or its path; empty is the first"),
        "size": Field(PixelSize(), None, "width and height to ask the camera for; it may choose the nearest"),
        "fps": Field(Number(0, 1000), 0.0, "pictures a second to ask the camera for; 0 leaves it the choice"),
    }

    def __init__(self, options: Mapping[str, Any], clock: Clock | None = None, system: System | None = None) -> None:
        super().__init__(options)
        self._clock = clock or MonotonicClock()
        self._system = system or SYSTEMS.get(sys.platform)
        self._feed: _Feed | None = None
        self._seen = -1
        self._last = 0.0  # when the last picture came

    @classmethod
    def discover(cls, seconds: float) -> list[str]:
        system = SYSTEMS.get(sys.platform)
        return [description for _, description in _enumerate(system.format)] if system else []

    def _open_source(self) -> None:
        if self._system is None:
            raise TransportError(f"camera: no way to cameras is known on {sys.platform}")
        av = pyav.load("camera")
        address = self._system.address(self.options["device"])
        try:
            container = av.open(address, format=self._system.format, options=self._asked(self._system))
        except (av.FFmpegError, OSError, ValueError) as error:
            names = self.discover(0.0)
            raise TransportError(f"camera: cannot open {address}: {pyav.reason(error)}; {_listing(names)}") from error
        self._feed = _Feed(container, av, self._clock)
        self._seen, self._last = -1, self._clock.now()
        self._feed.start()

    def _asked(self, system: System) -> dict[str, str]:
        asked = dict(system.options)
        if self.options["size"]:
            asked["video_size"] = "{}x{}".format(*self.options["size"])
        if self.options["fps"]:
            asked["framerate"] = f"{self.options['fps']:g}"
        return asked

    def _read(self, timeout: float) -> Frame | None:
        assert self._feed is not None
        newest = self._feed.newest(self._seen, timeout)
        if newest is None:
            if self._clock.now() - self._last > STALL:
                raise TransportError(f"camera: no picture has come for {STALL:g} s")
            return None
        picture, self._seen, self._last = newest
        return Frame(_rgba(picture), self._seen, self._last)

    def _close(self) -> None:
        if self._feed is not None:
            self._feed.stop()
        self._feed = None


class _Feed(threading.Thread):
    """Takes every picture from the driver and keeps the newest. It owns the container, and closes it."""

    def __init__(self, container: Any, av: Any, clock: Clock) -> None:
        super().__init__(name="camera", daemon=True)
        self._container, self._clock = container, clock
        self._lost = (av.FFmpegError, OSError, ValueError)
        self._passing = (BlockingIOError, av.error.InvalidDataError)  # not yet there, or damaged on the wire
        self._changed = threading.Condition()
        self._newest: tuple[Any, int, float] | None = None
        self._problem = ""
        self._stopping = False

    def newest(self, seen: int, timeout: float) -> tuple[Any, int, float] | None:
        """Picture, number and time of the newest picture after number `seen`; raises TransportError at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._problem or (self._newest and self._newest[1] > seen), timeout)
            if self._newest and self._newest[1] > seen:
                return self._newest
            if self._problem:
                raise TransportError(f"camera: {self._problem}")
            return None

    def stop(self) -> None:
        self._stopping = True
        self.join(JOIN)

    def run(self) -> None:
        problem = "the pictures have ended"
        try:
            self._take_all()
        except self._lost as error:
            problem = f"the pictures have ended: {pyav.reason(error)}"
        finally:
            with self._changed:
                self._problem = problem
                self._changed.notify_all()
            self._container.close()

    def _take_all(self) -> None:
        number = 0
        while not self._stopping:
            try:
                for picture in self._container.decode(video=0):
                    self._put(picture, number)
                    number += 1
                    if self._stopping:
                        return
            except self._passing:
                self._clock.sleep(RETRY)
            else:
                return

    def _put(self, picture: Any, number: int) -> None:
        with self._changed:
            self._newest = picture, number, self._clock.now()
            self._changed.notify_all()


def _rgba(picture: Any) -> Pixels:
    return np.ascontiguousarray(picture.to_ndarray(format="rgba"))


def _enumerate(format_: str) -> list[tuple[str, str]]:
    """Address and name of every camera; where FFmpeg does not tell, the device files."""
    try:
        av = pyav.load("camera")
        found = [(info.name, info.description) for info in av.enumerate_input_devices(format_)]
    except (LcmDaemonError, AttributeError, OSError, ValueError):  # PyAV learned it late; some devices cannot be asked
        found = []
    return found or [(path, path) for path in sorted(glob("/dev/video[0-9]*"))]


def _listing(names: list[str]) -> str:
    return f"there are: {', '.join(names)}" if names else "no camera was found"


def _probe() -> Probe:
    loaded = pyav.probe()
    system = SYSTEMS.get(sys.platform)
    if not loaded.works or system is None:
        return loaded if system else Probe(False, f"no way to cameras is known on {sys.platform}")
    names = [description for _, description in _enumerate(system.format)]
    return Probe(True, f"{loaded.detail}, {system.format}; {_listing(names)}")


TRANSPORT = Transport(source=CameraSource, sink=None, probe=_probe)
