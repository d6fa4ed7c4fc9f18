"""Soft edges and line art: two small networks whose published weights are read as they are, from safetensors.

They are published as pickled files alone (lllyasviel/Annotators on the hub), which are not read here: convert them to
safetensors once, as that library's documentation shows, and give the recipe the file.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional

from lcm_daemon.pipelines.preprocessors.base import Preprocessor, Setting

_Network = TypeVar("_Network", bound=nn.Module)


class SoftEdge(Preprocessor):
    """Edges with soft rims, white on black (Xie & Tu, arXiv:1504.06375, as retrained for ControlNet 1.1)."""

    detector = "ControlNetHED.safetensors, made of lllyasviel/Annotators' ControlNetHED.pth"

    def __init__(self, network: HolisticEdges) -> None:
        self._network = network

    @classmethod
    def load(cls, setting: Setting) -> SoftEdge:
        # In float32 whatever the setting: it takes levels up to 255, and its sums go beyond what float16 holds.
        return cls(_filled(HolisticEdges(), setting, torch.float32))

    def _map(self, picture: torch.Tensor) -> torch.Tensor:
        levels = picture.float().mul(127.5).add_(127.5)
        edges = [functional.interpolate(edge, picture.shape[-2:], mode="bilinear") for edge in self._network(levels)]
        return torch.stack(edges).mean(0).sigmoid().expand(-1, 3, -1, -1).to(picture.dtype)


class LineArt(Preprocessor):
    """Drawn lines, white on black (Chan et al., "Learning to generate line drawings", arXiv:2203.12691)."""

    detector = "sk_model.safetensors, made of lllyasviel/Annotators' sk_model.pth"

    def __init__(self, network: LineDrawing, dtype: torch.dtype) -> None:
        self._network, self._dtype = network, dtype

    @classmethod
    def load(cls, setting: Setting) -> LineArt:
        return cls(_filled(LineDrawing(), setting, setting.dtype), setting.dtype)

    def _map(self, picture: torch.Tensor) -> torch.Tensor:
        height, width = picture.shape[-2:]
        # It halves the picture twice and doubles it again, so an odd side comes back longer.
        paper: torch.Tensor = self._network(picture.to(self._dtype).mul(0.5).add_(0.5))[..., :height, :width]
        return (1 - paper).expand(-1, 3, -1, -1).to(picture.dtype)


class HolisticEdges(nn.Module):
    """A picture (n, 3, h, w) from 0 to 255 -> edges before the sigmoid at five scales, (n, 1, h / s, w / s)."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.Parameter(torch.zeros(1, 3, 1, 1))
        self.block1 = EdgeBlock(3, 64, 2)
        self.block2 = EdgeBlock(64, 128, 2)
        self.block3 = EdgeBlock(128, 256, 3)
        self.block4 = EdgeBlock(256, 512, 3)
        self.block5 = EdgeBlock(512, 512, 3)

    def forward(self, levels: torch.Tensor) -> list[torch.Tensor]:
        features, edges = self.block1.deepen(levels - self.norm), []
        edges.append(self.block1.projection(features))
        for block in (self.block2, self.block3, self.block4, self.block5):
            features = block.deepen(functional.max_pool2d(features, 2))
            edges.append(block.projection(features))
        return edges


class EdgeBlock(nn.Module):
    """Some convolutions, and what they say of edges."""

    def __init__(self, channels: int, width: int, layers: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(width if i else channels, width, 3, padding=1) for i in range(layers))
        self.projection = nn.Conv2d(width, 1, 1)

    def deepen(self, features: torch.Tensor) -> torch.Tensor:
        for layer in self.convs:
            features = layer(features).relu_()
        return features


class LineDrawing(nn.Module):
    """A picture (n, 3, h, w) from 0 to 1 -> black lines on white, (n, 1, h, w) from 0 to 1."""

    def __init__(self) -> None:
        super().__init__()
        self.model0 = nn.Sequential(nn.ReflectionPad2d(3), nn.Conv2d(3, 64, 7), nn.InstanceNorm2d(64), nn.ReLU())
        self.model1 = nn.Sequential(*_stage(nn.Conv2d(64, 128, 3, 2, 1)), *_stage(nn.Conv2d(128, 256, 3, 2, 1)))
        self.model2 = nn.Sequential(*(Residual(256) for _ in range(3)))
        self.model3 = nn.Sequential(*_stage(nn.ConvTranspose2d(256, 128, 3, 2, 1, output_padding=1)),
                                    *_stage(nn.ConvTranspose2d(128, 64, 3, 2, 1, output_padding=1)))
        self.model4 = nn.Sequential(nn.ReflectionPad2d(3), nn.Conv2d(64, 1, 7), nn.Sigmoid())

    def forward(self, picture: torch.Tensor) -> torch.Tensor:
        for stage in (self.model0, self.model1, self.model2, self.model3, self.model4):
            picture = stage(picture)
        return picture


class Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv_block = nn.Sequential(
            nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3), nn.InstanceNorm2d(width), nn.ReLU(),
            nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3), nn.InstanceNorm2d(width))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = features + self.conv_block(features)
        return result


def _stage(layer: nn.Conv2d | nn.ConvTranspose2d) -> tuple[nn.Module, ...]:
    return layer, nn.InstanceNorm2d(layer.out_channels), nn.ReLU()


def _filled(network: _Network, setting: Setting, dtype: torch.dtype) -> _Network:
    """With the weights of a .safetensors file, or of the only one in a folder."""
    place = setting.detector or Path()
    files = sorted(place.glob("*.safetensors")) if place.is_dir() else [place]
    if len(files) != 1:
        raise ValueError(f"one .safetensors file is wanted, and there are {len(files)}")
    network.load_state_dict(load_file(files[0]))
    network.to(setting.device, dtype).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network.eval().requires_grad_(False)
