"""Train the network of `upscale` that ships with lcm-daemon, on pictures that are painted on the spot.

    python -m examples.train_upscaler.train lcm_daemon/models/upscaler/edges.safetensors --minutes 4

No photograph is seen: half of the pictures are shapes that cover each other (dead leaves), half are the painters of the
built-in model. `python -m tests.measure.large_pictures` compares the result with Lanczos.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional

from examples.train_builtin.noise import Noise
from examples.train_builtin.painter import PAINTERS, paint_shapes
from lcm_daemon.pipelines.upscaler_networks import EdgeNetwork

SIDE = 192  # of a painted picture
CROP = 32  # of a sample, at the small size
BATCH = 12
STOCK = 8  # pictures of each painter
FILTER_BATCHES = 60  # that the filter is fitted to
LEAST_ERROR = 2e-5  # of bicubic interpolation, where a sample begins to count: half a level of 255, squared
EDGE = 4  # pixels at each side that are not judged, at the large size
RATE = 2e-3


def luma_stock(seed: int) -> Tensor:
    """Painted luma: uint8 (n, SIDE, SIDE)."""
    fields = [paint(Noise(STOCK, SIDE, seed + number)).clamp(0, 1) for number, paint in enumerate(PAINTERS.values())]
    for number in range(len(PAINTERS) // 2):
        leaves = paint_shapes(Noise(STOCK * 2, SIDE, seed + 100 + number), 40)
        grain = Noise(STOCK * 2, SIDE, seed + 200 + number)
        fields.append((leaves + grain.clouds((24, 24), 4, 0.7) * 0.05 * grain.uniform(-1, 1).relu()).clamp(0, 1))
    return (torch.cat(fields) * 255).round().byte()


def shrink(large: Tensor, kind: int) -> Tensor:
    """Halve images (n, 1, h, w) as different programs do."""
    if kind == 0:
        return functional.avg_pool2d(large, 2)
    if kind == 3:
        return lanczos(large)
    mode = ("bilinear", "bicubic")[kind % 2]
    half = (large.shape[2] // 2, large.shape[3] // 2)
    return functional.interpolate(large, half, mode=mode, align_corners=False, antialias=True)


def lanczos(large: Tensor) -> Tensor:
    """Halve by Lanczos' filter with three lobes."""
    place = (torch.arange(12) - 5.5) / 2
    taps = torch.sinc(place) * torch.sinc(place / 3)
    kernel = (taps[:, None] * taps / taps.sum()**2)[None, None]
    return functional.conv2d(functional.pad(large, (5, 5, 5, 5), mode="replicate"), kernel, stride=2)


def samples(seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Small images and the large ones that they were: float32 (BATCH, 1, h, w) from -1 to 1."""
    torch.manual_seed(seed)
    stock = luma_stock(seed)
    for number in itertools.count():
        rows, columns = torch.randint(0, SIDE - 2 * CROP + 1, (2, BATCH)).tolist()
        chosen = torch.randint(0, len(stock), (BATCH,)).tolist()
        crops = [stock[which, y:y + 2 * CROP, x:x + 2 * CROP]
                 for which, y, x in zip(chosen, rows, columns, strict=True)]
        large = torch.stack(crops)[:, None].float().mul(1 / 127.5).sub(1.0)
        turned = large.rot90(number % 4, (2, 3))
        contrast = 0.2 + 0.8 * torch.rand(BATCH, 1, 1, 1)
        large = soften((turned if number % 2 else turned.flip(3)) * contrast)
        yield in_levels(shrink(large, number // 4 % 4)), in_levels(large)


def soften(large: Tensor) -> Tensor:
    """Blur three of four images by different amounts, as lenses and other programs have: their edges are to stay."""
    softened = large.clone()
    for first, sigma in ((1, 0.5), (2, 0.9), (3, 1.5)):
        axis = torch.arange(-5.0, 6.0)
        weights = torch.exp(-0.5 * (axis / sigma).square())
        kernel = (weights[:, None] * weights / weights.sum()**2)[None, None]
        padded = functional.pad(large[first::4], (5, 5, 5, 5), mode="replicate")
        softened[first::4] = functional.conv2d(padded, kernel)
    return softened


def in_levels(image: Tensor) -> Tensor:
    """Rounded to bytes: what lies between two levels is noise."""
    return image.mul(127.5).round().div(127.5)


def double(small: Tensor) -> Tensor:
    """Bicubic interpolation, which the network adds to."""
    return functional.interpolate(small, scale_factor=2.0, mode="bicubic", align_corners=False)


def fit_filter(network: EdgeNetwork, pairs: Iterator[tuple[Tensor, Tensor]]) -> None:
    """Set the filter to the best one there is without layers: the solution of the normal equations."""
    side = network.filter.kernel_size[0]
    squares, products = torch.zeros(side**2, side**2, dtype=torch.float64), torch.zeros(side**2, 4, dtype=torch.float64)
    for small, large in itertools.islice(pairs, FILTER_BATCHES):
        windows = functional.unfold(small, side).transpose(0, 1).flatten(1).double()  # (side * side, windows)
        inner = (..., slice(side // 2, -(side // 2)), slice(side // 2, -(side // 2)))
        wanted = functional.pixel_unshuffle(large - double(small), 2)[inner]
        squares += windows @ windows.T
        products += windows @ wanted.flatten(2).transpose(0, 1).flatten(1).double().T
    solved = torch.linalg.solve(squares + 1e-4 * squares.diagonal().mean() * torch.eye(side**2), products)
    network.filter.weight.data.copy_(solved.T.view_as(network.filter.weight))


def train(file: Path, minutes: float, seed: int = 1) -> None:
    """Train for some minutes and write the weights. Weights that are there already are trained on."""
    network, pairs = EdgeNetwork(), samples(seed)
    if file.exists():
        network.load_state_dict(load_file(file))
    else:
        fit_filter(network, pairs)
        network.last.weight.data.mul_(0.02)  # begin near the filter
        network.last.bias.data.zero_()
    optimizer = torch.optim.Adam(network.parameters(), RATE)
    begun, errors = time.monotonic(), []
    for number, (small, large) in enumerate(pairs):
        spent = (time.monotonic() - begun) / max(minutes * 60, 1e-9)
        if spent >= 1.0:
            break
        optimizer.param_groups[0]["lr"] = RATE * (1.0 - spent) + 1e-5
        plain, inner = double(small), (..., slice(EDGE, -EDGE), slice(EDGE, -EDGE))
        made, missed = (error[inner].square().mean((1, 2, 3)) for error in (plain + network.detail(small) - large,
                                                                             plain - large))
        loss = (made / (missed + LEAST_ERROR)).mean()  # soft images count as much as sharp ones
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        errors.append(float(loss.detach()))
        if number % 500 == 0:
            print(f"step {number}: error {sum(errors[-500:]) / len(errors[-500:]):.3f} of bicubic's", flush=True)
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.half() for name, tensor in network.state_dict().items()}, file)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--minutes", type=float, default=4.0)
    given = parser.parse_args()
    train(given.file, given.minutes)
