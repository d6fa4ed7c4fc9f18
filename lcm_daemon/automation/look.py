"""Look: the state of a show that a run restores after a power cut."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from lcm_daemon.core.frame import Size
from lcm_daemon.core.parameters import Value
from lcm_daemon.recipes.recipe import Recipe


@dataclass(frozen=True)
class Look:
    """The recipe, the values that were set, and the place in the cue list.

    Attributes:
        recipe: name of the recipe.
        size: size that the recipe renders, in pixels.
        cue: name of the current cue, or an empty string.
        values: target value of each parameter that was set, by name.
        minute: time of day of the last schedule check, as "21:30".
        modulators: the modulators, as `ModulatorBank.saved` returns them; None for those of the show's file.
        source: name of the source, or an empty string for the show's own; guide: the same for the guide.
    """

    recipe: str
    size: Size
    cue: str = ""
    values: Mapping[str, Value] = field(default_factory=dict)
    minute: str = ""
    source: str = ""
    guide: str = ""
    modulators: Sequence[Mapping[str, Any]] | None = None

    def recipe_to_start(self, recipes: Mapping[str, Recipe], otherwise: Recipe) -> Recipe:
        """Return the recipe of this look in its size, or `otherwise` if the show no longer has it."""
        found = recipes.get(self.recipe, otherwise)
        return replace(found, size=self.size) if found.name == self.recipe else found
