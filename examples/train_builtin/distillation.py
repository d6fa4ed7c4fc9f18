"""Distil the denoiser into a latent consistency model (Luo et al. 2023), with the guidance baked in.

The student learns to predict, from any point of the teacher's guided path, the end of that path. It starts as the
teacher and is compared with its own moving average one solver step further down. Two more losses state their target
directly: the coarse brightness of a foreign image stays under any prompt, and a classifier of latents finds the subject
after two steps from noise.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import UNet2DConditionModel
from torch import Tensor

from examples.train_builtin import diffusion, reward, runs, vae, workers
from examples.train_builtin.diffusion import Noising, Training, channel_weight, compile_denoiser, draw_times
from examples.train_builtin.latents import Foreign, Samples

# By kind: pure, structured, kept, foreign; higher values would remove the input's shapes
GUIDANCE = (2.5, 1.75, 1.0, 1.75)
SKIP, RATE, DECAY = 80, 8e-4, 0.98
# Samples per step of a worker: drawn, foreign, roll-outs for the reward. All calls have twelve: one compilation
PAINTED, FOREIGN, ROLLED = 8, 4, 12
CONSISTENT, REWARDED = 4, 8  # steps between two updates; `told` runs at every step
WEIGHTS = {"told": 1.0, "consistency": 1.0, "structure": 0.12, "reward": 0.03}
TOLD = (5, 3, 4)  # samples from pure noise, from much noise, and from the second step of a roll-out
# Timesteps of two-step sampling, used for one sample in four: from noise, and from images at strengths .7 and .5
PLAYED, PLAYED_LIVE = (999, 499), (699, 359, 499, 259)
HUBER = 0.03
# The student runs on a schedule with less noise than the teacher's: half the strength gives a signal-to-noise ratio of
# 1.5 instead of 0.32, so that image-to-image keeps the input's shapes there; the noise still covers its colour.
SCHEDULE = diffusion.SCHEDULE | {"beta_start": 0.00002, "beta_end": 0.0004}


class Teacher:
    """The denoiser with classifier-free guidance, at the timesteps of its own schedule."""

    def __init__(self, denoiser: UNet2DConditionModel, noising: Noising, empty: Tensor) -> None:
        self.denoise, self.noising, self.empty = compile_denoiser(denoiser), noising, empty
        self.times = match_times(noising, Noising())

    def step(self, noisy: Tensor, times: Tensor, ends: Tensor, text: Tensor, kinds: Tensor) -> Tensor:
        """One guided DDIM step from `times` down to `ends` (Song et al. 2021)."""
        told = self.times[times]
        with_text, without = (
            self.denoise(noisy, told, state).sample.float() for state in (text, self.empty.expand_as(text).contiguous())
        )
        guidance = torch.tensor(GUIDANCE)[kinds][:, None, None, None]
        clean, noise = self.noising.split(noisy, without + guidance * (with_text - without), times)
        return self.noising.add(clean, noise, ends)


def draw_played(times: Tensor, kinds: Tensor) -> Tensor:
    """Move a quarter of the samples to the timesteps that sampling uses most."""
    chosen = torch.tensor(PLAYED)[torch.randint(len(PLAYED), times.shape)]
    live = torch.tensor(PLAYED_LIVE)[torch.randint(len(PLAYED_LIVE), times.shape)]
    return torch.where(torch.rand(len(times)) < 0.25, torch.where(kinds > 0, live, chosen), times)


def match_times(played: Noising, learned: Noising) -> Tensor:
    """Return, for each timestep of one schedule, the timestep of the other with the same signal level."""
    gaps: Tensor = (played.alpha[:, None] - learned.alpha).abs()
    return gaps.argmin(dim=1)


def structure_loss(made: Tensor, wanted: Tensor) -> Tensor:
    """1 minus the correlation of the cells' mean brightness (latent channel 0), plus half the same of their detail."""
    loss = torch.zeros(())
    for channels, share in ((slice(0, 1), 1.0), (slice(1, -vae.CHROMA), 0.5)):
        first, second = (latents[:, channels].flatten(1) for latents in (made, wanted))
        first, second = (cells - cells.mean(dim=1, keepdim=True) for cells in (first, second))
        loss = loss + share * (1 - F.cosine_similarity(first, second, dim=1, eps=1e-3).mean())
    return loss


def huber(made: Tensor, wanted: Tensor, weight: Tensor) -> Tensor:
    return (((made - wanted).square() * weight + HUBER**2).sqrt() - HUBER).mean()


