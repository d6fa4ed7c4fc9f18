"""Window process: shows the frames of a memory sink in a window, with SDL2.

    python -m lcm_daemon.transports.window_process '{"name": "...", "display": "1", ...}'    show frames
    python -m lcm_daemon.transports.window_process                                           list the displays

It is a process of its own because SDL needs the main thread on macOS, and because a display that hangs must delay
nothing else. It ends with its standard input. Standard output has one JSON object a line: the displays; {"ready": ...}
once the window is open; {"shown": n} every second; {"error": ...} before it ends.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
import warnings
from collections.abc import Mapping
from ctypes import byref, c_int
from dataclasses import dataclass
from typing import Any

import numpy as np

from lcm_daemon.core.frame import Frame, Pixels, Size
from lcm_daemon.transports.shared_memory import MemorySource

READ_SECONDS = 0.02  # for which a frame is awaited before SDL's events are read again
REPORT_SECONDS = 1.0
INVISIBLE = (b"dummy", b"offscreen")  # SDL's drivers that draw into memory; it chooses them when no other works
REDRAW_SECONDS = 0.5  # without a new frame: what covered the window may be gone

with warnings.catch_warnings():  # PySDL2 warns that it has found its own library
    warnings.simplefilter("ignore")
    import sdl2


class WindowError(Exception):
    """The window cannot be opened, or is lost."""


@dataclass(frozen=True)
class Display:
    """A display: its number from 1, its name, and its place on the desktop in pixels."""

    number: int
    name: str
    left: int
    top: int
    size: Size

    def __str__(self) -> str:
        return f"{self.number} {self.name!r} {self.size[0]}x{self.size[1]}"


def main(arguments: list[str]) -> int:
    try:
        _start_sdl()
        if not arguments:
            for display in find_displays():
                _say({"number": display.number, "name": display.name, "size": display.size})
            return 0
        threading.Thread(target=_exit_with_parent, daemon=True).start()
        _show_frames(json.loads(arguments[0]))
    except WindowError as error:
        _say({"error": str(error)})
        return 1
    finally:
        sdl2.SDL_Quit()
    return 0


def find_displays() -> list[Display]:
    """Every display that SDL finds."""
    displays = []
    for index in range(sdl2.SDL_GetNumVideoDisplays()):
        bounds = sdl2.SDL_Rect()
        sdl2.SDL_GetDisplayBounds(index, byref(bounds))
        name = (sdl2.SDL_GetDisplayName(index) or b"").decode(errors="replace")
        displays.append(Display(index + 1, name, bounds.x, bounds.y, (bounds.w, bounds.h)))
    return displays


def choose_display(wanted: str, displays: list[Display]) -> Display:
    """The display of that number, or the only one whose name contains the text.

    Raises:
        WindowError: There is none, or several.
    """
    if wanted.isdecimal():  # never a part of a name: without display 2, "2" would be the desk's own "DELL U2720Q"
        found = [display for display in displays if wanted == str(display.number)]
    else:
        found = [display for display in displays if wanted.casefold() in display.name.casefold()]
    if len(found) == 1:
        return found[0]
    problem = "several displays have that name" if found else "no display has that number or name"
    raise WindowError(f"display {wanted!r}: {problem}; there are: {', '.join(map(str, displays)) or 'none'}")


def place(picture: Size, room: Size, fit: str) -> tuple[int, int, int, int]:
    """Where a picture lies in a window: left, top, width, height in pixels.

    Args:
        picture: Its size, after it was turned.
        room: The window's size.
        fit: "contain", "cover" or "stretch".
    """
    if fit == "stretch":
        return 0, 0, *room
    ratios = room[0] / picture[0], room[1] / picture[1]
    scale = min(ratios) if fit == "contain" else max(ratios)
    width, height = round(picture[0] * scale), round(picture[1] * scale)
    return (room[0] - width) // 2, (room[1] - height) // 2, width, height


def is_opaque(pixels: Pixels) -> bool:
    """Whether no pixel is transparent; 0.4 ms at 1080p."""
    words = np.ascontiguousarray(pixels).view(np.uint32)  # each with the bytes of one pixel
    return bool(np.bitwise_and.reduce(words, axis=None).tobytes()[3] == 255)


class Window:
    """A window that shows one frame after another.

    Args:
        options: The sink's options; see `transports.window.WindowSink`.

    Raises:
        WindowError: It cannot be opened.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._options = options
        self.display = choose_display(options["display"], find_displays())
        self._texture: Any = None
        self._texture_size: Size = (0, 0)
        self._is_opaque = False
        full = options["fullscreen"]
        left, top = (self.display.left, self.display.top) if full else (sdl2.SDL_WINDOWPOS_CENTERED_DISPLAY(
            self.display.number - 1),) * 2
        width, height = self.display.size if full else options["size"]
        flags = sdl2.SDL_WINDOW_ALLOW_HIGHDPI | (
            sdl2.SDL_WINDOW_FULLSCREEN_DESKTOP | sdl2.SDL_WINDOW_BORDERLESS if full else sdl2.SDL_WINDOW_RESIZABLE)
        self._window = _checked(sdl2.SDL_CreateWindow(
            options["title"].encode(), left, top, width, height, flags), "no window can be opened")
        self._renderer = sdl2.SDL_CreateRenderer(
            self._window, -1, sdl2.SDL_RENDERER_PRESENTVSYNC) or _checked(sdl2.SDL_CreateRenderer(
                self._window, -1, sdl2.SDL_RENDERER_SOFTWARE), "nothing can be drawn")
        sdl2.SDL_ShowCursor(sdl2.SDL_DISABLE if full else sdl2.SDL_ENABLE)
        self.draw()

    @property
    def size(self) -> Size:
        """The window's size in pixels."""
        width, height = c_int(), c_int()
        sdl2.SDL_GetRendererOutputSize(self._renderer, byref(width), byref(height))
        return width.value, height.value

    def show(self, frame: Frame) -> None:
        """Draw a frame."""
        if frame.size != self._texture_size:
            self._make_texture(frame.size)
        pixels = frame.pixels
        if sdl2.SDL_UpdateTexture(self._texture, None, pixels.ctypes.data, pixels.strides[0]):
            raise WindowError(f"a frame cannot be drawn: {_error()}")
        self._is_opaque = is_opaque(pixels)
        self.draw()

    def draw(self) -> None:
        """Draw the last frame again, on black.

        Without a graphics card the CPU draws, and what an opaque frame needs not is a third of its work: to clear what
        it covers, to blend it, and to smooth what is not scaled.
        """
        room, turn = self.size, self._options["turn"]
        sideways = turn in (90, 270)
        picture = self._texture_size[::-1] if sideways else self._texture_size
        left, top, width, height = place(picture, room, self._options["fit"]) if self._texture else (0, 0, 0, 0)
        if not self._is_opaque or width < room[0] or height < room[1]:
            sdl2.SDL_SetRenderDrawColor(self._renderer, 0, 0, 0, 255)
            sdl2.SDL_RenderClear(self._renderer)
        if self._texture is not None:
            is_smooth = self._options["smooth"] and (width, height) != picture
            sdl2.SDL_SetTextureScaleMode(
                self._texture, sdl2.SDL_ScaleModeLinear if is_smooth else sdl2.SDL_ScaleModeNearest)
            sdl2.SDL_SetTextureBlendMode(  # over black, as an eye sees alpha
                self._texture, sdl2.SDL_BLENDMODE_NONE if self._is_opaque else sdl2.SDL_BLENDMODE_BLEND)
            # SDL mirrors first and turns about the middle: the target has the shape that the picture has before it.
            if sideways:
                left, top, width, height = left + (width - height) // 2, top + (height - width) // 2, height, width
            target = sdl2.SDL_Rect(left, top, width, height)
            sdl2.SDL_RenderCopyEx(
                self._renderer, self._texture, None, byref(target), float(turn), None, self._mirroring)
        sdl2.SDL_RenderPresent(self._renderer)

    @property
    def _mirroring(self) -> int:
        """SDL's flags for `mirror` and `flip`, which come after the turn: sideways, each is the other before it."""
        mirror, flip = self._options["mirror"], self._options["flip"]
        if self._options["turn"] in (90, 270):
            mirror, flip = flip, mirror
        return (sdl2.SDL_FLIP_HORIZONTAL if mirror else 0) | (sdl2.SDL_FLIP_VERTICAL if flip else 0)

    def read_events(self) -> None:
        """Handle what SDL reports.

        Raises:
            WindowError: The window was closed, or its display is gone.
        """
        event = sdl2.SDL_Event()
        while sdl2.SDL_PollEvent(byref(event)):
            if event.type == sdl2.SDL_QUIT:
                raise WindowError("the window was closed")
            if event.type == sdl2.SDL_DISPLAYEVENT and self.display not in find_displays():
                raise WindowError(f"the display {self.display} is gone, or was changed")
            if event.type == sdl2.SDL_RENDER_DEVICE_RESET:
                raise WindowError("the graphics driver was restarted")

    def _make_texture(self, size: Size) -> None:
        if self._texture is not None:
            sdl2.SDL_DestroyTexture(self._texture)
        self._texture = _checked(sdl2.SDL_CreateTexture(
            self._renderer, sdl2.SDL_PIXELFORMAT_RGBA32, sdl2.SDL_TEXTUREACCESS_STREAMING, *size),
            f"frames of {size[0]}x{size[1]} cannot be drawn")
        self._texture_size = size


