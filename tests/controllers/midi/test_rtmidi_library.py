"""The two bindings of RtMidi: which one is used, and what differs between them."""

from __future__ import annotations

import importlib.util
import sys
import threading
import time
import types
from collections.abc import Callable
from typing import Any

import pytest

from lcm_daemon.controllers.midi import rtmidi_library
from lcm_daemon.controllers.midi.rtmidi_library import LAST_CALLBACK, load_rtmidi, missing_rtmidi, rtmidi_version
from lcm_daemon.core.errors import LcmDaemonError, MissingIntegration
from tests.rigs.midi import need_rtmidi


class RtMidiError(Exception):
    pass


class NativeInput:
    """A MidiIn of either binding."""

    def set_callback(self, callback: Callable[..., None], data: object = None) -> None:
        self.callback: Callable[..., None] | None = callback

    def cancel_callback(self) -> None:
        self.callback = None


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


@pytest.mark.parametrize(("installed", "jack", "arguments"), [
    ([PYTHON, SUPRIYA], 3, (([0xB0, 1, 2], 0.1), None)),
    ([SUPRIYA], "jack", ([0xB0, 1, 2], 0.1, None)),
])
def test_one_interface(
    monkeypatch: pytest.MonkeyPatch, installed: list[types.ModuleType], jack: object, arguments: tuple[Any, ...],
) -> None:
    install(monkeypatch, *installed)
    found, received = load_rtmidi(), []
    assert found.api("UNIX_JACK") == jack
    assert RtMidiError in found.errors
    native = found.MidiIn()
    found.set_callback(native, received.append)
    native.callback(*arguments)
    assert received == [[0xB0, 1, 2]]
    found.cancel_callback(native)
    assert native.callback is None


def test_closing_lets_a_last_callback_end(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, SUPRIYA)
    found, ended = load_rtmidi(), threading.Event()
    threading.Timer(LAST_CALLBACK / 4, ended.set).start()
    begun = time.perf_counter()
    found.cancel_callback(NativeInput())
    assert time.perf_counter() - begun >= LAST_CALLBACK / 2  # the GIL was free, so that another thread could run
    assert ended.wait(1.0)


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
