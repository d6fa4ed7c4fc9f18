"""Players: builds the engines of a recipe as a show wants them, and lets engines leave and join while it plays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from lcm_daemon.core.metrics import Metrics
from lcm_daemon.processes.ends import End
from lcm_daemon.recipes.registry import AUTO, NONE
from lcm_daemon.recipes.state import RecipeVariant
from lcm_daemon.render.engine_place import EnginePlace
from lcm_daemon.render.engine_supervisor import EngineSupervisor
from lcm_daemon.render.player import Player
from lcm_daemon.render.policy import RestartPolicy
from lcm_daemon.render.spare import Spare
from lcm_daemon.shows.engines import engine_places
from lcm_daemon.shows.show import Show
from lcm_daemon.stage.cards import count_cards
from lcm_daemon.stage.handover import Handover


class Players:
    """Builds players. The first one may be what the show before has left.

    Args:
        show: The show.
        metrics: Counters to report to.
        left: What the show before has left.

    Attributes:
        places: Where the show's engines run.
        stopped: Those of them where no engine is to run at present.
        on_end: Called with each engine that fails.
    """

    def __init__(self, show: Show, metrics: Metrics, left: Handover) -> None:
        self._show, self._metrics, self._left = show, metrics, left
        self._fallback = show.fallback  # read once: no YAML is read while the show plays
        self.places = engine_places(show.engines, count_cards)
        self.stopped: set[EnginePlace] = left.stopped & set(self.places)
        if len(self.stopped) == len(self.places):  # another show, which has none but these
            self.stopped = set()
        self.on_end: Callable[[End], object] = lambda end: None

    def build(self, variant: RecipeVariant, policy: RestartPolicy) -> Player:
        """A player, not started; or one that renders already."""
        if (player := self._left.pop_player(variant, self._show)) is not None:
            player.set_policy(policy)
            player.cadence.fps = self._show.fps
            for engine in player.engines:
                engine.on_end = self._report_end
            return player
        spare = self._spare()
        wanted = [place for place in self.places if place not in self.stopped]
        engines = [self._engine(variant, place, policy, spare) for place in wanted]
        return Player(variant, engines, self._show.start_values(variant.recipe), self._metrics, self._show.fps)

    def arrange(self, player: Player, now: float) -> None:
        """Let engines of a player leave that the show does not have, and further ones join."""
        wanted = [place for place in self.places if place not in self.stopped]
        policy = player.first.policy
        spare = next((engine.spare for engine in player.engines if engine.spare is not None), None) or self._spare()
        present = {engine.place for engine in player.engines}
        for place in wanted:
            if place not in present:
                player.join(self._engine(player.variant, place, policy, spare), now)
        for engine in tuple(player.engines):
            if engine.place in wanted:
                player.stay(engine)
            else:
                player.leave(engine)

    def another(self, player: Player, engine: EngineSupervisor) -> EngineSupervisor:
        """An engine of a player for the place of one that it has, not started."""
        return self._engine(player.variant, engine.place, engine.policy, engine.spare)

    def _spare(self) -> Spare | None:
        """A spare for the engines of this machine; None if the show wants none."""
        return Spare(self._metrics, self._show.loads_spare) if self._show.spare else None

    def _engine(
        self, variant: RecipeVariant, place: EnginePlace, policy: RestartPolicy, spare: Spare | None
    ) -> EngineSupervisor:
        recipe, show = variant.rendered, self._show
        quick = variant.quick.rendered if variant.accelerator else None
        plain = [] if quick or recipe.accelerate in (AUTO, NONE) else [replace(recipe, accelerate=NONE)]
        ladder = [replace(rung, device=place.device or rung.device) for rung in (recipe, *plain)]
        engine = EngineSupervisor(
            (*ladder, self._fallback), show.size, self._metrics, show.timeouts, None if place.is_remote else spare,
            guided=show.can_guide, policy=policy, place=place,
            quick=quick and replace(quick, device=place.device or quick.device),
        )
        engine.on_end = self._report_end
        return engine

    def _report_end(self, end: End) -> None:
        self.on_end(end)
