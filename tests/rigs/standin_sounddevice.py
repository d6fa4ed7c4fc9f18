"""A working stand-in for sounddevice: devices that are plugged in and out, and a sound that they send.

`Audio` is the module. Its names and arguments are those of sounddevice 0.5; `tests/controllers/audio/test_device.py`
compares them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

BLOCK = 200  # samples of a call


class Audio:
    """devices: name, number of inputs, rate, and host API of each, in PortAudio's order."""

    class PortAudioError(Exception):
        pass

    def __init__(self, *devices: tuple[str, int, float, str]) -> None:
        self.devices, self.seen = list(devices), list(devices)
        self.sound = np.zeros((0, 64), np.float32)
        self.opened: list[dict[str, Any]] = []
        self.looks = self.open_streams = 0
        self.overflows = False
        self.on_empty = lambda: None  # what happens once the whole sound was read

    def _terminate(self) -> None:
        assert not self.open_streams, "PortAudio would close the stream"

    def _initialize(self) -> None:
        self.looks += 1
        self.seen = list(self.devices)

    def _hosts(self) -> list[str]:
        return list(dict.fromkeys(host for *_, host in self.seen))

    def query_hostapis(self) -> list[dict[str, Any]]:
        return [{"name": host, "default_input_device": next(
            number for number, each in enumerate(self.seen) if each[3] == host)} for host in self._hosts()]

    def query_devices(self) -> list[dict[str, Any]]:
        return [{"name": name, "hostapi": self._hosts().index(host), "max_input_channels": inputs,
                 "default_samplerate": rate} for name, inputs, rate, host in self.seen]

    def InputStream(self, **options: Any) -> _Stream:  # noqa: N802 - sounddevice's name
        self.opened.append(options)
        if self.seen[options["device"]] not in self.devices:
            raise self.PortAudioError("Error opening InputStream: Device unavailable [PaErrorCode -9985]", -9985)
        return _Stream(self, options)


class _Stream:
    """It sends the whole sound once it is started. It has finished once its device is gone."""

    def __init__(self, audio: Audio, options: dict[str, Any]) -> None:
        self._audio, self._options, self._is_open = audio, options, False
        self._device = audio.seen[options["device"]]
        self.samplerate = float(options["samplerate"])

    def start(self) -> None:
        audio, options = self._audio, self._options
        self._is_open, audio.open_streams = True, audio.open_streams + 1
        sound, audio.sound = audio.sound, audio.sound[:0]
        for first in range(0, len(sound), BLOCK):
            part = sound[first:first + BLOCK, :options["channels"]]
            options["callback"](part, len(part), None, audio.overflows)
        audio.on_empty()
        if self._device not in audio.devices:
            options["finished_callback"]()

    def abort(self) -> None:
        if self._is_open:
            self._is_open, self._audio.open_streams = False, self._audio.open_streams - 1

    def close(self) -> None:
        self.abort()
