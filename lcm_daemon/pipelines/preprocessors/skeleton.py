"""Draw a person's joints in the style of OpenPose, which ControlNets for pose were trained on."""

from __future__ import annotations

import torch

MIN_CONFIDENCE = 0.3  # of a joint that is drawn, as in DWPose's preprocessor
STICK_RADIUS = 4.0 / 512  # half the width of a limb, and radius of a joint, relative to the image's shorter side

# OpenPose's 18 joints, each as the mean of two of COCO's 17. Only the neck, between the shoulders, is not in COCO.
_JOINTS = ((0, 0), (5, 6), (6, 6), (8, 8), (10, 10), (5, 5), (7, 7), (9, 9), (12, 12), (14, 14), (16, 16), (11, 11),
           (13, 13), (15, 15), (2, 2), (1, 1), (4, 4), (3, 3))
# Pairs of joints, in the order in which OpenPose draws them.
_LIMBS = ((1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10), (1, 11), (11, 12), (12, 13), (1, 0),
          (0, 14), (14, 16), (0, 15), (15, 17))
_COLOURS = ((255, 0, 0), (255, 85, 0), (255, 170, 0), (255, 255, 0), (170, 255, 0), (85, 255, 0), (0, 255, 0),
            (0, 255, 85), (0, 255, 170), (0, 255, 255), (0, 170, 255), (0, 85, 255), (0, 0, 255), (85, 0, 255),
            (170, 0, 255), (255, 0, 255), (255, 0, 170), (255, 0, 85))
_LIMB_BRIGHTNESS = 0.6  # limbs are darker than joints


class Skeleton:
    """Draws skeletons on one device, with fixed shapes."""

    def __init__(self, device: torch.device) -> None:
        self._pairs = torch.tensor(_JOINTS, device=device)
        self._limbs = torch.tensor(_LIMBS, device=device)
        self._colours = torch.tensor(_COLOURS, device=device) / 255

    def draw(self, points: torch.Tensor, scores: torch.Tensor, shape: tuple[int, int]) -> torch.Tensor:
        """Draw limbs as ellipses, later ones over earlier ones, and joints as discs over all limbs.

        Args:
            points: COCO's joints, (17, 2), as (x, y) from 0 to 1.
            scores: their confidences, (17,).
            shape: height and width of the result in pixels.

        Returns:
            (1, 3, h, w) from 0 to 1.
        """
        rows, columns = (torch.arange(side, device=points.device) + 0.5 for side in shape)  # centres of the pixels
        size = torch.stack([columns[-1], rows[-1]]) + 0.5
        joints, seen = (points * size)[self._pairs].mean(1), (scores[self._pairs] > MIN_CONFIDENCE).all(1)
        radius = max(STICK_RADIUS * min(shape), 1.0)
        limbs = _ellipses(joints[self._limbs], rows, columns, radius) & _as_planes(seen[self._limbs].all(1))
        discs = _discs(joints, rows, columns, radius) & _as_planes(seen)
        canvas = self._draw_shapes(torch.zeros(3, *shape, device=points.device), limbs, _LIMB_BRIGHTNESS)
        return self._draw_shapes(canvas, discs, 1.0)[None]

    def _draw_shapes(self, canvas: torch.Tensor, masks: torch.Tensor, brightness: float) -> torch.Tensor:
        """Draw masks (n, h, w), each in its own colour over those before it."""
        order = _as_planes(torch.arange(1, len(masks) + 1, device=masks.device, dtype=torch.uint8))
        last = (masks.to(torch.uint8) * order).amax(0).int()
        colours = self._colours[(last - 1).clamp_min(0)].permute(2, 0, 1)
        return torch.where(last > 0, colours * brightness, canvas)


def _ellipses(ends: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor, radius: float) -> torch.Tensor:
    """Masks (n, h, w) of ellipses from end to end, with `radius` to each side. ends: (n, 2, 2)."""
    middle, along = ends.mean(1), (ends[:, 1] - ends[:, 0]) / 2
    half = along.square().sum(1, keepdim=True).sqrt().clamp_min(1e-3)
    unit = along / half
    x, y = columns - middle[:, :1], rows - middle[:, 1:]
    forward = _plane(x * unit[:, :1] / half, y * unit[:, 1:] / half)
    sideways = _plane(x * -unit[:, 1:] / radius, y * unit[:, :1] / radius)
    return forward.square_().add_(sideways.square_()) <= 1


def _discs(centres: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor, radius: float) -> torch.Tensor:
    return _plane((columns - centres[:, :1]).square(), (rows - centres[:, 1:]).square()) <= radius * radius


def _plane(across: torch.Tensor, down: torch.Tensor) -> torch.Tensor:
    """Outer sum of values by column, (n, w), and by row, (n, h): (n, h, w)."""
    return across[:, None, :] + down[:, :, None]


def _as_planes(numbers: torch.Tensor) -> torch.Tensor:
    """Reshape (n,) to (n, 1, 1)."""
    return numbers[:, None, None]
