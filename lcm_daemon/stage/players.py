"""Players: builds the engines of a recipe as a show wants them."""

from __future__ import annotations

from dataclasses import replace

from lcm_daemon.core.metrics import Metrics
from lcm_daemon.recipes.registry import AUTO, NONE
from lcm_daemon.recipes.state import RecipeVariant
from lcm_daemon.render.engine_supervisor import EngineSupervisor
from lcm_daemon.render.player import Player
from lcm_daemon.render.policy import RestartPolicy
from lcm_daemon.render.spare import Spare
from lcm_daemon.shows.show import Show
from lcm_daemon.stage.handover import Handover


class Players:
    """Builds players. The first one may be what the show before has left.

    Args:
        show: The show.
        metrics: Counters to report to.
        left: What the show before has left.
    """

    def __init__(self, show: Show, metrics: Metrics, left: Handover) -> None:
        self._show, self._metrics, self._left = show, metrics, left
        self._fallback = show.fallback  # read once: no YAML is read while the show plays

    def build(self, variant: RecipeVariant, policy: RestartPolicy) -> Player:
        """A player, not started; or one that renders already."""
        if (player := self._left.pop_player(variant, self._show)) is not None:
            player.set_policy(policy)
            return player
        recipe, show = variant.rendered, self._show
        quick = variant.quick.rendered if variant.accelerator else None
        plain = [] if quick or recipe.accelerate in (AUTO, NONE) else [replace(recipe, accelerate=NONE)]
        engine = EngineSupervisor(
            (recipe, *plain, self._fallback), show.size, self._metrics, show.timeouts,
            Spare(self._metrics, show.loads_spare) if show.spare else None, guided=show.can_guide, policy=policy,
            quick=quick,
        )
        return Player(variant, [engine], show.start_values(variant.recipe), self._metrics)
