"""Window sink: on an X server without a screen, looked at by screenshots."""

from __future__ import annotations

import itertools
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lcm_daemon.core.errors import MissingIntegration, TransportError
from lcm_daemon.core.frame import Frame, Pixels
from lcm_daemon.transports import window
from lcm_daemon.transports.window import WindowSink, list_displays, probe
from tests.conftest import need_module
from tests.rigs.x_server import XServer, x_server

WAIT = 30.0
RED, GREEN, BLUE, WHITE, BLACK = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0)


@pytest.fixture(scope="module")
def server() -> Iterator[XServer]:
    need_module("sdl2", "PySDL2 pysdl2-dll")
    with x_server(320, 240) as server:
        yield server


@pytest.fixture
def screen(server: XServer, monkeypatch: pytest.MonkeyPatch) -> XServer:
    monkeypatch.setenv("DISPLAY", server.name)
    monkeypatch.setenv("SDL_VIDEODRIVER", "x11")
    return server


def corners(width: int = 64, height: int = 48) -> Pixels:
    """Red and green above blue and white."""
    pixels = np.full((height, width, 4), 255, np.uint8)
    quarters = np.array([[RED, GREEN], [BLUE, WHITE]], np.uint8)
    pixels[..., :3] = quarters.repeat(height // 2, 0).repeat(width // 2, 1)
    return pixels


def show(sink: WindowSink, pixels: Pixels, until: Callable[[], bool]) -> None:
    """Send a picture until the condition holds."""
    begun = time.perf_counter()
    for number in itertools.count():
        sink.write(Frame(pixels, number, time.perf_counter()))
        if until():
            return
        assert time.perf_counter() - begun < WAIT, "the screen does not show it"
        time.sleep(0.02)


def seen(screen: XServer, *points: tuple[int, int]) -> list[tuple[int, ...]]:
    """Colours of points (across, down) on the screen."""
    picture = screen.screenshot()
    return [tuple(int(level) for level in picture[down, across]) for across, down in points]


MIDDLES = ((100, 60), (220, 60), (100, 180), (220, 180))


@pytest.mark.slow
@pytest.mark.parametrize(("options", "pixels", "points", "colours"), [
    ({}, corners(), MIDDLES, [RED, GREEN, BLUE, WHITE]),
    ({"flip": True, "display": "screen"}, corners(), MIDDLES, [BLUE, WHITE, RED, GREEN]),
    ({"turn": 90, "mirror": True, "fit": "stretch"}, corners(), MIDDLES, [RED, BLUE, GREEN, WHITE]),
    ({}, corners(64, 64), ((10, 120), (60, 60), (260, 60), (310, 120)), [BLACK, RED, GREEN, BLACK]),
    ({"fit": "cover"}, corners(64, 64), ((10, 60), (310, 180)), [RED, WHITE]),
    ({"turn": 270}, corners(96, 48), ((90, 60), (110, 60), (200, 60), (230, 60), (110, 200)),
     [BLACK, GREEN, WHITE, BLACK, RED]),
])
def test_a_window_fills_the_display(
    screen: XServer, options: dict[str, Any], pixels: Pixels, points: list[tuple[int, int]], colours: list[Any]
) -> None:
    sink = WindowSink(options)
    sink.open((pixels.shape[1], pixels.shape[0]), 30.0)
    try:
        show(sink, pixels, lambda: seen(screen, *points) == colours)
    finally:
        sink.close()


@pytest.mark.slow
def test_alpha_is_over_black_sizes_change_and_a_lost_window_is_an_error(screen: XServer) -> None:
    sink = WindowSink({"smooth": False})
    sink.open((64, 48), 30.0)
    try:
        half = corners()
        half[..., 3] = 128
        show(sink, half, lambda: all(np.abs(np.subtract(got, np.array(wanted) // 2)).max() <= 2 for got, wanted in zip(
            seen(screen, *MIDDLES), (RED, GREEN, BLUE, WHITE), strict=True)))
        show(sink, corners(160, 120), lambda: seen(screen, *MIDDLES) == [RED, GREEN, BLUE, WHITE])
        process = sink._process
        assert process is not None
        os.kill(process._process.pid, signal.SIGKILL)
        with pytest.raises(TransportError, match="window: its process has ended"):
            show(sink, corners(), lambda: False)
        sink.close()
        sink.open((64, 48), 30.0)
        show(sink, corners(), lambda: seen(screen, *MIDDLES) == [RED, GREEN, BLUE, WHITE])
    finally:
        sink.close()
    assert seen(screen, *MIDDLES) == [BLACK] * 4


@pytest.mark.slow
def test_a_display_that_hangs_is_an_error_and_delays_nothing(
    screen: XServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(window, "ANSWER_SECONDS", 2.0)
    sink = WindowSink({})
    sink.open((64, 48), 30.0)
    try:
        show(sink, corners(), lambda: seen(screen, *MIDDLES) == [RED, GREEN, BLUE, WHITE])
        os.kill(screen.process.pid, signal.SIGSTOP)
        longest = 0.0
        lost = ""
        for number in itertools.count():
            begun = time.perf_counter()
            try:
                sink.write(Frame(corners(), number, begun))
            except TransportError as error:
                lost = str(error)
                break
            longest = max(longest, time.perf_counter() - begun)
            time.sleep(0.01)
        assert lost == "window: the display has not answered for 2 s"
        assert longest < 1.0, "a write waits for the display"
    finally:
        os.kill(screen.process.pid, signal.SIGCONT)
        sink.close()


@pytest.mark.slow
def test_displays_are_listed_and_a_wrong_one_is_named(screen: XServer) -> None:
    assert list_displays() == ["1 'screen' 320x240"]
    assert probe().detail == "displays: 1 'screen' 320x240"
    sink = WindowSink({"display": "beamer"})
    with pytest.raises(TransportError, match=r"^window: display 'beamer': no display has that number or name; "
                                             r"there are: 1 'screen' 320x240$"):
        sink.open((64, 48), 30.0)


@pytest.mark.slow
def test_without_a_display(monkeypatch: pytest.MonkeyPatch) -> None:
    need_module("sdl2", "PySDL2 pysdl2-dll")
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    assert probe().works is False
    assert probe().detail.startswith("no display: ")
    monkeypatch.setenv("SDL_VIDEODRIVER", "x11")
    assert probe().detail.startswith("no display: ")


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingIntegration, match="PySDL2"):
        WindowSink({}).open((64, 48), 30.0)
    assert probe().install == 'pip install "lcm-daemon[window]"'


def test_a_process_that_cannot_start_or_prints_other_things(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(window, "_require_library", lambda: None)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "absent"))
    with pytest.raises(TransportError, match=r"its process cannot be started: .*No such file"):
        WindowSink({}).open((64, 48), 30.0)
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\necho 'a library says hello'\n"
                       f"""echo '{json.dumps({"error": "no such thing"})}'\n""")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    with pytest.raises(TransportError, match=r"^window: no such thing$"):
        WindowSink({}).open((64, 48), 30.0)


