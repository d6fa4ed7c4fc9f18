"""Networks that enlarge images: those of Real-ESRGAN, read from safetensors, and the small one of the package.

Each takes and returns images (n, 3, h, w) from -1 to 1, `scale` times as large. They run the same kernels for every
image and read nothing from the device, so they may be part of a recording.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601
_PREFIXES = ("params_ema.", "params.", "module.")  # what converters leave of a checkpoint's nesting
EDGE_CHANNELS, EDGE_LAYERS = 16, 2
FLAT = 1e-4  # variance of what counts as flat, of values from -1 to 1: about a level of 255, squared
SHARES = -1.5, 3.0  # of a colour in the luma's detail, at most


class EnlargingNetwork(nn.Module):
    """Enlarges images. scale: how much larger the result is, in each direction."""

    scale: int


class EdgeNetwork(EnlargingNetwork):
    """Doubles an image: bicubic interpolation, and the detail that it loses: what one filter finds, and what a few
    layers find beyond that, which see where edges are.

    Both see the luma alone, so what is learned holds for any colours. Red, green and blue get the luma's detail by the
    share that they have in it nearby, as in guided image filtering (He et al., "Guided Image Filtering", 2010). The
    layers are in the style of ESPCN (Shi et al., "Real-Time Single Image and Video Super-Resolution Using an Efficient
    Sub-Pixel Convolutional Neural Network", 2016) with fewer weights.
    """

    scale = 2
    luma: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.filter = nn.Conv2d(1, self.scale**2, 7, padding=3, padding_mode="replicate", bias=False)
        self.first = nn.Conv2d(1, EDGE_CHANNELS, 5, padding=2, padding_mode="replicate")
        self.middle = nn.ModuleList(nn.Conv2d(EDGE_CHANNELS, EDGE_CHANNELS, 3, padding=1) for _ in range(EDGE_LAYERS))
        self.last = nn.Conv2d(EDGE_CHANNELS, self.scale**2, 3, padding=1)
        self.register_buffer("luma", torch.tensor(_LUMA).view(1, 3, 1, 1), persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        plain = functional.interpolate(image, scale_factor=float(self.scale), mode="bicubic", align_corners=False)
        luma = functional.conv2d(image, self.luma.to(image.dtype))
        shares = functional.interpolate(_shares(image.float(), luma.float()).to(image.dtype),
                                        scale_factor=float(self.scale), mode="nearest")
        return plain + shares * self.detail(luma)

    def detail(self, luma: Tensor) -> Tensor:
        """What bicubic interpolation lacks: (n, 1, h, w) to (n, 1, 2 h, 2 w)."""
        features = functional.relu(self.first(luma), inplace=True)
        for layer in self.middle:
            features = features + functional.relu(layer(features), inplace=True)
        return functional.pixel_shuffle(self.filter(luma) + self.last(features), self.scale)


def _shares(image: Tensor, luma: Tensor) -> Tensor:
    """How much each colour changes where the luma changes by one: 1 where neither does. As `image`."""
    colours, light = image - _mean(image), luma - _mean(luma)
    return ((_mean(colours * light) + FLAT) / (_mean(light * light) + FLAT)).clamp(*SHARES)


def _mean(values: Tensor) -> Tensor:
    """Over five by five pixels around each one; at the edge, over those inside of it."""
    return functional.avg_pool2d(values, 5, 1, 2, count_include_pad=False)


class CompactNetwork(EnlargingNetwork):
    """SRVGGNetCompact of Real-ESRGAN (realesr-general-x4v3, realesr-animevideov3): all layers at the input's size.

    Args:
        channels: Of each layer.
        layers: Between the first and the last.
        scale: How much larger the result is.
    """

    def __init__(self, channels: int, layers: int, scale: int) -> None:
        super().__init__()
        self.scale = scale
        parts: list[nn.Module] = [nn.Conv2d(3, channels, 3, padding=1), nn.PReLU(channels)]
        for _ in range(layers):
            parts += [nn.Conv2d(channels, channels, 3, padding=1), nn.PReLU(channels)]
        self.body = nn.ModuleList([*parts, nn.Conv2d(channels, 3 * scale**2, 3, padding=1)])

    def forward(self, image: Tensor) -> Tensor:
        features = image = image * 0.5 + 0.5
        for part in self.body:
            features = part(features)
        plain = functional.interpolate(image, scale_factor=float(self.scale), mode="nearest")
        return (functional.pixel_shuffle(features, self.scale) + plain) * 2.0 - 1.0


class _DenseBlock(nn.Module):
    """Five layers, each of which sees the results of all before it."""

    conv5: nn.Module

    def __init__(self, channels: int, growth: int) -> None:
        super().__init__()
        for number in range(1, 6):
            made = growth if number < 5 else channels
            self.add_module(f"conv{number}", nn.Conv2d(channels + (number - 1) * growth, made, 3, padding=1))

    def forward(self, image: Tensor) -> Tensor:
        seen = image
        for number in range(1, 5):
            made = functional.leaky_relu(getattr(self, f"conv{number}")(seen), 0.2)
            seen = torch.cat((seen, made), 1)
        changed: Tensor = image + 0.2 * self.conv5(seen)
        return changed


class _TripleBlock(nn.Module):
    """Three dense blocks in a residual."""

    def __init__(self, channels: int, growth: int) -> None:
        super().__init__()
        self.rdb1, self.rdb2, self.rdb3 = (_DenseBlock(channels, growth) for _ in range(3))

    def forward(self, image: Tensor) -> Tensor:
        changed: Tensor = image + 0.2 * self.rdb3(self.rdb2(self.rdb1(image)))
        return changed


class DenseNetwork(EnlargingNetwork):
    """RRDBNet of Real-ESRGAN (RealESRGAN_x2plus, x4plus, x4plus_anime_6B). It is large: for fast cards.

    Args:
        channels: Of each block.
        growth: That each layer of a block adds.
        blocks: How many.
        scale: 2 or 4. With 2 the input is halved first, into four times the channels.
    """

    def __init__(self, channels: int, growth: int, blocks: int, scale: int) -> None:
        super().__init__()
        self.scale = scale
        self.conv_first = nn.Conv2d(3 * (4 // scale) ** 2, channels, 3, padding=1)
        self.body = nn.Sequential(*(_TripleBlock(channels, growth) for _ in range(blocks)))
        self.conv_body, self.conv_up1, self.conv_up2, self.conv_hr = (
            nn.Conv2d(channels, channels, 3, padding=1) for _ in range(4))
        self.conv_last = nn.Conv2d(channels, 3, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        image = image * 0.5 + 0.5
        features = self.conv_first(image if self.scale == 4 else functional.pixel_unshuffle(image, 4 // self.scale))
        features = features + self.conv_body(self.body(features))
        for layer in (self.conv_up1, self.conv_up2):
            doubled = functional.interpolate(features, scale_factor=2.0, mode="nearest")
            features = functional.leaky_relu(layer(doubled), 0.2)
        made: Tensor = self.conv_last(functional.leaky_relu(self.conv_hr(features), 0.2))
        return made * 2.0 - 1.0


def read_edge_network(file: Path) -> EdgeNetwork:
    """Read the weights of an `EdgeNetwork`."""
    network = EdgeNetwork()
    network.load_state_dict(load_file(file))
    return network.eval().requires_grad_(False)


def read_network(file: Path) -> EnlargingNetwork:
    """Read a network of Real-ESRGAN. Its kind and sizes follow from its keys and shapes.

    Raises:
        ValueError: It is none of these, or not whole.
        SafetensorError, OSError: The file cannot be read.
    """
    tensors = {_plain_name(name): tensor.float() for name, tensor in load_file(file).items()}
    with torch.device("meta"):
        network = _network_of(tensors)
    try:
        network.load_state_dict(tensors, assign=True)
    except RuntimeError as error:
        raise ValueError(f"its weights do not fit a {type(network).__name__}: {_second_line(error)}") from error
    return network.eval().requires_grad_(False)


def _plain_name(name: str) -> str:
    return next((name.removeprefix(prefix) for prefix in _PREFIXES if name.startswith(prefix)), name)


def _network_of(tensors: Mapping[str, Tensor]) -> EnlargingNetwork:
    """A network without weights that fits these names and shapes."""
    if "conv_first.weight" in tensors and "body.0.rdb1.conv1.weight" in tensors:
        channels, inputs = tensors["conv_first.weight"].shape[:2]
        blocks = 1 + max(int(name.split(".")[1]) for name in tensors if name.startswith("body."))
        scale = {3: 4, 12: 2}.get(inputs)
        if scale:
            return DenseNetwork(channels, len(tensors["body.0.rdb1.conv1.weight"]), blocks, scale)
    elif "body.0.weight" in tensors and "body.1.weight" in tensors:
        channels, inputs = tensors["body.0.weight"].shape[:2]
        last = max(int(name.split(".")[1]) for name in tensors if name.startswith("body."))
        scale = round((len(tensors[f"body.{last}.weight"]) / 3) ** 0.5)
        if inputs == 3 and scale > 1 and last % 2 == 0 and len(tensors[f"body.{last}.weight"]) == 3 * scale**2:
            return CompactNetwork(channels, last // 2 - 1, scale)
    raise ValueError("it is neither an SRVGGNetCompact nor an RRDBNet of Real-ESRGAN that enlarges colour images")


def _second_line(error: RuntimeError) -> str:
    """What load_state_dict says after its heading."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{lines[min(1, len(lines) - 1)]:.200}"
