"""Step plans of models of flow matching, whose samples are (1 - t) * image + t * noise.

The model's output f is the velocity noise - image (Lipman et al., "Flow Matching", arXiv:2210.02747), so the clean
image is x - t * f, and a step is the same three numbers as in `sampler`. Sources, by kind:

scm: SANA-Sprint (Chen et al., arXiv:2503.09641). Its distillation runs in the angles s of TrigFlow (Lu & Song,
    "Simplifying, Stabilizing and Scaling Continuous-Time Consistency Models", arXiv:2410.11081): x = cos(s) * image +
    sin(s) * noise. The transformer itself is one of flow matching. With t = sin(s) / (sin(s) + cos(s)), its input is a
    sample of flow matching, and the clean image of the paper's equation (5) is x - t * f. diffusers' SanaSprintPipeline
    and SCMScheduler compute the same by way of TrigFlow. All noise is drawn again after a step.
flow_euler: one Euler step of the probability-flow ODE, as diffusers' FlowMatchEulerDiscreteScheduler. The times are
    shifted towards noise (Esser et al., arXiv:2403.03206, equation 23): by the scheduler's `shift`, or with its
    `use_dynamic_shifting` by the number of the image's tokens, as in FLUX.1 and Z-Image.
flux2: the same, but the dynamic shift depends on the number of steps too, as FLUX.2's authors measured it
    (`compute_empirical_mu` in black-forest-labs/flux2 and in diffusers' Flux2KleinPipeline).
"""

from __future__ import annotations

import functools
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from lcm_daemon.core.errors import RecipeError
from lcm_daemon.pipelines.sampler import Step, StepPlan

MAX_ANGLE = 1.57080  # where diffusers' SanaSprintPipeline starts; just above pi / 2, as there
MIDDLE_ANGLE = 1.3  # where its second of two steps starts
FLUX2_TOKENS = 4300  # from this number on, FLUX.2's shift depends on the tokens alone


class FlowSampler(ABC):
    """Makes the step plans of one model, by number of steps and strength."""

    _keeps_noise = True  # after a step; else all of it is new

    def __init__(self) -> None:
        self.plan = functools.lru_cache(maxsize=256)(self._plan)

    @abstractmethod
    def timesteps(self, steps: int, strength: float) -> tuple[float, ...]:
        """The share of noise t where each step starts, descending from at most 1.

        As diffusers' pipelines, which start at a later step of a longer schedule: n steps at the strength k / n are
        equal to k steps here.
        """

    def _text_noise(self, time: float) -> float:
        """Factor of the noise that text mode starts from."""
        return time

    def _plan(self, steps: int, strength: float, text: bool = False) -> StepPlan:
        """Plan 1 to 8 steps at a strength above 0, up to 1. `text`: start from noise only."""
        times = self.timesteps(steps, strength)
        planned = tuple(map(self._step, times, (*times[1:], 0.0)))
        if text:
            return StepPlan(0.0, self._text_noise(times[0]), planned)
        return StepPlan(1.0 - times[0], times[0], planned)

    def _step(self, time: float, after: float) -> Step:
        level = 1.0 - after, after
        if self._keeps_noise:
            return Step(time, 1.0, after - time, 0.0, level)
        return Step(time, 1.0 - after, -time * (1.0 - after), after, level)


class ScmSampler(FlowSampler):
    """The sampler of SANA-Sprint.

    config: The model's scheduler_config.json, overridden by the recipe's `schedule`. Beside diffusers' keys it may have
        max_timesteps and intermediate_timesteps, arguments of diffusers' SanaSprintPipeline: the angles where strength
        1 starts, and where the second of two steps starts (0: half-way, as with other numbers of steps). Strength
        scales both.
    """

    _keeps_noise = False

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        if config.get("prediction_type", "trigflow") != "trigflow":
            raise RecipeError(f"scheduler_config.json: prediction_type {config['prediction_type']!r} is not trigflow")
        self._first = float(config.get("max_timesteps", MAX_ANGLE))
        self._middle = float(config.get("intermediate_timesteps", MIDDLE_ANGLE))

    def timesteps(self, steps: int, strength: float) -> tuple[float, ...]:
        return tuple(math.sin(angle) / (math.sin(angle) + math.cos(angle)) for angle in self._angles(steps, strength))

    def _angles(self, steps: int, strength: float) -> Sequence[float]:
        if steps == 2 and self._middle > 0.0:
            return self._first * strength, self._middle * strength
        return [self._first * strength * (steps - number) / steps for number in range(steps)]

    def _text_noise(self, time: float) -> float:
        """SanaSprintPipeline starts from the noise of TrigFlow at its whole norm: 1 / (sin(s) + cos(s)) here."""
        return math.hypot(time, 1.0 - time)


class ShiftedSampler(FlowSampler):
    """The samplers `flow_euler` and `flux2`.

    Args:
        config: The model's scheduler_config.json, overridden by the recipe's `schedule`.
        tokens: Tokens of an image in the denoiser.
        empirical: As for `flux2`.
    """

    def __init__(self, config: Mapping[str, Any], tokens: int, empirical: bool = False) -> None:
        super().__init__()
        for key in ("shift_terminal", "use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas",
                    "invert_sigmas", "stochastic_sampling"):
            if config.get(key):
                raise RecipeError(f"scheduler_config.json: {key} is not supported with flow matching")
        if config.get("time_shift_type", "exponential") != "exponential":
            raise RecipeError("scheduler_config.json: of the kinds of time_shift_type only exponential is supported")
        self._config, self._tokens, self._empirical = config, tokens, empirical

    def timesteps(self, steps: int, strength: float) -> tuple[float, ...]:
        factor = self._factor(steps)
        even = [strength * (steps - number) / steps for number in range(steps)]
        return tuple(factor * time / (1.0 + (factor - 1.0) * time) for time in even)

    def _factor(self, steps: int) -> float:
        """The shift. diffusers' "exponential" one of mu is the same formula with the factor e^mu."""
        if not self._config.get("use_dynamic_shifting", False):
            return float(self._config.get("shift", 1.0))
        mu = flux2_shift(self._tokens, steps) if self._empirical else _linear_shift(self._config, self._tokens)
        return math.exp(mu)


def _linear_shift(config: Mapping[str, Any], tokens: int) -> float:
    """mu of FLUX.1 and Z-Image: linear in the number of tokens."""
    low, high = config.get("base_image_seq_len", 256), config.get("max_image_seq_len", 4096)
    base, top = config.get("base_shift", 0.5), config.get("max_shift", 1.15)
    return float(base + (tokens - low) * (top - base) / (high - low))


def flux2_shift(tokens: int, steps: int) -> float:
    """mu of FLUX.2: linear in the tokens for 10 and for 200 steps, and between those linear in the steps."""
    many = 0.00016927 * tokens + 0.45666666
    if tokens > FLUX2_TOKENS:
        return many
    few = 8.73809524e-05 * tokens + 1.89833333
    return few + (many - few) * (steps - 10) / 190.0
