"""Encode the training images once, at half and at full size, and stand-ins for photographs."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from examples.train_builtin import runs, vae
from examples.train_builtin.data import BATCH as BATCH_OF_LABEL
from examples.train_builtin.data import SIZE, Label, draw_label, paint_again, read_shards
from examples.train_builtin.noise import Noise
from examples.train_builtin.painter import paint_shapes
from examples.train_builtin.text import Captions, add_noise_word
from examples.train_builtin.words import STYLES, SUBJECTS, write_caption

BATCH = 48
PURE_SHARE = 0.65  # of the samples; half of the images have shapes under the material
FOREIGN, FOREIGN_KIND = 960, 3  # images that stand in for photographs


@torch.inference_mode()
def encode(work: Path, shrink: int) -> Path:
    """Write the latents of all images, shrunk by this factor, in float16. An existing file stays.

    Each shard has a file of its own until all are encoded: an interrupted run continues with the next shard.
    """
    target = work / f"latents_{SIZE // shrink}.npy"
    if target.exists():
        return target
    encoder, (shards, _) = vae.load(work).encoder, read_shards(work)
    parts = [target.with_name(f"{target.stem}.{number:04}.npy") for number in range(len(shards))]
    for number, (shard, part) in enumerate(zip(shards, parts, strict=True)):
        if not part.exists():
            runs.check_time()
            _save(part, np.concatenate([_encode_pictures(encoder, shard[begin : begin + BATCH], shrink)
                                        for begin in range(0, len(shard), BATCH)]))
            print(f"encoded {number + 1}/{len(shards)} at {SIZE // shrink}", flush=True)
    _save(target, np.concatenate([np.load(part) for part in parts]))
    for part in parts:
        part.unlink()
    return target


def _encode_pictures(encoder: nn.Module, pictures: NDArray[np.uint8], shrink: int) -> NDArray[np.float16]:
    small = F.avg_pool2d(runs.to_device(pictures.copy()).permute(0, 3, 1, 2).float() / 127.5 - 1, shrink)
    with runs.autocast():
        latents = encoder(small.contiguous(memory_format=torch.channels_last))
    return runs.to_array(latents.half())


def _save(target: Path, array: NDArray[Any]) -> None:
    with open(target.with_suffix(".part"), "wb") as file:
        np.save(file, array)
    target.with_suffix(".part").rename(target)


@torch.inference_mode()
def encode_foreign(work: Path, seed: int = 70_000) -> Path:
    """Write latents of images that no caption describes, in float16, as inputs of image-to-image."""
    target = work / "latents_foreign.npy"
    if not target.exists():
        encoder = vae.load(work).encoder
        parts = [encoder(paint_foreign(Noise(BATCH, SIZE, seed + n)) * 2 - 1) for n in range(FOREIGN // BATCH)]
        _save(target, runs.to_array(torch.cat(parts).half()))
    return target


def paint_foreign(noise: Noise) -> Tensor:
    """Draw stand-ins for photographs (count, 3, size, size) from 0 to 1.

    Most are faded colours on dead leaves (a model of natural images: Lee, Mumford and Huang 2001), with grain of any
    strength. A fifth are points of light on black, coarse or fine.
    """
    light = paint_shapes(noise, 40) + 0.1 * noise.uniform(0, 1) * noise.clouds((16, 16), 5, 0.7)
    crowd = noise.uniform(8, 26)
    _, _, number, dx, dy = noise.cells(noise.x * crowd, noise.y * crowd, 1.0)
    points = 0.04 + number * torch.exp(-(dx.square() + dy.square()) / (0.03 * number.square() + 1e-4))
    light = torch.where(noise.coin(0.2), points, noise.uniform(0, 0.3) + noise.uniform(0.5, 1) * light)
    colour = [noise.uniform(0, 0.15) * noise.clouds((2, 2), 3) for _ in range(2)]
    return vae.to_rgb(torch.stack([light, *colour], 1)).clamp(0, 1)


class Samples:
    """Random latents with new captions."""

    def __init__(self, work: Path, shrink: int, seed: int) -> None:
        self.latents = runs.to_device(np.load(encode(work, shrink)))
        self.work, self.shrink = work, shrink
        self.encoder: nn.Module | None = None
        self.labels = [label for shard in read_shards(work)[1] for label in shard]
        self.pure = [number for number, label in enumerate(self.labels) if not label.structured]
        self.determined = [
            number
            for number in self.pure
            if SUBJECTS[self.labels[number].subject].determined and self.labels[number].colour != "rainbow"
        ]
        self.mixed = [number for number, label in enumerate(self.labels) if label.structured]
        self.captions = Captions(work)
        self.random = random.Random(seed)
        self.empty = self.captions.encode([""])

    def pick(self, numbers: list[int]) -> Tensor:
        """Return the latents (n, 8, h, w) of images by their indices, float32."""
        return self.latents[torch.tensor(numbers)].float()

    @torch.inference_mode()
    def renew(self) -> None:
        """Paint as many images again as the run's `fresh` says, each in place of one with the same label."""
        for _ in range(runs.current().fresh):
            self.encoder = self.encoder or vae.load(self.work).encoder
            first = BATCH_OF_LABEL * self.random.randrange(len(self.labels) // BATCH_OF_LABEL)
            painted = paint_again(self.labels[first], self.random.randrange(1 << 40))
            small = F.avg_pool2d(painted * 2 - 1, self.shrink).contiguous(memory_format=torch.channels_last)
            with runs.autocast():
                self.latents[first : first + len(painted)] = self.encoder(small).half()

    def draw(self) -> int:
        """Return the index of an image, which is pure with the probability PURE_SHARE."""
        pure = self.random.random() < PURE_SHARE or not self.mixed
        return self.random.choice(self.pure if pure else self.mixed)

    def take(self, count: int, drop: float = 0.0) -> tuple[Tensor, Tensor, Tensor]:
        """Return latents (count, 8, h, w), text states (count, 16, 128) and kinds (count,): pure, structured or kept.

        The captions of a share `drop` are empty, for guidance.
        """
        numbers = [self.draw() for _ in range(count)]
        labels = [self.labels[number] for number in numbers]
        captions = ["" if self.random.random() < drop else self.describe(label) for label in labels]
        kinds = torch.tensor([label.structured + label.kept for label in labels])
        return self.pick(numbers), self.captions.encode(captions), kinds

    def take_determined(self, count: int) -> tuple[Tensor, Tensor]:
        """Return latents and text states of pure subjects that always look the same; no rainbow, whose hues move."""
        numbers = [self.random.choice(self.determined) for _ in range(count)]
        captions = [self.describe(self.labels[number]) for number in numbers]
        return self.pick(numbers), self.captions.encode(captions)

    def describe(self, label: Label) -> str:
        return add_noise_word(write_caption(label.subject, label.colour, label.style, self.random), self.random)

    def ask(self, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return text states of captions, all subjects equally likely, and the indices of subjects and styles."""
        labels = [draw_label(self.random.randrange(len(SUBJECTS)), self.random) for _ in range(count)]
        subjects = torch.tensor([list(SUBJECTS).index(label.subject) for label in labels])
        styles = torch.tensor([list(STYLES).index(label.style) for label in labels])
        return self.captions.encode([self.describe(label) for label in labels]), subjects, styles


class Foreign:
    """Images whose caption does not describe them: stand-ins for photographs; in a third of cases, training images."""

    def __init__(self, work: Path, samples: Samples) -> None:
        self.latents = runs.to_device(np.load(encode_foreign(work)))
        self.samples = samples

    def take(self, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return the same as Samples.take, with all kinds FOREIGN_KIND."""
        chance = self.samples.random
        stocks = [self.samples.latents if chance.random() < 0.33 else self.latents for _ in range(count)]
        latents = torch.stack([stock[chance.randrange(len(stock))] for stock in stocks])
        return latents.float(), self.samples.ask(count)[0], torch.full((count,), FOREIGN_KIND)
