"""Sampler: few-step denoising, each step three numbers and the model's output.

Every kind is linear in the sample x, the model's output f and fresh noise z, so a step is no more than

    x <- sample * x + output * f(x, t) + noise * z

with three numbers that depend on the number of steps and the strength alone. They travel as a small tensor, so that a
captured graph, which has the tensor's address, follows the strength without being captured anew.

Sources, by kind. The sample is the variance-preserving one throughout; constants are those of diffusers' schedulers.
lcm: Luo et al., "Latent Consistency Models" (arXiv:2310.04378), algorithm 3, with the boundary conditions of Song et
    al., "Consistency Models" (arXiv:2303.01469), section 3. The LCM family, LCM-LoRA, Vega-RT, Hyper-SD in one step.
euler: one Euler step of the probability-flow ODE, with trailing timesteps (Lin et al., arXiv:2305.08891, table 2), as
    the Turbo family (Sauer et al., arXiv:2311.17042), SDXL-Lightning (arXiv:2402.13929) and SDXS (arXiv:2403.16627)
    ask. For a variance-preserving sample it is the DDIM step (Song et al., arXiv:2010.02502, eq. 12).
ddim: the same, down to what is left at timestep 0 where the model's schedule says so. Hyper-SD in several steps.
euler_ancestral: Euler with part of the noise drawn anew, as SDXL-Turbo's own configuration has it.
tcd: Zheng et al., "Trajectory Consistency Distillation" (arXiv:2402.19159), algorithm 4. TCD, Hyper-SD's unified LoRA.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from lcm_daemon.core.errors import RecipeError
from lcm_daemon.pipelines.noise import MAX_STEPS
from lcm_daemon.pipelines.schedule import CLEAN, NoiseSchedule, Pair, known

SIGMA_DATA = 0.5  # standard deviation that the boundary conditions assume of the data (Consistency Models, appendix C)
GAMMA = 0.3  # how much of the way TCD draws anew: TCDScheduler's default
TINY = 1e-12  # keeps a division by the noise defined where there is none

# sample float32, timestep float32 (1,), which step it is from 0 -> the model's output
Model = Callable[[torch.Tensor, torch.Tensor, int], torch.Tensor]


@dataclass(frozen=True)
class Step:
    """One step. timestep: what the model is told; sample, output, noise: the three factors of the update."""

    timestep: float
    sample: float
    output: float
    noise: float


@dataclass(frozen=True)
class Plan:
    """A whole denoising. It starts from signal * latents + noise * z."""

    signal: float
    noise: float
    steps: tuple[Step, ...]

    @functools.cached_property
    def tensor(self) -> torch.Tensor:
        """The same for the device, float32 (9, 4) on the CPU: rows of timestep, sample, output, noise.

        Row 0 is the start (its sample factor is `signal`), row i the i-th step; rows past the last step are 0.
        """
        rows = torch.zeros(1 + MAX_STEPS, 4)
        first = (self.steps[0].timestep, self.signal, 0.0, self.noise)
        steps = [(step.timestep, step.sample, step.output, step.noise) for step in self.steps]
        rows[:1 + len(steps)] = torch.tensor([first, *steps])
        return rows


class Sampler:
    """The plans of one model, by steps and strength.

    kind: a name in `KINDS`.
    config: the model's scheduler_config.json, with what the recipe lays over it. Beside diffusers' keys it may have
    first_timestep (where strength 1 starts, where it is not the last timestep: 800 for Hyper-SD's one-step UNet) and
    gamma (tcd: 0 draws no noise between steps, 1 draws it all anew).
    """

    def __init__(self, kind: str, config: Mapping[str, Any]) -> None:
        if kind not in KINDS:
            raise RecipeError(f"sampler {kind!r} is not one of {', '.join(KINDS)}")
        self.schedule = NoiseSchedule(config)
        prediction = known(config, "prediction_type", "epsilon", CLEAN)
        if any(config.get(key) for key in ("thresholding", "clip_sample")):
            raise RecipeError("scheduler_config.json: thresholding and clip_sample are for pictures, not for latents")
        if prediction == "epsilon" and self.schedule.signal(self.schedule.count - 1) <= 0.0:
            raise RecipeError("scheduler_config.json: zero terminal signal needs v_prediction or sample, not epsilon")
        self._predicted = CLEAN[prediction]
        self._scaling = float(config.get("timestep_scaling", 10.0))
        self._kind = KINDS[kind]
        self._levels = self._kind.levels(config, self.schedule.count)
        self._gamma = float(config.get("gamma", GAMMA))
        self._last = self._kind.last(config)
        self._first = int(config.get("first_timestep", self.schedule.count - 1))
        self.plan = functools.lru_cache(maxsize=256)(self._plan)

    def timesteps(self, steps: int, strength: float) -> tuple[float, ...]:
        """Real timesteps, descending. Where diffusers' `set_timesteps(steps, strength=...)` has an answer, it is this.

        diffusers knows as many strengths as the distillation had levels (50, or 1000 for the trailing kinds); between
        two of them each timestep moves in a straight line, and below the first it runs down to -1, the clean picture.
        """
        return self._between(strength, lambda level: self._at(level, steps))

    def _plan(self, steps: int, strength: float, text: bool = False) -> Plan:
        """The plan for so many steps (1 to 8) at a strength (above 0 up to 1); `text` starts from noise alone."""
        timesteps = self.timesteps(steps, strength)
        signal = self.schedule.signal(timesteps[0])
        after = map(self.schedule.signal, self._between(strength, lambda level: self._after(level, steps)))
        middle = map(self.schedule.signal, self._between(strength, lambda level: self._middle(level, steps)))
        steps_taken = tuple(map(self._step, timesteps, after, middle))
        if text:
            return Plan(0.0, self._kind.text_noise(signal), steps_taken)
        return Plan(signal**0.5, (1 - signal) ** 0.5, steps_taken)

    def _between(self, strength: float, at: Callable[[int], list[float]]) -> tuple[float, ...]:
        """Straight lines between what diffusers has at the level below and at the one above."""
        below = min(int(strength * self._levels), self._levels - 1)
        share = strength * self._levels - below
        return tuple(a * (1 - share) + b * share for a, b in zip(at(below), at(below + 1), strict=True))

    def _at(self, level: int, steps: int) -> list[float]:
        """The timesteps at a whole level."""
        width, reach = self.schedule.count // self._levels, (self._first + 1) / self.schedule.count
        return [self._kind.rounding(level * (steps - i) / steps) * width * reach - 1 for i in range(steps)]

    def _after(self, level: int, steps: int) -> list[float]:
        """Where each step ends: at the next timestep, the last one at the kind's last, or where it is if that is less.
        """
        at = self._at(level, steps)
        return [*at[1:], min(self._last, at[-1])]

    def _middle(self, level: int, steps: int) -> list[float]:
        """TCD goes down past the next timestep without noise, to here, and up again with noise."""
        after = self._after(level, steps)
        return [*(float(math.floor((1 - self._gamma) * t)) for t in after[:-1]), after[-1]]

    def _step(self, timestep: float, after: float, middle: float) -> Step:
        """From the clean picture c and the noise e = (x - sqrt(signal) c) / sqrt(1 - signal) that the model sees."""
        told, signal = max(timestep, 0.0), self.schedule.signal(timestep)
        sample, output = self._kind.clean(self, told, signal)
        clean, noise, fresh = self._kind.split(signal, after, middle)
        spread = max(1 - signal, TINY) ** 0.5
        clean -= noise * signal**0.5 / spread
        return Step(told, clean * sample + noise / spread, clean * output, fresh)

    def _plain_clean(self, timestep: float, signal: float) -> Pair:
        return self._predicted(signal)

    def _boundary_clean(self, timestep: float, signal: float) -> Pair:
        """The clean picture under the boundary conditions: at timestep 0 it is the sample itself."""
        scaled = timestep * self._scaling
        skip = SIGMA_DATA**2 / (scaled**2 + SIGMA_DATA**2)
        out = scaled / (scaled**2 + SIGMA_DATA**2) ** 0.5
        sample, output = self._predicted(signal)
        return out * sample + skip, out * output


Factors = tuple[float, float, float]  # of the clean picture, of the noise that the model sees, of fresh noise


def _split_anew(signal: float, after: float, middle: float) -> Factors:
    return after**0.5, 0.0, (1 - after) ** 0.5


def _split_kept(signal: float, after: float, middle: float) -> Factors:
    return after**0.5, (1 - after) ** 0.5, 0.0


def _split_ancestral(signal: float, after: float, middle: float) -> Factors:
    """sigma_up and sigma_down of Karras et al.'s k-diffusion, times sqrt(after): `kept` is sigma_down^2 / sigma^2."""
    kept = (1 - after) / after * signal / max(1 - signal, TINY)
    return after**0.5, ((1 - after) * kept) ** 0.5, ((1 - after) * max(1 - kept, 0.0)) ** 0.5


def _split_tcd(signal: float, after: float, middle: float) -> Factors:
    left = after / middle
    return after**0.5, (left * (1 - middle)) ** 0.5, max(1 - left, 0.0) ** 0.5


@dataclass(frozen=True)
class _Kind:
    levels: Callable[[Mapping[str, Any], int], int]
    rounding: Callable[[float], int]
    last: Callable[[Mapping[str, Any]], float]  # the timestep where the last step ends; -1 is the clean picture
    text_noise: Callable[[float], float]  # of the first sample in text mode, from its alpha-bar
    clean: Callable[[Sampler, float, float], Pair]
    split: Callable[[float, float, float], Factors]


def _distilled(config: Mapping[str, Any], count: int) -> int:
    return int(config.get("original_inference_steps", 50))


def _every(config: Mapping[str, Any], count: int) -> int:
    return count


KINDS: Mapping[str, _Kind] = {
    "lcm": _Kind(_distilled, math.ceil, lambda config: -1.0, lambda signal: 1.0, Sampler._boundary_clean, _split_anew),
    "euler": _Kind(_every, round, lambda config: -1.0, lambda signal: (1 - signal) ** 0.5, Sampler._plain_clean,
                   _split_kept),
    "ddim": _Kind(_every, round, lambda config: -1.0 if config.get("set_alpha_to_one", True) else 0.0,
                  lambda signal: 1.0, Sampler._plain_clean, _split_kept),
    "euler_ancestral": _Kind(_every, round, lambda config: -1.0, lambda signal: (1 - signal) ** 0.5,
                             Sampler._plain_clean, _split_ancestral),
    "tcd": _Kind(_distilled, math.ceil, lambda config: 0.0, lambda signal: 1.0, Sampler._plain_clean, _split_tcd),
}


def run(predict: Model, steps: int, sample: torch.Tensor, factors: torch.Tensor, noise: torch.Tensor,
        text: bool = False) -> None:
    """Denoise in place: latents in, clean latents out. Reads device tensors alone, so it may be captured as a graph.

    predict: called with the sample, a view (1,) of `factors` with the timestep, and the number of the step from 0.
    steps: as in the plan.   sample: float32 (1, channels, height, width).
    factors: `Plan.tensor` on the sample's device.   noise: `Noise.values`.
    text: start from noise alone, whatever `sample` holds.
    `steps` and `text` select what is captured; strength, seed and everything in the tensors may change under it.
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