@pytest.mark.parametrize(("picture", "room", "fit", "expected"), [
    ((512, 512), (1920, 1080), "contain", (420, 0, 1080, 1080)),
    ((512, 512), (1920, 1080), "cover", (0, -420, 1920, 1920)),
    ((512, 512), (1920, 1080), "stretch", (0, 0, 1920, 1080)),
    ((1920, 1080), (800, 600), "contain", (0, 75, 800, 450)),
])
def test_place(picture: tuple[int, int], room: tuple[int, int], fit: str, expected: tuple[int, ...]) -> None:
    need_module("sdl2", "PySDL2 pysdl2-dll")
    from lcm_daemon.transports.window_process import place

    assert place(picture, room, fit) == expected


def test_opaque_pictures() -> None:
    need_module("sdl2", "PySDL2 pysdl2-dll")
    from lcm_daemon.transports.window_process import is_opaque

    pixels = corners()
    assert is_opaque(pixels)
    assert is_opaque(pixels[:, ::2])
    pixels[-1, -1, 3] = 254
    assert not is_opaque(pixels)


def test_a_display_is_chosen_by_number_or_name() -> None:
    need_module("sdl2", "PySDL2 pysdl2-dll")
    from lcm_daemon.transports.window_process import Display, WindowError, choose_display

    displays = [Display(1, "DELL U2720Q", 0, 0, (3840, 2160)), Display(2, "EPSON 1", 3840, 0, (1920, 1080)),
                Display(3, "EPSON 2", 5760, 0, (1920, 1080))]
    assert choose_display("1", displays).name == "DELL U2720Q", "a number comes before a name that contains it"
    assert choose_display("epson 2", displays).number == 3
    with pytest.raises(WindowError, match=r"^display 'epson': several displays have that name; there are: 1 'DELL"):
        choose_display("epson", displays)
    with pytest.raises(WindowError, match=r"^display '4': no display has that number or name; there are: none$"):
        choose_display("4", [])
    with pytest.raises(WindowError, match="no display has that number or name"):
        choose_display("2", displays[:1])  # not the DELL U2720Q, which is the desk's
