"""Sampler: denoising in a few steps. Each step is three numbers and the model's output.

Every kind of sampler is linear in the sample x, the model's output f and fresh noise z, so a step is just

    x <- sample * x + output * f(x, t) + noise * z

with three numbers that depend only on the number of steps and the strength. They are stored in a small tensor, so that
a captured graph, which reads the tensor's address, follows the strength without being captured again.

Sources, by kind. All samples are variance-preserving; constants are those of diffusers' schedulers.
lcm: Luo et al., "Latent Consistency Models" (arXiv:2310.04378), algorithm 3, with the boundary conditions of Song et
    al., "Consistency Models" (arXiv:2303.01469), section 3. The LCM family, LCM-LoRA, Vega-RT, Hyper-SD in one step.
euler: one Euler step of the probability-flow ODE, with trailing timesteps (Lin et al., arXiv:2305.08891, table 2), as
    the Turbo family (Sauer et al., arXiv:2311.17042), SDXL-Lightning (arXiv:2402.13929) and SDXS (arXiv:2403.16627)
    require. For a variance-preserving sample it is the DDIM step (Song et al., arXiv:2010.02502, eq. 12).
ddim: the same, but it ends at timestep 0 where the model's schedule says so. Hyper-SD in several steps.
euler_ancestral: Euler with part of the noise drawn again, as in SDXL-Turbo's own configuration.
pix2pix: one Euler step from the latents of a map, without noise (Parmar et al., arXiv:2403.12036). pix2pix-turbo.
tcd: Zheng et al., "Trajectory Consistency Distillation" (arXiv:2402.19159), algorithm 4. TCD, Hyper-SD's unified LoRA.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lcm_daemon.core.errors import RecipeError
from lcm_daemon.pipelines.noise import MAX_STEPS
from lcm_daemon.pipelines.schedule import CLEAN_FROM, NoiseSchedule, Pair, read_choice
from lcm_daemon.recipes.registry import SAMPLERS, SamplerKind
from lcm_daemon.recipes.schedule_keys import impossible

SIGMA_DATA = 0.5  # standard deviation that the boundary conditions assume of the data (Consistency Models, appendix C)
GAMMA = 0.3  # share of the noise that TCD draws again: TCDScheduler's default
EPSILON = 1e-12  # keeps a division by the noise defined where no noise is left

# (sample float32, timestep float32 (1,), number of the step from 0) -> the model's output
Model = Callable[[torch.Tensor, torch.Tensor, int], torch.Tensor]


@dataclass(frozen=True)
class Step:
    """One step. timestep: the model's input; sample, output, noise: the three factors of the update.

    level: factors of the clean image and of noise in a sample of the level that the step ends at.
    """

    timestep: float
    sample: float
    output: float
    noise: float
    level: tuple[float, float] = (1.0, 0.0)


@dataclass(frozen=True)
class StepPlan:
    """All steps of one denoising. It starts from signal * latents + noise * z."""

    signal: float
    noise: float
    steps: tuple[Step, ...]

    @functools.cached_property
    def tensor(self) -> torch.Tensor:
        """The plan as a tensor, float32 (1 + MAX_STEPS, 4) on the CPU: rows of timestep, sample, output, noise.

        Row 0 is the start (its sample factor is `signal`), row i is the i-th step. Rows after the last step are 0.
        """
        rows = torch.zeros(1 + MAX_STEPS, 4)
        first = (self.steps[0].timestep, self.signal, 0.0, self.noise)
        steps = [(step.timestep, step.sample, step.output, step.noise) for step in self.steps]
        rows[:1 + len(steps)] = torch.tensor([first, *steps])
        return rows

    @functools.cached_property
    def levels(self) -> NDArray[np.float32]:
        """The `level` of each step, float32 (MAX_STEPS, 2). The last step ends without noise."""
        rows = np.zeros((MAX_STEPS, 2), np.float32)
        rows[:len(self.steps)] = [*(step.level for step in self.steps[:-1]), (1.0, 0.0)]
        return rows


class Sampler:
    """Makes the step plans of one model, by number of steps and strength.

    Args:
        kind: A name in `SAMPLERS`.
        config: The model's scheduler_config.json, overridden by the recipe's `schedule`. Besides diffusers' keys it
            may contain first_timestep (where strength 1 starts, if that is not the last timestep: 800 for Hyper-SD's
            one-step UNet) and gamma (tcd: 0 draws no noise between steps, 1 draws all of it again).
    """

    def __init__(self, kind: str, config: Mapping[str, Any]) -> None:
        if kind not in SAMPLERS:
            raise RecipeError(f"sampler {kind!r} is not one of {', '.join(SAMPLERS)}")
        if mistake := impossible(config):
            raise RecipeError(f"scheduler_config.json: {mistake}")
        self.schedule = NoiseSchedule(config)
        prediction = read_choice(config, "prediction_type", "epsilon", CLEAN_FROM)
        if any(config.get(key) for key in ("thresholding", "clip_sample")):
            raise RecipeError("scheduler_config.json: thresholding and clip_sample are for images, not for latents")
        if prediction == "epsilon" and self.schedule.signal(self.schedule.count - 1) <= 0.0:
            raise RecipeError("scheduler_config.json: zero terminal signal needs v_prediction or sample, not epsilon")
        self._clean_from = CLEAN_FROM[prediction]
        self._scaling = float(config.get("timestep_scaling", 10.0))
        self._kind = SAMPLERS[kind]
        # How many strengths diffusers distinguishes.
        self._levels = int(config.get("original_inference_steps", 50)) if self._kind.distilled else self.schedule.count
        self._gamma = float(config.get("gamma", GAMMA))
        self._last = _last_timestep(self._kind, config)
        self._first = int(config.get("first_timestep", self.schedule.count - 1))
        self.plan = functools.lru_cache(maxsize=256)(self._plan)

    def timesteps(self, steps: int, strength: float) -> tuple[float, ...]:
        """Real timesteps, descending. Equal to diffusers' `set_timesteps(steps, strength=...)` where that is defined.

        diffusers knows as many strengths as the distillation had levels (50, or 1000 for the trailing kinds). Between
        two levels each timestep is interpolated linearly; below the first level it falls to -1, the clean image.
        """
        return self._between(strength, lambda level: self._starts(level, steps))

    def _plan(self, steps: int, strength: float, text: bool = False) -> StepPlan:
        """Plan 1 to 8 steps at a strength above 0, up to 1. `text`: start from noise only."""
        strength = 1.0 if self._kind.from_input else strength
        timesteps = self.timesteps(steps, strength)
        signal = self.schedule.signal(timesteps[0])
        after = map(self.schedule.signal, self._between(strength, lambda level: self._ends(level, steps)))
        middle = map(self.schedule.signal, self._between(strength, lambda level: self._middle(level, steps)))
        planned = tuple(map(self._step, timesteps, after, middle))
        if text:
            noise = 1.0 if self._kind.text_noise == "one" else (1 - signal) ** 0.5
            return StepPlan(0.0, noise, planned)
        if self._kind.from_input:
            return StepPlan(1.0, 0.0, planned)
        return StepPlan(signal**0.5, (1 - signal) ** 0.5, planned)

    def _between(self, strength: float, at: Callable[[int], list[float]]) -> tuple[float, ...]:
        """Interpolate linearly between diffusers' timesteps at the level below and at the level above."""
        below = min(int(strength * self._levels), self._levels - 1)
        share = strength * self._levels - below
        return tuple(a * (1 - share) + b * share for a, b in zip(at(below), at(below + 1), strict=True))

    def _starts(self, level: int, steps: int) -> list[float]:
        """Where each step starts, at a whole level."""
        width, reach = self.schedule.count // self._levels, (self._first + 1) / self.schedule.count
        rounding = math.ceil if self._kind.distilled else round
        return [rounding(level * (steps - i) / steps) * width * reach - 1 for i in range(steps)]

    def _ends(self, level: int, steps: int) -> list[float]:
        """Where each step ends: at the start of the next one. The last one ends at the kind's last timestep, or where
        it starts if that is lower."""
        starts = self._starts(level, steps)
        return [*starts[1:], min(self._last, starts[-1])]

    def _middle(self, level: int, steps: int) -> list[float]:
        """TCD denoises past the end of a step, to this timestep, and then adds noise up to the end."""
        ends = self._ends(level, steps)
        return [*(float(math.floor((1 - self._gamma) * t)) for t in ends[:-1]), ends[-1]]

    def _step(self, timestep: float, after: float, middle: float) -> Step:
        """Combine the clean image c and the noise e = (x - sqrt(signal) c) / sqrt(1 - signal) that the model sees."""
        seen, signal = max(timestep, 0.0), self.schedule.signal(timestep)
        sample, output = self._boundary_clean(seen, signal) if self._kind.boundary else self._clean_from(signal)
        clean, noise, fresh = _SPLITS[self._kind.noise](signal, after, middle)
        spread = max(1 - signal, EPSILON) ** 0.5
        clean -= noise * signal**0.5 / spread
        return Step(seen, clean * sample + noise / spread, clean * output, fresh, (after**0.5, (1 - after) ** 0.5))

    def _boundary_clean(self, timestep: float, signal: float) -> Pair:
        """The clean image under the boundary conditions: at timestep 0 it is the sample itself."""
        scaled = timestep * self._scaling
        skip = SIGMA_DATA**2 / (scaled**2 + SIGMA_DATA**2)
        out = scaled / (scaled**2 + SIGMA_DATA**2) ** 0.5
        sample, output = self._clean_from(signal)
        return out * sample + skip, out * output


