"""RIFE: a network that estimates the flows to a moment between two images, and which image shows each pixel.

Huang et al., "Real-Time Intermediate Flow Estimation for Video Frame Interpolation", 2022, in the form of
Practical-RIFE 4.25 and 4.26 (also lite and heavy): an encoder, and five blocks that refine the flows from coarse to
fine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from lcm_daemon.pipelines.optical_flow import warp

SCALES = (16, 8, 4, 2, 1)  # by which each block's input is smaller
MULTIPLE = 64  # of both sides of what the network sees: the coarsest block halves twice more
FEATURES = 8  # that a block hands to the next one, beside four numbers of two flows and the mask
_SLOPE = 0.2
_PREFIX = "module."  # of Practical-RIFE's own files


class _Encoder(nn.Module):
    """Features of an image, at its size: (n, 3, h, w) to (n, channels, h, w)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.cnn0 = nn.Conv2d(3, 16, 3, 2, 1)
        self.cnn1, self.cnn2 = (nn.Conv2d(16, 16, 3, 1, 1) for _ in range(2))
        self.cnn3 = nn.ConvTranspose2d(16, channels, 4, 2, 1)

    def forward(self, image: Tensor) -> Tensor:
        for layer in (self.cnn0, self.cnn1, self.cnn2):
            image = functional.leaky_relu(layer(image), _SLOPE)
        features: Tensor = self.cnn3(image)
        return features


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, 1, 1)
        self.beta = nn.Parameter(torch.ones(1, channels, 1, 1))

    def forward(self, features: Tensor) -> Tensor:
        return functional.leaky_relu(torch.addcmul(features, self.conv(features), self.beta), _SLOPE)


class _Block(nn.Module):
    """Changes of both flows, the mask and features, from what is known so far."""

    def __init__(self, inputs: int, channels: int, scale: int) -> None:
        super().__init__()
        self._scale = scale
        self.conv0 = nn.Sequential(*(nn.Sequential(nn.Conv2d(*sides, 3, 2, 1), nn.LeakyReLU(_SLOPE))
                                     for sides in ((inputs, channels // 2), (channels // 2, channels))))
        self.convblock = nn.Sequential(*(_Residual(channels) for _ in range(8)))
        self.lastconv = nn.Sequential(nn.ConvTranspose2d(channels, 4 * (5 + FEATURES), 4, 2, 1), nn.PixelShuffle(2))

    def forward(self, known: Tensor, flows: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        known = _resize(known, 1.0 / self._scale)
        if flows is not None:
            known = torch.cat((known, _resize(flows, 1.0 / self._scale) / self._scale), 1)
        made = _resize(self.lastconv(self.convblock(self.conv0(known))), float(self._scale))
        return made[:, :4] * self._scale, made[:, 4:5], made[:, 5:]


class RifeNetwork(nn.Module):
    """Makes images between two.

    Args:
        features: Channels of the encoder.
        channels: Of each block.
    """

    def __init__(self, features: int, channels: Sequence[int]) -> None:
        super().__init__()
        self.encode = _Encoder(features)
        first, later = 7 + 2 * features, 8 + 4 + FEATURES + 2 * features
        self.blocks = nn.ModuleList(
            _Block(later if number else first, width, scale)
            for number, (width, scale) in enumerate(zip(channels, SCALES, strict=True)))

    def forward(self, first: Tensor, second: Tensor, moment: float) -> Tensor:
        """The image at a moment from 0 to 1. Images are (1, 3, h, w) from 0 to 1, of any size."""
        height, width = first.shape[2:]
        first, second = _pad(first), _pad(second)
        features = self.encode(first), self.encode(second)
        time = torch.full_like(first[:, :1], moment)
        flows, mask, passed = self.blocks[0](torch.cat((first, second, *features, time), 1), None)
        for block in self.blocks[1:]:
            seen = [_move(image, flows) for image in ((first, second), features)]
            change, mask, passed = block(torch.cat((*seen, time, mask, passed), 1), flows)
            flows = flows + change
        moved = _move((first, second), flows)
        made = torch.lerp(moved[:, 3:], moved[:, :3], mask.sigmoid())
        return made[..., :height, :width]


def _pad(image: Tensor) -> Tensor:
    """Repeat the right and the lower edge until the sides are multiples."""
    height, width = image.shape[2:]
    return functional.pad(image, (0, -width % MULTIPLE, 0, -height % MULTIPLE), mode="replicate")


def _resize(image: Tensor, factor: float) -> Tensor:
    return functional.interpolate(image, scale_factor=factor, mode="bilinear", align_corners=False)


def _move(images: tuple[Tensor, Tensor], flows: Tensor) -> Tensor:
    """Both images moved along their flows, one after the other in the channels."""
    first, second = images
    return torch.cat((warp(first, flows[:, :2].float()), warp(second, flows[:, 2:].float())), 1)


def read_rife(file: Path) -> RifeNetwork:
    """Read a network. Its sizes follow from its shapes.

    Raises:
        ValueError: It is of another kind or version, or not whole.
        SafetensorError, OSError: The file cannot be read.
    """
    tensors = {_plain_name(name): tensor.float() for name, tensor in load_file(file).items()}
    with torch.device("meta"):
        network = _network_of(tensors)
    wanted = network.state_dict()
    wrong = [name for name, tensor in wanted.items() if name not in tensors or tensors[name].shape != tensor.shape]
    if wrong:
        raise ValueError(f"its weights do not fit RIFE 4.25 or 4.26: {wrong[0]}")
    network.load_state_dict({name: tensors[name] for name in wanted}, assign=True)  # training leaves more in a file
    return network.eval().requires_grad_(False)


def _plain_name(name: str) -> str:
    """The name in this module: Practical-RIFE numbers its blocks `block0`, ComfyUI `blocks.0`."""
    name = name.removeprefix(_PREFIX)
    return f"blocks.{name[5:]}" if name.startswith("block") and name[5:6].isdigit() else name


def _network_of(tensors: Mapping[str, Tensor]) -> RifeNetwork:
    widths = [len(tensors[name]) for number in range(len(SCALES))
              if (name := f"blocks.{number}.conv0.1.0.weight") in tensors]
    if "encode.cnn3.weight" not in tensors or len(widths) != len(SCALES):
        raise ValueError("it is not RIFE 4.25 or 4.26")
    return RifeNetwork(tensors["encode.cnn3.weight"].shape[1], widths)
