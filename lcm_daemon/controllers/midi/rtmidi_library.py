"""The binding of the C++ library RtMidi: python-rtmidi, or supriya-midi on Pythons for which that has no wheel.

python-rtmidi 1.5.8 has wheels up to Python 3.12. supriya-midi has them for later ones and nearly the same interface;
`load_rtmidi` hides the differences. python-rtmidi is used where both are installed. Only this file imports them.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from lcm_daemon.core.errors import LcmDaemonError, MissingIntegration

LIBRARIES = {"rtmidi": "python-rtmidi", "supriya_midi": "supriya-midi"}  # modules, and the packages that bring them
FIRST_WITHOUT_WHEEL = (3, 13)  # of python-rtmidi
READ_INTERVAL = 0.001  # seconds between two looks at the queues of supriya-midi

OnData = Callable[[Sequence[int]], None]


class RtMidiLibrary:
    """What is used of RtMidi.

    Attributes:
        MidiIn, MidiOut: Classes; both take an API and a client's name.
        errors: What their calls raise.
    """

    MidiIn: Any
    MidiOut: Any
    errors: tuple[type[Exception], ...]

    def api(self, name: str) -> Any:
        """The constant of a MIDI system by its name in RtMidi, such as "LINUX_ALSA"."""
        raise NotImplementedError

    def set_callback(self, native: Any, on_data: OnData) -> None:
        """Call `on_data` with the bytes of each message of an open `MidiIn`, in a thread of the library."""
        raise NotImplementedError

    def cancel_callback(self, native: Any) -> None:
        """Call `on_data` no more."""
        native.cancel_callback()


class PythonRtMidi(RtMidiLibrary):
    """python-rtmidi."""

    def __init__(self) -> None:
        import rtmidi  # type: ignore[import-not-found, import-untyped, unused-ignore]

        self.MidiIn, self.MidiOut, self._module = rtmidi.MidiIn, rtmidi.MidiOut, rtmidi
        self.errors = (rtmidi.RtMidiError,)

    def api(self, name: str) -> Any:
        return getattr(self._module, f"API_{name}")

    def set_callback(self, native: Any, on_data: OnData) -> None:
        native.set_callback(lambda data, _: on_data(data[0]))


class SupriyaMidi(RtMidiLibrary):
    """supriya-midi. A name that is not UTF-8 raises UnicodeDecodeError, a port that is open already RuntimeError.

    Its own callbacks are not used: version 26.10b4 ends the process when one is cancelled while messages arrive. One
    thread reads the queues of all inputs instead, while there are inputs.
    """

    def __init__(self) -> None:
        import supriya_midi  # type: ignore[import-not-found, import-untyped, unused-ignore]

        self.MidiIn, self.MidiOut, self._module = supriya_midi.MidiIn, supriya_midi.MidiOut, supriya_midi
        self.errors = (supriya_midi.RtMidiError, RuntimeError, UnicodeDecodeError)
        self._readers: dict[int, tuple[Any, OnData]] = {}
        self._lock, self._is_reading = threading.Lock(), False

    def api(self, name: str) -> Any:
        return getattr(self._module.RtMidiAPI, name)

    def set_callback(self, native: Any, on_data: OnData) -> None:
        with self._lock:
            self._readers[id(native)] = native, on_data
            starts, self._is_reading = not self._is_reading, True
        if starts:
            threading.Thread(target=self._read, name="midi-read", daemon=True).start()

    def cancel_callback(self, native: Any) -> None:
        with self._lock:  # the thread holds it while it calls
            self._readers.pop(id(native), None)

    def _read(self) -> None:
        while True:
            with self._lock:
                self._is_reading = bool(self._readers)
                if not self._is_reading:
                    return
                for native, on_data in self._readers.values():
                    while message := native.get_message():
                        on_data(message[0])
            time.sleep(READ_INTERVAL)


WRAPPERS: dict[str, type[RtMidiLibrary]] = {"rtmidi": PythonRtMidi, "supriya_midi": SupriyaMidi}


def load_rtmidi() -> RtMidiLibrary:
    """Import the library.

    Raises:
        MissingIntegration: None is installed.
        LcmDaemonError: The installed one cannot be loaded.
    """
    module = next((name for name in LIBRARIES if importlib.util.find_spec(name) is not None), None)
    if module is None:
        raise missing_rtmidi()
    try:
        return WRAPPERS[module]()
    except ImportError as error:  # without the system's libasound, for example
        raise LcmDaemonError(f"MIDI: {LIBRARIES[module]} cannot be loaded: {error}") from error


def rtmidi_version() -> str:
    """Name and version of the installed library, such as "python-rtmidi 1.5.8"; empty where there is none."""
    package = next((LIBRARIES[name] for name in LIBRARIES if importlib.util.find_spec(name) is not None), "")
    return f"{package} {importlib.metadata.version(package)}" if package else ""


def missing_rtmidi(python: tuple[int, ...] = sys.version_info[:2]) -> MissingIntegration:
    """Return the error for a missing library.

    Args:
        python: Version of Python.
    """
    package = "python-rtmidi" if python < FIRST_WITHOUT_WHEEL else "supriya-midi"
    return MissingIntegration("MIDI", f"{package} is not installed", 'pip install "lcm-daemon[midi]"')