def _show_frames(options: Mapping[str, Any]) -> None:
    window, source = Window(options), MemorySource({"name": options["name"]})
    source.open()
    _say({"ready": str(window.display), "window": window.size})
    shown, drawn_at = 0, time.monotonic()
    report_at = drawn_at + REPORT_SECONDS
    while True:
        window.read_events()
        frame = source.read(READ_SECONDS)
        now = time.monotonic()
        if frame is not None:
            window.show(frame)
            shown, drawn_at = shown + 1, now
        elif now - drawn_at >= REDRAW_SECONDS:
            window.draw()
            drawn_at = now
        if now >= report_at:
            _say({"shown": shown})
            report_at = now + REPORT_SECONDS


def _start_sdl() -> None:
    hints = {  # a show must not be dimmed, minimised when another window has the focus, or scaled by Windows
        b"SDL_VIDEO_ALLOW_SCREENSAVER": b"0", b"SDL_VIDEO_MINIMIZE_ON_FOCUS_LOSS": b"0",
        b"SDL_WINDOWS_DPI_AWARENESS": b"permonitorv2", b"SDL_VIDEO_X11_NET_WM_BYPASS_COMPOSITOR": b"1",
        b"SDL_NO_SIGNAL_HANDLERS": b"1",
    }
    for name, value in hints.items():
        sdl2.SDL_SetHint(name, value)
    if sdl2.SDL_Init(sdl2.SDL_INIT_VIDEO):
        raise WindowError(f"no display: {_error()}")
    driver = sdl2.SDL_GetCurrentVideoDriver()
    if driver in INVISIBLE and os.environ.get("SDL_VIDEODRIVER", "").encode() != driver:
        raise WindowError("no display: this session has no desktop (DISPLAY, WAYLAND_DISPLAY) and no right to use a "
                          "graphics card (/dev/dri)")


def _checked(pointer: Any, problem: str) -> Any:
    if not pointer:
        raise WindowError(f"{problem}: {_error()}")
    return pointer


def _error() -> str:
    text: str = sdl2.SDL_GetError().decode(errors="replace")
    return text


def _say(message: Mapping[str, Any]) -> None:
    print(json.dumps(message), flush=True)


def _exit_with_parent() -> None:
    sys.stdin.buffer.read()  # until it is closed
    os._exit(0)  # a display that hangs must not keep the process alive


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
