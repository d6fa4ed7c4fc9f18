"""Encode the painted pictures once: latents of half-size pictures to begin with, and of whole ones to end with."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from examples.train_builtin import vae
from examples.train_builtin.data import SIZE, Label, read_shards
from examples.train_builtin.text import Captions, add_noise_word
from examples.train_builtin.words import write_caption

BATCH = 48


@torch.inference_mode()
def encode(work: Path, shrink: int) -> Path:
    """Write the latents of all pictures, shrunk by that factor, float16; kept if there."""
    target = work / f"latents_{SIZE // shrink}.npy"
    if target.exists():
        return target
    encoder = vae.load(work).encoder.to(torch.bfloat16)
    parts = []
    shards, _ = read_shards(work)
    for number, shard in enumerate(shards):
        for begin in range(0, len(shard), BATCH):
            pictures = torch.from_numpy(shard[begin : begin + BATCH].copy()).permute(0, 3, 1, 2)
            pictures = F.avg_pool2d(pictures.float() / 127.5 - 1, shrink)
            pictures = pictures.to(torch.bfloat16, memory_format=torch.channels_last)
            parts.append(encoder(pictures).to(torch.float16).contiguous().numpy())
        print(f"encoded {number + 1}/{len(shards)} at {SIZE // shrink}", flush=True)
    with open(target.with_suffix(".part"), "wb") as file:
        np.save(file, np.concatenate(parts))
    target.with_suffix(".part").rename(target)
    return target


class Samples:
    """Random latents with fresh captions."""

    def __init__(self, work: Path, shrink: int, seed: int) -> None:
        self.latents = np.load(encode(work, shrink))
        self.labels = [label for shard in read_shards(work)[1] for label in shard]
        self.captions = Captions(work)
        self.random = random.Random(seed)
        self.empty = self.captions.encode([""])

    def take(self, count: int, drop: float = 0.0) -> tuple[Tensor, Tensor, Tensor]:
        """Latents (count, 8, h, w), text states (count, 16, 128), and the kind (count,): pure, structured or kept.

        The captions of a share `drop` are empty, for guidance.
        """
        numbers = [self.random.randrange(len(self.latents)) for _ in range(count)]
        labels = [self.labels[number] for number in numbers]
        captions = ["" if self.random.random() < drop else self.describe(label) for label in labels]
        latents = torch.from_numpy(self.latents[numbers]).float()
        return (
            latents,
            self.captions.encode(captions),
            torch.tensor([label.structured + label.kept for label in labels]),
        )

    def describe(self, label: Label) -> str:
        return add_noise_word(write_caption(label.subject, label.colour, label.style, self.random), self.random)
