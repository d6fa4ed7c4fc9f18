"""Steadiness over time: FrameFeedback and LatentSmoothing use the previous frame, on the device; SimilarityFilter skips
frames, on the host.

FrameFeedback and LatentSmoothing read their amount from a tensor and write to memory of their own that keeps its
address, so they may be part of a captured graph. There they always take part, so that a fader that leaves 0 needs no
other graph; at 0 they change no bit. A broken frame (NaN) leaves no trace in them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from lcm_daemon.core.frame import Pixels, Size
from lcm_daemon.pipelines.base import FrameValues
from lcm_daemon.pipelines.optical_flow import warp
from lcm_daemon.pipelines.session_memory import copies, write_back
from lcm_daemon.pipelines.steadiness import MAX_SHARE

MIN_DEVIATION = 1e-12  # keeps the gain of a flat image defined: it has no contrast to scale


class FrameFeedback:
    """Mixes the previous result into the next input, before it is encoded.

    Every change that a model makes to colour and contrast would be repeated in every round and end in one flat colour.
    So the mixture gets the mean and the deviation of each channel of the input itself (Reinhard et al., "Color Transfer
    between Images", 2001, in the channels as they are), and a model's drift cannot add up.

    Args:
        size: (width, height) of the images.
        device: Where they are.
        always: `mix` and `store` are called at amount 0 as well, as in a recording, which then leaves no trace.

    Attributes:
        leaves: Whether the last frame leaves its result for the next one: its amount was above 0. The host knows it.
    """

    def __init__(self, size: Size, device: torch.device, always: bool = False) -> None:
        shape, self._always = (1, 3, size[1], size[0]), always
        self._last = torch.zeros(shape, device=device)  # the previous result minus its mean; `mix` adds the input's
        self._mixed = torch.zeros(shape, device=device)
        self._has_last = torch.zeros((), device=device)  # 1 where there is a previous result
        self.leaves = True

    def move(self, motion: torch.Tensor) -> None:
        """Move the previous result along a flow from the next input to the last one, (1, 2, h, w)."""
        self._last.copy_(warp(self._last, motion))

    def mix(self, image: torch.Tensor, amount: torch.Tensor) -> None:
        """Mix the previous result into `image`, in place.

        The gain in contrast is limited to what the input's own share has lost. Where the previous result is the
        negative of the input, the mixture has nothing left to amplify.

        Args:
            image: (1, 3, h, w) from -1 to 1.
            amount: float32 (), the share of the previous result, below 1.
        """
        share = amount * self._has_last
        mixed, mean = _subtract_mean(self._mixed.copy_(image))
        wanted = _deviation(mixed)
        actual = _deviation(mixed.lerp_(self._last, share))
        gain = torch.minimum(wanted / actual.clamp_(min=MIN_DEVIATION), 1 / (1 - share))
        mixed.mul_(gain).add_(mean).clamp_(-1.0, 1.0)
        image.copy_(torch.where(share > 0.0, mixed, image) if self._always else mixed)

    def store(self, image: torch.Tensor, amount: torch.Tensor) -> None:
        """Store a result, (1, 3, h, w), unless it is broken. amount: as for `mix`."""
        stored = self._mixed.copy_(image).clamp_(-1.0, 1.0)
        is_finite = stored.sum().isfinite()
        _subtract_mean(stored)
        torch.where(is_finite, stored, self._last, out=self._last)
        self._has_last.masked_fill_(is_finite, 1.0)
        if self._always:
            self._has_last.mul_(amount > 0.0)

    def clear(self) -> None:
        """Drop the previous result: the next input stays as it is."""
        self._has_last.zero_()

    def save(self) -> Sequence[torch.Tensor] | None:
        """As of `Remembering`."""
        return copies((self._last, self._has_last)) if self.leaves else None

    def restore(self, saved: Sequence[torch.Tensor] | None) -> None:
        """As of `Remembering`."""
        if saved is None:
            self.clear()
        else:
            write_back((self._last, self._has_last), saved)


# Means and norms of contiguous floats: on the CPU `torch.var_mean` takes a hundred times as long.
def _subtract_mean(image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Subtract each channel's mean, in place; return the image and the means."""
    mean = image.mean(dim=(2, 3), keepdim=True)
    return image.sub_(mean), mean


def _deviation(centred: torch.Tensor) -> torch.Tensor:
    """Standard deviation of each channel, (1, 3, 1, 1)."""
    pixels = centred.shape[2] * centred.shape[3]
    norm: torch.Tensor = torch.linalg.vector_norm(centred, dim=(2, 3), keepdim=True)
    return norm / math.sqrt(pixels)


class LatentSmoothing:
    """Averages latents over frames: y <- amount * y + (1 - amount) * x. After n frames 1 - amount^n of a change shows.

    Args:
        shape: (channels, height, width).
        device: Where the latents are.
        always: `average` is called at amount 0 as well, as in a recording, which then leaves no trace.

    Attributes:
        leaves: Whether the last frame leaves its average for the next one: its amount was above 0. The host knows it.
    """

    def __init__(self, shape: tuple[int, int, int], device: torch.device, always: bool = False) -> None:
        self._always = always
        self._average = torch.zeros(1, *shape, device=device)
        self._has_average = torch.zeros((), device=device)
        self.leaves = True

    def average(self, latents: torch.Tensor, amount: torch.Tensor) -> None:
        """Average in place. latents: float32 (1, channels, height, width).   amount: float32 (), below 1."""
        mixed = torch.lerp(latents, self._average, amount * self._has_average)
        is_finite = mixed.sum().isfinite()
        torch.where(is_finite, mixed, self._average, out=self._average)
        self._has_average.masked_fill_(is_finite, 1.0)
        if self._always:
            self._has_average.mul_(amount > 0.0)
        latents.copy_(mixed)

    def clear(self) -> None:
        """Start again: the next latents stay as they are, and the average starts from them."""
        self._has_average.zero_()

    def save(self) -> Sequence[torch.Tensor] | None:
        """As of `Remembering`."""
        return copies((self._average, self._has_average)) if self.leaves else None

    def restore(self, saved: Sequence[torch.Tensor] | None) -> None:
        """As of `Remembering`."""
        if saved is None:
            self.clear()
        else:
            write_back((self._average, self._has_average), saved)


REFRESH_FRAMES = 30  # frames skipped before one is rendered all the same, in case the shown frame is stale
SETTLE_FRAMES = 8  # still frames before the first one is skipped: a stream batch holds at most this many
SETTLED = 0.02  # share of a change that FrameFeedback and LatentSmoothing may still have to show
ENTER = 0.6  # share of the threshold below which skipping starts; hysteresis against switching on and off
SAMPLES, TILES = 128, 8  # per side, at most: points that are compared, and tiles that they are averaged over

_Samples = npt.NDArray[np.int16]


class SimilarityFilter:
    """Decides whether a frame must be rendered: while the input does not change, the shown frame is still right.

    The difference of two inputs is their mean absolute difference, in levels of 255, in the tile and channel where it
    is largest. So a hand that moves in a corner counts, and the camera's own noise is averaged away. An input is
    compared with the last rendered one, so slow changes add up. `similarity_skip` is the threshold; 0 is off.
    """

    def __init__(self, refresh: int = REFRESH_FRAMES) -> None:
        self.skipped = 0  # frames skipped in total
        self._refresh = refresh
        self._values: FrameValues | None = None
        self._rendered: tuple[_Samples | None, _Samples | None] = None, None
        self._still = 0  # frames since the last difference
        self._run = 0  # frames skipped since the last rendered one

    def skip(self, frame: Pixels, values: FrameValues, guide: Pixels | None = None) -> bool:
        """Call once a frame, with all its values.

        A frame with other values is rendered, as is every frame while the noise walks.

        Returns:
            True: show the last result again. False: render; later inputs are then compared with this one.
        """
        threshold = values.similarity_skip
        if threshold <= 0.0:
            self._still = 0
            return False
        samples = _samples(frame), guide if guide is None else _samples(guide)
        self._still = self._still + 1 if self._is_same(samples, values, threshold) else 0
        if self._still > _frames_to_settle(values) and self._run < self._refresh:
            self._run += 1
            self.skipped += 1
            return True
        self._rendered, self._values, self._run = samples, values, 0
        return False

    def _is_same(self, samples: tuple[_Samples | None, _Samples | None], values: FrameValues,
                 threshold: float) -> bool:
        if values != self._values or (values.noise == "walking" and values.noise_speed > 0.0):
            return False
        limit = threshold if self._still > _frames_to_settle(values) else threshold * ENTER
        return max(map(_difference, samples, self._rendered)) < limit


def _frames_to_settle(values: FrameValues) -> int:
    """Frames until the result stops changing, with this much feedback, smoothing and steadiness."""
    share = max(values.feedback, values.smooth, MAX_SHARE * values.steady)
    return SETTLE_FRAMES + (math.ceil(math.log(SETTLED) / math.log(share)) if share > 0.0 else 0)


def _samples(frame: Pixels) -> _Samples:
    rows, columns = (max(side // SAMPLES, 1) for side in frame.shape[:2])
    return frame[::rows, ::columns].astype(np.int16)


def _difference(one: _Samples | None, other: _Samples | None) -> float:
    """Mean absolute difference of the tile and channel that differ most; 255 where only one frame exists."""
    if one is None or other is None or one.shape != other.shape:
        return 0.0 if one is other else 255.0
    absolute = np.abs(one - other)
    sums = np.add.reduceat(np.add.reduceat(absolute, _starts(absolute.shape[0]), axis=0, dtype=np.int32),
                           _starts(absolute.shape[1]), axis=1)
    counts = np.outer(_counts(absolute.shape[0]), _counts(absolute.shape[1]))
    return float((sums / counts[..., None]).max())


def _starts(length: int) -> npt.NDArray[np.intp]:
    return np.arange(min(length, TILES), dtype=np.intp) * length // min(length, TILES)


def _counts(length: int) -> npt.NDArray[np.intp]:
    return np.diff(_starts(length), append=length)