Factors = tuple[float, float, float]  # of the clean image, of the noise that the model sees, of fresh noise


def _split_fresh(signal: float, after: float, middle: float) -> Factors:
    return after**0.5, 0.0, (1 - after) ** 0.5


def _split_kept(signal: float, after: float, middle: float) -> Factors:
    return after**0.5, (1 - after) ** 0.5, 0.0


def _split_ancestral(signal: float, after: float, middle: float) -> Factors:
    """sigma_up and sigma_down of Karras et al.'s k-diffusion, times sqrt(after): `kept` is sigma_down^2 / sigma^2."""
    kept = (1 - after) / after * signal / max(1 - signal, EPSILON)
    return after**0.5, ((1 - after) * kept) ** 0.5, ((1 - after) * max(1 - kept, 0.0)) ** 0.5


def _split_tcd(signal: float, after: float, middle: float) -> Factors:
    left = after / middle
    return after**0.5, (left * (1 - middle)) ** 0.5, max(1 - left, 0.0) ** 0.5


# alpha-bar at the step's start, end and middle -> factors
_SPLITS: Mapping[str, Callable[[float, float, float], Factors]] = {
    "fresh": _split_fresh,
    "kept": _split_kept,
    "ancestral": _split_ancestral,
    "tcd": _split_tcd,
}


