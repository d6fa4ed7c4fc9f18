"""Look: what a run must come back with after a power cut."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from lcm_daemon.core.frame import Size
from lcm_daemon.core.parameters import Value
from lcm_daemon.recipes.recipe import Recipe


@dataclass(frozen=True)
class Look:
    """values: what somebody has moved, and where to.   cue: the one that stands.   size: that of the recipe.

    minute: of the wall clock, "21:30", when the schedule was last looked at.
    """

    recipe: str
    size: Size
    cue: str = ""
    values: Mapping[str, Value] = field(default_factory=dict)
    minute: str = ""

    def begin(self, recipes: Mapping[str, Recipe], otherwise: Recipe) -> Recipe:
        """The recipe that it played, if there still is one of the name."""
        found = recipes.get(self.recipe, otherwise)
        return replace(found, size=self.size) if found.name == self.recipe else found
