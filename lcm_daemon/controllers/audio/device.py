"""AudioDevice: one input device, opened by name through PortAudio. Only this file imports sounddevice."""

from __future__ import annotations

import contextlib
import ctypes
import ctypes.util
import os
import queue
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from lcm_daemon.core.audio_names import AUTO, BACKENDS, SECTION
from lcm_daemon.core.audio_ring import Samples
from lcm_daemon.core.errors import LcmDaemonError, MissingIntegration
from lcm_daemon.core.suggestions import nearest

CLIENT = b"lcm-daemon"  # what JACK calls us
_LAST = ("MME", "Windows DirectSound", "Windows WDM-KS")  # Windows lists a device under each of them as well
INSTALL = 'pip install "lcm-daemon[audio]"'
SYSTEM_LIBRARY = "apt install libportaudio2"
MOST_BLOCKS = 1000  # that wait, while the process has no processor
START_SECONDS = 5.0  # until the first samples of a device, which wireless ones take
SILENT_SECONDS = 1.0  # without further ones, after which it counts as gone
LATENCY = 0.01  # seconds of the device's buffer, which PortAudio rounds up to what it needs


class AudioError(LcmDaemonError):
    """The device could not be opened, or is gone. It is tried again."""


@dataclass(frozen=True)
class FoundDevice:
    """An input device.

    Attributes:
        number: PortAudio's.
        name: Its name.
        backend: PortAudio's name of its host API.
        channels: How many inputs it has.
        rate: Its usual rate, in samples a second.
        is_default: Whether its host API uses it where none is named.
    """

    number: int
    name: str
    backend: str
    channels: int
    rate: float
    is_default: bool = False


class _Block(NamedTuple):
    """Samples, when the last one arrived, and whether there were others before them that were dropped."""

    samples: Samples
    end: float
    dropped: bool


def load() -> ModuleType:
    """Import sounddevice. Raises MissingIntegration if it or PortAudio is not installed."""
    os.environ.setdefault("JACK_NO_START_SERVER", "1")  # a look at what is there must not start a server
    _name_client()
    try:
        import sounddevice
    except ImportError as error:
        raise MissingIntegration(SECTION, "sounddevice is not installed", INSTALL) from error
    except OSError as error:
        raise MissingIntegration(SECTION, "the library PortAudio is not installed", SYSTEM_LIBRARY) from error
    module: ModuleType = sounddevice
    return module


def _name_client() -> None:
    """Tell PortAudio our name before it connects to JACK; sounddevice has no function for it."""
    with contextlib.suppress(OSError, AttributeError, TypeError):
        if sys.platform == "linux" and (file := ctypes.util.find_library("portaudio")):
            ctypes.CDLL(file).PaJack_SetClientName(CLIENT)


def look(module: ModuleType) -> list[FoundDevice]:
    """The input devices that are there now. PortAudio looks for devices only at its start, so it is started again.

    No stream may be open. Raises AudioError.
    """
    try:
        module._terminate()
        module._initialize()
        hosts, devices = module.query_hostapis(), module.query_devices()
    except module.PortAudioError as error:
        raise AudioError(f"{SECTION}: the system's audio does not answer: {_reason(error)}") from error
    return [FoundDevice(number, each["name"], hosts[each["hostapi"]]["name"], each["max_input_channels"],
                        each["default_samplerate"], hosts[each["hostapi"]]["default_input_device"] == number)
            for number, each in enumerate(devices) if each["max_input_channels"] > 0]


def choose(found: Sequence[FoundDevice], name: str, backend: str = AUTO) -> FoundDevice:
    """The device of a name: that name, else a pattern, else a part of a name, in any case. Raises AudioError."""
    usable = sorted((each for each in found if backend in (AUTO, *_short(each.backend))),
                    key=lambda each: each.backend in _LAST)
    if not usable:
        system = "" if backend == AUTO else f" of {backend}"
        raise AudioError(f"{SECTION}: no input device{system} is there")
    if not name:
        return next((each for each in usable if each.is_default), usable[0])
    wanted = name.lower()
    for matches in (lambda has: has == wanted, lambda has: fnmatchcase(has, wanted), lambda has: wanted in has):
        if device := next((each for each in usable if matches(each.name.lower())), None):
            return device
    names = list(dict.fromkeys(each.name for each in usable))
    raise AudioError(f"{SECTION}: no input device {name!r:.80} is there{nearest(name, names)}")