def _last_timestep(kind: SamplerKind, config: Mapping[str, Any]) -> float:
    """Timestep where the last step ends; -1 is the clean image."""
    if kind.end == "zero" or (kind.end == "config" and not config.get("set_alpha_to_one", True)):
        return 0.0
    return -1.0


def denoise(predict: Model, steps: int, sample: torch.Tensor, factors: torch.Tensor, noise: torch.Tensor,
            text: bool = False, after: Callable[[torch.Tensor, int], None] | None = None) -> None:
    """Denoise in place: latents in, clean latents out. Reads only device tensors, so it may be captured as a graph.

    `steps` and `text` decide which kernels are captured. Strength, seed and all contents of the tensors may change
    between replays.

    Args:
        predict: Called with the sample, a view (1,) of `factors` with the timestep, and the number of the step from 0.
        steps: As in the plan.
        sample: float32 (1, channels, height, width).
        factors: `StepPlan.tensor` on the sample's device.
        noise: `Noise.values`.
        text: Start from noise only and ignore the content of `sample`.
        after: Called after each step with the sample, which it may change, and the step's number from 0.
    """
    start = factors[0]
    if text:
        torch.mul(noise[:1], start[3], out=sample)
    else:
        sample.mul_(start[1]).addcmul_(noise[:1], start[3])
    for number in range(1, steps + 1):
        step = factors[number]
        output = predict(sample, step[:1], number - 1)
        sample.mul_(step[1]).addcmul_(output, step[2])
        if number < steps:  # no kind adds noise after the last step
            sample.addcmul_(noise[number:number + 1], step[3])
        if after is not None:
            after(sample, number - 1)
