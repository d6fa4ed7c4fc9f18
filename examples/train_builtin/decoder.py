"""Train the autoencoder further for photographs: the decoder alone, or both halves.

The denoiser knows the latents of the encoder that it was trained on. The decoder alone can therefore be improved at any
time. Both halves can be, too, while the latents are held: the distance from the old latents is then part of the loss,
and the decoder still sees some of the old ones. Without it, the latents are free but for their order (`vae.py`), and
the denoiser has to be trained on them. All pictures are drawn on the fly, and none is a photograph.
"""

from __future__ import annotations

import copy
import math
import random
from pathlib import Path

import torch
from torch import Tensor, nn

from examples.train_builtin import runs, vae
from examples.train_builtin.data import draw_label
from examples.train_builtin.noise import Noise
from examples.train_builtin.painter import paint
from examples.train_builtin.scenes import Scenes

SIZE, CROP, BATCH, DRAWN = 256, 128, 4, 2
POOL, FRESH = 48, 10  # pictures at hand; steps between two drawings of DRAWN new ones
PAINTED = 0.25  # share of the pictures that are materials
RATE, DECAY, BETAS = 8e-4, 0.998, (0.9, 0.99)
NOISE, SMALLEST = 0.04, 5e-4  # noise on the latents; added to the square error before its logarithm
SHARP, ORDER, OLD = 0.5, 0.5, 0.25  # loss weights: gradients, order of free latents; share of pictures in old latents
SHOWN = 50


class Pictures:
    """A pool of pictures on the device that is drawn again bit by bit, and random crops of it."""

    def __init__(self, seed: int) -> None:
        self.scenes, self.random, self.number = Scenes(SIZE, seed), random.Random(seed), seed * 1_000_003
        self.pool = torch.cat([self.draw() for _ in range(POOL // DRAWN)])

    def draw(self) -> Tensor:
        """Return DRAWN pictures (DRAWN, 3, SIZE, SIZE) from 0 to 1: scenes, or a painted material."""
        self.number += 1
        if self.random.random() > PAINTED:
            return self.scenes.draw(DRAWN)
        label = draw_label(self.random.randrange(1000), self.random)
        return paint(label.subject, label.colour, label.style, Noise(DRAWN, SIZE, self.number)).clamp(0, 1)

    def take(self, count: int, step: int) -> Tensor:
        """Return crops (count, 3, CROP, CROP), mirrored, turned and recoloured at random."""
        if step % FRESH == 0:
            place = self.random.randrange(POOL // DRAWN) * DRAWN
            self.pool[place : place + DRAWN] = self.draw()
        crops = []
        for _ in range(count):
            picture = self.pool[self.random.randrange(POOL)]
            top, left = (8 * self.random.randrange((SIZE - CROP) // 8 + 1) for _ in range(2))
            crop = picture[:, top : top + CROP, left : left + CROP]
            crop = crop.transpose(1, 2) if self.random.random() < 0.5 else crop
            crops.append(crop.flip([axis for axis in (1, 2) if self.random.random() < 0.5]))
        whole = torch.stack(crops)
        return vae.recolour(whole) if self.random.random() < 0.3 else whole


def error_loss(made: Tensor, wanted: Tensor) -> Tensor:
    """The mean logarithm of the square error, as PSNR counts it, and the L1 error of the brightness's gradients."""
    error = made - wanted
    square = error.square().mean(dim=(1, 2, 3))
    light = vae.to_ycc(error)[:, :1]
    slope = (light[..., 1:] - light[..., :-1]).abs().mean() + (light[..., 1:, :] - light[..., :-1, :]).abs().mean()
    return (square + SMALLEST).log().mean() + SHARP * slope


class Refinement:
    """The autoencoder in training, its moving average and the encoder as it came."""

    def __init__(self, work: Path, joint: bool, held: float) -> None:
        """`joint`: train both halves. `held`: the weight of the latents' distance from the old ones; 0 frees them."""
        self.joint, self.held = joint, held
        self.old = vae.load(work, "vae.pt").encoder
        self.model = vae.build().to(memory_format=torch.channels_last)
        self.model.load_state_dict(runs.read(vae.newest(work))["vae"])
        self.model.encoder.requires_grad_(joint)
        self.average = copy.deepcopy(self.model).eval().requires_grad_(False)
        moving: nn.Module = self.model if joint else self.model.decoder
        self.optimizer = torch.optim.Adam(moving.parameters(), RATE, betas=BETAS)

    def loss(self, rgb: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss and the mean PSNR of the crops."""
        with torch.no_grad():
            before = self.old(rgb * 2 - 1)
        if self.joint and not self.held:
            rgb = torch.cat([rgb, vae.recolour(rgb)])
        latents = self.model.encoder(rgb * 2 - 1) if self.joint else before
        scale = torch.ones(vae.CHANNELS, 1, 1)
        scale[-vae.CHROMA :] = vae.CHROMA_SCALE
        noise = NOISE * torch.rand(len(rgb), 1, 1, 1) * torch.randn_like(latents)
        made = self.model.decoder(latents + scale * noise).float() / 2 + 0.5
        loss = error_loss(made, rgb)
        if self.joint and self.held:
            few = max(1, round(OLD * len(rgb)))
            loss = loss + self.held * ((latents - before) / scale).square().mean()
            loss = loss + OLD * error_loss(self.model.decoder(before[:few]).float() / 2 + 0.5, rgb[:few])
        elif self.joint:
            loss = loss + ORDER * vae.latent_loss(latents.float(), vae.to_ycc(rgb))
        return loss, -10 * (made.detach() - rgb).square().mean(dim=(1, 2, 3)).log10().mean()

    def update(self, loss: Tensor, rate: float, step: int) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        with torch.no_grad():
            kept = min(DECAY, (1 + step) / (10 + step))
            torch._foreach_lerp_(list(self.average.parameters()), list(self.model.parameters()), 1 - kept)


def train(work: Path, seconds: float, joint: bool = False, held: float = 0.0, seed: int = 21) -> None:
    """Train for `seconds`, resuming; write `decoder.pt` or, with both halves in training, `autoencoder.pt`."""
    name = "autoencoder" if joint else "decoder"
    if (work / f"{name}.pt").exists():
        return
    job = Refinement(work, joint, held)
    parts = {"model": job.model, "average": job.average, "optimizer": job.optimizer}
    progress = runs.Progress(work / f"{name}.training.pt", **parts)
    torch.manual_seed(seed + progress.step)
    pictures, mean = Pictures(seed + progress.step), 0.0
    progress.begin()
    while progress.spent < seconds:
        step = progress.step
        rgb = pictures.take(BATCH * runs.current().batch, step).contiguous(memory_format=torch.channels_last)
        with runs.autocast():
            loss, decibels = job.loss(rgb)
        fall = 0.5 + 0.5 * math.cos(math.pi * min(1.0, progress.spent / seconds))
        job.update(loss, RATE * min(1.0, (step + 1) / 100) * (0.03 + 0.97 * fall), step)
        mean = decibels.item() if not mean else 0.98 * mean + 0.02 * decibels.item()
        if (step + 1) % SHOWN == 0:
            print(f"{name} {progress.spent:.0f}/{seconds:.0f} s step {step + 1} {mean:.2f} dB", flush=True)
        progress.count()
    runs.write(work / f"{name}.pt", {"vae": job.average.state_dict(), "step": progress.step})
    progress.remove()
