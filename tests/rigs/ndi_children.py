"""Child processes of the NDI tests: NdiSink and NdiSource, driven over a pipe."""

from __future__ import annotations

import resource
import time
from multiprocessing.connection import Connection
from typing import Any

import pytest

from lcm_daemon.core.errors import TransportError
from lcm_daemon.core.frame import Frame, Pixels, Size, solid
from lcm_daemon.transports.ndi import NdiSink, NdiSource

CORNERS = ((255, 0, 0, 255), (0, 255, 0, 200), (0, 0, 255, 128), (200, 180, 40, 64))
FOUND = 30.0  # seconds within which a sender must have been found


def corners(size: Size) -> Pixels:
    """Four quarters: top left, top right, bottom left, bottom right."""
    pixels, (width, height) = solid(size), size
    for quarter, rgba in enumerate(CORNERS):
        pixels[quarter // 2 * height // 2 :, quarter % 2 * width // 2 :] = rgba
    return pixels


def middles(pixels: Pixels) -> list[Any]:
    height, width = pixels.shape[:2]
    return [pixels[height // 4 + q // 2 * height // 2, width // 4 + q % 2 * width // 2].astype(int) for q in range(4)]


def clock_face(size: Size) -> Pixels:
    """A grey level for the monotonic time in steps of 10 ms, modulo 640 ms."""
    return solid(size, (*(int(time.perf_counter() * 100) % 64 * 4,) * 3, 255))


def age(pixels: Pixels) -> float:
    """Seconds since that clock face was drawn, modulo 0.64."""
    return (time.perf_counter() * 100 - round(pixels[..., 1].mean() / 4)) % 64 / 100


def blue(size: Size) -> Pixels:
    return solid(size, (20, 20, 200, 255))


PICTURES = {"corners": corners, "clock": clock_face, "blue": blue}


def send(pipe: Connection, options: dict[str, Any], picture: str, size: Size, fps: float) -> None:
    """A child: sends until the pipe closes.

    It receives a new size; "receivers", which it answers with a number; or "pause": it sends nothing until it receives
    something else.
    """
    sink = NdiSink(options)
    sink.open(size, fps)
    number, start = 0, time.perf_counter()
    pipe.send("sending")
    while True:
        if pipe.poll(max(0.0, start + number / fps - time.perf_counter())):
            request = pipe.recv()
            if request == "receivers":
                pipe.send(sink.receivers)
            elif request == "pause":
                pipe.recv()
            else:
                size = request
        sink.write(Frame(PICTURES[picture](size), number, time.perf_counter()))
        number += 1


def receive(pipe: Connection, options: dict[str, Any]) -> None:
    """A child: answers ("read", seconds) with a frame or None, and ("discover", seconds) with the list of names."""
    source = NdiSource(options)
    source.open()
    answers = {"read": source.read, "discover": source.discover}
    pipe.send("open")
    while True:
        what, argument = pipe.recv()
        pipe.send(answers[what](argument))


def read_slowly(pipe: Connection, options: dict[str, Any]) -> None:
    """A child: reads every 0.4 s and sends the ages of eight frames."""
    source, ages = NdiSource(options), []
    source.open()
    until = time.perf_counter() + FOUND
    while source.read(0.5) is None:
        assert time.perf_counter() < until
    for _ in range(8):
        time.sleep(0.4)
        frame = source.read(0.5)
        assert frame is not None
        ages.append(age(frame.pixels))
    pipe.send(ages)


def grow(pipe: Connection, options: dict[str, Any]) -> None:
    """A child: sends by how many bytes its peak memory grows over 300 frames read and about as many dropped."""
    source, frames, peaks = NdiSource(options), 0, []
    source.open()
    for goal in (50, 350):
        until = time.perf_counter() + 60
        while frames < goal:
            frames += source.read(0.5) is not None
            time.sleep(0.02)  # slower than the sender: some are dropped unread
            assert time.perf_counter() < until
        peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
    pipe.send(peaks[1] - peaks[0])


def open_nameless(pipe: Connection) -> None:
    with pytest.raises(TransportError) as refused:
        NdiSource({}).open()
    pipe.send(str(refused.value))
