"""RecipeSwitcher: decides which recipe plays, and at what size, for controllers, cues, the governor and upgrades."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace

from lcm_daemon.core.frame import Size
from lcm_daemon.core.live_values import Blend
from lcm_daemon.core.metrics import Metrics
from lcm_daemon.core.parameters import Value, Values
from lcm_daemon.core.refusals import Refusals
from lcm_daemon.core.render_size import nearest_render_size
from lcm_daemon.recipes.prepared import Prepared
from lcm_daemon.recipes.recipe import Recipe
from lcm_daemon.recipes.state import RecipeVariant
from lcm_daemon.render.governor import Governor, scales_of
from lcm_daemon.render.transition import RecipeTransition
from lcm_daemon.render.upgrade import Upgrade

log = logging.getLogger(__name__)


class RecipeSwitcher:
    """Turns requests for recipes and sizes into changes of the transition.

    Args:
        recipes: Every recipe that can be changed to, by name.
        transition: Carries the changes out.
        governor: Lowers steps and size to hold a frame rate; None where the show names none.
        prepared: What `lcm-daemon prepare` has compiled; None for nothing.
    """

    def __init__(
        self, recipes: Mapping[str, Recipe], transition: RecipeTransition, governor: Governor | None, metrics: Metrics,
        prepared: Prepared | None = None,
    ) -> None:
        self.recipes, self.transition, self.governor = dict(recipes), transition, governor
        self._own = dict(recipes)  # as the show and the package have them
        self.refusals = Refusals(metrics)
        self._governed = transition.state.playing  # the variant that the governor judged last
        self._prepared = prepared or Prepared()
        self._upgrade = Upgrade(transition, self._prepared)
        self._unprepared: RecipeVariant | None = None  # the last variant whose smaller sizes were found not prepared

    def change(self, name: str) -> None:
        """Change to a recipe, or back to its own size; do nothing if it plays that way already."""
        state, recipe = self.transition.state, self.recipes[name]
        if state.wanted.recipe != recipe or self.transition.leading.fallen:
            self.transition.ask(self._prepared.form_of(RecipeVariant(recipe)))

    def change_by_cue(self, name: str) -> None:
        """Change to the recipe that a cue names, unless it plays already, at any size.

        A recorded cue may name a recipe that no longer exists: that is logged and counted.
        """
        if name not in self.recipes:
            self.refusals.add("cue/refused", "cue", f"no recipe {name!r:.80}; the recipe stays as it is")
        elif name != self.transition.state.wanted.name:
            self.change(name)

    def restart(self) -> None:
        """Load the recipe again, beside the engine that plays where memory allows it."""
        self.transition.ask(self.transition.state.wanted, reload=True)

    def resize(self, width: int, height: int) -> None:
        """Render the same recipe at another size in pixels, rounded to what models can render."""
        wanted = self.transition.state.wanted
        recipe = replace(wanted.recipe, size=nearest_render_size(width, height))
        variant = replace(wanted, recipe=recipe, scale=1.0)
        self.transition.ask(variant if variant == wanted else self._prepared.form_of(variant))

    def own_size(self, name: str) -> Size:
        """Size of a recipe as the show or the package has it, in pixels."""
        return self._own[name].size

    @property
    def pictures(self) -> Mapping[str, str | None]:
        """Of the recipe that plays, or is being loaded, by the names of its image prompts: the file that was put in
        place of the image; None for the recipe's own. The name of a single image prompt may be empty."""
        wanted = self.transition.state.wanted.recipe
        own = self._own_images()
        return {prompt.name: None if own.get(prompt.name) == prompt.image else prompt.image
                for prompt in wanted.all_image_prompts}

    def use_picture(self, file: str | None, name: str) -> bool:
        """Use a file as the image of an image prompt, also when the recipe is changed back to.

        Args:
            file: The file; None is the recipe's own image.
            name: Of the image prompt, a key of `pictures`.

        Returns:
            False if the recipe has no such image prompt.
        """
        wanted, own = self.transition.state.wanted, self._own_images()
        if name not in self.pictures or name not in own:
            return False
        image = own[name] if file is None else file
        if wanted.name in self.recipes:
            self.recipes[wanted.name] = self.recipes[wanted.name].with_image(name, image)
        variant = replace(wanted, recipe=wanted.recipe.with_image(name, image))
        if variant != wanted:
            self.transition.ask(self._prepared.form_of(variant))
        return True

    def _own_images(self) -> Mapping[str, str]:
        """The images of the recipe itself, by the names of its image prompts."""
        wanted = self.transition.state.wanted
        return {prompt.name: prompt.image for prompt in self._own.get(wanted.name, wanted.recipe).all_image_prompts}

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
        if own_change != before:  # the other size may play in another form
            own_change = replace(own_change, accelerator=variant.accelerator)
        if variant not in (before, own_change) and variant.scale == 1.0:  # another recipe, size or accelerator
            governor.reset()
        if governor.level.size != variant.scale:  # the change of size has failed
            governor.refuse_size(variant.scale)
        if costs:
            governor.judge(costs, values, self._scales(variant), now, player.sharing)
        if governor.level.size != variant.scale:
            sized = replace(variant, scale=governor.level.size)
            self.transition.ask(self._prepared.form_of(sized), automatic=True)

    def _scales(self, variant: RecipeVariant) -> list[float]:
        """Smaller sizes that the governor may choose: none that would have to be compiled for minutes first."""
        scales = scales_of(variant.recipe.size)
        ready = [scale for scale in scales
                 if not variant.accelerator or self._prepared.form_of(replace(variant, scale=scale)).accelerator]
        if len(ready) < len(scales) and variant != self._unprepared:
            self._unprepared = variant
            log.info("governor: %s is not prepared for %s at smaller sizes, so it keeps its size; "
                     "lcm-daemon prepare compiles them", variant.name, variant.accelerator)
        return ready

    def upgrade(self, now: float, is_silent: Callable[[], bool]) -> None:
        """Load the compiled form of the recipe beside its quick one, where its accelerator compiles for minutes.

        Args:
            now: Monotonic seconds.
            is_silent: Whether the input shows nothing.
        """
        self._upgrade.step(now, is_silent)

    def describe_upgrade(self) -> str:
        """Why the compiled form is not loaded now, for the status; "" if nothing waits."""
        return self._upgrade.waiting
