"""Judges of an output: the nearest palette for the colour, a small classifier for the subject."""

from __future__ import annotations

import itertools
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from examples.train_builtin import runs
from examples.train_builtin.data import paint_shard
from examples.train_builtin.painter import look_up, ramp
from examples.train_builtin.words import COLOURS, SUBJECTS

HELD_OUT = 90_000  # from this seed on, the images were never used in training
PALETTE_POINTS, COVERAGE = 25, 0.1
SIDE, BATCH, EPOCHS = 64, 64, 14


def to_lab(rgb: Tensor) -> Tensor:
    """Convert sRGB (..., 3) from 0 to 1 to Oklab (Ottosson 2020)."""
    linear = torch.where(rgb > 0.04045, ((rgb + 0.055) / 1.055).pow(2.4), rgb / 12.92)
    cone = torch.tensor([
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ])  # fmt: skip
    lab = torch.tensor([
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ])  # fmt: skip
    return (linear @ cone.T).clamp(min=0).pow(1 / 3) @ lab.T


def palettes() -> list[Tensor]:
    """Return the ramps in Oklab, (points, 3) each; the rainbow's hues in four shades."""
    place = torch.linspace(0, 1, PALETTE_POINTS)[None, None]
    ramps = {colour: look_up(ramp(colour), place)[0, :, 0].T for colour in COLOURS}
    ramps["rainbow"] = torch.cat([ramps["rainbow"] * shade for shade in (0.25, 0.5, 0.75, 1.0)])
    return [to_lab(points) for points in ramps.values()]


def judge_colours(pictures: Tensor) -> Tensor:
    """Return the indices (n,) of the nearest palettes.

    The distance counts in both directions: how far the pixels are from the palette and, with the weight COVERAGE, how
    far the palette's points are from the pixels. Without the second part, the rainbow would be near everything.
    """
    known = palettes()
    answers = []
    for picture in F.avg_pool2d(pictures, 8):
        pixels = to_lab(picture.permute(1, 2, 0).reshape(-1, 3))
        distances = [torch.cdist(pixels, points) for points in known]
        scores = [d.amin(dim=1).mean() + COVERAGE * d.amin(dim=0).mean() for d in distances]
        answers.append(torch.stack(scores).argmin())
    return torch.stack(answers)


class SubjectJudge(nn.Module):
    """A small convolutional classifier of brightness at SIDE pixels."""

    def __init__(self) -> None:
        super().__init__()
        widths = (1, 32, 64, 96, 128)
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise(widths):
            layers += [nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU(), nn.MaxPool2d(2)]
        self.layers = nn.Sequential(*layers, nn.Flatten(), nn.Dropout(0.3), nn.Linear(128 * 16, len(SUBJECTS)))

    def forward(self, pictures: Tensor) -> Tensor:
        light = F.adaptive_avg_pool2d(pictures.mean(dim=1, keepdim=True), SIDE)
        light = light - light.mean(dim=(2, 3), keepdim=True)
        scores: Tensor = self.layers(light / (light.std(dim=(2, 3), keepdim=True) + 0.05))
        return scores


def held_out(seed: int, batches: int) -> tuple[Tensor, Tensor, Tensor]:
    """Draw new images (n, 3, 128, 128) at half size. Return them and the indices of their subjects and colours."""
    pictures, labels = paint_shard(HELD_OUT + seed, batches, whole=True)
    halves = F.avg_pool2d(runs.to_device(pictures).permute(0, 3, 1, 2).float() / 255, 2)
    subjects, colours = list(SUBJECTS), list(COLOURS)
    numbers = [(subjects.index(label.subject), colours.index(label.colour)) for label in labels]
    return halves, torch.tensor(numbers)[:, 0], torch.tensor(numbers)[:, 1]


def train_judge(work: Path, seed: int = 5) -> tuple[SubjectJudge, dict[str, float]]:
    """Train the classifier, or load it from `judge.pt`; also return the accuracy of both judges on unseen images."""
    path = work / "judge.pt"
    judge = SubjectJudge()
    if path.exists():
        state = runs.read(path)
        judge.load_state_dict(state["judge"])
        return judge.eval(), state["accuracy"]
    torch.manual_seed(seed)
    pictures, subjects, _ = held_out(0, 300)
    optimizer = torch.optim.AdamW(judge.parameters(), 2e-3, weight_decay=0.02)
    rounds = EPOCHS * len(pictures) // BATCH
    plan = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=rounds)
    progress = runs.Progress(work / "judge.training.pt", judge=judge, optimizer=optimizer, plan=plan)
    for _ in range(progress.step, rounds):
        pick = torch.randint(len(pictures), (BATCH,))
        batch = pictures[pick]
        batch = batch.flip(3) if torch.rand(()) < 0.5 else batch
        loss = F.cross_entropy(judge(batch + 0.03 * torch.randn_like(batch)), subjects[pick])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        plan.step()
        progress.count()
    judge.eval()
    pictures, subjects, colours = held_out(1, 100)
    with torch.inference_mode():
        accuracy = {
            "subject": (judge(pictures).argmax(1) == subjects).float().mean().item(),
            "colour": (judge_colours(pictures) == colours).float().mean().item(),
        }
    runs.write(path, {"judge": judge.state_dict(), "accuracy": accuracy})
    progress.remove()
    return judge, accuracy
