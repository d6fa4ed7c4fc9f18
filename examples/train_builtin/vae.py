"""Train the autoencoder: AutoencoderTiny with ordered latents, 8 channels at 1/8 of the image's size.

Channel 0 holds the mean brightness of an 8x8 cell, 1-5 its brightness detail, 6 and 7 the mean blue and red difference,
at a smaller scale. The noise of image-to-image therefore covers the input's colour first and its shapes last.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderTiny
from torch import Tensor

from examples.train_builtin import runs
from examples.train_builtin.data import read_shards
from examples.train_builtin.noise import Noise
from examples.train_builtin.painter import paint_shapes

CELL, CHANNELS, CHROMA = 8, 8, 2
CHROMA_SCALE = 0.4
BLOCKS_DOWN, BLOCKS_UP, WIDTH = (0, 1, 2, 2), (3, 3, 1, 0), 32
CROP, BATCH, RATE = 64, 8, 2e-3
# ITU-R BT.601 luma and colour differences
TO_YCC = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))


def build() -> AutoencoderTiny:
    return AutoencoderTiny(
        latent_channels=CHANNELS,
        encoder_block_out_channels=(WIDTH,) * len(BLOCKS_DOWN),
        decoder_block_out_channels=(WIDTH,) * len(BLOCKS_UP),
        num_encoder_blocks=BLOCKS_DOWN,
        num_decoder_blocks=BLOCKS_UP,
    )


def to_ycc(rgb: Tensor) -> Tensor:
    """Convert RGB (n, 3, h, w) from 0 to 1 to brightness and two colour differences; the latter are centred on 0."""
    return torch.einsum("nchw,dc->ndhw", rgb, torch.tensor(TO_YCC))


def to_rgb(ycc: Tensor) -> Tensor:
    return torch.einsum("nchw,dc->ndhw", ycc, torch.linalg.inv(torch.tensor(TO_YCC)))


def known_latents(ycc: Tensor) -> Tensor:
    """Return the targets of channels 0, 6 and 7: the cells' means, brightness at unit scale, colour at CHROMA_SCALE."""
    means = F.avg_pool2d(ycc, CELL)
    return torch.cat([(means[:, :1] - 0.45) * 4, means[:, 1:] * 6 * CHROMA_SCALE], dim=1)


def recolour(rgb: Tensor) -> Tensor:
    """Return the same brightness in rotated and faded colours, clipped."""
    ycc = to_ycc(rgb)
    angle = torch.rand(len(rgb), 1, 1) * 2 * math.pi
    fade = torch.rand(len(rgb), 1, 1)
    blue, red = ycc[:, 1], ycc[:, 2]
    turned = [
        ycc[:, 0],
        fade * (blue * angle.cos() - red * angle.sin()),
        fade * (blue * angle.sin() + red * angle.cos()),
    ]
    return to_rgb(torch.stack(turned, 1)).clamp(0, 1)


def dead_leaves(seed: int, count: int = 96) -> Tensor:
    """Draw coloured shapes (count, 3, CROP * 2, CROP * 2) as stand-ins for photographs."""
    layers = [paint_shapes(Noise(count, CROP * 2, seed), 40).clamp(0, 1)]
    layers += [Noise(count, CROP * 2, seed + shift).clouds((2, 2), 3) * 0.12 for shift in (1, 2)]
    grain = Noise(count, CROP * 2, seed + 3).clouds((16, 16), 5, 0.7) * 0.06
    layers[0] = layers[0] + grain * Noise(count, CROP * 2, seed + 4).uniform(0, 1)
    return (to_rgb(torch.stack(layers, 1)).clamp(0, 1) * 255).byte()


class Crops:
    """Random crops of the training images and of coloured shapes."""

    def __init__(self, work: Path, seed: int) -> None:
        self.shards, _ = read_shards(work)
        self.leaves = runs.to_array(dead_leaves(seed).permute(0, 2, 3, 1))
        self.chance = np.random.default_rng(seed)

    def take(self, count: int) -> Tensor:
        """Return crops (count, 3, CROP, CROP) from 0 to 1; a third are of shapes."""
        crops = []
        for _ in range(count):
            chance = self.chance
            stock = self.leaves if chance.random() < 0.33 else self.shards[chance.integers(len(self.shards))]
            picture = stock[chance.integers(len(stock))]
            y, x = chance.integers(0, picture.shape[0] - CROP + 1, 2)
            crop = picture[y : y + CROP, x : x + CROP]
            crops.append(crop[:, ::-1] if chance.random() < 0.5 else crop)
        return runs.to_device(np.stack(crops)).permute(0, 3, 1, 2).float() / 255


