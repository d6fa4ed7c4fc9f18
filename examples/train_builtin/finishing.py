"""Finish the student: train the last geometry directly, keep the shapes of photographs better, preserve the rest.

Told: subjects without freedom; direct regression to the clean image, from pure noise and at the second of two steps.
Kept: the output of the original student for the same input is the target (learning without forgetting: Li and Hoiem
2016). Shaped: a foreign image under any prompt, whose brightness, as the decoder would render it, must stay; the
coarse colour must stay as the original student renders it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from examples.train_builtin import diffusion, runs, vae, workers
from examples.train_builtin.controlnet import train_probe
from examples.train_builtin.data import draw_label
from examples.train_builtin.diffusion import Noising, Training, channel_weight, compile_denoiser
from examples.train_builtin.distillation import PLAYED, SCHEDULE, huber, line_up
from examples.train_builtin.latents import Foreign, Samples
from examples.train_builtin.sketches import Sketches
from examples.train_builtin.words import SUBJECTS

# The passes, by the checkpoint that each writes. The painters of these subjects leave no freedom except the light.
# Trained together with many others, they stalled at flat means. Bricks together with the first two stayed courses
# without joints. While bricks were trained alone, the first two began to blur. The round ones have no straight
# lines, which could grow inward from the border: without a pass of their own, they are blotches.
PASSES = {
    "cells.pt": ("checker", "honeycomb"), "walls.pt": ("bricks",), "rounds.pt": ("ripples", "spiral", "tunnel"),
    "finishing.pt": ("checker", "honeycomb", "bricks", "ripples", "spiral", "tunnel"),
}  # fmt: skip
LATE_SHARE = 0.8  # of the told samples; the rest are subjects that were told in earlier steps
# Samples of a round, at the first and at the second of two steps. Twelve are at the second step, twelve are not told,
# and each of the two updates has twelve: the kernels that were compiled for the distillation's batch are used again.
TOLD, KEPT, SHAPED = (8, 4), (2, 5), (2, 3)
UPDATES = 2
SECONDS = (PLAYED[1], PLAYED[1], 749, 259)  # timesteps after the first, from noise, at 2 and 4 steps
LIVE = ((499, 259), (499, 259), (299, 159), (699, 359))  # the two timesteps at strengths .5, .3 and .7
RATE, HEADS_RATE, DECAY = 8e-4, 3e-3, 0.99
WEIGHTS = {"told": 1.0, "kept": 1.0, "shape": 1.0, "material": 0.3, "sketch": 0.3}


@dataclass(frozen=True)
class Round:
    """Samples (n, ...): noisy latents, their timesteps, text, targets, and masks of the told, shaped and second ones.

    `wanted` is the target: the clean latents of told samples, else the prediction of the original student. `clean` are
    the clean latents of all samples.
    """

    noisy: Tensor
    times: Tensor
    text: Tensor
    wanted: Tensor
    clean: Tensor
    told: Tensor
    shaped: Tensor
    second: Tensor

    def take(self, update: int) -> Round:
        """Return the samples of one of the UPDATES."""
        return Round(**{field.name: getattr(self, field.name)[update::UPDATES] for field in fields(self)})


def shape_loss(made: Tensor, wanted: Tensor) -> Tensor:
    """1 minus the correlation of the brightness (n, 1, h, w) of two images."""
    first, second = (light.flatten(1) - light.flatten(1).mean(dim=1, keepdim=True) for light in (made, wanted))
    return (1 - F.cosine_similarity(first, second, dim=1, eps=1e-3)).mean()


def see(denoise: Any, noising: Noising, noisy: Tensor, times: Tensor, text: Tensor) -> Tensor:
    """Return the clean latents that a model predicts."""
    with runs.autocast():
        velocity = denoise(line_up(noisy), times, text).sample.float()
    return noising.split(noisy, velocity, times)[0]


def told_before(name: str) -> set[str]:
    """Return the subjects that were told before the pass that writes the checkpoint `name`."""
    done = {subject for subject, entry in SUBJECTS.items() if entry.determined}
    for earlier in list(PASSES)[: list(PASSES).index(name)]:
        done |= set(PASSES[earlier])
    return done - set(PASSES[name])


class Lessons:
    """Random told, kept and shaped samples for the pass that writes the checkpoint `name`."""

    def __init__(self, work: Path, name: str, seed: int) -> None:
        self.samples = Samples(work, 1, seed)
        self.foreign = Foreign(work, self.samples)
        late, before = PASSES[name], told_before(name)
        self.late, self.before = self.find(late), self.find(before)
        self.others = [number for number, subject in enumerate(SUBJECTS) if subject not in late]

    def find(self, subjects: Collection[str]) -> list[int]:
        """Return the indices of the pure images of these subjects, without rainbow, whose hues move."""
        labels = self.samples.labels
        return [n for n in self.samples.pure if labels[n].subject in subjects and labels[n].colour != "rainbow"]

    def tell(self, count: int) -> tuple[Tensor, Tensor]:
        """Return clean latents and text states of geometry."""
        chance, samples = self.samples.random, self.samples
        numbers = [chance.choice(self.late if chance.random() < LATE_SHARE else self.before) for _ in range(count)]
        captions = [samples.describe(samples.labels[number]) for number in numbers]
        return samples.pick(numbers), samples.captions.encode(captions)

    def ask(self, count: int) -> Tensor:
        """Return text states of all other subjects."""
        chance, samples = self.samples.random, self.samples
        labels = [draw_label(chance.choice(self.others), chance) for _ in range(count)]
        return samples.captions.encode([samples.describe(label) for label in labels])

    def times(self, pure: int, shaped: int) -> Tensor:
        """Return the first and the second timestep of each sample of a round (pure + shaped, 2)."""
        chance = self.samples.random
        first = [(PLAYED[0], chance.choice(SECONDS)) for _ in range(pure)]
        return torch.tensor(first + [chance.choice(LIVE) for _ in range(shaped)])


class Finishing:
    """The student in training, the original student, and the losses; each is a scalar."""

    def __init__(self, work: Path, checkpoint: str, name: str, seed: int) -> None:
        self.probe, self.noising, self.weight = train_probe(work), Noising(SCHEDULE), channel_weight()
        self.state = Training(work / name, diffusion.load(work / checkpoint).requires_grad_(True))
        self.sketches = Sketches(self.state.model)
        self.heads = torch.optim.Adam(self.sketches.parameters(), HEADS_RATE)
        number = seed + 1000 * workers.rank() + self.state.step
        torch.manual_seed(number)
        self.lessons = Lessons(work, name, number)
        self.denoise, self.average = compile_denoiser(self.state.model), compile_denoiser(self.state.average)
        self.came = compile_denoiser(diffusion.load(work / checkpoint))

    @torch.no_grad()
    def prepare(self) -> Round:
        """Draw a round. The input of the second step is made from the first output of the moving average."""
        groups = [runs.scaled(*group) for group in (TOLD, KEPT, SHAPED)]
        counts = [sum(group) for group in groups]
        told, told_text = self.lessons.tell(counts[0])
        shaped, shaped_text, _ = self.lessons.foreign.take(counts[2])
        text = torch.cat([told_text, self.lessons.ask(counts[1]), shaped_text])
        clean = torch.cat([told, torch.zeros(counts[1], *told.shape[1:]), shaped])
        part = torch.repeat_interleave(torch.arange(3), torch.tensor(counts))
        second = torch.cat([torch.arange(sum(group)) >= group[0] for group in groups])
        times, after = self.lessons.times(counts[0] + counts[1], counts[2]).unbind(1)
        noisy = torch.randn_like(clean)
        noisy[part == 2] = self.noising.add(shaped, noisy[part == 2], times[part == 2])
        first = see(self.average, self.noising, noisy[second], times[second], text[second])
        times = torch.where(second, after, times)
        noisy[second] = self.noising.add(first, torch.randn_like(first), times[second])
        wanted, rest = clean.clone(), part > 0
        wanted[rest] = see(self.came, self.noising, noisy[rest], times[rest], text[rest])
        return Round(noisy, times, text, wanted, clean, part == 0, part == 2, second)

    def losses(self, given: Round) -> dict[str, Tensor]:
        made = see(self.denoise, self.noising, given.noisy, given.times, given.text)
        told, shaped, kept = given.told, given.shaped, ~(given.told | given.shaped)
        colour = ((made - given.wanted) * self.weight)[shaped, -vae.CHROMA :]
        return {
            "told": huber(made[told], given.wanted[told], self.weight),
            "kept": huber(made[kept], given.wanted[kept], self.weight),
            "shape": shape_loss(self.probe(made[shaped]), self.probe(given.clean[shaped])),
            "material": F.avg_pool2d(colour, 4).square().mean(),
            "sketch": self.sketches.loss(told, given.clean, self.weight),
        }


def train(work: Path, seconds: float, checkpoint: str, name: str, seed: int = 14) -> None:
    """Run one of the PASSES for `seconds`, from a student's `checkpoint`, resuming from the checkpoint `name`."""
    torch.manual_seed(seed)
    job = Finishing(work, checkpoint, name, seed)
    state = job.state
    state.last = runs.clock()
    while state.lasts(seconds):
        given = job.prepare()
        for update in range(UPDATES):
            losses = job.losses(given.take(update))
            loss = torch.stack([WEIGHTS[name] * part for name, part in losses.items()]).sum()
            job.heads.zero_grad()
            state.update(loss, state.ease(RATE, seconds), DECAY)
            job.heads.step()
            state.follow(losses, seconds)
    state.save()
