"""What a show says that has no effect with its recipe: lines for `check`. The show plays all the same."""

from __future__ import annotations

from collections.abc import Iterator

from lcm_daemon.core.parameters import Values
from lcm_daemon.pipelines.prompt_syntax import emphases
from lcm_daemon.recipes.recipe import Recipe
from lcm_daemon.recipes.registry import FAMILIES
from lcm_daemon.shows.show import Show


def without_effect(show: Show) -> list[str]:
    """One line for each text of a prompt that the recipe does not take, and for emphasis that it does not read."""
    if show.recipe.pipeline != Recipe("").pipeline:
        return []  # it has no prompt at all
    moments: list[tuple[str, Values]] = [("at the start", show.start_values(show.recipe))]
    moments += [(f"in cue {cue.name}", cue.values) for cue in show.cues if not cue.recipe]
    return [f"  prompt   {when}: {line}" for when, values in moments for line in _lines(values, show.recipe)]


def _lines(values: Values, recipe: Recipe) -> Iterator[str]:
    if str(values.get("negative_prompt") or "").strip():
        needs = recipe.table()["negative_prompt"].needs
        yield from (f"negative_prompt has no effect: {need.reason}" for need in needs if not need.conditions)
    family = FAMILIES[recipe.family]
    for name in ("prompt", "prompt_b"):
        if not family.emphasis and any(weight != 1.0 for _, weight in emphases(str(values.get(name) or ""))):
            yield f"{name}: {family.title} reads the words without their emphasis"
