"""Optical flow: where each part of an image was in another one, and images moved along it.

Dense pyramidal Lucas-Kanade (Lucas and Kanade, 1981; Bouguet, "Pyramidal Implementation of the Lucas Kanade Feature
Tracker", 2001) at low resolution, in tensor operations only: the same numbers of kernels for every image, no reads from
the device. So it may be part of a recording, and it runs on the host with tensors of the CPU.

A flow is float32 (n, 2, h, w): x and y in pixels of its own resolution. The pixel of the second image at (x, y) was in
the first one at (x + flow[:, 0, y, x], y + flow[:, 1, y, x]). `warp(first, flow(first, second))` looks like the second.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from lcm_daemon.core.frame import Size
from lcm_daemon.pipelines.scaling import scale

LONG_SIDE = 128  # of the images that flow is computed from: a shift of one pixel at 512x512 is 0.25 there
LEVELS = 4  # of the pyramid; each halves the image. Finds shifts of up to about 10 % of the long side
SMALLEST = 12  # a side of the coarsest level has at least this many pixels
ITERATIONS = 2  # at each level; more change nothing
WINDOW = 9  # side of the window that is taken to move as one, in pixels
EXPLAINED = 0.85  # a flow is taken if it leaves less than this share of the difference: noise alone is not motion
DAMPING = 3e-4  # added to the squared gradients (levels from 0 to 1): flat parts keep the flow of the coarser level
_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


def flow_size(size: Size, long_side: int = LONG_SIDE) -> Size:
    """(width, height) of the images that flow is computed from, for images of another (width, height)."""
    scale = min(long_side / max(size), 1.0)
    return max(round(size[0] * scale), 1), max(round(size[1] * scale), 1)


def to_luma(images: Tensor, size: Size) -> Tensor:
    """Scale images down, keep their luma, and soften it: the gradients of aliased detail do not follow its motion.

    Args:
        images: (n, 3, H, W), any scale of values.
        size: (width, height) of the result.

    Returns:
        float32 (n, 1, height, width), in the same scale of values.
    """
    small = shrink(images.float(), size)
    luma = small[:, :1] * _LUMA[0] + small[:, 1:2] * _LUMA[1] + small[:, 2:] * _LUMA[2]
    return window_mean(luma, 3)


def shrink(images: Tensor, size: Size) -> Tensor:
    """Scale (n, c, H, W) down to (width, height), by averaging."""
    shape = size[1], size[0]
    if images.shape[2:] == shape:
        return images
    if images.device.type == "mps":  # averages only whole numbers of pixels there
        return scale(images, shape, "bilinear", antialias=True)
    return functional.interpolate(images, shape, mode="area")


def flow(first: Tensor, second: Tensor, levels: int = LEVELS, iterations: int = ITERATIONS) -> Tensor:
    """Estimate the flow from the second images back to the first ones.

    Args:
        first: float32 (n, 1, h, w) from 0 to 1.
        second: The same.
        levels: Largest number of pyramid levels.
        iterations: At each level.

    Returns:
        float32 (n, 2, h, w).
    """
    pyramid = [torch.cat((first, second))]
    while len(pyramid) < levels and min(pyramid[-1].shape[2:]) >= 2 * SMALLEST:
        pyramid.append(_halve(pyramid[-1]))
    found = torch.zeros_like(pyramid[-1][:len(first)]).repeat(1, 2, 1, 1)
    for images in reversed(pyramid):
        source, target = images.chunk(2)
        found = _refine(source, target, resize_flow(found, target.shape[2:]), iterations)
    return found


def resize_flow(moved: Tensor, shape: tuple[int, int] | torch.Size) -> Tensor:
    """Scale a flow to another (height, width), and its pixels with it."""
    height, width = moved.shape[2:]
    if (height, width) == tuple(shape):
        return moved
    scaled = functional.interpolate(moved, tuple(shape), mode="bilinear", align_corners=False)
    return torch.cat((scaled[:, :1] * (shape[1] / width), scaled[:, 1:] * (shape[0] / height)), 1)


def warp(image: Tensor, moved: Tensor, mode: str = "bilinear") -> Tensor:
    """Move an image along a flow. What lies outside of it repeats its edge.

    Args:
        image: (n, c, H, W).
        moved: float32 (n, 2, h, w), scaled to the image's resolution if it is of another one.
        mode: "bilinear", "bicubic" (keeps more detail, may exceed the image's range) or "nearest".

    Returns:
        (n, c, H, W), of the image's dtype.
    """
    grid = positions(moved, image.shape[2:])
    if image.device.type == "mps":
        return _sample_inside(image.float(), grid, mode).to(image.dtype)
    return functional.grid_sample(image.float(), grid, mode=mode, padding_mode="border",
                                  align_corners=False).to(image.dtype)


def _sample_inside(image: Tensor, grid: Tensor, mode: str) -> Tensor:
    """As `grid_sample` with the edge repeated, where a device has neither that nor "bicubic": MPS."""
    height, width = image.shape[2:]
    x = grid[..., 0].clamp(1.0 / width - 1.0, 1.0 - 1.0 / width)
    y = grid[..., 1].clamp(1.0 / height - 1.0, 1.0 - 1.0 / height)
    available = "nearest" if mode == "nearest" else "bilinear"
    return functional.grid_sample(image, torch.stack((x, y), dim=-1), mode=available,
                                  padding_mode="zeros", align_corners=False)


def positions(moved: Tensor, shape: tuple[int, int] | torch.Size | None = None) -> Tensor:
    """Where each pixel comes from, as `grid_sample` takes it: from -1 to 1, the edges of the image.

    Args:
        moved: float32 (n, 2, h, w).
        shape: (height, width) of the pixels, if it is not that of the flow.

    Returns:
        (n, height, width, 2).
    """
    steps = 2.0 / moved.shape[3], 2.0 / moved.shape[2]  # from -1 to 1, for one pixel of the flow
    if shape is not None and tuple(moved.shape[2:]) != tuple(shape):
        moved = functional.interpolate(moved, tuple(shape), mode="bilinear", align_corners=False)
    height, width = moved.shape[2:]
    x = torch.add(_centres(width, moved.device), moved[:, 0], alpha=steps[0])
    y = torch.add(_centres(height, moved.device)[:, None], moved[:, 1], alpha=steps[1])
    return torch.stack((x, y), dim=-1)


def _centres(count: int, device: torch.device) -> Tensor:
    """Positions of the centres of `count` pixels, from -1 to 1."""
    return torch.linspace(1.0 / count - 1.0, 1.0 - 1.0 / count, count, device=device)


def inside(moved: Tensor) -> Tensor:
    """Whether each pixel comes from inside of the image: float32 (n, 1, h, w), 1 or 0."""
    return (positions(moved).abs().amax(-1) <= 1.0).float()[:, None]


def consistency(forward: Tensor, backward: Tensor, tolerance: float = 1.0) -> Tensor:
    """How well two flows in opposite directions agree: low where something is hidden in one of the images.

    Args:
        forward: `flow(second, first)`, float32 (n, 2, h, w).
        backward: `flow(first, second)`.
        tolerance: Distance in pixels at which the result has fallen to 1/e.

    Returns:
        float32 (n, 1, h, w) from 0 to 1, for the pixels of the second image. 0 where one comes from outside.
    """
    distance = (backward + warp(forward, backward)).square().sum(1, keepdim=True)
    return torch.exp(distance * (-1.0 / tolerance**2)) * inside(backward)


def window_mean(values: Tensor, side: int) -> Tensor:
    """Mean over a window of `side` (odd) pixels around each one; the edge is repeated."""
    half = side // 2
    padded = functional.pad(values, (half, half, half, half), mode="replicate")
    if values.device.type == "cpu":  # running sums take a fifth of the time that pooling takes there
        return _line_sums(_line_sums(padded, side, 2), side, 3).mul_(1.0 / side**2)
    return functional.avg_pool2d(padded, side, 1)


def _line_sums(values: Tensor, side: int, axis: int) -> Tensor:
    """Sums of `side` consecutive values along an axis, from running sums, which begin with each line."""
    sums = values.cumsum(axis)
    count = sums.shape[axis] - side
    first = sums.narrow(axis, side - 1, 1)
    return torch.cat((first, sums.narrow(axis, side, count) - sums.narrow(axis, 0, count)), axis)


def _refine(first: Tensor, second: Tensor, found: Tensor, iterations: int) -> Tensor:
    """Improve a flow at one level. The gradients are those of the second image, so they are computed once.

    Each iteration solves for the whole flow of each window, not for a step, so that errors do not add up where the flow
    differs from pixel to pixel. The damping holds the flow that was found so far. That is also kept where the new one
    explains the images hardly better: in a camera's noise, and beside what has no motion, as a lamp that lights up.
    """
    gradients = _gradients(second)
    inverse = _inverse(gradients)
    start, difference = found, warp(first, found) - second
    before = window_mean(difference.abs(), WINDOW)
    for _ in range(iterations):
        wanted = (gradients * found).sum(1, keepdim=True) - difference
        sums = torch.add(window_mean(gradients * wanted, WINDOW), found, alpha=DAMPING)
        found = (inverse * sums[:, None]).sum(2)
        difference = warp(first, found) - second
    is_better = window_mean(difference.abs(), WINDOW) < before * EXPLAINED
    return window_mean(torch.where(is_better, found, start), 3)


def _gradients(image: Tensor) -> Tensor:
    """Central differences along x and y, (n, 2, h, w)."""
    padded = functional.pad(image, (1, 1, 1, 1), mode="replicate")
    return torch.cat((padded[:, :, 1:-1, 2:] - padded[:, :, 1:-1, :-2],
                      padded[:, :, 2:, 1:-1] - padded[:, :, :-2, 1:-1]), 1).mul_(0.5)


def _inverse(gradients: Tensor) -> Tensor:
    """The inverse of each window's matrix of squared gradients, with the damping on its diagonal: (n, 2, 2, h, w)."""
    across, down = gradients[:, :1], gradients[:, 1:]
    squares = window_mean(torch.cat((gradients.square(), across * down), 1), WINDOW)
    damped, xy = squares[:, :2] + DAMPING, squares[:, 2:]
    xx, yy = damped[:, :1], damped[:, 1:]
    rows = torch.cat((yy, -xy, -xy, xx), 1) / (xx * yy - xy.square())
    return rows.view(-1, 2, 2, *rows.shape[2:])


def _halve(image: Tensor) -> Tensor:
    """Half the resolution, averaged; an odd last row or column is repeated."""
    height, width = image.shape[2:]
    return functional.avg_pool2d(functional.pad(image, (0, width % 2, 0, height % 2), mode="replicate"), 2)
