"""EngineDefaults: what a show sets for the engine of every recipe."""

from __future__ import annotations

from dataclasses import dataclass, replace

from lcm_daemon.core.schema import Field, Fields
from lcm_daemon.recipes.reader import FIELDS
from lcm_daemon.recipes.recipe import Recipe
from lcm_daemon.recipes.registry import AUTO

_HELP = {
    "device": "device of every recipe",
    "dtype": "precision of every recipe",
    "accelerate": "accelerator of every recipe",
    "in_flight": "frames under way in the engine at once: auto or 1 to 4; more are faster on a GPU, and later",
    "recorded": "whether frames are recorded as CUDA graphs, for every recipe",
}
# The keys of a show's `engine` that are keys of a recipe too, and are read as those are.
ENGINE_DEFAULTS: Fields = {
    key: Field(FIELDS[key].kind, FIELDS[key].default, f"{text}; a recipe's own value goes first")
    for key, text in _HELP.items()
}


@dataclass(frozen=True)
class EngineDefaults:
    """What a recipe gets where it leaves the choice open. The attributes are those of `Recipe`."""

    device: str = AUTO
    dtype: str = AUTO
    accelerate: str = AUTO
    in_flight: int = 0
    recorded: bool = True

    def apply(self, recipe: Recipe) -> Recipe:
        """The recipe with these values where its own are `auto`; frames are recorded unless one of the two says no."""
        return replace(
            recipe,
            device=self.device if recipe.device == AUTO else recipe.device,
            dtype=self.dtype if recipe.dtype == AUTO else recipe.dtype,
            accelerate=self.accelerate if recipe.accelerate == AUTO else recipe.accelerate,
            in_flight=recipe.in_flight or self.in_flight,
            recorded=recipe.recorded and self.recorded,
        )
