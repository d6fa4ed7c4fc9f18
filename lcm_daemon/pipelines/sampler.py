"""Sampler: few-step denoising, each step three numbers and the model's output.

Sources: Luo et al., "Latent Consistency Models" (arXiv:2310.04378), algorithm 3 (multistep sampling) and the boundary
conditions of Song et al., "Consistency Models" (arXiv:2303.01469), section 3; the constants are those of diffusers'
`LCMScheduler`. The "euler" kind is one Euler step of the probability-flow ODE per step, with trailing timesteps (Lin et
al., arXiv:2305.08891, table 2), as the Turbo family asks (Sauer et al., "Adversarial Diffusion Distillation",
arXiv:2311.17042); written for a variance-preserving sample it is the DDIM step (Song et al., arXiv:2010.02502, eq. 12).

Both are linear in the sample x, the model's output f and fresh noise z, so a step is no more than

    x <- sample * x + output * f(x, t) + noise * z

with three numbers that depend on the number of steps and the strength alone.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from lcm_daemon.errors import RecipeError

MAX_STEPS = 8  # as parameters.TABLE has it
SIGMA_DATA = 0.5  # standard deviation that the boundary conditions assume of the data (Consistency Models, appendix C)

Predict = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]  # sample float32, timestep float32 (1,) -> output
Pair = tuple[float, float]  # factors of the sample and of the model's output


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


class NoiseSchedule:
    """How much of the picture is left at a timestep: alpha-bar over real timesteps from -1 (all) to the last.

    config: a scheduler_config.json as diffusers writes it; keys it lacks take LCMScheduler's defaults.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.count = int(config.get("num_train_timesteps", 1000))
        betas = _BETAS[_known(config, "beta_schedule", "scaled_linear", _BETAS)](config, self.count)
        if config.get("rescale_betas_zero_snr", False):
            betas = _without_terminal_signal(betas)
        self._signal: list[float] = [1.0, *torch.cumprod(1.0 - betas, dim=0).tolist()]

    def signal(self, timestep: float) -> float:
        """alpha-bar, linear between whole timesteps; 1 at -1, the clean picture."""
        place = min(max(timestep + 1.0, 0.0), float(self.count))
        below = min(int(place), self.count - 1)
        low, high = self._signal[below], self._signal[below + 1]
        return low + (high - low) * (place - below)


def _linear(config: Mapping[str, Any], count: int) -> torch.Tensor:
    return torch.linspace(config.get("beta_start", 0.00085), config.get("beta_end", 0.012), count)


def _scaled_linear(config: Mapping[str, Any], count: int) -> torch.Tensor:
    start, end = config.get("beta_start", 0.00085), config.get("beta_end", 0.012)
    return torch.linspace(start**0.5, end**0.5, count) ** 2


def _squared_cosine(config: Mapping[str, Any], count: int) -> torch.Tensor:
    """Nichol & Dhariwal (arXiv:2102.09672), eq. 17."""
    def left(t: float) -> float:
        return math.cos((t + 0.008) / 1.008 * math.pi / 2) ** 2

    return torch.tensor([min(1 - left((i + 1) / count) / left(i / count), 0.999) for i in range(count)])


_BETAS: Mapping[str, Callable[[Mapping[str, Any], int], torch.Tensor]] = {
    "linear": _linear, "scaled_linear": _scaled_linear, "squaredcos_cap_v2": _squared_cosine,
}


def _without_terminal_signal(betas: torch.Tensor) -> torch.Tensor:
    """Rescale so that nothing of the picture is left at the last timestep (arXiv:2305.08891, algorithm 1)."""
    root = torch.cumprod(1.0 - betas, dim=0).sqrt()
    first, last = root[0].clone(), root[-1].clone()
    root = (root - last) * first / (first - last)
    signal = root**2
    return 1 - torch.cat([signal[:1], signal[1:] / signal[:-1]])


def _clean_from_epsilon(signal: float) -> Pair:
    return signal**-0.5, -((1 - signal) / signal) ** 0.5


def _clean_from_velocity(signal: float) -> Pair:
    return signal**0.5, -((1 - signal) ** 0.5)


def _clean_from_sample(signal: float) -> Pair:
    return 0.0, 1.0


# The clean picture from the sample and the model's output, by what the model predicts.
_CLEAN: Mapping[str, Callable[[float], Pair]] = {
    "epsilon": _clean_from_epsilon, "v_prediction": _clean_from_velocity, "sample": _clean_from_sample,
}


def _known(config: Mapping[str, Any], key: str, default: str, table: Mapping[str, Any]) -> str:
    value = str(config.get(key, default))
    if value not in table:
        raise RecipeError(f"scheduler_config.json: {key} {value!r} is not one of {', '.join(table)}")
    return value


