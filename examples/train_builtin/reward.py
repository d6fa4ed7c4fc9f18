"""A classifier of latents that rewards the student: it predicts the subject and the style.

The gradient of its cross-entropy flows through the last step of a two-step roll-out (ReFL: Xu et al. 2023; DRaFT-1:
Clark et al. 2023). It learns from the training latents. The judge of the evaluation is another network, which learns
from images with other seeds.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from examples.train_builtin import runs, vae
from examples.train_builtin.data import read_shards
from examples.train_builtin.latents import encode
from examples.train_builtin.words import STYLES, SUBJECTS

STEPS, BATCH, RATE = 1200, 64, 2e-3
SHIFT, NOISE = 2, 0.3  # cells; noise level. A reward that a small shift or a little noise removes is not valid


class Reader(nn.Module):
    """Classifier: latents (n, 8, 32, 32) in, scores of the subjects and of the styles out."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise((vae.CHANNELS, 48, 96, 128)):
            layers += [nn.Conv2d(before, after, 3, padding=1), nn.GroupNorm(8, after), nn.SiLU(), nn.AvgPool2d(2)]
        self.layers = nn.Sequential(*layers, nn.Flatten(), nn.Dropout(0.2))
        self.subjects, self.styles = nn.Linear(128 * 16, len(SUBJECTS)), nn.Linear(128 * 16, len(STYLES))

    def forward(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        hidden = self.layers(latents)
        return self.subjects(hidden), self.styles(hidden)

    def loss(self, latents: Tensor, subjects: Tensor, styles: Tensor) -> Tensor:
        """Return the weighted sum of both cross-entropies, on latents that are shifted and noised at random."""
        shift = torch.randint(-SHIFT, SHIFT + 1, (2,)).tolist()
        latents = latents.roll(shift, dims=(2, 3))
        what, how = self(latents + NOISE * torch.rand(()) * torch.randn_like(latents))
        return F.cross_entropy(what, subjects, label_smoothing=0.1) + 0.3 * F.cross_entropy(
            how, styles, label_smoothing=0.1
        )


def train(work: Path, seed: int = 6) -> Reader:
    """Train the reader on the pure images, or load it from `reader.pt`."""
    path, reader = work / "reader.pt", Reader()
    if path.exists():
        reader.load_state_dict(runs.read(path))
        return reader.eval().requires_grad_(False)
    torch.manual_seed(seed)
    labels = [label for shard in read_shards(work)[1] for label in shard]
    pure = torch.tensor([number for number, label in enumerate(labels) if not label.structured])
    subjects = torch.tensor([list(SUBJECTS).index(label.subject) for label in labels])
    styles = torch.tensor([list(STYLES).index(label.style) for label in labels])
    latents = np.load(encode(work, 1), mmap_mode="r")
    optimizer = torch.optim.AdamW(reader.parameters(), RATE, weight_decay=0.05)
    plan = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=STEPS)
    progress = runs.Progress(work / "reader.training.pt", reader=reader, optimizer=optimizer, plan=plan)
    for step in range(progress.step, STEPS):
        pick = pure[torch.randint(len(pure), (BATCH,))]
        loss = reader.loss(runs.to_device(latents[pick.tolist()]).float(), subjects[pick], styles[pick])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        plan.step()
        if step % 200 == 199:
            print(f"reader step {step + 1}/{STEPS} loss {loss.item():.3f}", flush=True)
        progress.count()
    runs.write(path, reader.state_dict())
    progress.remove()
    return reader.eval().requires_grad_(False)
