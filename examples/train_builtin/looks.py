"""The looks that the LoRAs learn, as image filters: (count, 3, size, size) from 0 to 1, in and out."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from examples.train_builtin.noise import smooth
from examples.train_builtin.vae import to_ycc

PAPER, INK = (0.96, 0.94, 0.88), (0.05, 0.05, 0.08)


def blur(pictures: Tensor, width: int) -> Tensor:
    """Apply a box filter of odd `width` twice, which approximates a Gaussian. Borders are repeated."""
    margin = (width // 2,) * 4
    for _ in range(2):
        pictures = F.avg_pool2d(F.pad(pictures, margin, mode="replicate"), width, 1)
    return pictures


def outline(pictures: Tensor) -> Tensor:
    """Return the steepness of the brightness (count, 1, size, size), about 1 on the strongest edges of each image."""
    light = F.pad(blur(to_ycc(pictures)[:, :1], 5), (1, 1, 1, 1), mode="replicate")
    across, down = light[..., 1:-1, 2:] - light[..., 1:-1, :-2], light[..., 2:, 1:-1] - light[..., :-2, 1:-1]
    steep = torch.hypot(across, down)
    strongest = steep.flatten(1).quantile(0.97, dim=1).clamp(min=0.03)
    return (steep / strongest[:, None, None, None]).clamp(max=1.2)


def draw_neon(pictures: Tensor) -> Tensor:
    """Draw edges that glow in the local colour, on black."""
    colour = blur(pictures, 9)
    colour = (colour / colour.amax(dim=1, keepdim=True).clamp(min=0.05)).pow(1.7)
    line = smooth(outline(pictures), 0.35, 0.75)
    glow = blur(line, 15)
    return (0.01 + colour * (line + 0.7 * glow) + 0.35 * line * line).clamp(0, 1)


def draw_ink(pictures: Tensor) -> Tensor:
    """Draw black strokes along the edges and in the deepest shadows, on paper."""
    light = blur(to_ycc(pictures)[:, :1], 7)
    shadow = smooth(0.6 * light.mean(dim=(2, 3), keepdim=True) - light, -0.02, 0.06)
    ink = torch.maximum(smooth(outline(pictures), 0.4, 0.7), shadow)
    paper, black = (torch.tensor(colour)[:, None, None] for colour in (PAPER, INK))
    return paper * (1 - ink) + black * ink


LOOKS: dict[str, Callable[[Tensor], Tensor]] = {"neon": draw_neon, "ink": draw_ink}
