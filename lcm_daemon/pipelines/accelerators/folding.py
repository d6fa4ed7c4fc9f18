"""Folding: two convolutions with nothing between them are one, as AutoencoderTiny has them where pictures are largest.

A stage without blocks leaves such pairs: the first two layers of the encoder (3x3, then 3x3 with stride 2) and the last
three of the decoder (nearest upsampling, 3x3, 3x3). Convolution is associative, so a pair is one 5x5 convolution; after
the upsampling that is a 3x3 one at half the size with an output for each of the four pixels of a square (Shi et al.,
"Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel Convolutional Neural Network",
arXiv:1609.05158). Only the outermost pixels differ, where the pair pads between its convolutions: there the original
layers run on a strip, so that the whole is the same function.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


def fold_vae(vae: Any) -> bool:
    """Fold the pairs of an AutoencoderTiny in place, once it is loaded; whether there was one."""
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
    """A 3x3 convolution and one of stride 2, as one of 5x5 with stride 2."""

    def __init__(self, first: nn.Conv2d, second: nn.Conv2d) -> None:
        super().__init__()
        self._pair = nn.Sequential(first, second)
        kernel, bias = _merge(first, second)
        self._whole = _convolution(kernel, bias, 2, first)

    @staticmethod
    def fits(layers: Sequence[nn.Module]) -> bool:
        return len(layers) == 2 and all(map(_is_plain, layers, (1, 2)))

    def forward(self, picture: Tensor) -> Tensor:
        """(n, channels, h, w) to (n, channels, h / 2, w / 2); h and w even."""
        whole: Tensor = self._whole(picture)
        left = self._pair(picture[..., :4])[..., 1:, :1]
        top = self._pair(picture[..., :4, :])[..., :1, :]
        return torch.cat([top, torch.cat([left, whole[..., 1:, 1:]], -1)], -2)


class FoldedTail(nn.Module):
    """Nearest upsampling and two 3x3 convolutions, as one convolution at the size before, four outputs a pixel."""

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
        """(n, channels, h, w) to (n, channels, 2 h, 2 w)."""
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
    """The 5x5 kernel and the bias of `second` after `first`, float64, away from the edges; on the CPU.

    MPS has no float64.
    """
    inner, outer = first.weight.cpu().double(), second.weight.cpu().double()
    # Correlating with a, then with b, is correlating with their full convolution.
    kernel = functional.conv2d(outer, inner.transpose(0, 1).flip(2, 3), padding=2)
    bias = torch.zeros(len(outer), dtype=torch.float64)
    if first.bias is not None:
        bias = bias + outer.sum((2, 3)) @ first.bias.cpu().double()
    return kernel, bias if second.bias is None else bias + second.bias.cpu().double()


def _split(kernel: Tensor) -> Tensor:
    """A 5x5 kernel over a picture of doubled pixels as four 3x3 ones over the pixels: (4 x outputs, inputs, 3, 3).

    The tap at c pixels from output 2 i + phase reads the pixel at (phase + c) // 2 from i.
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
