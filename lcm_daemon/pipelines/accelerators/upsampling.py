"""Upsampling: doubling a picture and convolving it, at 4/9 of the multiplications.

Every second pixel that a 3x3 convolution reads from a picture doubled by nearest neighbours is the one beside it, so it
is a transposed convolution of the picture before, of stride 2 with a 4x4 kernel (Shi et al., "Is the deconvolution
layer the same as a convolutional layer?", arXiv:1609.07009): four 2x2 convolutions, one for each pixel of a square. The
borders are the same as well, since both pad with zeros.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn
from torch.nn import functional

# A phase's two taps in the 4x4 kernel, for the first and the second pixel of a pair, and the padding before and after.
_TAPS = ((3, 1), (2, 0))
_PADDING = ((1, 0), (0, 1))


def fold_upsampling(model: nn.Module, kept: Collection[nn.Module] = ()) -> int:
    """Put an `Upsampling` where the model doubles a picture and convolves it; returns in how many places.

    kept: convolutions that stay as they are, because their weights will move.
    """
    found = 0
    for layer in [*model.modules()]:
        if type(layer).__name__ == "Upsample2D":
            found += _fold_block(layer, kept)
        elif isinstance(layer, nn.Sequential):
            found += _fold_sequence(layer, kept)
    return found


class Upsampling(nn.Module):
    """What an `nn.Upsample` of scale 2 and this 3x3 convolution do, in one."""

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        kernel = convolution.weight.double().transpose(0, 1).flip(2, 3)  # as transposed convolutions have it
        ones = kernel.new_ones(1, 1, 2, 2)
        spread = functional.conv2d(kernel.reshape(-1, 1, 3, 3), ones, padding=1).view(*kernel.shape[:2], 4, 4)
        self.weight = nn.Parameter(
            spread.to(convolution.weight.dtype, memory_format=torch.channels_last), requires_grad=False)
        self.bias = convolution.bias

    def forward(self, small: Tensor) -> Tensor:
        """(n, channels, h, w) to (n, outputs, 2 h, 2 w)."""
        if torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]
            return self._run_phases(small)  # OpenVINO 2026.4 is slow at transposed convolutions
        return functional.conv_transpose2d(small, self.weight, self.bias, stride=2, padding=1)

    def _run_phases(self, small: Tensor) -> Tensor:
        weight = self.weight.transpose(0, 1)
        phases = [functional.conv2d(functional.pad(small, (*_PADDING[column], *_PADDING[row])),
                                    weight[:, :, list(_TAPS[row])][..., list(_TAPS[column])], self.bias)
                  for row in (0, 1) for column in (0, 1)]
        n, channels, height, width = phases[0].shape
        squares = torch.cat(phases, 1).view(n, 2, 2, channels, height, width)
        return squares.permute(0, 3, 4, 1, 5, 2).reshape(n, channels, 2 * height, 2 * width)


def _fold_block(block: Any, kept: Collection[nn.Module]) -> bool:
    """diffusers' Upsample2D, which convolves alone where it is told not to interpolate."""
    if not (block.interpolate and block.use_conv and not block.use_conv_transpose):
        return False
    name = "conv" if block.name == "conv" else "Conv2d_0"
    convolution = getattr(block, name)
    if not _fits(convolution, kept):
        return False
    setattr(block, name, Upsampling(convolution))
    block.interpolate = False
    return True


def _fold_sequence(layers: nn.Sequential, kept: Collection[nn.Module]) -> int:
    """AutoencoderTiny's plain row of layers."""
    found = 0
    for index in range(len(layers) - 1):
        upsample, convolution = layers[index], layers[index + 1]
        if (isinstance(upsample, nn.Upsample) and upsample.mode == "nearest" and upsample.scale_factor == 2.0
                and _fits(convolution, kept)):
            layers[index], layers[index + 1] = Upsampling(convolution), nn.Identity()
            found += 1
    return found


def _fits(layer: nn.Module, kept: Collection[nn.Module]) -> TypeGuard[nn.Conv2d]:
    return (isinstance(layer, nn.Conv2d) and layer not in kept and layer.kernel_size == (3, 3)
            and layer.padding == (1, 1) and layer.padding_mode == "zeros" and layer.groups == 1
            and layer.dilation == (1, 1) and layer.stride == (1, 1))
