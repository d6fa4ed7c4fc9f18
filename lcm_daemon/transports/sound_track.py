"""SoundTrack: the sound of the audio input in a recording, kept beside the pictures by the times of both."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from lcm_daemon.core.audio_ring import LEFT, RIGHT, AudioRing, RingReader, Samples, Sound
from lcm_daemon.transports import pyav

RATE = 48_000  # samples a second of the track; a device with another rate is resampled
BIT_RATE = 192_000  # of AAC
TOLERANCE = 0.04  # seconds that sound may be early or late: EBU R37 allows +40 and -60 ms
WAIT_SECONDS = 0.5  # for sound, after which silence takes its place
FILL_SECONDS = 0.25  # how far behind the picture that silence ends


class SoundTrack:
    """The audio stream of a file that is being written.

    Args:
        container: The file, before its first packet.
        ring: Returns the ring of the audio input; None while there is none.
        codec: FFmpeg's encoder: "aac" or "pcm_s16le".
    """

    def __init__(self, container: Any, ring: Callable[[], AudioRing | None], codec: str = "aac") -> None:
        self._av, self._container, self._ring = pyav.load("record"), container, ring
        self._stream = container.add_stream(codec, rate=RATE)
        self._stream.layout = "stereo"
        if codec == "aac":
            self._stream.bit_rate = BIT_RATE
        self._reader: RingReader | None = None
        self._read_ring: AudioRing | None = None
        self._resampler: Any = None
        self._rate = 0  # of the device
        self._written = 0  # samples of the track

    def write(self, start: float, now: float) -> None:
        """Add what was heard since the last call.

        Args:
            start: When the track begins, in monotonic seconds.
            now: Monotonic seconds.
        """
        ring = self._ring()
        if ring is not self._read_ring:
            self._read_ring, self._reader = ring, RingReader(ring) if ring is not None else None
        sound = self._reader.read() if self._reader is not None else None
        if sound is not None:
            self._add(sound, start)
        if self._written < (now - start - WAIT_SECONDS) * RATE:
            self._encode(_silence(round((now - start - FILL_SECONDS) * RATE) - self._written))

    def finish(self) -> None:
        """Write what the encoder holds."""
        self._container.mux(self._stream.encode())

    def _add(self, sound: Sound, start: float) -> None:
        """Add sound at its time: silence fills a gap, and what is there twice is dropped."""
        samples = self._resampled(sound)
        late = round((sound.end - start) * RATE) - samples.shape[1] - self._written
        if sound.gap or self._written == 0 or abs(late) > TOLERANCE * RATE:
            if late > 0:
                self._encode(_silence(late))
            samples = samples[:, max(0, -late):]
        self._encode(samples)

    def _resampled(self, sound: Sound) -> Samples:
        """Left and right at RATE, float32 (2, n)."""
        samples = np.ascontiguousarray(sound.samples[:, (LEFT, RIGHT)].T)
        if sound.rate == RATE:
            return samples
        if self._resampler is None or sound.gap or sound.rate != self._rate:
            self._rate = sound.rate
            self._resampler = self._av.AudioResampler(format="fltp", layout="stereo", rate=RATE)
        frames = [frame.to_ndarray() for frame in self._resampler.resample(self._frame(samples, sound.rate))]
        return np.concatenate([np.zeros((2, 0), np.float32), *frames], axis=1)

    def _frame(self, samples: Samples, rate: int) -> Any:
        frame = self._av.AudioFrame.from_ndarray(samples, format="fltp", layout="stereo")
        frame.sample_rate = rate
        return frame

    def _encode(self, samples: Samples) -> None:
        """Add samples, float32 (2, n), at RATE."""
        if not samples.shape[1]:
            return
        frame = self._frame(np.ascontiguousarray(samples), RATE)
        frame.pts, frame.time_base = self._written, self._stream.time_base or None
        self._written += samples.shape[1]
        self._container.mux(self._stream.encode(frame))


def _silence(count: int) -> Samples:
    return np.zeros((2, max(0, count)), np.float32)
