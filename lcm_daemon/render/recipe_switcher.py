"""RecipeSwitcher: which recipe is to play, and at what size. Hands, cues, the governor and the device ask here.

What is decided is handed to the changeover, which loads it aside and fades it in.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace

from lcm_daemon.core.live_values import Blend
from lcm_daemon.core.metrics import LogThrottle, Metrics
from lcm_daemon.core.parameters import Value, Values
from lcm_daemon.recipes.recipe import GRID, Recipe
from lcm_daemon.render.governor import Governor, scale_size, scales_of
from lcm_daemon.render.transition import RecipeTransition

log = logging.getLogger(__name__)


class RecipeSwitcher:
    """The recipes that there are, by name, and why the one that plays is the one it is.

    governor: takes size away and gives it back; None where the show names no rate to hold.
    """

    def __init__(
        self, recipes: Mapping[str, Recipe], transition: RecipeTransition, governor: Governor | None, metrics: Metrics
    ) -> None:
        self.recipes, self.transition, self.governor = dict(recipes), transition, governor
        self._throttle = LogThrottle(log, metrics)
        self._governed = transition.recipe
        self._played: Recipe | None = None  # the last one that was looked at for an upgrade
        self._scaled: dict[int, tuple[Recipe, Recipe, float]] = {}  # (smaller, of what, how much)

    @property
    def playing(self) -> Recipe:
        """What plays, as it was asked for: the governor's size is not its own."""
        return self._full(self.transition.recipe)[0]

    def change(self, name: str) -> None:
        """To another recipe, or the same as it was at first; nothing to do where it plays so already."""
        recipe, now = self.recipes[name], self._full(self.transition.wanted)[0]
        if replace(now, accelerate=recipe.accelerate) != recipe or self.transition.leading.fallen:
            self.transition.change(recipe)

    def cue(self, name: str) -> None:
        """What a cue names: nothing to do where it plays already; a recorded cue may name one that has gone since."""
        if name not in self.recipes:
            self._throttle.warn("cue/refused", f"a cue wants the recipe {name!r:.80}, and there is none of that name")
        elif name != self._full(self.transition.wanted)[0].name:
            self.change(name)

    def resize(self, width: int, height: int) -> None:
        """The same recipe at another size, in pixels, rounded to what models can paint."""
        size = round(width / GRID) * GRID, round(height / GRID) * GRID
        self.transition.change(replace(self._full(self.transition.wanted)[0], size=size))

    def describe(self) -> str:
        """What the governor has taken, for the status: "steps -1"; empty where it has taken nothing."""
        return self.governor.level.describe() if self.governor else ""

    def lay_over(self, values: Mapping[str, Value | Blend]) -> Mapping[str, Value | Blend]:
        """The values with the governor's word."""
        return self.governor.lay_over(values) if self.governor else values

    def govern(self, values: Values, now: float) -> None:
        """Let the governor judge what the frames cost. Its steps of size are changes of the recipe."""
        player, governor = self.transition.leading, self.governor
        if governor is None:
            return
        costs, (recipe, scale) = player.take_costs(), self._full(player.recipe)
        if self.transition.busy or player.fallen:
            governor.pause()  # two engines at work, or one that was never meant to hold the rate
            return
        if recipe is not self._governed:
            self._governed = recipe
            governor.reset()
        if governor.level.size != scale:  # the change has failed
            governor.refuse_size(scale)
        if costs:
            governor.judge(costs, values, scales_of(recipe.size), now, len(player.engines))
        if governor.level.size != scale:
            wanted = replace(recipe, size=scale_size(recipe.size, governor.level.size))
            wanted = recipe if wanted == recipe else wanted
            self._scaled = {id(e): (e, recipe, s) for e, s in ((player.recipe, scale), (wanted, governor.level.size))}
            self.transition.change(wanted, optional=True)

    def upgrade(self) -> None:
        """Where the device has a compiler that nothing can play beside, the recipe plays eagerly at first.

        Compiled, it is loaded aside and takes over.
        """
        player = self.transition.leading
        recipe, engine = player.recipe, player.engines[0]
        if recipe is self._played or self.transition.busy or player.fallen or not engine.ready:
            return
        self._played = recipe  # whatever comes of it, it is tried once
        if recipe.accelerate == "auto" and engine.report.upgrade:
            compiled, (full, scale) = replace(recipe, accelerate=engine.report.upgrade), self._full(recipe)
            if scale != 1.0:
                self._scaled[id(compiled)] = (compiled, full, scale)
            self.transition.change(compiled, optional=True)

    def _full(self, recipe: Recipe) -> tuple[Recipe, float]:
        """The recipe as it was asked for, and how much smaller the governor has made it."""
        return self._scaled.get(id(recipe), (recipe, recipe, 1.0))[1:]
