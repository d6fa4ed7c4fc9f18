"""AudioConfig: what the audio process is started with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lcm_daemon.core.audio_names import AUTO

DEFAULT_CHANNELS = (1, 2)


@dataclass(frozen=True)
class AudioConfig:
    """What a show says about its audio input. Channels count from 1.

    Attributes:
        device: Name of the device, or a pattern such as `Scarlett*`; "" for the system's usual one.
        backend: A name in BACKENDS, or AUTO.
        channels: Those that are measured and recorded.
        timecode: The one with timecode; None for none.
        rate: Samples a second; None for the device's own.
        gain: Decibels; None for automatic.
        gate: Decibels of full scale below which everything is silence.
        tempo: Whether the tempo is measured.
    """

    device: str = ""
    backend: str = AUTO
    channels: tuple[int, ...] = DEFAULT_CHANNELS
    timecode: int | None = None
    rate: int | None = None
    gain: float | None = None
    gate: float = -60.0
    tempo: bool = False

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> AudioConfig:
        """From the keys of a show's section `audio`."""
        channels, rate = tuple(options["channels"]) or DEFAULT_CHANNELS, options["rate"]
        return cls(options["device"], options["backend"], channels, options["ltc"], rate and int(rate),
                   options["gain"], options["gate"], options["tempo"])

    def missing_channels(self, count: int) -> list[int]:
        """Channels that a device with `count` does not have. The default asks for two and takes one."""
        wanted = () if self.channels == DEFAULT_CHANNELS else self.channels
        return [each for each in (*wanted, self.timecode or 1) if each > count]

    @property
    def wanted_channels(self) -> int:
        """How many of the device's first channels are needed."""
        return max(*self.channels, self.timecode or 1)
