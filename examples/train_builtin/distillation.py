"""Distil the denoiser into a latent consistency model (Luo et al. 2023), with the guidance baked in.

The student learns to see, from any point of the teacher's guided path, the end of that path. It starts as the teacher
and is compared with its own moving average one solver step further down.
"""

from __future__ import annotations

import time
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor

from examples.train_builtin import diffusion, workers
from examples.train_builtin.diffusion import Noising, Training, channel_weight, draw_times
from examples.train_builtin.latents import Samples

GUIDANCE = (2.5, 1.75, 1.0)  # by kind: pure, structured, kept; more would wash the input's shapes away
SKIP, BATCH, RATE, DECAY = 80, 12, 3e-4, 0.98
PLAYED = (999, 499)  # the times that two steps visit, drawn in one of four samples
HUBER = 0.03
# The student is played on a gentler schedule than the teacher learned on: half the strength adds less noise (signal to
# noise 0.55 in place of 0.32), so that image-to-image keeps the input's shapes there; its colour is drowned anyway.
SCHEDULE = diffusion.SCHEDULE | {"beta_schedule": "linear", "beta_start": 0.0001, "beta_end": 0.006}


def guided_step(
    teacher: UNet2DConditionModel,
    noising: Noising,
    noisy: Tensor,
    times: Tensor,
    ends: Tensor,
    told: Tensor,
    text: Tensor,
    empty: Tensor,
    guidance: Tensor,
) -> Tensor:
    """One DDIM step of the guided teacher from `times` down to `ends` (Song et al. 2021); `told`: its own times."""
    both = teacher(torch.cat([noisy, noisy]), torch.cat([told, told]), torch.cat([text, empty])).sample.float()
    with_text, without = both.chunk(2)
    clean, noise = noising.split(noisy, without + guidance * (with_text - without), times)
    return noising.add(clean, noise, ends)


def draw_played(times: Tensor, kinds: Tensor) -> Tensor:
    """Put a quarter of the samples on the times that are played most."""
    chosen = torch.tensor(PLAYED)[torch.randint(len(PLAYED), times.shape)]
    chosen = torch.where(kinds > 0, PLAYED[1], chosen)
    return torch.where(torch.rand(len(times)) < 0.25, chosen, times)


def match_times(played: Noising, learned: Noising) -> Tensor:
    """For each time of one schedule the time of the other at which as much signal is left."""
    gaps: Tensor = (played.alpha[:, None] - learned.alpha).abs()
    return gaps.argmin(dim=1)


def train(work: Path, seconds: float, seed: int = 4) -> None:
    """Distil for that long, resuming from `distillation.pt`."""
    torch.manual_seed(seed)
    teacher = diffusion.load(work / "diffusion.pt")
    student = diffusion.build()
    student.load_state_dict(teacher.state_dict())
    state = Training(work / "distillation.pt", student)
    noising, weight = Noising(SCHEDULE), channel_weight()
    teacher_times = match_times(noising, Noising())
    torch.manual_seed(seed + 1000 * workers.rank() + state.step)
    samples = Samples(work, 1, seed + 1000 * workers.rank() + state.step)
    state.last = time.monotonic()
    recent = 0.0
    while state.spent < seconds:
        clean, text, kinds = samples.take(BATCH)
        times = draw_played(draw_times(kinds).clamp(min=SKIP), kinds)
        ends = times - SKIP
        noisy = noising.add(clean, torch.randn_like(clean), times).contiguous(memory_format=torch.channels_last)
        empty, guidance = samples.empty.expand_as(text), torch.tensor(GUIDANCE)[kinds][:, None, None, None]
        with torch.autocast("cpu", torch.bfloat16):
            with torch.no_grad():
                nearer = guided_step(teacher, noising, noisy, times, ends, teacher_times[times], text, empty, guidance)
                seen = state.average(nearer, ends, text).sample.float()
            wanted, _ = noising.split(nearer, seen, ends)
            velocity = state.model(noisy, times, text).sample.float()
        made, _ = noising.split(noisy, velocity, times)
        loss = (((made - wanted).square() * weight + HUBER**2).sqrt() - HUBER).mean()
        fall = max(0.05, 1 - state.spent / seconds)
        state.update(loss, RATE * min(1.0, (state.step + 1) / 50) * fall, DECAY)
        recent = loss.item() if not recent else 0.98 * recent + 0.02 * loss.item()
        if state.step % 50 == 0 and not workers.rank():
            print(f"distillation {state.spent:.0f}/{seconds:.0f} s step {state.step} loss {recent:.4f}", flush=True)
        if state.step % 200 == 0:
            state.save()
    state.save()
