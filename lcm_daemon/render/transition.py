"""RecipeTransition: changes the recipe without a gap in the output.

    PLAYING ──ask──► LOADING ──first result──► FADING ──► PLAYING
       ▲   it fails: the     │                    │ it fails: fade back
       └─── old one plays ◄──┤◄───────────────────┘
                             │ out of memory
                             ▼
                          SWAPPING: hold the last frame, stop the old one, load the new one alone ──► FADING
                             │ it fails: start the old recipe again ──► PLAYING

A player that fell to a lower rung of its ladder is changed to its own recipe in the same way, after growing pauses.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from enum import Enum
from typing import Any

from lcm_daemon.core.frame import Frame, Pixels
from lcm_daemon.core.metrics import Metrics
from lcm_daemon.processes.protocol import Failed
from lcm_daemon.recipes.state import Outcome, RecipeState, RecipeVariant
from lcm_daemon.render.engine_place import EnginePlace
from lcm_daemon.render.failsafe import blend
from lcm_daemon.render.player import Player
from lcm_daemon.render.policy import RestartPolicy
from lcm_daemon.render.recipe_fade import RecipeFade
from lcm_daemon.render.return_pauses import ReturnPauses

log = logging.getLogger(__name__)

START_PAUSE = 0.5  # seconds between two starts of an engine: a fader full of changes starts a few, not hundreds
LONGEST_EXIT = 30.0  # seconds that a new engine waits for the old one's end: some drivers never let a process go

Build = Callable[[RecipeVariant, RestartPolicy], Player]


class Phase(Enum):
    PLAYING = ""
    LOADING = "loading"
    FADING = "fading to"
    SWAPPING = "swapping to"


class RecipeTransition:
    """The player whose frames show, and during a change the player that replaces it.

    Args:
        state: The account of the recipe, which this class writes.
        build: Makes a player, not started.
        seconds: Length of a crossfade.
        pause: Seconds until a fallen player first tries its own recipe again.

    Attributes:
        unloaded: No engine runs, and nothing is loaded: what is asked for waits. See `stage.engines`.
    """

    def __init__(
        self, state: RecipeState, build: Build, metrics: Metrics, seconds: float = 1.0, pause: float = 60.0
    ) -> None:
        self.state, self.metrics, self.seconds, self.pause = state, metrics, seconds, pause
        self.current = build(state.playing, RestartPolicy.ALWAYS)
        self.next: Player | None = None
        self.phase = Phase.PLAYING
        self.unloaded = False
        self._build = build
        self._started_at = -START_PAUSE
        self._stopping: list[Player] = []  # stopped, their processes not yet ended
        self._released: Player | None = None
        self._fade = RecipeFade()
        self._returning = False  # the change is a fallen player's return to its own recipe
        self._automatic = False  # the governor or an upgrade asked for the change: never swap for it
        self._asked_automatically = False  # the same of the variant that was asked for and has not begun
        self._asked_reload = False  # that variant is to be loaded even if it plays
        self._asked_alone = False  # that variant is to be loaded without the playing one beside it
        self._swap_started = 0.0
        self._waits_for_room: EnginePlace | None = None  # the place whose old engine must end before the new one starts
        self._in_turn = False  # engines change one after another, for memory does not suffice for both recipes
        self._pauses = ReturnPauses(pause)

    @property
    def players(self) -> list[Player]:
        """Players that receive input."""
        return [self.current] if self.next is None else [self.current, self.next]

    @property
    def leading(self) -> Player:
        """The player whose frames show, or are being faded in."""
        if self.phase is Phase.FADING and not self._fade.reversed and self.next is not None:
            return self.next
        return self.current

    @property
    def changing(self) -> bool:
        return self.unloaded or self.phase is not Phase.PLAYING or self.state.asked is not None

    def describe(self) -> str:
        """One line for the status: "loading sd-turbo: loading unet"; "" while nothing changes."""
        if self.phase is Phase.PLAYING:
            return f"waiting to load {self.state.asked.name}" if self.unloaded and self.state.asked else ""
        variant = self.next.variant if self.next else self.state.loading
        progress = self.next.first.state if self.next and self.phase is not Phase.FADING else ""
        return f"{self.phase.value} {variant.name if variant else ''}{': ' if progress else ''}{progress}"

    def start(self, now: float) -> None:
        if not self.unloaded:
            self.current.start(now)

    def waitables(self) -> list[Any]:
        return [waitable for player in self.players for waitable in player.waitables()]

    def due(self, now: float) -> float:
        """When a player has more to do without a message, in monotonic seconds; infinity for never."""
        return min((due for player in self.players if (due := player.due(now)) is not None), default=math.inf)

    def release(self) -> Player | None:
        """The player that shows, which `stop` will not stop; None while a change is under way."""
        self._released = self.current if self.phase is Phase.PLAYING and not self.unloaded else None
        return self._released

    def stop(self, seconds: float) -> None:
        """Stop every engine that was not released, waiting up to `seconds` for each."""
        for player in [*self.players, *self._stopping]:
            if player is not self._released:
                player.stop(seconds)

    @property
    def swapping_automatically(self) -> bool:
        """Whether the last frame is held while an engine loads alone that the governor or an upgrade asked for."""
        return self.phase is Phase.SWAPPING and self._automatic

    def ask(
        self, variant: RecipeVariant, automatic: bool = False, alone: bool = False, reload: bool = False,
    ) -> None:
        """Ask for a variant. One that is loading is given up for it; one that is fading in is let in first.

        Args:
            automatic: The governor or an upgrade asks. Out of memory, the variant is given up.
            reload: Load it even if it plays already.
            alone: Stop the one that plays and hold its last frame while the variant loads: two do not fit into memory.
        """
        self.state.ask(variant)
        self._asked_automatically, self._asked_alone, self._asked_reload = automatic, alone, reload

    def give_up_swap(self, now: float) -> None:
        """Start the recipe again that played before the swap."""
        if self.phase is Phase.SWAPPING:
            self._restart_old(now, Outcome.GIVEN_UP)

    def cancel(self, now: float) -> None:
        """Give up the change to another recipe that is loading or asked for. Another size of the same one comes."""
        name = self.current.variant.name
        if self.state.asked is not None and self.state.asked.name != name:
            self.state.withdraw()
        if self.phase is Phase.LOADING and self.next is not None and self.next.variant.name != name:
            self._abandon(now, Outcome.GIVEN_UP)

    def step(self, now: float, starved: bool) -> Frame | None:
        """Read every engine's messages and take the next step of a change; return the leading player's new result.

        Args:
            starved: No input has arrived, so a new engine cannot deliver a first result.
        """
        self._stopping = [player for player in self._stopping if not player.gone]
        players = self.players
        results = [player.step(now) for player in players]
        self._follow_downgrade()
        match self.phase:
            case Phase.PLAYING if not self.unloaded:
                self._step_playing(now)
            case Phase.LOADING:
                self._step_loading(now, starved)
            case Phase.FADING:
                self._step_fading(now)
            case Phase.SWAPPING:
                self._step_swapping(now, starved)
        return next((result for player, result in zip(players, results, strict=True) if player is self.leading), None)

    def output(self, now: float) -> Pixels | None:
        """What has been rendered, mixed during a crossfade; None before the first result."""
        old, new = self.current.picture(now), self.next.picture(now) if self.next else None
        if self.phase is Phase.FADING and old is not None and new is not None:
            return blend(old, new, self._fade.position(now))
        return old

    def age(self, now: float) -> float | None:
        """Seconds since the newest result arrived; None before the first.

        While no engine can render (SWAPPING) the last frame is held, so its age stays 0.
        """
        if self.current.result is None:
            return None
        if self.phase is Phase.SWAPPING:
            return 0.0
        if self.phase is Phase.FADING and self.next is not None and self.next.result is not None:
            return now - max(self.current.result_at, self.next.result_at)
        return now - self.current.result_at

    def _follow_downgrade(self) -> None:
        """Account for a compiled engine that failed and was replaced by one of the quick form."""
        before = self.current.variant
        if self.current.follow_downgrade() and self.state.playing == before:
            log.warning("recipe %s: the engine compiled by %s has failed; it plays without that", before.name,
                        before.accelerator)
            self.state.play(self.current.variant)

    # --- one step of each phase ---

    def _step_playing(self, now: float) -> None:
        asked = self.state.asked
        if asked is not None and now - self._started_at >= START_PAUSE:
            self.state.begin(asked)
            self._automatic = self._asked_automatically
            if self._asked_alone:
                self._swap(now)
            elif asked == self.current.variant and self.current.fallen and not self.current.ready:
                log.info("recipe %s: nothing renders; it is loaded in place of what it fell back to", asked.name)
                self.current.climb(now)  # beside another engine that loads, it would take twice as long
                self.state.end(Outcome.DONE)
            elif asked != self.current.variant or self.current.fallen or self._asked_reload:
                self._load(asked, now)
                if asked == self.current.variant and self.current.fallen:
                    self.current.set_policy(RestartPolicy.NEVER)  # if it ends too, the recipe comes first, alone
            else:
                self.state.end(Outcome.DONE)  # it plays already
        elif asked is None and self._pauses.is_due(self.current.fallen, now):
            log.info("recipe %s: trying it again after it failed", self.current.variant.name)
            self.state.begin(self.current.variant)
            self._load(self.current.variant, now)
            self._returning = self._automatic = True

    def _load(self, variant: RecipeVariant, now: float) -> None:
        """Start the new engine beside the old one. It gets the spare, whose libraries are imported."""
        log.info("recipe %s: loading at %dx%d; %s keeps playing", variant.name, *variant.rendered.size,
                 self.current.variant.name)
        self.metrics.count("change/begun")
        self.current.set_policy(RestartPolicy.UNLESS_OUT_OF_MEMORY)
        self.next, self._returning, self.phase = self._build(variant, RestartPolicy.NEVER), False, Phase.LOADING
        self._waits_for_room, self._in_turn = None, False
        self.next.start(now, self.current.pop_spare(), beside=True)
        self._started_at = now

    def _step_loading(self, now: float, starved: bool) -> None:
        assert self.next is not None
        failure = self.next.failure
        if self.state.asked is not None or (self._automatic and self.current.failure):
            self._abandon(now, Outcome.GIVEN_UP)
        elif self._waits_for_room:
            if self.current.has_room or now - self._started_at >= LONGEST_EXIT:
                self.next.start_at(self._waits_for_room, now)
                self._waits_for_room = None
        elif failure is not None and failure.memory and not self._automatic:
            if not self._make_room(now):
                self._swap(now)
        elif failure is not None:
            self._report(self.next.variant, failure)
            self._abandon(now, Outcome.FAILED, failure.text, failure.memory)
        elif self.current.failure is not None:  # it ran out of memory and made room: the new one continues alone
            self._swap_started, self.phase = now, Phase.SWAPPING
        elif self._delivers(starved) and self.next.is_complete(now):
            self._begin_fade(now)

    def _make_room(self, now: float) -> bool:
        """Memory does not suffice for two sets of engines: load one engine in the place of an old one.

        Returns:
            Whether other engines render while it loads. Once it shows, the rest of the old ones make room too.
        """
        assert self.next is not None
        if self._in_turn or (place := self.current.make_room()) is None:
            return False
        log.warning("recipe %s: does not fit into memory beside %s; its engines change one after another",
                    self.next.variant.name, self.current.variant.name)
        self.metrics.count("change/in_turn")
        self._dismiss(self.next)
        self.next = self._build(self.next.variant, RestartPolicy.NEVER)
        self.next.hold()
        self._waits_for_room, self._in_turn, self._started_at = place, True, now
        return True

    def _swap(self, now: float) -> None:
        """Memory does not suffice for two: hold the last frame, stop both, then load the new one alone."""
        log.warning("recipe %s: does not fit into memory beside %s; the last frame is held while they are swapped",
                    self.state.loading.name if self.state.loading else "", self.current.variant.name)
        self.metrics.count("change/swapped")
        for player in self.players:
            self._dismiss(player)
        self.next, self._swap_started, self.phase = None, now, Phase.SWAPPING

    def _step_swapping(self, now: float, starved: bool) -> None:
        asked = self.state.asked
        if asked is not None:
            self.state.end(Outcome.GIVEN_UP)
            self.state.begin(asked)
            self._automatic = self._asked_automatically
            if self.next is not None:
                self._dismiss(self.next)
            self.next = None
        if self.next is None:
            ended = not self._stopping or now - self._swap_started >= LONGEST_EXIT
            if self.state.loading is not None and ended and now - self._started_at >= START_PAUSE:
                self.next, self._started_at = self._build(self.state.loading, RestartPolicy.NEVER), now
                self.next.start(now)
        elif self.next.failure is not None:
            self._report(self.next.variant, self.next.failure)
            self._restart_old(now, Outcome.FAILED, self.next.failure.text)
        elif self._delivers(starved):
            self._begin_fade(now)

    def _step_fading(self, now: float) -> None:
        assert self.next is not None
        if self.next.failure is not None and not self._fade.reversed:
            self._report(self.next.variant, self.next.failure)
            if self.current.failure is not None:
                self._restart_old(now, Outcome.FAILED, self.next.failure.text)
                return
            self._fade = self._fade.reverse(now)
            self.current.set_policy(RestartPolicy.ALWAYS)
            self.state.end(Outcome.FAILED, self.next.failure.text)
            self.state.play(self.current.variant)
        elif self._fade.is_over(now):
            if self._fade.reversed:
                self._abandon(now, Outcome.FAILED)
            else:
                self._finish(now)

    # --- how a change ends ---

    def _delivers(self, starved: bool) -> bool:
        return self.next is not None and (self.next.result is not None or (self.next.ready and starved))

    def _begin_fade(self, now: float) -> None:
        assert self.next is not None
        self.current.set_policy(RestartPolicy.NEVER)  # it leaves within the second: not worth another engine
        self._fade, self.phase = RecipeFade(now, 0.0, self.seconds), Phase.FADING
        self.state.play(self.next.variant)
        if self.next.result is None or self.current.result is None or self.seconds <= 0:
            self._finish(now)  # one of the frames to fade between is missing

    def _finish(self, now: float) -> None:
        """The new player takes over."""
        assert self.next is not None
        if self.next.result is None:
            self.next.inherit_result(self.current)
        self._dismiss(self.current)
        self.current, self.next, self.phase = self.next, None, Phase.PLAYING
        self.current.set_policy(RestartPolicy.ALWAYS)
        if self._returning:
            self._pauses.on_return(now)
        self.metrics.count("change/done")
        log.info("recipe %s: playing", self.current.variant.name)
        self.state.end(Outcome.DONE)

    def _abandon(self, now: float, outcome: Outcome, reason: str = "", memory: bool = False) -> None:
        """The old player continues. If it has made room for the new one, it is started again."""
        if self.current.failure is not None:
            self._restart_old(now, outcome, reason)
            return
        if self.next is not None:
            self._dismiss(self.next)
        self.current.set_policy(RestartPolicy.ALWAYS)
        self.next, self.phase = None, Phase.PLAYING
        self.state.end(outcome, reason, memory)

    def _restart_old(self, now: float, outcome: Outcome, reason: str = "") -> None:
        """The old engine is gone too: start its recipe again, in its quick form, and hold its last frame."""
        before, quick = self.current, self.current.variant.quick
        for player in self.players:
            self._dismiss(player)
        self.current = self._build(quick, RestartPolicy.ALWAYS)
        self.current.inherit_result(before)
        self.current.result_at = now
        self.current.start(now)
        self.next, self.phase = None, Phase.PLAYING
        self.state.end(outcome, reason)
        self.state.play(quick)

    def _dismiss(self, player: Player) -> None:
        player.stop()
        self._stopping.append(player)

    def _report(self, variant: RecipeVariant, failure: Failed) -> None:
        self.metrics.count("change/failed")
        log.error("recipe %s: %s; %s keeps playing", variant.name, failure.text, self.current.variant.name)
