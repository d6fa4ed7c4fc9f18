"""Listener: opens the audio device whenever it can, and writes what it hears into the ring. It has its own process."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType

import numpy as np

from lcm_daemon.controllers.audio.analysis import Analyser, mean_of
from lcm_daemon.controllers.audio.config import AudioConfig
from lcm_daemon.controllers.audio.device import AudioDevice, AudioError, choose, load, look
from lcm_daemon.controllers.audio.tempo import TempoTracker
from lcm_daemon.core.audio_names import BANDS, SECTION
from lcm_daemon.core.audio_ring import COLUMNS, LEFT, RIGHT, TIMECODE, AudioRing, Samples
from lcm_daemon.core.errors import MissingIntegration

log = logging.getLogger(__name__)

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 4.0  # seconds between two tries to open the device
ZERO_SECONDS, LONGEST_ZERO_SECONDS = 3.0, 48.0  # of samples that are all 0, after which the device is opened again
CLOCK_SHARE = 0.02  # of the difference between the times that are measured and counted, which is corrected each time
LOUDEST = 4.0  # times full scale; drivers may send numbers of any size
CLOCK_JUMP = 0.05  # seconds of difference that are corrected at once


@dataclass(frozen=True)
class AudioState:
    """Child to stage: what it listens to.

    Attributes:
        text: In words.
        listens: Whether the device is open.
    """

    text: str
    listens: bool = False


class Listener:
    """Opens the device whenever it can, and listens.

    Args:
        config: What the show says.
        ring: Where samples and levels go.
        report: Called with each new AudioState.
        module: Imports sounddevice.
        sleep: Pauses between two tries.
    """

    def __init__(
        self, config: AudioConfig, ring: AudioRing, report: Callable[[AudioState], object],
        module: Callable[[], ModuleType] = load, sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._config, self._ring, self._report = config, ring, report
        self._module, self._sleep = module, sleep
        self._said, self._patience = "", ZERO_SECONDS

    def run(self) -> None:
        """Listen for ever."""
        pause = FIRST_PAUSE
        while True:
            self._ring.live()
            try:
                device = self._open(self._module())
                pause = FIRST_PAUSE
                with contextlib.closing(device):
                    self._listen(device)
                continue
            except (AudioError, MissingIntegration) as error:
                self._fail(error)
            self._sleep(pause)
            pause = min(pause * 2.0, LONGEST_PAUSE)

    def _open(self, module: ModuleType) -> AudioDevice:
        config = self._config
        found = choose(look(module), config.device, config.backend)
        device = AudioDevice(module, found, config.wanted_channels, config.rate)
        missing = config.missing_channels(device.channels)
        only = f"; it has no channel {missing[0]}" if missing else ""
        self._say(AudioState(f"{device.name}, {device.rate} Hz{only}", listens=True))
        return device

    def _listen(self, device: AudioDevice) -> None:
        """Write what is heard, hop by hop, until nothing but zeros have come for a while.

        A program that leaves JACK, or a device that the system no longer uses, sends zeros for ever: the caller looks
        for it again.

        Raises:
            AudioError: The device is gone.
        """
        ears = Ears(self._config, device.rate, device.channels, self._ring)
        try:
            self._hear(device, ears)
        except AudioError as error:
            self._fail(error)  # now: to close a device whose system has ended may hang
            raise

    def _hear(self, device: AudioDevice, ears: Ears) -> None:
        """Raises as `_listen` does."""
        zeros = 0
        while zeros < self._patience * device.rate:
            samples, end, _ = device.read(ears.hop)
            ears.hear(samples, end)
            self._ring.live()
            zeros += len(samples)
            if samples.any():
                zeros, self._patience = 0, ZERO_SECONDS
        self._patience = min(self._patience * 2.0, LONGEST_ZERO_SECONDS)

    def _fail(self, error: Exception) -> None:
        """Nothing is heard."""
        self._ring.write_levels((0.0,) * len(BANDS))
        self._say(AudioState(str(error)))

    def _say(self, state: AudioState) -> None:
        """Report a state and log it, once until it changes."""
        if state.text == self._said:
            return
        self._said = state.text
        if state.listens:
            log.info("%s: listening to %s", SECTION, state.text)
        else:
            log.warning("%s; the show plays without it, and it is tried again", state.text)
        self._report(state)


class Ears:
    """What is done with the samples of one open device.

    Args:
        config: What the show says.
        rate: Samples a second.
        channels: How many the device gives.
        ring: Where samples and levels go.

    Attributes:
        hop: How many samples `hear` takes.
    """

    def __init__(self, config: AudioConfig, rate: int, channels: int, ring: AudioRing) -> None:
        self._channels = [each - 1 for each in config.channels if each <= channels] or [0]
        has_timecode = config.timecode is not None and config.timecode <= channels
        self._timecode = config.timecode - 1 if has_timecode and config.timecode else None
        self._analyser = Analyser(rate, config.gain, config.gate)
        self.hop = self._analyser.hop
        self._tempo = TempoTracker(rate / self.hop) if config.tempo else None
        self._ring, self._rate, self._end = ring, rate, 0.0
        ring.begin(rate)

    def hear(self, samples: Samples, end: float) -> None:
        """Measure and write a hop.

        Args:
            samples: float32 (hop, channels).
            end: When the last one was captured, in seconds of perf_counter, as it was measured.
        """
        samples = np.clip(np.nan_to_num(samples), -LOUDEST, LOUDEST)
        end = self._steady(end)
        columns = np.zeros((len(samples), COLUMNS), np.float32)
        columns[:, LEFT], columns[:, RIGHT] = samples[:, self._channels[0]], samples[:, self._channels[-1]]
        if self._timecode is not None:
            columns[:, TIMECODE] = samples[:, self._timecode]
        self._ring.write(columns, end)
        self._analyser.feed(mean_of(samples, self._channels))
        self._ring.write_levels(self._analyser.levels)
        if self._tempo is not None and self._tempo.feed(self._analyser.flux, end) and self._tempo.tempo is not None:
            self._ring.write_tempo(self._tempo.tempo)

    def _steady(self, measured: float) -> float:
        """The time of the newest sample, without the jitter of this process: counted, and corrected slowly."""
        counted = self._end + self.hop / self._rate
        error = measured - counted
        self._end = measured if abs(error) > CLOCK_JUMP else counted + error * CLOCK_SHARE
        return self._end
