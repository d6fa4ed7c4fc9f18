"""Choice of the sampler by its name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lcm_daemon.core.errors import RecipeError
from lcm_daemon.pipelines.flow_sampler import FlowSampler
from lcm_daemon.pipelines.sampler import Sampler
from lcm_daemon.recipes.registry import SAMPLERS


def make_sampler(kind: str, config: Mapping[str, Any]) -> Sampler | FlowSampler:
    """Make the sampler of the name `kind`, for a model's scheduler_config.json overridden by the recipe's `schedule`.

    Raises:
        RecipeError: No sampler has this name, or the configuration does not fit it.
    """
    if kind not in SAMPLERS:
        raise RecipeError(f"sampler {kind!r} is not one of {', '.join(SAMPLERS)}")
    return FlowSampler(kind, config) if SAMPLERS[kind].flow else Sampler(kind, config)
