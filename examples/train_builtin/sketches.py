"""Ask the coarse levels of a denoiser for the picture, so that it learns geometry.

What holds geometry back is that a convolution does not know where it is: only the padding at the border tells (Islam,
Jia and Bruce 2020), and each coarse level has to hand that on to the next finer one. So linear heads on their outputs
ask each of them for its cells of the picture (deep supervision: Lee et al. 2015); the heads are thrown away.
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
        scales = [*(2**n for n in reversed(range(len(channels)))), 1]  # latents along a cell's side
        self.scales = dict(zip(levels, scales, strict=True))
        self.heads = nn.ModuleDict()
        for (name, level), width in zip(levels.items(), widths, strict=True):
            self.heads[name] = nn.Conv2d(width, denoiser.config.out_channels * self.scales[name] ** 2, 1)
            level.register_forward_hook(self.keep(name))

    def keep(self, name: str) -> Any:
        """A hook that keeps what a level makes."""

        def hook(_module: nn.Module, _given: Any, made: Tensor) -> None:
            self.seen[name] = made

        return hook

    def loss(self, asked: Tensor, clean: Tensor, weight: Tensor) -> Tensor:
        """Mean square error of what is read from the samples `asked` (n,), bool, of the last pass.

        `clean` are the latents (n, c, h, w) of the whole pass, `weight` is that of their channels (c, 1, 1).
        """
        losses = []
        for name, head in self.heads.items():
            cells = head(self.seen[name][asked].float())
            sketch = F.pixel_shuffle(cells, self.scales[name])
            losses.append(((sketch - clean[asked]).square() * weight).mean())
        return torch.stack(losses).mean()
