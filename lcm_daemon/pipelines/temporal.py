"""Steadiness in time: Feedback and Smooth look back one frame, on the device; Similarity saves frames, on the host.

Feedback and Smooth take their amount as a tensor and write to memory of their own that stays where it is, so they may
be part of a captured graph. A frame that went wrong (NaN) leaves no trace in them.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch

from lcm_daemon.core.frame import Pixels, Size
from lcm_daemon.core.parameters import Values

TINY = 1e-12  # keeps a flat picture's gain defined: there is no contrast to give it


class Feedback:
    """The last rendered picture mixed into the next input, before it is encoded.

    Whatever a model does to colour and contrast is done again with every round and would end in one flat colour, so
    the mixture is given the mean and the deviation of each channel of the input itself (Reinhard et al., "Color
    Transfer between Images", 2001, in the channels as they are): a model's drift has no way to add up.

    size: (width, height) of the pictures.
    """

    def __init__(self, size: Size, device: torch.device) -> None:
        shape = 1, 3, size[1], size[0]
        self._last = torch.zeros(shape, device=device)  # less its own mean: the input's takes its place anyway
        self._mixed = torch.zeros(shape, device=device)
        self._has = torch.zeros((), device=device)  # 1 where there is a last picture

    def mix(self, picture: torch.Tensor, amount: torch.Tensor) -> None:
        """Mix in place. picture: (1, 3, h, w) from -1 to 1.   amount: float32 (), the last picture's share, below 1.

        The gain in contrast is no more than what the input's own share has lost: where the last picture is the
        input's negative the mixture has nothing left to amplify.
        """
        share = amount * self._has
        mixed, mean = _centre(self._mixed.copy_(picture))
        wanted = _deviation(mixed)
        found = _deviation(mixed.lerp_(self._last, share))
        gain = torch.minimum(wanted / found.clamp_(min=TINY), 1 / (1 - share))
        picture.copy_(mixed.mul_(gain).add_(mean).clamp_(-1.0, 1.0))

    def keep(self, picture: torch.Tensor) -> None:
        """Remember a rendered picture, (1, 3, h, w), unless it is broken."""
        found = self._mixed.copy_(picture).clamp_(-1.0, 1.0)
        whole = found.sum().isfinite()
        _centre(found)
        torch.where(whole, found, self._last, out=self._last)
        self._has.masked_fill_(whole, 1.0)

    def forget(self) -> None:
        """There is no last picture: the next input stays as it is."""
        self._has.zero_()


# Means and norms of contiguous floats: on the CPU `torch.var_mean` takes a hundred times as long.
def _centre(picture: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Take each channel's mean away, in place; return both."""
    mean = picture.mean(dim=(2, 3), keepdim=True)
    return picture.sub_(mean), mean


def _deviation(centred: torch.Tensor) -> torch.Tensor:
    """Of each channel, (1, 3, 1, 1)."""
    pixels = centred.shape[2] * centred.shape[3]
    norm: torch.Tensor = torch.linalg.vector_norm(centred, dim=(2, 3), keepdim=True)
    return norm / math.sqrt(pixels)


class Smooth:
    """An average of latents over frames: y <- amount * y + (1 - amount) * x. After n frames 1 - amount^n of a change.

    shape: (channels, height, width).
    """

    def __init__(self, shape: tuple[int, int, int], device: torch.device) -> None:
        self._kept = torch.zeros(1, *shape, device=device)
        self._has = torch.zeros((), device=device)

    def average(self, latents: torch.Tensor, amount: torch.Tensor) -> None:
        """Average in place. latents: float32 (1, channels, height, width).   amount: float32 (), below 1."""
        mixed = torch.lerp(latents, self._kept, amount * self._has)
        whole = mixed.sum().isfinite()
        torch.where(whole, mixed, self._kept, out=self._kept)
        self._has.masked_fill_(whole, 1.0)
        latents.copy_(mixed)

    def forget(self) -> None:
        """The next latents stay as they are, and the average starts from them."""
        self._has.zero_()


REFRESH = 30  # skipped frames after which one is painted all the same: what is out may be stale after all
SETTLE = 8  # still frames before the first one is skipped: a stream batch holds that many at most
SETTLED = 0.02  # how much of a change Feedback and Smooth may still have to show
ENTER = 0.6  # of the threshold; a difference that sways around it neither skips nor paints by turns
SAMPLES, TILES = 128, 8  # a side, at most: points that are compared, and tiles that they are averaged over

_Samples = npt.NDArray[np.int16]


class Similarity:
    """Whether to paint at all: while the input stands still, the picture that is out is the right one.

    The difference is the mean absolute one, in levels of 255, in that tile and channel where it is largest: a hand
    that moves in a corner counts, the camera's own noise is averaged away. It is taken to the input last painted, so
    slow changes add up. `similarity_skip` is the threshold; 0 is off.
    """

    def __init__(self, refresh: int = REFRESH) -> None:
        self.skipped = 0  # frames in all
        self._refresh = refresh
        self._values: Values = {}
        self._painted: tuple[_Samples | None, _Samples | None] = None, None
        self._still = 0  # frames since the last difference
        self._run = 0  # frames skipped since the last one painted

    def skip(self, pixels: Pixels, values: Values, guide: Pixels | None = None) -> bool:
        """True: show the last picture again. False: paint, which is then what later inputs are held against.

        Call it once a frame. values: all of the frame's parameters; a frame with others is painted, as is every frame
        while the noise walks.
        """
        threshold = float(values["similarity_skip"])
        if threshold <= 0.0:
            self._still = 0
            return False
        seen = _samples(pixels), guide if guide is None else _samples(guide)
        self._still = self._still + 1 if self._same(seen, values, threshold) else 0
        if self._still > _settling(values) and self._run < self._refresh:
            self._run += 1
            self.skipped += 1
            return True
        self._painted, self._values, self._run = seen, values, 0
        return False

    def _same(self, seen: tuple[_Samples | None, _Samples | None], values: Values, threshold: float) -> bool:
        if values != self._values or (values["noise"] == "walking" and float(values["noise_speed"]) > 0.0):
            return False
        limit = threshold if self._still > _settling(values) else threshold * ENTER
        return max(map(_difference, seen, self._painted)) < limit


def _settling(values: Values) -> int:
    """Frames until a picture stands that looks back by so much."""
    back = max(float(values["feedback"]), float(values["smooth"]))
    return SETTLE + (math.ceil(math.log(SETTLED) / math.log(back)) if back > 0.0 else 0)


def _samples(pixels: Pixels) -> _Samples:
    rows, columns = (max(side // SAMPLES, 1) for side in pixels.shape[:2])
    return pixels[::rows, ::columns].astype(np.int16)


def _difference(one: _Samples | None, other: _Samples | None) -> float:
    """Mean absolute difference of the tile and channel that differ most; all there is where one is missing."""
    if one is None or other is None or one.shape != other.shape:
        return 0.0 if one is other else 255.0
    apart = np.abs(one - other)
    sums = np.add.reduceat(np.add.reduceat(apart, _starts(apart.shape[0]), axis=0, dtype=np.int32),
                           _starts(apart.shape[1]), axis=1)
    counts = np.outer(_counts(apart.shape[0]), _counts(apart.shape[1]))
    return float((sums / counts[..., None]).max())


def _starts(length: int) -> npt.NDArray[np.intp]:
    return np.arange(min(length, TILES), dtype=np.intp) * length // min(length, TILES)


def _counts(length: int) -> npt.NDArray[np.intp]:
    return np.diff(_starts(length), append=length)
