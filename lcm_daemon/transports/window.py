"""Window sink: the output in a window, full screen on one display. Wraps SDL2, in a process of its own.

Frames go there through a memory sink, so the newest one is shown, whole, and the sink never waits for the display. A
display that hangs, a window that is closed and a process that dies are failures of the sink: it opens the window again.
"""

from __future__ import annotations

import importlib.util
import json
import os
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from queue import Empty, SimpleQueue
from typing import IO, Any, ClassVar

from lcm_daemon.core.errors import LcmDaemonError, MissingIntegration, TransportError
from lcm_daemon.core.frame import Frame, Size
from lcm_daemon.core.schema import Boolean, Choice, Field, Fields, Text
from lcm_daemon.transports.base import Probe, Sink, Transport
from lcm_daemon.transports.placement import Turn
from lcm_daemon.transports.shared_memory import MemorySink

PROCESS = "lcm_daemon.transports.window_process"
OPEN_SECONDS = 20.0  # for the window to appear
ANSWER_SECONDS = 5.0  # without a report, the display hangs

Message = Mapping[str, Any]


class _Process:
    """The window's process. Raises TransportError if it cannot be started."""

    def __init__(self, *arguments: str) -> None:
        command = [sys.executable, "-m", PROCESS, *arguments]
        flags = {"start_new_session": True} if os.name == "posix" else {
            "creationflags": getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)}  # Ctrl-C ends the stage, which ends it
        try:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, **flags)
        except OSError as error:
            raise TransportError(f"window: its process cannot be started: {error}") from error
        self._messages: SimpleQueue[Message | None] = SimpleQueue()
        threading.Thread(target=self._read, args=(self._process.stdout,), name="window", daemon=True).start()

    def _read(self, output: IO[bytes]) -> None:
        for line in output:
            try:
                self._messages.put(json.loads(line))
            except ValueError:  # a library printed something
                continue
        self._messages.put(None)

    def receive(self, seconds: float) -> Message | None:
        """The next message, or None if none comes within `seconds`.

        Raises:
            TransportError: The process reported an error, or has ended.
        """
        try:
            message = self._messages.get(timeout=seconds) if seconds > 0 else self._messages.get_nowait()
        except Empty:
            return None
        if message is None or "error" in message:
            raise TransportError(f"window: {message['error'] if message else 'its process has ended'}")
        return message

    def receive_all(self) -> list[Message]:
        """Messages until the process ends. Raises TransportError if it reported an error."""
        messages: list[Message] = []
        while (message := self._messages.get(timeout=OPEN_SECONDS)) is not None:
            if "error" in message:
                raise TransportError(f"window: {message['error']}")
            messages.append(message)
        return messages

    def kill(self) -> None:
        self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        self._process.wait(OPEN_SECONDS)


class WindowSink(Sink):
    """Shows frames in a borderless window that fills a display."""

    fields: ClassVar[Fields] = {
        "display": Field(Text(), "1", "number of the display, or a part of its name; `lcm-daemon list displays` prints "
                         "both"),
        "fit": Field(Choice(("contain", "cover", "stretch")), "contain", "how the output fills the display"),
        "fullscreen": Field(Boolean(), True, "fill the display, without borders and pointer; false: a window to move"),
        "smooth": Field(Boolean(), True, "scale smoothly; false: every pixel stays a sharp rectangle"),
        "mirror": Field(Boolean(), False, "swap left and right, as for a projection from behind"),
        "flip": Field(Boolean(), False, "swap top and bottom, as for a projector that hangs upside down"),
        "turn": Field(Turn(), 0, "degrees clockwise, before `mirror` and `flip`"),
    }

    def __init__(self, options: Mapping[str, Any]) -> None:
        super().__init__(options)
        self._frames: MemorySink | None = None
        self._process: _Process | None = None
        self._answered_at = 0.0

    @classmethod
    def option_problems(cls, options: Mapping[str, Any]) -> Mapping[str, str]:
        number = options["display"]
        return {"display": "displays are numbered from 1"} if number.isdecimal() and int(number) == 0 else {}

    def _open_sink(self, size: Size, fps: float) -> None:
        _require_library()
        name = f"window-{os.getpid()}-{secrets.token_hex(4)}"
        self._frames = MemorySink({"name": name})
        self._frames.open(size, fps)
        self._process = _Process(json.dumps({**self.options, "name": name, "size": size, "title": "lcm-daemon"}))
        if self._process.receive(OPEN_SECONDS) is None:
            raise TransportError(f"window: the display did not answer for {OPEN_SECONDS:g} s")
        self._answered_at = time.monotonic()

    def _write(self, frame: Frame) -> None:
        assert self._frames is not None
        assert self._process is not None
        now = time.monotonic()
        while self._process.receive(0.0) is not None:
            self._answered_at = now
        if now - self._answered_at > ANSWER_SECONDS:
            raise TransportError(f"window: the display has not answered for {ANSWER_SECONDS:g} s")
        self._frames.write(frame)

    def _close(self) -> None:
        process, frames, self._process, self._frames = self._process, self._frames, None, None
        if process is not None:
            process.kill()
        if frames is not None:
            frames.close()


def list_displays() -> list[str]:
    """The displays, as `display` names them: "1 'DELL U2720Q' 3840x2160".

    Raises:
        MissingIntegration: SDL2 is not installed.
        TransportError: No display was found.
    """
    _require_library()
    process = _Process()
    try:
        return [f"{each['number']} {each['name']!r} {each['size'][0]}x{each['size'][1]}"
                for each in process.receive_all()]
    except Empty:
        raise TransportError(f"window: the displays did not answer for {OPEN_SECONDS:g} s") from None
    finally:
        process.kill()


def _require_library() -> None:
    if importlib.util.find_spec("sdl2") is None:
        raise MissingIntegration("window", "PySDL2 is not installed", 'pip install "lcm-daemon[window]"')


def probe() -> Probe:
    """Test whether a window can be opened here."""
    try:
        displays = list_displays()
    except MissingIntegration as error:
        return Probe(False, error.reason, error.install)
    except LcmDaemonError as error:
        return Probe(False, str(error).removeprefix("window: "))
    return Probe(True, f"displays: {', '.join(displays)}")


TRANSPORT = Transport(None, WindowSink, probe)
