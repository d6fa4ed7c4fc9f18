"""RecipeSwitcher: decides which recipe plays, and at what size, for controllers, cues, the governor and upgrades."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from lcm_daemon.core.live_values import Blend
from lcm_daemon.core.metrics import Metrics
from lcm_daemon.core.parameters import Value, Values
from lcm_daemon.core.refusals import Refusals
from lcm_daemon.core.render_size import nearest_render_size
from lcm_daemon.recipes.recipe import Recipe
from lcm_daemon.recipes.state import RecipeVariant
from lcm_daemon.render.governor import Governor, scales_of
from lcm_daemon.render.transition import RecipeTransition


class RecipeSwitcher:
    """Turns requests for recipes and sizes into changes of the transition.

    Args:
        recipes: Every recipe that can be changed to, by name.
        transition: Carries the changes out.
        governor: Lowers steps and size to hold a frame rate; None where the show names none.
    """

    def __init__(
        self, recipes: Mapping[str, Recipe], transition: RecipeTransition, governor: Governor | None, metrics: Metrics
    ) -> None:
        self.recipes, self.transition, self.governor = dict(recipes), transition, governor
        self.refusals = Refusals(metrics)
        self._governed = transition.state.playing  # the variant that the governor judged last
        self._upgraded: RecipeVariant | None = None  # the last variant that was checked for an upgrade

    def change(self, name: str) -> None:
        """Change to a recipe, or back to its own size; do nothing if it plays that way already."""
        state, recipe = self.transition.state, self.recipes[name]
        if state.wanted.recipe != recipe or self.transition.leading.fallen:
            self.transition.ask(RecipeVariant(recipe))

    def change_by_cue(self, name: str) -> None:
        """Change to the recipe that a cue names, unless it plays already, at any size.

        A recorded cue may name a recipe that no longer exists: that is logged and counted.
        """
        if name not in self.recipes:
            self.refusals.add("cue/refused", "cue", f"no recipe {name!r:.80}; the recipe stays as it is")
        elif name != self.transition.state.wanted.name:
            self.change(name)

    def resize(self, width: int, height: int) -> None:
        """Render the same recipe at another size in pixels, rounded to what models can render."""
        wanted = self.transition.state.wanted
        recipe = replace(wanted.recipe, size=nearest_render_size(width, height))
        self.transition.ask(replace(wanted, recipe=recipe, scale=1.0))

    def describe_governor(self) -> str:
        """What the governor has lowered, for the status: "steps -1"; "" where it has lowered nothing."""
        return self.governor.level.describe() if self.governor else ""

    def govern_values(self, values: Mapping[str, Value | Blend]) -> Mapping[str, Value | Blend]:
        """The values with the governor's changes."""
        return self.governor.apply(values) if self.governor else values

    def govern(self, values: Values, now: float) -> None:
        """Let the governor judge what the frames cost. A step of size is a change of the variant."""
        player, governor = self.transition.leading, self.governor
        if governor is None:
            return
        costs, variant = player.pop_costs(), player.variant
        if self.transition.changing or player.fallen:
            governor.pause()  # two engines at work, or a recipe that was never meant to hold the rate
            return
        before, self._governed = self._governed, variant
        own_change = replace(before, scale=governor.level.size)
        if variant not in (before, own_change) and variant.scale == 1.0:  # another recipe, size or accelerator
            governor.reset()
        if governor.level.size != variant.scale:  # the change of size has failed
            governor.refuse_size(variant.scale)
        if costs:
            governor.judge(costs, values, scales_of(variant.recipe.size), now, len(player.engines))
        if governor.level.size != variant.scale:
            self.transition.ask(replace(variant, scale=governor.level.size), automatic=True)

    def upgrade(self) -> None:
        """Load the compiled form of the recipe beside the eager one, once, where the device's compiler needs that."""
        player = self.transition.leading
        engine, variant = player.engines[0], player.variant
        if variant == self._upgraded or self.transition.changing or player.fallen or not engine.ready:
            return
        self._upgraded = variant  # tried once, however it ends
        if variant.rendered.accelerate == "auto" and engine.report.upgrade:
            self.transition.ask(replace(variant, accelerator=engine.report.upgrade), automatic=True)