def line_up(latents: Tensor) -> Tensor:
    return latents.contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def roll_out(denoise: Callable[..., Any], noising: Noising, text: Tensor) -> Tensor:
    """Return the input of the second of two steps: the first output from pure noise, noised (ROLLED, 8, 32, 32)."""
    noise = line_up(torch.randn(len(text), vae.CHANNELS, 32, 32))
    first = torch.full((len(text),), PLAYED[0])
    clean, _ = noising.split(noise, denoise(noise, first, text).sample.float(), first)
    return line_up(noising.add(clean, torch.randn_like(clean), torch.full_like(first, PLAYED[1])))


class Student:
    """The model in training, the models that it is compared with, and the four losses; each is a scalar."""

    def __init__(self, work: Path, seed: int) -> None:
        self.reader = reward.train(work)
        teacher = diffusion.load(work / "diffusion.pt")
        self.state = Training(work / "distillation.pt", diffusion.load(work / "diffusion.pt").requires_grad_(True))
        number = seed + 1000 * workers.rank() + self.state.step
        torch.manual_seed(number)
        self.samples = Samples(work, 1, number)
        self.foreign = Foreign(work, self.samples)
        self.noising, self.weight = Noising(SCHEDULE), channel_weight()
        self.teacher = Teacher(teacher, self.noising, self.samples.empty)
        self.denoise, self.average = compile_denoiser(self.state.model), compile_denoiser(self.state.average)

    def see(self, noisy: Tensor, times: Tensor, text: Tensor) -> Tensor:
        """Return the clean latents that the model predicts."""
        with runs.autocast():
            velocity = self.denoise(noisy, times, text).sample.float()
        return self.noising.split(noisy, velocity, times)[0]

    def told(self) -> dict[str, Tensor]:
        """Direct regression: a subject without freedom is its own mean, and so a target even from noise."""
        pure, much, second = runs.scaled(*TOLD)
        clean, text = self.samples.take_determined(pure + much + second)
        low, high = torch.tensor([[999, 1000]] * pure + [[550, 999]] * much + [[499, 500]] * second).unbind(1)
        times = (low + torch.rand(len(low)) * (high - low)).long()
        noisy = self.noising.add(clean, torch.randn_like(clean), times)
        with runs.autocast():
            noisy[-second:] = roll_out(self.state.average, self.noising, text[-second:])
        return {"told": huber(self.see(line_up(noisy), times, text), clean, self.weight)}

    def consistency(self) -> dict[str, Tensor]:
        """Compare the path's end from here and from one solver step further down; and foreign images' structure."""
        painted, foreign = runs.scaled(PAINTED, FOREIGN)
        pairs = zip(self.samples.take(painted), self.foreign.take(foreign), strict=True)
        clean, text, kinds = (torch.cat(pair) for pair in pairs)
        times = draw_played(draw_times(kinds).clamp(min=SKIP), kinds)
        noisy = line_up(self.noising.add(clean, torch.randn_like(clean), times))
        with runs.autocast(), torch.no_grad():
            nearer = line_up(self.teacher.step(noisy, times, times - SKIP, text, kinds))
            velocity = self.average(nearer, times - SKIP, text).sample.float()
        wanted, _ = self.noising.split(nearer, velocity, times - SKIP)
        made = self.see(noisy, times, text)
        return {
            "consistency": huber(made, wanted, self.weight),
            "structure": structure_loss(made[painted:], clean[painted:]),
        }

    def reward(self) -> dict[str, Tensor]:
        """The classifier's loss after two steps from noise."""
        (rolls,) = runs.scaled(ROLLED)
        text, subjects, styles = self.samples.ask(rolls)
        with runs.autocast():
            rolled = roll_out(self.average, self.noising, text)
        made = self.see(rolled, torch.full((rolls,), PLAYED[1]), text)
        return {"reward": self.reader.loss(made, subjects, styles)}


def train(work: Path, seconds: float, seed: int = 4) -> None:
    """Distil for `seconds`, resuming from `distillation.pt`."""
    torch.manual_seed(seed)
    student = Student(work, seed)
    state = student.state
    state.last = runs.clock()
    while state.lasts(seconds):
        student.samples.renew()
        losses = student.told()
        if state.step % CONSISTENT == 0:
            losses |= student.consistency()
        if state.step % REWARDED == 1:
            losses |= student.reward()
        loss = torch.stack([WEIGHTS[name] * part for name, part in losses.items()]).sum()
        state.update(loss, state.ease(RATE, seconds), DECAY)
        state.follow(losses, seconds)
    state.save()
