"""What `upscale` and `interpolate` of a show cannot do: notes of `lcm-daemon check`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lcm_daemon.pipelines.weights import find
from lcm_daemon.recipes.registry import OPTIONAL_WEIGHTS
from lcm_daemon.shows.show import Show


def larger_and_smoother(show: Show) -> list[str]:
    """One line for each network that is absent, and for each moment at which a parameter has no effect."""
    idle = [text for when, values in _moments(show) for text in _idle(show, when, values)]
    return [*_absent(show), *(f"  unused   {text}" for text in idle)]


def _absent(show: Show) -> Iterator[str]:
    recipe = show.recipe
    for key, instead in OPTIONAL_WEIGHTS.items():
        source: str = getattr(recipe, key)
        if source and find(source, recipe) is None:
            yield f"  absent   recipe {recipe.name}: {key} {source} is not on this machine; {instead}"


def _moments(show: Show) -> Iterator[tuple[str, Mapping[str, Any]]]:
    yield "at the start", show.start_values(show.recipe)
    for cue in show.cues:
        yield f"in cue {cue.name}", cue.values


def _idle(show: Show, when: str, values: Mapping[str, Any]) -> Iterator[str]:
    output, rendered = show.size, show.recipe.size
    if values.get("upscale", 1) > 1 and output[0] <= rendered[0] and output[1] <= rendered[1]:
        yield (f"upscale has no effect {when}: the output, {output[0]}x{output[1]}, is not larger than what the recipe "
               f"{show.recipe.name} renders, {rendered[0]}x{rendered[1]}")
    if values.get("interpolate", 1) > 1 and show.engines and all(group.ray for group in show.engines):
        yield f"interpolate has no effect {when}: engines on a Ray cluster make no pictures between two"
