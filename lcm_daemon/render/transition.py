"""RecipeTransition: another recipe takes over, and the picture never stops.

    PLAYING ──change──► LOADING ──its first picture──► FADING ──► PLAYING
       ▲   it fails: the old │                           │ it fails: back
       └─── one stays ◄──────┤◄──────────────────────────┘
                             │ no memory for two
                             ▼
                          SWAPPING: the last picture is held, the old one ended, the new one loaded alone ──► FADING
                             │ it fails: the old recipe is started again ──► PLAYING

A player on a lower rung of its ladder is changed over to its own recipe in the same way, now and then.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from lcm_daemon.core.frame import Frame, Pixels
from lcm_daemon.core.metrics import Metrics
from lcm_daemon.recipes.recipe import Recipe
from lcm_daemon.render.failsafe import blend
from lcm_daemon.render.player import Player
from lcm_daemon.render.policy import RestartPolicy

log = logging.getLogger(__name__)

SETTLE = 0.5  # seconds between two starts of an engine: a fader full of changes starts a few, not hundreds
LONGEST_GOODBYE = 30.0  # seconds that a new engine waits for the old one's end: some drivers never let a process go
LONGEST_PAUSE = 3600.0  # seconds between two tries to climb back
HEALTHY = 600.0  # seconds a recipe must play after a climb until its pauses are short again

Build = Callable[[Recipe, RestartPolicy], Player]


class Phase(Enum):
    PLAYING = ""
    LOADING = "loading"
    FADING = "fading to"
    SWAPPING = "swapping to"


@dataclass(frozen=True)
class _Fade:
    """From `start` (0 is the old picture, 1 the new one) at the time `begun`, towards the new one or back."""

    begun: float = 0.0
    start: float = 0.0
    seconds: float = 1.0
    returns: bool = False

    def position(self, now: float) -> float:
        way = (now - self.begun) / self.seconds
        return min(max(self.start + (-way if self.returns else way), 0.0), 1.0)

    def over(self, now: float) -> bool:
        return self.position(now) == (0.0 if self.returns else 1.0)

    def reverse(self, now: float) -> _Fade:
        return _Fade(now, self.position(now), self.seconds, True)


class _Pauses:
    """When a fallen player is tried on its own recipe again: after `first` seconds, then after twice that, ..."""

    def __init__(self, first: float) -> None:
        self._first = self._pause = first
        self._due: float | None = None
        self._climbed = -HEALTHY

    def due(self, fallen: bool, now: float) -> bool:
        if not fallen:
            self._due = None
            return False
        if self._due is None:
            self._pause = self._first if now - self._climbed >= HEALTHY else self._pause
            self._due = now + self._pause
        if now < self._due:
            return False
        self._pause = min(2.0 * self._pause, LONGEST_PAUSE)
        self._due = now + self._pause
        return True

    def climbed(self, now: float) -> None:
        """A try was not in vain; if the recipe fails soon again, the pauses go on growing."""
        self._climbed = now


class RecipeTransition:
    """The player that plays, and during a change the one that comes.

    build: makes a player, not started.   seconds: the crossfade's.   pause: seconds until a fallen player is tried on
    its own recipe again; each try in vain doubles it.
    """

    def __init__(self, recipe: Recipe, build: Build, metrics: Metrics, seconds: float = 1.0, pause: float = 60.0) -> None:
        self.playing = build(recipe, RestartPolicy.PLAY)
        self.coming: Player | None = None
        self.phase = Phase.PLAYING
        self.error = ""  # why the last change failed
        self.metrics, self.seconds, self.pause = metrics, seconds, pause
        self._build = build
        self._asked: Recipe | None = None  # the newest recipe asked for, not begun yet
        self._alone: Recipe | None = None  # while swapping: the recipe to load once the old one has gone
        self._started = -SETTLE
        self._leaving: list[Player] = []  # stopped, their processes not yet gone
        self._fade = _Fade()
        self._climbs = False  # the change under way is a climb back
        self._optional = False  # the one asked for, or under way, is nobody's wish: it must not cost the picture
        self._swapped = 0.0  # when the old one was ended to make room
        self._climb = _Pauses(pause)

    @property
    def players(self) -> list[Player]:
        """Who is to be heard and fed."""
        return [self.playing] if self.coming is None else [self.playing, self.coming]

    @property
    def leading(self) -> Player:
        """Whose picture it is, or is becoming."""
        fades_in = self.phase is Phase.FADING and not self._fade.returns
        return self.coming if fades_in and self.coming else self.playing

    @property
    def recipe(self) -> Recipe:
        return self.leading.recipe

    @property
    def wanted(self) -> Recipe:
        """What will play if nothing fails."""
        return self._asked or (self.coming.recipe if self.coming else self._alone) or self.playing.recipe

    @property
    def busy(self) -> bool:
        return self.phase is not Phase.PLAYING or self._asked is not None

    def describe(self) -> str:
        """One line for the status: "loading sd-turbo: loading unet"; empty while nothing changes."""
        if self.phase is Phase.PLAYING:
            return ""
        recipe = self.coming.recipe if self.coming else self._alone
        state = self.coming.engines[0].state if self.coming and self.phase is not Phase.FADING else ""
        return f"{self.phase.value} {recipe.name if recipe else ''}{': ' if state else ''}{state}"

    def start(self, now: float) -> None:
        self.playing.start(now)

    def waitables(self) -> list[Any]:
        return [waitable for player in self.players for waitable in player.waitables()]

    def stop(self, seconds: float) -> None:
        """End every engine, waiting up to `seconds` for each."""
        for player in [*self.players, *self._leaving]:
            player.stop(seconds)

    def change(self, recipe: Recipe, optional: bool = False) -> None:
        """Ask for a recipe. One that is loading makes way; one that is fading in is let in first.

        optional: it is only to be better or cheaper. Where there is no memory for two, it does not come.
        """
        self._asked, self._optional = recipe, optional
        self.error = ""

    def hold(self, now: float) -> None:
        """Another recipe that is still loading, or only asked for, does not come."""
        mine = self.playing.recipe.name
        if self._asked is not None and self._asked.name != mine:
            self._asked = None
        if self.phase is Phase.LOADING and self.coming is not None and self.coming.recipe.name != mine:
            self._abandon(now)

    def step(self, now: float, starved: bool) -> Frame | None:
        """Hear every engine and take the next step of a change; return the newest picture of the leading player.

        starved: there is no input, so that a new engine has nothing to show what it can.
        """
        self._leaving = [player for player in self._leaving if not player.gone]
        newest = {id(player): player.step(now) for player in self.players}
        _STEPS[self.phase](self, now, starved)
        return newest.get(id(self.leading))

    def picture(self, now: float) -> tuple[Pixels | None, float]:
        """What has been rendered, mixed while it fades, and its age in seconds; None before the first picture.

        While there is no engine to paint (SWAPPING) the last picture is held, however long that takes.
        """
        old, new = self.playing, self.coming
        if self.phase is Phase.SWAPPING:
            return (old.rendered.pixels if old.rendered else None), 0.0
        if self.phase is Phase.FADING and new and new.rendered and old.rendered:
            age = now - max(old.rendered_at, new.rendered_at)
            return blend(old.rendered.pixels, new.rendered.pixels, self._fade.position(now)), age
        return (old.rendered.pixels if old.rendered else None), now - old.rendered_at

    # --- one step of each phase ---

    def _play(self, now: float, starved: bool) -> None:
        if self._asked is not None and now - self._started >= SETTLE:
            recipe, self._asked = self._asked, None
            if recipe != self.playing.recipe or self.playing.fallen:
                self._begin(recipe, now)
        elif self._climb.due(self.playing.fallen, now):
            log.info("trying %s again", self.playing.recipe.name)
            self._begin(self.playing.recipe, now)
            self._climbs = self._optional = True

    def _begin(self, recipe: Recipe, now: float) -> None:
        """Start the new engine beside the old one. It gets the spare, whose libraries are imported."""
        log.info("changing to %s (%dx%d)", recipe.name, *recipe.size)
        self.metrics.count("change/begun")
        self.playing.assign(RestartPolicy.YIELD)
        self.coming, self._climbs, self.phase = self._build(recipe, RestartPolicy.TRIAL), False, Phase.LOADING
        self.coming.start(now, self.playing.take_spare())
        self._started = now

    def _load(self, now: float, starved: bool) -> None:
        assert self.coming is not None
        failure = self.coming.failure
        if self._asked is not None or (self._optional and self.playing.failure):
            self._abandon(now)
        elif failure and failure.memory and not self._optional:
            self._swap(self.coming.recipe, now)
        elif failure:
            self._report(self.coming.recipe, failure.text)
            self._abandon(now)
        elif self.playing.failure:  # it ran out of memory and made room: the new one goes on alone
            self._alone, self._swapped, self.phase = self.coming.recipe, now, Phase.SWAPPING
        elif self._delivers(starved):
            self._fade_in(now)

    def _swap(self, recipe: Recipe, now: float) -> None:
        """There is no memory for two: hold the picture, end both, and load the new one once they have gone."""
        log.warning("%s does not fit into memory beside %s: the picture is held while they are swapped",
                    recipe.name, self.playing.recipe.name)
        self.metrics.count("change/swapped")
        for player in self.players:
            self._dismiss(player)
        self.coming, self._alone, self._swapped, self.phase = None, recipe, now, Phase.SWAPPING

    def _swap_on(self, now: float, starved: bool) -> None:
        if self._asked is not None:
            self._alone, self._asked = self._asked, None
            if self.coming:
                self._dismiss(self.coming)
            self.coming = None
        if self.coming is None:
            gone = not self._leaving or now - self._swapped >= LONGEST_GOODBYE
            if self._alone and gone and now - self._started >= SETTLE:
                self.coming, self._started = self._build(self._alone, RestartPolicy.TRIAL), now
                self.coming.start(now)
        elif self.coming.failure:
            self._report(self.coming.recipe, self.coming.failure.text)
            self._go_back(now)
        elif self._delivers(starved):
            self._fade_in(now)

    def _fade_on(self, now: float, starved: bool) -> None:
        assert self.coming is not None
        if self.coming.failure and not self._fade.returns:
            self._report(self.coming.recipe, self.coming.failure.text)
            if self.playing.failure:
                self._go_back(now)
                return
            self._fade = self._fade.reverse(now)
            self.playing.assign(RestartPolicy.PLAY)
        elif self._fade.over(now):
            self._abandon(now) if self._fade.returns else self._take_over(now)

    # --- the ways out ---

    def _delivers(self, starved: bool) -> bool:
        return self.coming is not None and (self.coming.rendered is not None or (self.coming.ready and starved))

    def _fade_in(self, now: float) -> None:
        assert self.coming is not None
        self.playing.assign(RestartPolicy.TRIAL)  # it leaves within the second: not worth another engine
        self._fade, self.phase = _Fade(now, 0.0, self.seconds), Phase.FADING
        if self.coming.rendered is None or self.playing.rendered is None or self.seconds <= 0:
            self._take_over(now)  # there are no two pictures to fade between

    def _take_over(self, now: float) -> None:
        assert self.coming is not None
        if self.coming.rendered is None:
            self.coming.inherit(self.playing)
        self._dismiss(self.playing)
        self.playing, self.coming, self._alone, self.phase = self.coming, None, None, Phase.PLAYING
        self.playing.assign(RestartPolicy.PLAY)
        self.error = ""
        self._climb.climbed(now) if self._climbs else None
        self.metrics.count("change/done")
        log.info("%s plays", self.playing.recipe.name)

    def _abandon(self, now: float) -> None:
        """The old one goes on, as if nothing had been; if it has made room meanwhile, it is started again."""
        if self.playing.failure:
            self._go_back(now)
            return
        if self.coming:
            self._dismiss(self.coming)
        self.playing.assign(RestartPolicy.PLAY)
        self.coming, self._alone, self.phase = None, None, Phase.PLAYING

    def _go_back(self, now: float) -> None:
        """The new one has failed and the old one is gone: start that again, with the ladder below it."""
        before = self.playing
        for player in self.players:
            self._dismiss(player)
        self.playing = self._build(before.recipe, RestartPolicy.PLAY)
        self.playing.inherit(before)
        self.playing.rendered_at = now
        self.playing.start(now)
        self.coming, self._alone, self.phase = None, None, Phase.PLAYING

    def _dismiss(self, player: Player) -> None:
        player.stop()
        self._leaving.append(player)

    def _report(self, recipe: Recipe, text: str) -> None:
        self.error = f"{recipe.name}: {text}"
        self.metrics.count("change/failed")
        log.error("the change to %s failed: %s; %s goes on", recipe.name, text, self.playing.recipe.name)


_STEPS: Mapping[Phase, Callable[[RecipeTransition, float, bool], None]] = {
    Phase.PLAYING: RecipeTransition._play,
    Phase.LOADING: RecipeTransition._load,
    Phase.FADING: RecipeTransition._fade_on,
    Phase.SWAPPING: RecipeTransition._swap_on,
}
