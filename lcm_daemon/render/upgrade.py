"""Upgrade: loads the compiled form of the recipe beside its quick form, when there is room for two engines."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import replace

from lcm_daemon.recipes.prepared import Prepared
from lcm_daemon.recipes.registry import AUTO, compiles_for_minutes
from lcm_daemon.recipes.state import ChangeEnd, Outcome, RecipeVariant
from lcm_daemon.render.policy import lacks
from lcm_daemon.render.transition import RecipeTransition

log = logging.getLogger(__name__)

FIRST_PAUSE = 10.0  # seconds until a compiled form that failed early is loaded again, then twice that, and so on
LONGEST_PAUSE = 3600.0
STABLE = 600.0  # seconds that a compiled form must play until its next failure counts as the first one


class Upgrade:
    """Decides when the compiled form is loaded, and says why it waits.

    Where two engines do not fit into the device's memory, it waits until another recipe plays, or until the input is
    silent: then the last frame is held while the compiled form takes the place of the quick one.

    Args:
        transition: Carries the change out.
        prepared: What `lcm-daemon prepare` has compiled.
    """

    def __init__(self, transition: RecipeTransition, prepared: Prepared) -> None:
        self.waiting = ""  # why the compiled form is not loaded now, for the status; "" if nothing waits
        self._transition, self._prepared = transition, prepared
        self._failed: list[RecipeVariant] = []  # compiled forms that cannot be loaded
        self._too_large: list[RecipeVariant] = []  # compiled forms that ran out of memory beside the quick one
        self._asked: RecipeVariant | None = None  # the compiled form that is loading
        self._playing: RecipeVariant | None = None  # the compiled form that plays, or played last
        self._playing_since = -math.inf
        self._pause, self._due = 0.0, -math.inf
        transition.state.on_end.append(self._on_end)

    def step(self, now: float, is_silent: Callable[[], bool]) -> None:
        """Take the next step. Call it several times a second.

        Args:
            now: Monotonic seconds.
            is_silent: Whether the input shows nothing. Asked only while the compiled form waits for memory.
        """
        transition = self._transition
        variant = transition.leading.variant
        if self._asked is not None and transition.swapping_automatically:
            if not self._is_prepared(self._asked) and not is_silent():
                log.info("recipe %s: the input is back; the compiled form waits again", variant.name)
                transition.give_up_swap(now)
            return
        if transition.changing or self._asked is not None:
            return
        if variant.accelerator:
            self._note_playing(variant, now)
            return
        self._note_failure(variant, now)
        self._try(variant, now, is_silent)

    def _try(self, variant: RecipeVariant, now: float, is_silent: Callable[[], bool]) -> None:
        player = self._transition.leading
        engine, self.waiting = player.first, ""
        if player.fallen or not engine.ready:
            return
        target = replace(variant, accelerator=_accelerator(variant, engine.report.upgrade))
        if not target.accelerator or target in self._failed:
            return
        if variant.scale != 1.0 and not self._is_prepared(target):
            return  # the governor may leave this size before it is compiled
        if now < self._due:
            self.waiting = f"{target.accelerator} has failed; it is loaded again in {self._due - now:.0f} s"
            return
        shortage = "it did not fit beside the one that plays" if target in self._too_large else lacks(engine.memory)
        alone = bool(shortage)
        if alone and not is_silent():
            self.waiting = (f"the form compiled by {target.accelerator} waits for another recipe or a silent input: "
                            f"{shortage}")
            return
        self._asked = target
        self._transition.ask(target, automatic=True, alone=alone)

    def _note_playing(self, variant: RecipeVariant, now: float) -> None:
        self.waiting = ""
        if variant != self._playing:
            self._playing, self._playing_since = variant, now

    def _note_failure(self, variant: RecipeVariant, now: float) -> None:
        """Where the quick form plays again, the compiled one has failed: load it again, at once if it played long."""
        playing, self._playing = self._playing, None
        if playing is None or playing.quick != variant:
            return
        if now - self._playing_since >= STABLE:
            self._pause = 0.0
        self._due = now + self._pause
        self._pause = min(max(2.0 * self._pause, FIRST_PAUSE), LONGEST_PAUSE)

    def _is_prepared(self, variant: RecipeVariant) -> bool:
        return self._prepared.form_of(variant) == variant

    def _on_end(self, end: ChangeEnd) -> None:
        if end.variant != self._asked:
            return
        self._asked = None
        if end.outcome is Outcome.FAILED:
            (self._too_large if end.memory and end.variant not in self._too_large else self._failed).append(end.variant)


def _accelerator(variant: RecipeVariant, upgrade: str) -> str:
    """What compiles the other form: the recipe's own accelerator, or the one that the engine suggests for AUTO."""
    own = variant.recipe.accelerate
    if own == AUTO:
        return upgrade
    return own if compiles_for_minutes(own) else ""
