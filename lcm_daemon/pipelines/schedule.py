"""NoiseSchedule: how much of the image is left at a timestep, and how a model's output gives the clean image.

Sources: the beta schedules are those of diffusers' schedulers, by their names in a scheduler_config.json.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch

from lcm_daemon.core.errors import RecipeError

Pair = tuple[float, float]  # factors of the sample and of the model's output


class NoiseSchedule:
    """alpha-bar, the share of the image that is left, over real timesteps from -1 (all of it) to the last.

    config: a scheduler_config.json as diffusers writes it. Missing keys have the defaults of LCMScheduler.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.count = int(config.get("num_train_timesteps", 1000))
        betas = _BETAS[read_choice(config, "beta_schedule", "scaled_linear", _BETAS)](config, self.count)
        if config.get("rescale_betas_zero_snr", False):
            betas = _rescale_to_zero_terminal_snr(betas)
        self._signal: list[float] = [1.0, *torch.cumprod(1.0 - betas, dim=0).tolist()]

    def signal(self, timestep: float) -> float:
        """alpha-bar, linear between whole timesteps; 1 at -1, the clean image."""
        position = min(max(timestep + 1.0, 0.0), float(self.count))
        below = min(int(position), self.count - 1)
        low, high = self._signal[below], self._signal[below + 1]
        return low + (high - low) * (position - below)


def _linear(config: Mapping[str, Any], count: int) -> torch.Tensor:
    return torch.linspace(config.get("beta_start", 0.00085), config.get("beta_end", 0.012), count)


def _scaled_linear(config: Mapping[str, Any], count: int) -> torch.Tensor:
    start, end = config.get("beta_start", 0.00085), config.get("beta_end", 0.012)
    return torch.linspace(start**0.5, end**0.5, count) ** 2


def _squared_cosine(config: Mapping[str, Any], count: int) -> torch.Tensor:
    """Nichol & Dhariwal (arXiv:2102.09672), eq. 17."""
    def signal(t: float) -> float:
        return math.cos((t + 0.008) / 1.008 * math.pi / 2) ** 2

    return torch.tensor([min(1 - signal((i + 1) / count) / signal(i / count), 0.999) for i in range(count)])


_BETAS: Mapping[str, Callable[[Mapping[str, Any], int], torch.Tensor]] = {
    "linear": _linear, "scaled_linear": _scaled_linear, "squaredcos_cap_v2": _squared_cosine,
}


def _rescale_to_zero_terminal_snr(betas: torch.Tensor) -> torch.Tensor:
    """Rescale so that nothing of the image is left at the last timestep (arXiv:2305.08891, algorithm 1)."""
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


# The clean image from the sample and the model's output, by what the model predicts.
CLEAN_FROM: Mapping[str, Callable[[float], Pair]] = {
    "epsilon": _clean_from_epsilon, "v_prediction": _clean_from_velocity, "sample": _clean_from_sample,
}


def read_choice(config: Mapping[str, Any], key: str, default: str, choices: Mapping[str, Any]) -> str:
    """Read a key of a scheduler_config.json whose value must be one of `choices`; else raise RecipeError."""
    value = str(config.get(key, default))
    if value not in choices:
        raise RecipeError(f"scheduler_config.json: {key} {value!r} is not one of {', '.join(choices)}")
    return value
