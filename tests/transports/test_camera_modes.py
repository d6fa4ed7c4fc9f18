"""Modes of cameras, as FFmpeg logs them on each system, and the formats that cameras are asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import av
import pytest

from lcm_daemon.commands import listing
from lcm_daemon.core.errors import TransportError
from lcm_daemon.core.plugins import NameTable
from lcm_daemon.transports import camera, camera_modes, pyav
from lcm_daemon.transports.camera import BACKENDS, CameraSource
from lcm_daemon.transports.camera_modes import CameraMode, read_modes

LOGS: Mapping[str, list[str]] = {
    "linux": [
        "Raw       :     yuyv422 :           YUYV 4:2:2 : 640x480 160x120 320x240",
        "Compressed:       mjpeg :          Motion-JPEG : 640x480 1280x720 1920x1080",
        "Raw       :     yuv420p :     Planar YUV 4:2:0 : {32-4096, 2}x{32-2160, 2}",
    ],
    "win32": [
        'DirectShow video device options (from video devices)\n Pin "Capture" (alternative pin name "0")',
        "  pixel_format=yuyv422  min s=640x480 fps=5 max s=640x480 fps=30",
        "  pixel_format=yuyv422  min s=640x480 fps=5 max s=640x480 fps=30 (tv, bt709/bt709/bt709, topleft)",
        "  vcodec=mjpeg  min s=1280x720 fps=5 max s=1280x720 fps=60.0002",
        "  unknown compression type 0x20363234  min s=1280x720 fps=5 max s=1280x720 fps=30",
    ],
    "darwin": [
        "Selected framerate (1000.000000) is not supported by the device.",
        "Supported modes:\n  1280x720@[1.000000 30.000000]fps",
        "  640x480@[15.000000 60.000240]fps",
    ],
}
MODES = {
    "linux": ["yuyv422 640x480, 160x120, 320x240", "mjpeg 640x480, 1280x720, 1920x1080",
              "yuv420p {32-4096, 2}x{32-2160, 2}"],
    "win32": ["yuyv422 640x480 at 30 fps", "mjpeg 1280x720 at 60 fps"],
    "darwin": ["any format 1280x720 at 30 fps, 640x480 at 60 fps"],
}


class StandIn(SimpleNamespace):
    """A PyAV with one camera, which has some formats and logs its modes when it is asked for them."""

    def __init__(self, system: str, has: tuple[str, ...] = ()) -> None:
        super().__init__(FFmpegError=av.FFmpegError, error=av.error, asked=[], logging=self, INFO=32, levels=[])
        self._system, self._has, self._messages = system, has, []

    def get_level(self) -> None:
        return None

    def set_level(self, level: int | None) -> None:
        self.levels.append(level)

    @contextmanager
    def Capture(self, local: bool) -> Iterator[list[Any]]:  # noqa: N802  # PyAV's name
        assert local
        yield self._messages

    def open(self, address: str, format: str, options: dict[str, str]) -> Any:  # noqa: A002  # PyAV's name
        self.asked.append(options)
        if BACKENDS[self._system].question.items() <= options.items():
            self._messages += [(32, format, line) for line in LOGS[self._system]]
            raise OSError("Immediate exit requested")
        wanted = {options[key] for key in ("input_format", "vcodec", "pixel_format") if key in options}
        if wanted - set(self._has):
            raise OSError("Invalid argument")
        return SimpleNamespace(close=lambda: None, decode=lambda video: iter(()))


@pytest.mark.parametrize("system", ["linux", "win32", "darwin"])
def test_modes_are_read_from_the_log(system: str) -> None:
    backend, stand_in = BACKENDS[system], StandIn(system)
    modes = read_modes(stand_in, "camera", backend.format, backend.question, backend.parse_modes)
    assert [str(mode) for mode in modes] == MODES[system]
    assert stand_in.levels == [32, None]  # the log is as quiet as before


def test_a_camera_that_is_absent_has_no_modes() -> None:
    assert read_modes(av, "/dev/video63", "v4l2", {"list_formats": "all"}, camera_modes.v4l2_modes) == []
    assert camera_modes.v4l2_modes(["Cannot open video device /dev/video63"]) == []


@pytest.mark.parametrize(("system", "options", "has", "asked"), [
    ("linux", {}, ("mjpeg", "yuyv422"), [{"input_format": "mjpeg"}]),
    ("linux", {}, ("yuyv422",), [{"input_format": "mjpeg"}, {}]),
    ("linux", {"format": "any"}, ("mjpeg",), [{}]),
    ("linux", {"format": "YUY2"}, ("mjpeg", "yuyv422"), [{"input_format": "yuyv422"}]),
    ("linux", {"format": "h264", "size": (1280, 720)}, ("h264",), [{"input_format": "h264", "video_size": "1280x720"}]),
    ("win32", {}, ("mjpeg",), [{"vcodec": "mjpeg"}]),
    ("win32", {"format": "nv12"}, ("nv12",), [{"pixel_format": "nv12"}]),
    ("win32", {"format": "MJPG"}, ("mjpeg",), [{"vcodec": "mjpeg"}]),
    ("darwin", {}, (), [{"framerate": "30"}]),
    ("darwin", {"format": "nv12"}, ("nv12",), [{"framerate": "30", "pixel_format": "nv12"}]),
    ("darwin", {"format": "mjpeg"}, (), [{"framerate": "30"}]),
])
def test_the_format_that_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, system: str, options: dict[str, Any], has: tuple[str, ...],
    asked: list[dict[str, str]],
) -> None:
    stand_in = StandIn(system, has)
    monkeypatch.setattr(pyav, "load", lambda _: stand_in)
    monkeypatch.setattr(camera, "_enumerate", lambda format_: [("/dev/video0", "Cam")])
    source = CameraSource(options, backend=BACKENDS[system])
    source.open()
    source.close()
    assert stand_in.asked == asked


def test_a_format_that_the_camera_lacks_names_its_modes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pyav, "load", lambda _: StandIn("linux", ("mjpeg",)))
    line = "camera: cannot open /dev/video0: Invalid argument; its modes: yuyv422 640x480, 160x120, 320x240; mjpeg 640"
    with pytest.raises(TransportError) as error:
        CameraSource({"format": "h264"}, backend=BACKENDS["linux"]).open()
    assert str(error.value).startswith(line)


def test_the_list_of_sources_shows_modes(monkeypatch: pytest.MonkeyPatch) -> None:
    names = NameTable("transport", {"camera": "lcm_daemon.transports.camera"})
    monkeypatch.setattr("lcm_daemon.transports.TRANSPORTS", names)
    monkeypatch.setattr(camera.sys, "platform", "linux")
    monkeypatch.setattr(camera, "_enumerate", lambda format_: [("/dev/video0", "Cam")])
    monkeypatch.setattr(camera, "read_modes", lambda *_: [CameraMode("mjpeg", ("1280x720",))])
    assert listing.list_sources() == ["camera: Cam", "    mjpeg 1280x720"]
