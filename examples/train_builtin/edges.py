"""Edge maps as the edge ControlNet receives them, and how well two edge maps agree."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from lcm_daemon.pipelines.preprocessors.canny import Canny

BELL = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)  # binomial blur before Canny
TOLERANCE = 2  # pixels


def find_edges(pictures: Tensor) -> Tensor:
    """Return Canny edges (n, 1, h, w), 0 or 1, of images (n, 3, h, w) from 0 to 1, by the daemon's preprocessor."""
    canny = Canny()
    return torch.cat([canny.map(picture * 2 - 1)[:, :1] for picture in pictures.clamp(0, 1).split(1)])


def widen(edges: Tensor, reach: int = TOLERANCE) -> Tensor:
    """Mark every pixel within `reach` of an edge (a square around it)."""
    return F.max_pool2d(edges, 2 * reach + 1, 1, reach)


def agreement(made: Tensor, wanted: Tensor) -> Tensor:
    """Return the F1 score (n,) of two edge maps. An edge counts as found if the other map has one within TOLERANCE."""
    precision = (made * widen(wanted)).sum(dim=(1, 2, 3)) / made.sum(dim=(1, 2, 3)).clamp(min=1)
    recall = (wanted * widen(made)).sum(dim=(1, 2, 3)) / wanted.sum(dim=(1, 2, 3)).clamp(min=1)
    return 2 * precision * recall / (precision + recall).clamp(min=1e-6)


def steepness(light: Tensor) -> Tensor:
    """Return what Canny compares with its thresholds: |dx| + |dy| by Sobel after the Gaussian, for brightness 0 to 1.

    (n, 1, h, w) in and out; differentiable.
    """
    bell = torch.tensor(BELL)
    light = 255 * F.pad(light, (2, 2, 2, 2), mode="replicate")
    light = F.conv2d(F.conv2d(light, bell.view(1, 1, 1, 5)), bell.view(1, 1, 5, 1))
    light = F.pad(light, (1, 1, 1, 1), mode="replicate")
    sobel = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]])
    across, down = F.conv2d(light, torch.stack([sobel, sobel.T])[:, None]).split(1, dim=1)
    return across.abs() + down.abs()
