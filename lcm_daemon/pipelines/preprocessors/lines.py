"""Soft edges and line art: two small networks that use the published weights, from safetensors files.

The weights are published as pickle files only (lllyasviel/Annotators on the hub), which are not read here. Convert them
to safetensors once, as the documentation of that library shows, and name the file in the recipe.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional

from lcm_daemon.pipelines.preprocessors.base import Preprocessor, PreprocessorConfig

_Network = TypeVar("_Network", bound=nn.Module)


class SoftEdge(Preprocessor):
    """Soft edges, white on black (HED: Xie & Tu, arXiv:1504.06375, as retrained for ControlNet 1.1)."""

    detector = "ControlNetHED.safetensors, made of lllyasviel/Annotators' ControlNetHED.pth"
    is_recordable = True

    def __init__(self, network: HolisticEdges) -> None:
        self._network = network

    @classmethod
    def load(cls, config: PreprocessorConfig) -> SoftEdge:
        # Always float32: its inputs go up to 255, and its sums exceed the range of float16.
        return cls(_load_weights(HolisticEdges(), config, torch.float32))

    def _map(self, image: torch.Tensor) -> torch.Tensor:
        levels = image.float().mul(127.5).add_(127.5)
        edges = [functional.interpolate(edge, image.shape[-2:], mode="bilinear") for edge in self._network(levels)]
        return torch.stack(edges).mean(0).sigmoid().expand(-1, 3, -1, -1).to(image.dtype)


class LineArt(Preprocessor):
    """Drawn lines, white on black (Chan et al., "Learning to generate line drawings", arXiv:2203.12691)."""

    detector = "sk_model.safetensors, made of lllyasviel/Annotators' sk_model.pth"
    is_recordable = True

    def __init__(self, network: LineDrawing, dtype: torch.dtype) -> None:
        self._network, self._dtype = network, dtype

    @classmethod
    def load(cls, config: PreprocessorConfig) -> LineArt:
        return cls(_load_weights(LineDrawing(), config, config.dtype), config.dtype)

    def _map(self, image: torch.Tensor) -> torch.Tensor:
        height, width = image.shape[-2:]
        # The network halves the size twice and doubles it twice, so an odd side comes back longer.
        paper: torch.Tensor = self._network(image.to(self._dtype).mul(0.5).add_(0.5))[..., :height, :width]
        return (1 - paper).expand(-1, 3, -1, -1).to(image.dtype)


class HolisticEdges(nn.Module):
    """Maps images (n, 3, h, w) from 0 to 255 to edge logits at five scales s, (n, 1, h / s, w / s)."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.Parameter(torch.zeros(1, 3, 1, 1))
        self.block1 = EdgeBlock(3, 64, 2)
        self.block2 = EdgeBlock(64, 128, 2)
        self.block3 = EdgeBlock(128, 256, 3)
        self.block4 = EdgeBlock(256, 512, 3)
        self.block5 = EdgeBlock(512, 512, 3)

    def forward(self, levels: torch.Tensor) -> list[torch.Tensor]:
        features, edges = self.block1.extract_features(levels - self.norm), []
        edges.append(self.block1.projection(features))
        for block in (self.block2, self.block3, self.block4, self.block5):
            features = block.extract_features(functional.max_pool2d(features, 2))
            edges.append(block.projection(features))
        return edges


class EdgeBlock(nn.Module):
    """Convolutions of one scale, and the projection of their features to edge logits."""

    def __init__(self, channels: int, width: int, layers: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(width if i else channels, width, 3, padding=1) for i in range(layers))
        self.projection = nn.Conv2d(width, 1, 1)

    def extract_features(self, features: torch.Tensor) -> torch.Tensor:
        for layer in self.convs:
            features = layer(features).relu_()
        return features


class LineDrawing(nn.Module):
    """Maps images (n, 3, h, w) from 0 to 1 to black lines on white, (n, 1, h, w) from 0 to 1."""

    def __init__(self) -> None:
        super().__init__()
        self.model0 = nn.Sequential(nn.ReflectionPad2d(3), nn.Conv2d(3, 64, 7), nn.InstanceNorm2d(64), nn.ReLU())
        self.model1 = nn.Sequential(*_stage(nn.Conv2d(64, 128, 3, 2, 1)), *_stage(nn.Conv2d(128, 256, 3, 2, 1)))
        self.model2 = nn.Sequential(*(Residual(256) for _ in range(3)))
        self.model3 = nn.Sequential(*_stage(nn.ConvTranspose2d(256, 128, 3, 2, 1, output_padding=1)),
                                    *_stage(nn.ConvTranspose2d(128, 64, 3, 2, 1, output_padding=1)))
        self.model4 = nn.Sequential(nn.ReflectionPad2d(3), nn.Conv2d(64, 1, 7), nn.Sigmoid())

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        for stage in (self.model0, self.model1, self.model2, self.model3, self.model4):
            image = stage(image)
        return image


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


def _load_weights(network: _Network, config: PreprocessorConfig, dtype: torch.dtype) -> _Network:
    """Load the weights of a .safetensors file, or of the only such file in a folder."""
    path = config.detector or Path()
    files = sorted(path.glob("*.safetensors")) if path.is_dir() else [path]
    if len(files) != 1:
        raise ValueError(f"the folder must have one .safetensors file, not {len(files)}")
    network.load_state_dict(load_file(files[0]))
    network.to(config.device, dtype).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network.eval().requires_grad_(False)