def picture_loss(made: Tensor, wanted: Tensor) -> Tensor:
    """Return the L1 loss on brightness and colour, on gradients (sharpness) and on coarse colour (hue)."""
    error = to_ycc(made - wanted)
    light, colour = error[:, :1], error[:, 1:]
    slope = (light[..., 1:] - light[..., :-1]).abs().mean() + (light[..., 1:, :] - light[..., :-1, :]).abs().mean()
    coarse = F.avg_pool2d(colour, 4).abs().mean()
    return light.abs().mean() + light.square().mean() * 4 + slope + colour.abs().mean() + 2 * coarse


def latent_loss(latents: Tensor, ycc: Tensor) -> Tensor:
    """Loss: known channels near their means, detail at unit scale, equal detail of an image and its recoloured copy."""
    detail = latents[:, 1:-CHROMA]
    known = torch.cat([latents[:, :1], latents[:, -CHROMA:]], 1)
    weight = torch.tensor([1.0] + [1 / CHROMA_SCALE] * CHROMA)[:, None, None]
    fixed = ((known - known_latents(ycc)) * weight).square().mean()
    first, second = detail.chunk(2)
    spread = (detail.std(dim=(0, 2, 3)) - 1).square().mean() + detail.mean(dim=(0, 2, 3)).square().mean()
    return fixed + 0.1 * (first - second).square().mean() + 0.05 * spread


def train(work: Path, seconds: float, seed: int = 1) -> None:
    """Train for `seconds` of wall-clock time, resuming from `vae.pt`. The learning rate falls to zero (cosine)."""
    torch.manual_seed(seed)
    vae = build().to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(vae.parameters(), RATE, betas=(0.9, 0.99))
    progress = runs.Progress(work / "vae.pt", vae=vae, optimizer=optimizer)
    crops = Crops(work, seed + progress.step)
    scale = torch.ones(CHANNELS)
    scale[-CHROMA:] = CHROMA_SCALE
    progress.begin()
    while progress.spent < seconds:
        spent, step = progress.spent, progress.step
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1, (step + 1) / 100) * (0.5 + 0.5 * math.cos(math.pi * min(1, spent / seconds)))
        originals = crops.take(*runs.scaled(BATCH))
        rgb = torch.cat([originals, recolour(originals)]).contiguous(memory_format=torch.channels_last)
        with runs.autocast():
            latents = vae.encoder(rgb * 2 - 1)
            noisy = latents + 0.05 * scale[:, None, None] * torch.randn_like(latents)
            made = vae.decoder(noisy)
        fidelity = picture_loss(made.float() / 2 + 0.5, rgb)
        order = latent_loss(latents.float(), to_ycc(rgb))
        optimizer.zero_grad()
        (fidelity + 0.5 * order).backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimizer.step()
        if (step + 1) % 100 == 0:
            psnr = -10 * math.log10((made.float() / 2 + 0.5 - rgb)[: len(originals)].square().mean().item())
            losses = f"loss {fidelity:.4f} order {order:.4f} {psnr:.1f} dB"
            print(f"vae {spent:.0f}/{seconds:.0f} s step {step + 1} {losses}", flush=True)
        progress.count()
    progress.save()


def newest(work: Path) -> Path:
    """Return the checkpoint that the later steps use: both halves refined, or the decoder, or neither."""
    names = ("autoencoder.pt", "decoder.pt", "vae.pt")
    return next((work / name for name in names if (work / name).exists()), work / "vae.pt")


def load(work: Path, name: str = "") -> AutoencoderTiny:
    """Load the newest autoencoder, or the checkpoint of this name."""
    vae = build()
    vae.load_state_dict(runs.read(work / name if name else newest(work))["vae"])
    return vae.eval().requires_grad_(False).to(memory_format=torch.channels_last)
