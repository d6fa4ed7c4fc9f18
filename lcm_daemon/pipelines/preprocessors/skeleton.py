"""Skeleton: a person's joints drawn as OpenPose draws them, the picture that ControlNets for pose were trained on."""

from __future__ import annotations

import torch

SEEN = 0.3  # the confidence from which a joint is drawn, as in DWPose's preprocessor
STICK = 4.0 / 512  # half the width of a limb and the radius of a joint, by the picture's shorter side

# OpenPose's 18 joints, each as the mean of two of COCO's 17: only the neck, between the shoulders, is not one of them.
_JOINTS = ((0, 0), (5, 6), (6, 6), (8, 8), (10, 10), (5, 5), (7, 7), (9, 9), (12, 12), (14, 14), (16, 16), (11, 11),
           (13, 13), (15, 15), (2, 2), (1, 1), (4, 4), (3, 3))
# From joint to joint, in the order in which OpenPose draws them.
_LIMBS = ((1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10), (1, 11), (11, 12), (12, 13), (1, 0),
          (0, 14), (14, 16), (0, 15), (15, 17))
_COLOURS = ((255, 0, 0), (255, 85, 0), (255, 170, 0), (255, 255, 0), (170, 255, 0), (85, 255, 0), (0, 255, 0),
            (0, 255, 85), (0, 255, 170), (0, 255, 255), (0, 170, 255), (0, 85, 255), (0, 0, 255), (85, 0, 255),
            (170, 0, 255), (255, 0, 255), (255, 0, 170), (255, 0, 85))
_LIMB_LIGHT = 0.6  # limbs are darker than joints


class Skeleton:
    """Draws on one device, with fixed shapes."""

    def __init__(self, device: torch.device) -> None:
        self._pairs = torch.tensor(_JOINTS, device=device)
        self._limbs = torch.tensor(_LIMBS, device=device)
        self._colours = torch.tensor(_COLOURS, device=device) / 255

    def draw(self, points: torch.Tensor, scores: torch.Tensor, shape: tuple[int, int]) -> torch.Tensor:
        """COCO's joints (17, 2), as (x, y) in shares of the picture, and their confidences (17,) -> (1, 3, h, w).

        From 0 to 1. Limbs are ellipses, later ones over earlier, and joints discs over all limbs.
        """
        rows, columns = (torch.arange(side, device=points.device) + 0.5 for side in shape)  # the pixels' middles
        size = torch.stack([columns[-1], rows[-1]]) + 0.5
        joints, seen = (points * size)[self._pairs].mean(1), (scores[self._pairs] > SEEN).all(1)
        radius = max(STICK * min(shape), 1.0)
        limbs = _ellipses(joints[self._limbs], rows, columns, radius) & _wide(seen[self._limbs].all(1))
        discs = _discs(joints, rows, columns, radius) & _wide(seen)
        canvas = self._paint(torch.zeros(3, *shape, device=points.device), limbs, _LIMB_LIGHT)
        return self._paint(canvas, discs, 1.0)[None]

    def _paint(self, canvas: torch.Tensor, covers: torch.Tensor, light: float) -> torch.Tensor:
        """covers: (n, h, w), each in its colour over those before it."""
        order = _wide(torch.arange(1, len(covers) + 1, device=covers.device, dtype=torch.uint8))
        last = (covers.to(torch.uint8) * order).amax(0).int()
        colours = self._colours[(last - 1).clamp_min(0)].permute(2, 0, 1)
        return torch.where(last > 0, colours * light, canvas)


def _ellipses(ends: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor, radius: float) -> torch.Tensor:
    """ends: (n, 2, 2) -> (n, h, w): the inside of ellipses from end to end, `radius` to each side."""
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
    """Sums of what goes along the rows, (n, w), and what goes down the columns, (n, h): (n, h, w)."""
    return across[:, None, :] + down[:, :, None]


def _wide(numbers: torch.Tensor) -> torch.Tensor:
    """(n,) -> (n, 1, 1)."""
    return numbers[:, None, None]
