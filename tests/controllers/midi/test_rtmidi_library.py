"""The two bindings of RtMidi: which one is used, and what differs between them."""

from __future__ import annotations

import importlib.util
import sys
import threading
import types
from collections.abc import Callable
from typing import Any

import pytest

from lcm_daemon.controllers.midi import rtmidi_library
from lcm_daemon.controllers.midi.rtmidi_library import load_rtmidi, missing_rtmidi, rtmidi_version
from lcm_daemon.core.errors import LcmDaemonError, MissingIntegration
from tests.rigs.daemon import wait_for
from tests.rigs.midi import need_rtmidi


class RtMidiError(Exception):
    pass


class NativeInput:
    """A MidiIn of either binding: python-rtmidi calls back, the queue of supriya-midi is read."""

    def __init__(self) -> None:
        self.callback: Callable[..., None] | None = None
        self.queue: list[tuple[list[int], float]] = []
        self.reads = 0

    def set_callback(self, callback: Callable[..., None], data: object = None) -> None:
        self.callback = callback

    def cancel_callback(self) -> None:
        self.callback = None

    def get_message(self) -> tuple[list[int], float] | None:
        self.reads += 1
        return self.queue.pop(0) if self.queue else None

    def arrive(self, *message: int) -> None:
        if self.callback is not None:
            self.callback((list(message), 0.1), None)
        self.queue.append((list(message), 0.1))


def library(name: str, **names: Any) -> types.ModuleType:
    module = types.ModuleType(name)
    vars(module).update(MidiIn=NativeInput, MidiOut=object, RtMidiError=RtMidiError, **names)
    return module


PYTHON = library("rtmidi", API_UNIX_JACK=3)
SUPRIYA = library("supriya_midi", RtMidiAPI=types.SimpleNamespace(UNIX_JACK="jack"))


def install(monkeypatch: pytest.MonkeyPatch, *modules: types.ModuleType) -> None:
    names = [module.__name__ for module in modules]
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name if name in names else None)
    for module in modules:
        monkeypatch.setitem(sys.modules, module.__name__, module)


@pytest.mark.parametrize(("installed", "jack"), [([PYTHON, SUPRIYA], 3), ([SUPRIYA], "jack")])
def test_one_interface(
    monkeypatch: pytest.MonkeyPatch, installed: list[types.ModuleType], jack: object,
) -> None:
    install(monkeypatch, *installed)
    library, received = load_rtmidi(), []
    assert library.api("UNIX_JACK") == jack
    assert RtMidiError in library.errors
    native = library.MidiIn()
    library.set_callback(native, received.append)
    native.arrive(0xB0, 1, 2)
    native.arrive(0xB0, 1, 3)
    wait_for(lambda: len(received) == 2)
    library.cancel_callback(native)
    native.arrive(0xB0, 1, 4)
    assert received == [[0xB0, 1, 2], [0xB0, 1, 3]]


def test_supriya_midi_is_read_by_one_thread_while_there_are_inputs(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, SUPRIYA)
    library, received = load_rtmidi(), []
    one, other = library.MidiIn(), library.MidiIn()

    def threads() -> int:
        return sum(thread.name == "midi-read" for thread in threading.enumerate())

    wait_for(lambda: not threads())  # that of another test may still end
    for native in (one, other):
        library.set_callback(native, received.append)
    assert threads() == 1
    library.cancel_callback(one)
    reads = one.reads
    other.arrive(0x90, 1, 1)
    wait_for(lambda: received)
    assert one.reads == reads  # it may be closed
    library.cancel_callback(other)
    wait_for(lambda: not threads())
    library.set_callback(one, received.append)
    wait_for(lambda: one.reads > reads)
    library.cancel_callback(one)
    wait_for(lambda: not threads())


def test_none_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)
    assert rtmidi_version() == ""
    with pytest.raises(MissingIntegration, match="is not installed; install it with: pip install"):
        load_rtmidi()


def test_one_that_cannot_be_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, PYTHON)
    monkeypatch.setitem(sys.modules, "rtmidi", None)
    with pytest.raises(LcmDaemonError, match="python-rtmidi cannot be loaded"):
        load_rtmidi()


@pytest.mark.parametrize(("python", "package"), [((3, 12), "python-rtmidi"), ((3, 13), "supriya-midi")])
def test_what_to_install_depends_on_the_python(python: tuple[int, ...], package: str) -> None:
    assert str(missing_rtmidi(python)).startswith(f"MIDI: {package} is not installed")


def test_the_constants_of_the_installed_one() -> None:
    need_rtmidi()
    found = load_rtmidi()
    names = ("UNSPECIFIED", "LINUX_ALSA", "UNIX_JACK", "MACOSX_CORE", "WINDOWS_MM")
    assert len({found.api(name) for name in names}) == len(names)
    assert all(issubclass(error, Exception) for error in found.errors)
    assert any(rtmidi_version().startswith(package) for package in rtmidi_library.LIBRARIES.values())
