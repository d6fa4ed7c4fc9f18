"""Clips whose every frame is known, for measurements of `upscale` and `interpolate`: photographs and painted scenes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional

from examples.train_builtin.evaluation import PHOTOGRAPHS
from examples.train_builtin.noise import Noise
from examples.train_builtin.painter import dye, paint_shapes, paint_stained_glass

Clip = NDArray[np.uint8]  # (frames, SIDE, SIDE, 4), opaque
SIDE, FRAMES = 256, 9
OVER = 2  # painted and moved at this many times the size, then averaged: edges fall between pixels, as a camera's do
STEP = 5.0  # pixels that the camera moves between two frames


def photograph_clips() -> Mapping[str, Clip]:
    """The photographs of scikit-image under a camera that pans, turns and comes closer, by their names."""
    from skimage import data  # a dependency of measurements only

    clips = {}
    for number, name in enumerate(PHOTOGRAPHS):
        picture = Image.fromarray(getattr(data, name)()).convert("RGB")
        side = min(picture.size)
        left, top = (picture.width - side) // 2, (picture.height - side) // 2
        square = picture.crop((left, top, left + side, top + side))
        clips[name] = _pan(torch.from_numpy(np.asarray(square).copy()).permute(2, 0, 1)[None] / 255.0, number)
    return clips


def _pan(scene: Tensor, number: int) -> Clip:
    """Move a camera over a scene (1, 3, h, w) from 0 to 1, in a direction of its own."""
    angle = number * 2.4
    across, down = (STEP * 2 / SIDE * 0.7 * turned(angle) for turned in (math.cos, math.sin))
    frames = []
    for frame in range(FRAMES):
        time = frame - FRAMES / 2
        size, turn = 0.72 - 0.004 * time, 0.008 * time * (-1) ** number
        view = torch.tensor([[[size * math.cos(turn), -size * math.sin(turn), across * time],
                              [size * math.sin(turn), size * math.cos(turn), down * time]]])
        frames.append(_look(scene, view))
    return _clip(torch.cat(frames))


def _look(scene: Tensor, view: Tensor) -> Tensor:
    grid = functional.affine_grid(view, [1, 3, SIDE * OVER, SIDE * OVER], align_corners=False)
    return functional.avg_pool2d(
        functional.grid_sample(scene, grid, "bicubic", "reflection", align_corners=False).clamp(0, 1), OVER)


def _clip(frames: Tensor) -> Clip:
    colours = (frames * 255).round().byte().permute(0, 2, 3, 1).numpy()
    return np.concatenate([colours, np.full((*colours.shape[:3], 1), 255, np.uint8)], 3)


def shapes_clip() -> Clip:
    """Coloured shapes of all sizes, under a camera."""
    noise = Noise(1, SIDE * OVER, 5)
    return _pan(dye(paint_shapes(noise, 40), "gold", noise).clamp(0, 1), 1)


def turning_clip() -> Clip:
    """A square of stained glass that turns in front of shapes, which pass behind it."""
    noise = Noise(1, SIDE * OVER, 6)
    behind = dye(paint_shapes(noise, 40), "blue", noise).clamp(0, 1)
    front = dye(paint_stained_glass(noise), "rainbow", noise).clamp(0, 1)
    axis = torch.linspace(-1, 1, SIDE * OVER)
    inside = ((axis.abs() < 0.55)[:, None] & (axis.abs() < 0.55)).float()[None, None]
    frames = []
    for frame in range(FRAMES):
        time, turn = frame - FRAMES / 2, 0.05 * frame
        still = torch.tensor([[[0.8, 0.0, 0.03 * time], [0.0, 0.8, 0.01 * time]]])
        turned = torch.tensor([[[math.cos(turn), -math.sin(turn), 0.0], [math.sin(turn), math.cos(turn), 0.0]]])
        grids = [functional.affine_grid(view, [1, 3, SIDE * OVER, SIDE * OVER], align_corners=False)
                 for view in (still, turned)]
        back = functional.grid_sample(behind, grids[0], "bicubic", "reflection", align_corners=False)
        over, mask = (functional.grid_sample(each, grids[1], align_corners=False) for each in (front, inside))
        frames.append(functional.avg_pool2d(torch.lerp(back, over, mask).clamp(0, 1), OVER))
    return _clip(torch.cat(frames))


def discs_clip() -> Clip:
    """Discs that cross each other at different speeds over a sky."""
    axis = (torch.arange(SIDE * OVER) + 0.5) / SIDE / OVER
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    generator = torch.Generator().manual_seed(3)
    discs = torch.rand(14, 8, generator=generator)
    frames = []
    for frame in range(FRAMES):
        picture = torch.stack((0.2 + 0.3 * y, 0.3 + 0.3 * y, 0.7 - 0.2 * y))
        for left, top, speed_x, speed_y, size, *colour in discs.tolist():
            distance = torch.hypot(x - left - (speed_x - 0.5) * 0.04 * frame, y - top - (speed_y - 0.5) * 0.04 * frame)
            mask = ((0.03 + 0.1 * size - distance) * SIDE + 0.5).clamp(0, 1)
            shade = 0.6 + 0.4 * torch.cos(distance * 60)
            picture = torch.lerp(picture, torch.tensor(colour)[:, None, None] * shade, mask)
        frames.append(functional.avg_pool2d(picture[None].clamp(0, 1), OVER))
    return _clip(torch.cat(frames))


PAINTED: Mapping[str, Callable[[], Clip]] = {"shapes": shapes_clip, "turning": turning_clip, "discs": discs_clip}