class Sampler:
    """The plans of one model, by steps and strength.

    kind: "lcm" or "euler".   config: the model's scheduler_config.json.
    """

    def __init__(self, kind: str, config: Mapping[str, Any]) -> None:
        self.schedule = NoiseSchedule(config)
        prediction = _known(config, "prediction_type", "epsilon", _CLEAN)
        if any(config.get(key) for key in ("thresholding", "clip_sample")):
            raise RecipeError("scheduler_config.json: thresholding and clip_sample are for pictures, not for latents")
        if prediction == "epsilon" and self.schedule.signal(self.schedule.count - 1) <= 0.0:
            raise RecipeError("scheduler_config.json: zero terminal signal needs v_prediction or sample, not epsilon")
        self._clean = _CLEAN[prediction]
        self._scaling = float(config.get("timestep_scaling", 10.0))
        self._kind = _KINDS[kind]
        self._levels = self._kind.levels(config, self.schedule.count)
        self.plan = functools.lru_cache(maxsize=256)(self._plan)

    def _plan(self, steps: int, strength: float, text: bool = False) -> Plan:
        """The plan for so many steps (1 to 8) at a strength (above 0 up to 1); `text` starts from noise alone."""
        timesteps = self.timesteps(steps, strength)
        signal = self.schedule.signal(timesteps[0])
        after = [*map(self.schedule.signal, timesteps[1:]), None]
        steps_taken = tuple(map(self._step, timesteps, after))
        if text:
            return Plan(0.0, self._kind.text_noise(signal), steps_taken)
        return Plan(signal**0.5, (1 - signal) ** 0.5, steps_taken)

    def timesteps(self, steps: int, strength: float) -> tuple[float, ...]:
        """Real timesteps, descending. Where diffusers' `set_timesteps(steps, strength=...)` has an answer, it is this.

        diffusers knows as many strengths as the distillation had levels (50, or 1000 for "euler"); between two of
        them each timestep moves in a straight line, and below the first it runs down to -1, the clean picture.
        """
        levels, width = self._levels, self.schedule.count // self._levels
        below = min(int(strength * levels), levels - 1)
        share = strength * levels - below

        def at(level: int, step: int) -> int:
            return self._kind.rounding(level * (steps - step) / steps) * width - 1

        return tuple(at(below, i) * (1 - share) + at(below + 1, i) * share for i in range(steps))

    def _step(self, timestep: float, after: float | None) -> Step:
        told = max(timestep, 0.0)
        factors = self._kind.factors(self, told, self.schedule.signal(timestep), after)
        return Step(told, *factors)

    def _lcm(self, timestep: float, signal: float, after: float | None) -> tuple[float, float, float]:
        """Clean picture under the boundary conditions, then noised anew to the next timestep (LCM, algorithm 3)."""
        scaled = timestep * self._scaling
        skip = SIGMA_DATA**2 / (scaled**2 + SIGMA_DATA**2)
        out = scaled / (scaled**2 + SIGMA_DATA**2) ** 0.5
        sample, output = self._clean(signal)
        sample, output = out * sample + skip, out * output
        if after is None:
            return sample, output, 0.0
        return after**0.5 * sample, after**0.5 * output, (1 - after) ** 0.5

    def _euler(self, timestep: float, signal: float, after: float | None) -> tuple[float, float, float]:
        """Clean picture and predicted noise, put together again at the next timestep's ratio (DDIM, eta 0)."""
        sample, output = self._clean(signal)
        if after is None:
            return sample, output, 0.0
        # noise = (x - sqrt(signal) * clean) / sqrt(1 - signal)
        ratio = ((1 - after) / max(1 - signal, 1e-12)) ** 0.5
        clean = after**0.5 - ratio * signal**0.5
        return clean * sample + ratio, clean * output, 0.0


@dataclass(frozen=True)
class _Kind:
    levels: Callable[[Mapping[str, Any], int], int]
    rounding: Callable[[float], int]
    text_noise: Callable[[float], float]  # of the first sample in text mode, from its alpha-bar
    factors: Callable[[Sampler, float, float, float | None], tuple[float, float, float]]


_KINDS: Mapping[str, _Kind] = {
    "lcm": _Kind(lambda config, count: int(config.get("original_inference_steps", 50)), math.ceil,
                 lambda signal: 1.0, Sampler._lcm),
    "euler": _Kind(lambda config, count: count, round, lambda signal: (1 - signal) ** 0.5, Sampler._euler),
}


class Noise:
    """The noise of one seed: fixed, so that a still input gives a still picture.

    values: float32 (8, channels, height, width) on `device`: [0] starts a picture, [i] follows step i. Drawn on the
    CPU one after another, as diffusers does with a CPU generator, so a seed is the same picture on every device.
    """

    def __init__(self, channels: int, height: int, width: int, device: torch.device) -> None:
        self.values = torch.empty(MAX_STEPS, channels, height, width, device=device)
        self._drawn = torch.empty(MAX_STEPS, channels, height, width)
        self._generator = torch.Generator()
        self._seed: int | None = None

    def seed(self, seed: int) -> torch.Tensor:
        """`values`, drawn anew if the seed is another."""
        if seed != self._seed:
            self._generator.manual_seed(seed)
            for one in self._drawn:
                torch.randn(one.shape, generator=self._generator, out=one)
            self.values.copy_(self._drawn)
            self._seed = seed
        return self.values


def denoise(predict: Predict, plan: Plan, sample: torch.Tensor, noise: torch.Tensor, timestep: torch.Tensor) -> None:
    """Run `plan` in place: latents in, clean latents out.

    sample: float32 (1, channels, height, width); its content counts where the plan's signal is above 0.
    noise: `Noise.values`.   timestep: a float32 (1,) to write to, on the sample's device.
    """
    if plan.signal:
        sample.mul_(plan.signal).add_(noise[:1], alpha=plan.noise)
    else:
        torch.mul(noise[:1], plan.noise, out=sample)
    for number, step in enumerate(plan.steps, 1):
        output = predict(sample, timestep.fill_(step.timestep))
        sample.mul_(step.sample).add_(output, alpha=step.output)
        if step.noise:
            sample.add_(noise[number:number + 1], alpha=step.noise)
