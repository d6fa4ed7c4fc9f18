"""FlowSampler: step plans of models of flow matching, whose samples are (1 - t) * image + t * noise.

The model's output f is the velocity noise - image (Lipman et al., "Flow Matching", arXiv:2210.02747), so the clean
image is x - t * f, and a step is the same three numbers as in `sampler`. Sources, by kind:

scm: SANA-Sprint (Chen et al., arXiv:2503.09641). Its distillation runs in the angles s of TrigFlow (Lu & Song,
    "Simplifying, Stabilizing and Scaling Continuous-Time Consistency Models", arXiv:2410.11081): x = cos(s) * image +
    sin(s) * noise. The transformer itself is one of flow matching. With t = sin(s) / (sin(s) + cos(s)), its input is a
    sample of flow matching, and the clean image of the paper's equation (5) is x - t * f. diffusers' SanaSprintPipeline
    and SCMScheduler compute the same by way of TrigFlow. All noise is drawn again after a step.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any

from lcm_daemon.core.errors import RecipeError
from lcm_daemon.pipelines.sampler import Step, StepPlan
from lcm_daemon.recipes.registry import SAMPLERS

MAX_ANGLE = 1.57080  # where diffusers' SanaSprintPipeline starts; just above pi / 2, as there
MIDDLE_ANGLE = 1.3  # where its second of two steps starts


class FlowSampler:
    """Makes the step plans of one model, by number of steps and strength.

    Args:
        kind: A name in `SAMPLERS` that has a flow.
        config: The model's scheduler_config.json, overridden by the recipe's `schedule`. Beside diffusers' keys it may
            have max_timesteps and intermediate_timesteps, arguments of diffusers' SanaSprintPipeline: the angles where
            strength 1 starts, and where the second of two steps starts (0: half-way, as with other numbers of steps).
    """

    def __init__(self, kind: str, config: Mapping[str, Any]) -> None:
        if config.get("prediction_type", "trigflow") != "trigflow":
            raise RecipeError(f"scheduler_config.json: prediction_type {config['prediction_type']!r} is not trigflow")
        self._kind = SAMPLERS[kind]
        self._first = float(config.get("max_timesteps", MAX_ANGLE))
        self._middle = float(config.get("intermediate_timesteps", MIDDLE_ANGLE))
        self.plan = functools.lru_cache(maxsize=256)(self._plan)

    def timesteps(self, steps: int, strength: float) -> tuple[float, ...]:
        """The share of noise t where each step starts, descending from at most 1.

        As diffusers' pipelines, which start at a later step of a longer schedule, with n steps at the strength k / n
        equal to k steps here. Where two steps are not evenly spaced, strength scales both.
        """
        return tuple(map(_share_of_noise, self._angles(steps, strength)))

    def _angles(self, steps: int, strength: float) -> Sequence[float]:
        if steps == 2 and self._middle > 0.0:
            return self._first * strength, self._middle * strength
        return [self._first * strength * (steps - number) / steps for number in range(steps)]

    def _plan(self, steps: int, strength: float, text: bool = False) -> StepPlan:
        """Plan 1 to 8 steps at a strength above 0, up to 1. `text`: start from noise only."""
        times = self.timesteps(steps, strength)
        planned = tuple(self._step(time, after) for time, after in zip(times, (*times[1:], 0.0), strict=True))
        if text:  # SanaSprintPipeline starts from the noise of TrigFlow at its whole norm
            angle = self._angles(steps, strength)[0]
            return StepPlan(0.0, 1.0 / (math.sin(angle) + math.cos(angle)), planned)
        return StepPlan(1.0 - times[0], times[0], planned)

    def _step(self, time: float, after: float) -> Step:
        return Step(time, 1.0 - after, -time * (1.0 - after), after, (1.0 - after, after))


def _share_of_noise(angle: float) -> float:
    """t of flow matching for an angle of TrigFlow: the ratio of noise to image is the same."""
    return math.sin(angle) / (math.sin(angle) + math.cos(angle))
