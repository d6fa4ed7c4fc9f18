"""Losses on the coarse levels of a denoiser, so that it learns geometry.

Geometry is hard to learn because a convolution does not know its position. Only the padding at the border indicates it
(Islam, Jia and Bruce 2020), and each coarse level has to pass it on to the next finer one. Therefore linear heads on
the outputs of the levels predict the cells of the image (deep supervision: Lee et al. 2015). They are discarded later.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from diffusers import UNet2DConditionModel
from torch import Tensor, nn


class Sketches(nn.Module):
    """Linear heads on the outputs of a denoiser's middle and upper levels."""

    def __init__(self, denoiser: UNet2DConditionModel) -> None:
        super().__init__()
        self.seen: dict[str, Tensor] = {}
        levels = {"middle": denoiser.mid_block} | {f"up{n}": block for n, block in enumerate(denoiser.up_blocks)}
        channels = denoiser.config.block_out_channels
        widths = (channels[-1], *reversed(channels))
        scales = [*(2**n for n in reversed(range(len(channels)))), 1]  # latents along the side of a cell
        self.scales = dict(zip(levels, scales, strict=True))
        self.heads = nn.ModuleDict()
        for (name, level), width in zip(levels.items(), widths, strict=True):
            self.heads[name] = nn.Conv2d(width, denoiser.config.out_channels * self.scales[name] ** 2, 1)
            level.register_forward_hook(self.keep(name))

    def keep(self, name: str) -> Any:
        """Return a hook that stores the output of a level."""

        def hook(_module: nn.Module, _given: Any, made: Tensor) -> None:
            self.seen[name] = made

        return hook

    def loss(self, asked: Tensor, clean: Tensor, weight: Tensor) -> Tensor:
        """Return the mean square error of the heads for the samples `asked` (n,), bool, of the last pass.

        `clean` are the latents (n, c, h, w) of the whole pass; `weight` are the weights of their channels (c, 1, 1).
        """
        losses = []
        for name, head in self.heads.items():
            cells = head(self.seen[name][asked].float())
            sketch = F.pixel_shuffle(cells, self.scales[name])
            losses.append(((sketch - clean[asked]).square() * weight).mean())
        return torch.stack(losses).mean()
