"""CameraSource on FFmpeg's synthetic input device, and its error messages without a camera."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import av
import pytest

from lcm_daemon.core.errors import TransportError
from lcm_daemon.core.frame import Frame
from lcm_daemon.transports import camera, pyav
from lcm_daemon.transports.base import Source
from lcm_daemon.transports.camera import BACKENDS, CameraBackend, CameraSource
from tests.conftest import ManualClock
from tests.rigs.transport_contract import SOURCES

RED_OVER_BLUE = "color=red:size=64x24:rate=50,pad=64:48:0:0:blue,format=rgb24,realtime"


def synthetic(graph: str) -> CameraBackend:
    """FFmpeg's lavfi device instead of a camera; `realtime` in the graph makes it run in real time."""
    return CameraBackend("lavfi", lambda device: graph)


@contextmanager
def alone() -> Iterator[Source]:
    source = CameraSource({}, backend=synthetic(RED_OVER_BLUE))
    try:
        yield source
    finally:
        source.close()


SOURCES["camera"] = alone


def next_frame(source: Source) -> Frame:
    frame = source.read(10.0)
    assert frame is not None
    return frame


def exhaust(source: Source) -> None:
    for _ in range(100):
        source.read(10.0)


def test_orientation_and_colours() -> None:
    with alone() as source:
        source.open()
        frame = next_frame(source)
        assert frame.size == (64, 48)
        assert frame.pixels[4, 32].tolist() == pytest.approx([255, 0, 0, 255], abs=3)
        assert frame.pixels[44, 32].tolist() == pytest.approx([0, 0, 255, 255], abs=3)


def test_each_picture_comes_once() -> None:
    with alone() as source:
        source.open()
        numbers = [next_frame(source).number for _ in range(5)]
        assert numbers == sorted(set(numbers))


def test_a_late_reader_gets_the_newest() -> None:
    with alone() as source:
        source.open()
        first = next_frame(source)
        capture = source._capture
        assert capture.newest(first.number + 4, 10.0) is not None  # five pictures later
        assert next_frame(source).number >= first.number + 5


def test_the_end_is_an_error_and_opening_again_helps() -> None:
    source = CameraSource({}, backend=synthetic("testsrc=size=64x48:rate=50:duration=0.1,realtime"))
    for _ in range(2):
        source.open()
        with pytest.raises(TransportError, match=r"^camera: the stream has ended"):
            exhaust(source)
        source.close()


def test_closing_ends_the_thread() -> None:
    with alone() as source:
        source.open()
        next_frame(source)
        source.close()
        assert not [thread for thread in threading.enumerate() if thread.name == "camera"]


def test_camera_is_closed_if_its_thread_cannot_start(monkeypatch) -> None:
    closed: list[bool] = []
    container = SimpleNamespace(close=lambda: closed.append(True))
    monkeypatch.setattr(pyav, "load", lambda _: SimpleNamespace(
        open=lambda *_, **__: container, FFmpegError=av.FFmpegError, error=av.error))

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(camera._CaptureThread, "start", refuse)
    source = CameraSource({}, backend=synthetic(RED_OVER_BLUE))
    with pytest.raises(RuntimeError, match="thread"):
        source.open()
    assert (closed, source.is_open) == ([True], False)


def test_a_silent_camera_is_given_up(clock: ManualClock) -> None:
    source = CameraSource({}, clock, synthetic(RED_OVER_BLUE))
    source._capture = SimpleNamespace(newest=lambda after, timeout: clock.sleep(timeout), stop=lambda: None)
    source._open, source._last_time = True, clock.now()
    assert source.read(4.0) is None
    with pytest.raises(TransportError, match="no frame for 5 s"):
        source.read(1.5)
    source.close()


@pytest.mark.parametrize("passing", [BlockingIOError, av.error.InvalidDataError])
def test_a_passing_error_is_no_end(clock: ManualClock, passing: type[Exception]) -> None:
    """avfoundation and dshow say "not yet"; a camera's first JPEG is often cut off."""
    error = passing(1, "passing")
    answers = iter([[error], ["one", error], [error], ["two", "three"]])

    def decode(video: int) -> Iterator[str]:
        for answer in next(answers, []):
            if isinstance(answer, Exception):
                raise answer
            yield answer

    container = SimpleNamespace(decode=decode, close=lambda: None)
    capture = camera._CaptureThread(container, av, clock)
    capture.run()
    assert capture.newest(-1, 0.0)[:2] == ("three", 2)
    with pytest.raises(TransportError, match="ended"):
        capture.newest(2, 0.0)


@pytest.mark.parametrize("device", ["63", "/dev/video63", "No such camera"])
def test_absent_camera_is_one_clear_line(device) -> None:
    source = CameraSource({"device": device}, backend=BACKENDS["linux"])
    with pytest.raises(TransportError, match=r"^camera: cannot open .*; ") as error:
        source.open()
    assert "\n" not in str(error.value)
    assert not source.is_open


def test_unknown_system_is_one_clear_line(monkeypatch) -> None:
    monkeypatch.setattr(sys, "platform", "plan9")
    with pytest.raises(TransportError, match="cameras are not supported on plan9"):
        CameraSource({}).open()
    assert not camera.TRANSPORT.probe().works


CAMERAS = [("/dev/video0", "FaceTime"), ("/dev/video2", "Capture Card")]


@pytest.mark.parametrize(
    ("system", "device", "address"),
    [
        ("linux", "", "/dev/video0"),
        ("linux", "3", "/dev/video3"),
        ("linux", "/dev/v4l/by-id/usb-cam", "/dev/v4l/by-id/usb-cam"),
        ("linux", "Capture Card", "/dev/video2"),
        ("darwin", "", "0:none"),
        ("darwin", "FaceTime", "FaceTime:none"),
        ("win32", "", "video=FaceTime"),
        ("win32", "1", "video=Capture Card"),
        ("win32", "OBS Virtual Camera", "video=OBS Virtual Camera"),
    ],
)
def test_addresses(monkeypatch, system, device, address) -> None:
    monkeypatch.setattr(camera, "_enumerate", lambda format_: CAMERAS)
    assert BACKENDS[system].address(device) == address


def test_a_number_too_high_names_what_there_is(monkeypatch) -> None:
    monkeypatch.setattr(camera, "_enumerate", lambda format_: CAMERAS)
    with pytest.raises(TransportError, match="camera number 2 does not exist; available: FaceTime, Capture Card"):
        BACKENDS["win32"].address("2")


def test_what_the_camera_is_asked_for(monkeypatch) -> None:
    asked: dict[str, str] = {}

    def refuse(address: str, format: str, options: dict[str, str]) -> None:  # noqa: A002  # PyAV's name
        asked.update(options, format=format)
        raise OSError("refused")

    monkeypatch.setattr(pyav, "load", lambda _: SimpleNamespace(open=refuse, FFmpegError=OSError))
    monkeypatch.setattr(camera, "read_modes", lambda *_: [])
    source = CameraSource({"size": (1280, 720), "fps": 29.97}, backend=BACKENDS["darwin"])
    with pytest.raises(TransportError, match="cannot open 0:none: refused"):
        source.open()
    assert asked == {"format": "avfoundation", "video_size": "1280x720", "framerate": "29.97"}


def test_discovery_is_a_list_of_names() -> None:
    assert all(isinstance(name, str) for name in CameraSource.discover(0.0))
