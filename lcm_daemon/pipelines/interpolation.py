"""Interpolator: makes the pictures between two finished ones, along the motion from one to the other, or by RIFE.

It works on pictures as they are shown, not on what a model computes, so it serves every pipeline and both ways of
rendering. The motion is found at low resolution, the pictures are moved at their own, on the engine's device.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from lcm_daemon.core.frame import Pixels
from lcm_daemon.pipelines.optical_flow import (
    consistency,
    flow,
    flow_size,
    inside,
    to_luma,
    warp,
    window_mean,
)
from lcm_daemon.pipelines.optional_weights import place, read_optional
from lcm_daemon.pipelines.rife import read_rife
from lcm_daemon.recipes.recipe import Recipe

# Nothing is made where two pictures differ by less, from 0 to 1, even where they differ most: noise. Small things move.
SAME = 0.008  # two levels of 255
SAME_WINDOW = 5  # side of the window over which that is averaged, in pixels of the low resolution
# Two pictures are of different scenes where their details do not agree even after one is moved onto the other.
CUT_AGREEMENT = 0.6  # correlation of the details, 1 for equal ones
CUT_DIFFERENCE = 0.012  # mean difference after that, from 0 to 1: below it, a mixture of both shows no second picture
DETAIL_WINDOW = 17  # side of the window whose mean is taken from the details, in pixels of the low resolution
ITERATIONS = 2  # of the flow at each level; it is refined once more
LEAST_SHARE = 1e-3  # of a pixel that only the other picture has: keeps the weights defined where neither has it


class Interpolator:
    """Makes pictures between the last one and a new one. For one thread.

    Args:
        recipe: The recipe. Its network is used if it is on this machine.
        device: Where to compute.

    Raises:
        RecipeError: The recipe's file exists and cannot be read as a network of a known kind.
    """

    def __init__(self, recipe: Recipe, device: torch.device) -> None:
        self._device = device
        self._dtype = torch.float16 if device.type == "cuda" else torch.float32
        network = read_optional(recipe, "interpolator", read_rife)
        self._network = None if network is None else place(network, device, self._dtype)
        self._last: Tensor | None = None  # the last picture, uint8 (H, W, 4), on the device
        # A stream of its own: frames under way, which were launched before, need not end first.
        self._stream: Any = None
        if device.type == "cuda":
            self._stream = torch.cuda.Stream(device, priority=-1)  # type: ignore[no-untyped-call]

    def forget(self) -> None:
        """Drop the last picture: the next one does not follow on it."""
        self._last = None

    @torch.inference_mode()
    def make(self, picture: Pixels, between: Sequence[Pixels]) -> bool:
        """Make the pictures between the last one and `picture`, evenly apart in time, and remember `picture`.

        Args:
            picture: uint8 (H, W, 4).
            between: Where to write them, in the order of time, each uint8 (H, W, 4).

        Returns:
            False if nothing was written: this picture is the first, equals the last, or is of another scene.
        """
        with self._own_stream():
            first, second = self._last, torch.from_numpy(picture.copy()).to(self._device)
            self._last = second
            if first is None or first.shape != second.shape:
                return False
            pair = torch.stack((first, second)).permute(0, 3, 1, 2)
            lumas = to_luma(pair[:, :3], flow_size((picture.shape[1], picture.shape[0]))) / 255.0
            difference = window_mean((lumas[:1] - lumas[1:]).abs(), SAME_WINDOW)
            if float(difference.max()) < SAME or (motion := find_motion(lumas)) is None:
                return False
            for number, out in enumerate(between, start=1):
                moved = self._move(motion, pair, number / (len(between) + 1))
                np.copyto(out, moved.clamp_(0.0, 255.0).round_().byte().permute(1, 2, 0).cpu().numpy())
        return True

    def _move(self, motion: Motion, pair: Tensor, moment: float) -> Tensor:
        """As `Motion.move`."""
        if self._network is None:
            return motion.move(pair, moment)
        levels = pair.to(self._dtype)
        colours = self._network(levels[:1, :3] / 255.0, levels[1:, :3] / 255.0, moment)[0] * 255.0
        return torch.cat((colours, torch.lerp(levels[0, 3:], levels[1, 3:], moment)))

    def _own_stream(self) -> contextlib.AbstractContextManager[object]:
        return torch.cuda.stream(self._stream) if self._stream is not None else contextlib.nullcontext()


def find_motion(lumas: Tensor) -> Motion | None:
    """The motion between two pictures; None where they are of different scenes.

    Where no motion explains the second picture, it may be the first in another light.

    Args:
        lumas: float32 (2, 1, h, w) from 0 to 1.
    """
    motion = Motion(lumas)
    agreement, difference = motion.likeness()
    if agreement >= CUT_AGREEMENT or difference <= CUT_DIFFERENCE:
        return motion
    motion = Motion(_in_equal_light(lumas))
    return motion if motion.likeness()[0] >= CUT_AGREEMENT else None


def _in_equal_light(lumas: Tensor) -> Tensor:
    """Both pictures with the mean and the deviation that they have on average."""
    mean = lumas.mean((1, 2, 3), keepdim=True)
    deviation = (lumas - mean).square().mean((1, 2, 3), keepdim=True).sqrt() + 1e-6
    return (lumas - mean) * (deviation.mean() / deviation) + mean.mean()


class Motion:
    """The motion from one picture to the next, at low resolution.

    The flows to a moment in between follow from those between the pictures as in Super SloMo (Jiang et al., "Super
    SloMo: High Quality Estimation of Multiple Intermediate Frames for Video Interpolation", 2018), without its
    networks. The flow that then still lies between the two moved pictures is shared out to both.

    Args:
        lumas: float32 (2, 1, h, w) from 0 to 1, the two pictures.
    """

    def __init__(self, lumas: Tensor) -> None:
        self._lumas = lumas
        both = flow(lumas, lumas.flip(0), iterations=ITERATIONS)
        self._back, self._fore = both[:1], both[1:]  # to the first picture, of the second's pixels; the opposite
        # Low where a pixel of the second picture is hidden in the first one; and the opposite.
        self._seen_back = consistency(self._fore, self._back)
        self._seen_fore = consistency(self._back, self._fore)
        self._middle = self._flows(0.5)

    def flows(self, moment: float) -> tuple[Tensor, Tensor]:
        """To the first and to the second picture, of the pixels of a moment from 0 to 1: float32 (1, 2, h, w) each."""
        return self._middle if moment == 0.5 else self._flows(moment)

    def _flows(self, moment: float) -> tuple[Tensor, Tensor]:
        early, late = moment, 1.0 - moment
        to_first = self._back * early**2 - self._fore * (early * late)
        to_second = self._fore * late**2 - self._back * (early * late)
        first, second = self.moved(to_first, to_second)
        left = flow(first, second, levels=2, iterations=2)
        return to_first + left * early, to_second - left * late

    def moved(self, to_first: Tensor, to_second: Tensor) -> tuple[Tensor, Tensor]:
        """The two pictures' luma, moved along these flows."""
        return warp(self._lumas[:1], to_first), warp(self._lumas[1:], to_second)

    def likeness(self) -> tuple[float, float]:
        """How alike the pictures are once they are moved onto each other. Waits for the device.

        Returns:
            The correlation of their details, 1 for equal ones; their mean difference.
        """
        first, second = self.moved(*self.flows(0.5))
        one, other = (luma - window_mean(luma, DETAIL_WINDOW) for luma in (first, second))
        agreement = (one * other).mean() / ((one.square().mean() * other.square().mean()).sqrt() + 1e-9)
        likeness: list[float] = torch.stack((agreement, (first - second).abs().mean())).tolist()
        return likeness[0], likeness[1]

    def shares(self, to_first: Tensor, to_second: Tensor, moment: float) -> Tensor:
        """The first picture's share of each pixel of a moment, float32 (1, 1, h, w).

        Where a pixel is hidden in one picture, the other one alone shows it.
        """
        first = (1.0 - moment) * (warp(self._seen_back, to_second) * inside(to_first) + LEAST_SHARE)
        second = moment * (warp(self._seen_fore, to_first) * inside(to_second) + LEAST_SHARE)
        return first / (first + second)

    def move(self, pair: Tensor, moment: float) -> Tensor:
        """The picture at a moment from 0 to 1, float32 (c, H, W). pair: (2, c, H, W), the two pictures."""
        to_first, to_second = self.flows(moment)
        share = functional.interpolate(self.shares(to_first, to_second, moment), pair.shape[2:], mode="bilinear")
        return torch.lerp(warp(pair[1:].float(), to_second), warp(pair[:1].float(), to_first), share)[0]
