"""Fold two consecutive convolutions of AutoencoderTiny into one, at the resolution where images are largest.

AutoencoderTiny has such pairs: the first two layers of the encoder (3x3, then 3x3 with stride 2), and the last three of
the decoder (nearest upsampling, 3x3, 3x3). Convolution is associative, so a pair equals one 5x5 convolution. After the
upsampling, that is a 3x3 convolution at half the size with one output for each of the four pixels of a square (Shi et
al., "Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel Convolutional Neural Network",
arXiv:1609.05158). Only the outermost pixels differ, because the pair pads between its convolutions. There the original
layers run on a strip, so the folded layers compute the same function.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


def fold_vae(vae: Any) -> bool:
    """Fold the pairs of a loaded AutoencoderTiny in place; returns whether any was folded."""
    if type(vae).__name__ != "AutoencoderTiny":
        return False
    found = [_fold(half.layers) for half in (vae.encoder, vae.decoder)]
    return any(found)


def _fold(layers: nn.Sequential) -> bool:
    groups: tuple[tuple[Any, int, int], ...] = (
        (FoldedHead, 0, 2), (FoldedTail, len(layers) - 3, len(layers)))
    for make, start, end in groups:
        group = list(layers)[start:end]
        if make.fits(group):
            layers[start] = make(*group)
            for index in range(start + 1, end):
                layers[index] = nn.Identity()
            return True
    return False


class FoldedHead(nn.Module):
    """A 3x3 convolution and a 3x3 one with stride 2, folded into a 5x5 convolution with stride 2."""

    def __init__(self, first: nn.Conv2d, second: nn.Conv2d) -> None:
        super().__init__()
        self._pair = nn.Sequential(first, second)
        kernel, bias = _merge(first, second)
        self._whole = _convolution(kernel, bias, 2, first)

    @staticmethod
    def fits(layers: Sequence[nn.Module]) -> bool:
        return len(layers) == 2 and all(map(_is_plain, layers, (1, 2)))

    def forward(self, image: Tensor) -> Tensor:
        """Map (n, channels, h, w) to (n, channels, h / 2, w / 2); h and w must be even."""
        whole: Tensor = self._whole(image)
        left = self._pair(image[..., :4])[..., 1:, :1]
        top = self._pair(image[..., :4, :])[..., :1, :]
        return torch.cat([top, torch.cat([left, whole[..., 1:, 1:]], -1)], -2)


class FoldedTail(nn.Module):
    """Nearest upsampling and two 3x3 convolutions, folded into one at the small size with four outputs per pixel."""

    def __init__(self, upsample: nn.Upsample, first: nn.Conv2d, second: nn.Conv2d) -> None:
        super().__init__()
        self._three = nn.Sequential(upsample, first, second)
        kernel, bias = _merge(first, second)
        self._whole = _convolution(_split(kernel), bias.repeat_interleave(4), 1, first)

    @staticmethod
    def fits(layers: Sequence[nn.Module]) -> bool:
        upsample = layers[0]
        return (len(layers) == 3 and isinstance(upsample, nn.Upsample) and upsample.mode == "nearest"
                and upsample.scale_factor == 2.0 and all(map(_is_plain, layers[1:], (1, 1))))

    def forward(self, small: Tensor) -> Tensor:
        """Map (n, channels, h, w) to (n, channels, 2 h, 2 w)."""
        inside = functional.pixel_shuffle(self._whole(small), 2)[..., 1:-1, 1:-1]
        left, right = (self._three(strip)[..., 1:-1, :] for strip in (small[..., :2], small[..., -2:]))
        top, bottom = (self._three(strip) for strip in (small[..., :2, :], small[..., -2:, :]))
        middle = torch.cat([left[..., :1], inside, right[..., -1:]], -1)
        return torch.cat([top[..., :1, :], middle, bottom[..., -1:, :]], -2)


def _is_plain(layer: nn.Module, stride: int) -> bool:
    return (isinstance(layer, nn.Conv2d) and layer.kernel_size == (3, 3) and layer.padding == (1, 1)
            and layer.padding_mode == "zeros" and layer.groups == 1 and layer.dilation == (1, 1)
            and layer.stride == (stride, stride))


def _merge(first: nn.Conv2d, second: nn.Conv2d) -> tuple[Tensor, Tensor]:
    """Kernel (5x5) and bias of `second` after `first`, away from the edges.

    Both are float64, and on the CPU, because MPS has no float64.
    """
    inner, outer = first.weight.cpu().double(), second.weight.cpu().double()
    # Correlating with a, then with b, equals correlating with their full convolution.
    kernel = functional.conv2d(outer, inner.transpose(0, 1).flip(2, 3), padding=2)
    bias = torch.zeros(len(outer), dtype=torch.float64)
    if first.bias is not None:
        bias = bias + outer.sum((2, 3)) @ first.bias.cpu().double()
    return kernel, bias if second.bias is None else bias + second.bias.cpu().double()


def _split(kernel: Tensor) -> Tensor:
    """Split a 5x5 kernel over doubled pixels into four 3x3 kernels over the pixels: (4 x outputs, inputs, 3, 3).

    The tap at offset c from output pixel 2 i + phase reads the pixel at offset (phase + c) // 2 from i.
    """
    small = kernel.new_zeros(len(kernel), 2, 2, kernel.shape[1], 3, 3)
    for row_phase, column_phase, row, column in itertools.product(range(2), range(2), range(5), range(5)):
        place = (row_phase + row - 2) // 2 + 1, (column_phase + column - 2) // 2 + 1
        small[:, row_phase, column_phase, :, place[0], place[1]] += kernel[:, :, row, column]
    return small.flatten(0, 2)


def _convolution(kernel: Tensor, bias: Tensor, stride: int, like: nn.Conv2d) -> nn.Conv2d:
    outputs, inputs, size = kernel.shape[:3]
    made = nn.Conv2d(inputs, outputs, size, stride, size // 2, dtype=kernel.dtype).requires_grad_(False)
    made.weight.copy_(kernel)
    assert made.bias is not None
    made.bias.copy_(bias)
    made.to(like.weight.dtype).to(like.weight.device)
    return made.to(memory_format=torch.channels_last)  # type: ignore[no-any-return, call-overload]
