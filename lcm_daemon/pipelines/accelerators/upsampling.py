"""Nearest upsampling and a 3x3 convolution in one layer, with 4/9 of the multiplications.

In an image doubled by nearest neighbours, every second pixel equals its neighbour. A 3x3 convolution of it therefore
equals a transposed convolution of the small image, with stride 2 and a 4x4 kernel (Shi et al., "Is the deconvolution
layer the same as a convolutional layer?", arXiv:1609.07009): four 2x2 convolutions, one for each pixel of a square. The
borders are equal too, since both pad with zeros.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn
from torch.nn import functional

# The two taps of a phase in the 4x4 kernel, for the first and second pixel of a pair, and its padding before and after.
_TAPS = ((3, 1), (2, 0))
_PADDING = ((1, 0), (0, 1))


def fold_upsampling(model: nn.Module, kept: Collection[nn.Module] = ()) -> int:
    """Replace each pair of nearest upsampling and convolution in a model by an `Upsampling`, in place.

    Args:
        model: the model.
        kept: convolutions that must not be replaced, because their weights will change.

    Returns:
        Number of replaced pairs.
    """
    found = 0
    for layer in [*model.modules()]:
        if type(layer).__name__ == "Upsample2D":
            found += _fold_block(layer, kept)
        elif isinstance(layer, nn.Sequential):
            found += _fold_sequence(layer, kept)
    return found


class Upsampling(nn.Module):
    """Computes what an `nn.Upsample` of scale 2 followed by a 3x3 convolution computes."""

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        kernel = convolution.weight.double().transpose(0, 1).flip(2, 3)  # the layout of transposed convolutions
        ones = kernel.new_ones(1, 1, 2, 2)
        spread = functional.conv2d(kernel.reshape(-1, 1, 3, 3), ones, padding=1).view(*kernel.shape[:2], 4, 4)
        self.weight = nn.Parameter(
            spread.to(convolution.weight.dtype, memory_format=torch.channels_last), requires_grad=False)
        self.bias = convolution.bias

    def forward(self, small: Tensor) -> Tensor:
        """Map (n, channels, h, w) to (n, outputs, 2 h, 2 w)."""
        if torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]
            return run_phases(small, phase_kernels(self.weight), self.bias)  # transposed ones are slow in OpenVINO
        return functional.conv_transpose2d(small, self.weight, self.bias, stride=2, padding=1)


def phase_kernels(weight: Tensor) -> list[Tensor]:
    """Kernels of the four convolutions that an `Upsampling` of this weight equals, each (outputs, channels, 2, 2)."""
    weight = weight.transpose(0, 1)
    return [weight[:, :, list(_TAPS[row])][..., list(_TAPS[column])] for row in (0, 1) for column in (0, 1)]


def run_phases(small: Tensor, kernels: Sequence[Tensor], bias: Tensor | None) -> Tensor:
    """Map (n, channels, h, w) to (n, outputs, 2 h, 2 w) with the kernels of `phase_kernels`."""
    places = [(row, column) for row in (0, 1) for column in (0, 1)]
    phases = [functional.conv2d(functional.pad(small, (*_PADDING[column], *_PADDING[row])), kernel, bias)
              for (row, column), kernel in zip(places, kernels, strict=True)]
    n, channels, height, width = phases[0].shape
    squares = torch.cat(phases, 1).view(n, 2, 2, channels, height, width)
    return squares.permute(0, 3, 4, 1, 5, 2).reshape(n, channels, 2 * height, 2 * width)


def _fold_block(block: Any, kept: Collection[nn.Module]) -> bool:
    """Fold diffusers' Upsample2D, which only convolves if `interpolate` is False."""
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
    """Fold pairs in a plain sequence of layers, as AutoencoderTiny has."""
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
