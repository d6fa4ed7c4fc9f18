"""AudioConfig: what the audio process is started with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lcm_daemon.core.audio_names import AUTO


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
    channels: tuple[int, ...] = (1, 2)
    timecode: int | None = None
    rate: int | None = None
    gain: float | None = None
    gate: float = -60.0
    tempo: bool = False

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> AudioConfig:
        """From the keys of a show's section `audio`."""
        return cls(options["device"], options["backend"], tuple(options["channels"]) or (1, 2), options["ltc"],
                   options["rate"] and int(options["rate"]), options["gain"], options["gate"], options["tempo"])

    @property
    def wanted_channels(self) -> int:
        """How many of the device's first channels are needed."""
        return max(*self.channels, self.timecode or 1)
