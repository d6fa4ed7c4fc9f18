"""GroupNorm, with what comes before and after it, on images whose channels lie together (channels_last).

torch's group_norm on CUDA makes its input and output contiguous (ATen/native/group_norm.cpp). Behind each of a UNet's
norms, the convolutions then get another layout than their weights have. Here a Triton kernel reads and writes the
layout that the image has, and does in the same pass: the addition of a value per channel before it (a convolution's
bias, the time embedding), and the SiLU after it. Sums are float32 for images of every format.

Mean and variance are those of tiles, merged by the formula of Chan, Golub and LeVeque ("Updating Formulae and a
Pairwise Algorithm for Computing Sample Variances", 1979), so that a mean far from 0 costs no precision.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class GroupNorm(nn.Module):
    """Computes `norm(image + bias + shift)`, then SiLU if `silu` says so, in one or two kernels.

    norm: the layer that it takes the place of; weights stay its own.
    bias: (channels,), added before; None for none.
    """

    def __init__(self, norm: nn.GroupNorm, silu: bool = False, bias: Tensor | None = None) -> None:
        super().__init__()
        self.norm, self.silu, self.bias = norm, silu, bias

    @staticmethod
    def fits(norm: nn.Module) -> bool:
        """Whether it can take this layer's place."""
        return type(norm) is nn.GroupNorm and norm.affine

    def forward(self, image: Tensor, shift: Tensor | None = None) -> Tensor:
        """Map (n, channels, ...) to the same shape. shift: (n, channels), added before the norm."""
        from lcm_daemon.pipelines import fused_kernels

        norm = self.norm
        return fused_kernels.group_norm(channels_last(image), norm.num_groups, norm.weight, norm.bias, norm.eps,
                                        self.silu, self.bias, shift)


def plain(image: Tensor, norm: nn.GroupNorm, silu: bool = False, bias: Tensor | None = None,
          shift: Tensor | None = None) -> Tensor:
    """What `GroupNorm` computes, by torch's own operations."""
    for added in (bias, shift):
        if added is not None:
            image = image + added.view(-1, image.shape[1], *(1,) * (image.ndim - 2))
    normal = functional.group_norm(image, norm.num_groups, norm.weight, norm.bias, norm.eps)
    return functional.silu(normal) if silu else normal


def channels_last(image: Tensor) -> Tensor:
    """The image with its channels together: itself if they are, else a copy. For every number of dimensions."""
    if image.movedim(1, -1).is_contiguous():
        return image
    return torch.movedim(image.movedim(1, -1).contiguous(), -1, 1)
