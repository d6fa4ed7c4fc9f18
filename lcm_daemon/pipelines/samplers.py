"""Choice of the sampler by its name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lcm_daemon.core.errors import RecipeError
from lcm_daemon.pipelines.flow_sampler import FlowSampler, ScmSampler, ShiftedSampler
from lcm_daemon.pipelines.sampler import Sampler
from lcm_daemon.recipes.registry import SAMPLERS


def make_sampler(kind: str, config: Mapping[str, Any], tokens: int) -> Sampler | FlowSampler:
    """Make a sampler.

    Args:
        kind: A name in `SAMPLERS`.
        config: The model's scheduler_config.json, overridden by the recipe's `schedule`.
        tokens: Tokens of an image in the denoiser, for samplers that depend on it.

    Raises:
        RecipeError: No sampler has this name, or the configuration does not fit it.
    """
    if kind not in SAMPLERS:
        raise RecipeError(f"sampler {kind!r} is not one of {', '.join(SAMPLERS)}")
    flow = SAMPLERS[kind].flow
    if flow == "scm":
        return ScmSampler(config)
    return ShiftedSampler(config, tokens, flow == "flux2") if flow else Sampler(kind, config)