def list_devices() -> list[str]:
    """A line for each input device. Raises MissingIntegration and AudioError."""
    lines = [f"{'/'.join(_short(each.backend)) or each.backend}: {each.name} ({each.channels} channels, "
             f"{each.rate:.0f} Hz){', the usual one' if each.is_default else ''}" for each in look(load())]
    return lines or ["no input devices"]


def _short(backend: str) -> list[str]:
    return [short for short, long in BACKENDS.items() if long == backend]


class AudioDevice:
    """An open device.

    PortAudio calls back with the samples. Its other way, reads that wait, is broken for JACK: pa_jack.c takes every
    stream for one of two channels, and writes behind the buffers of others (19.6 and 19.7).

    Args:
        module: sounddevice.
        found: The device.
        channels: How many of its first channels are wanted.
        rate: Samples a second; None for the device's own.

    Attributes:
        name: Its name.
        rate: Samples a second.
        channels: How many channels it gives: fewer than wanted if it has fewer.

    Raises:
        AudioError: It cannot be opened.
    """

    def __init__(self, module: ModuleType, found: FoundDevice, channels: int, rate: int | None = None) -> None:
        self.name, self.channels = found.name, min(channels, found.channels)
        self._errors = module.PortAudioError
        self._blocks: queue.SimpleQueue[_Block | None] = queue.SimpleQueue()
        self._rest = _Block(np.zeros((0, self.channels), np.float32), 0.0, False)
        try:
            self._stream: Any = module.InputStream(
                samplerate=rate or round(found.rate), device=found.number, channels=self.channels, dtype="float32",
                latency=LATENCY, callback=self._take, finished_callback=lambda: self._blocks.put(None))
            self._stream.start()
        except (module.PortAudioError, ValueError) as error:
            raise AudioError(f"{SECTION}: {found.name} cannot be opened: {_reason(error)}") from error
        self.rate = round(self._stream.samplerate)

    def _take(self, samples: Samples, count: int, times: Any, status: Any) -> None:
        """Keep what has come. Called on PortAudio's thread."""
        if self._blocks.qsize() < MOST_BLOCKS:
            self._blocks.put(_Block(samples.copy(), time.perf_counter(), bool(status)))

    def read(self, count: int) -> tuple[Samples, float, bool]:
        """Wait for samples.

        Returns:
            float32 (count, channels); when the last one arrived, in seconds of perf_counter; whether samples before
            these were dropped.

        Raises:
            AudioError: The device is gone.
        """
        parts, missing, dropped = [], count, False
        while missing:
            block = self._rest if len(self._rest.samples) else self._next()
            part, after = block.samples[:missing], block.samples[missing:]
            parts.append(part)
            missing, dropped = missing - len(part), dropped or block.dropped
            self._rest = _Block(after, block.end, False)
        return np.concatenate(parts), self._rest.end - len(self._rest.samples) / self.rate, dropped

    def _next(self) -> _Block:
        try:
            block = self._blocks.get(timeout=SILENT_SECONDS if self._rest.end else START_SECONDS)
        except queue.Empty:
            block = None
        if block is None:
            raise AudioError(f"{SECTION}: {self.name} is gone: it sends nothing")
        return block

    def close(self) -> None:
        """Close it. Safe to call after it has gone."""
        with contextlib.suppress(self._errors):
            self._stream.abort()
        with contextlib.suppress(self._errors):
            self._stream.close()


def _reason(error: Exception) -> str:
    """PortAudio's words, without its number."""
    text = str(error.args[0] if error.args else error)
    return text.partition(" [PaErrorCode")[0].splitlines()[0].rstrip(". ") if text else type(error).__name__
