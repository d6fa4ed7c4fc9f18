"""ClosedShow: what the output shows while a show is closed, and whether its engines run."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from lcm_daemon.core.frame import Pixels, solid
from lcm_daemon.core.requests import CommandRequest
from lcm_daemon.render.failsafe import blend
from lcm_daemon.shows.opening_hours import CUE, SLATE, OpeningHours
from lcm_daemon.stage.closed_look import ORIGIN, ClosedLook

if TYPE_CHECKING:
    from lcm_daemon.stage.stage import Stage

log = logging.getLogger(__name__)

VISITORS = "visitors"  # key of what is kept over a restart: they wait for the opening
LONGEST_WAIT = 60.0  # seconds that a show that opens waits for its engine before the failsafe shows
LOAD_PAUSE = 1.0  # seconds from the cue of the opening to the start of the engines: it may change the recipe


class ClosedShow:
    """Closes and opens a show: fades the output, plays the closing cue, ends the engines and loads them again.

    Args:
        stage: The show.
        hours: Its section `opening_hours`.
        is_open: Whether it is open at the start.

    Attributes:
        covered: How much of the output is black or the slate, or the held picture of the cue: 0 to 1.
    """

    def __init__(self, stage: Stage, hours: OpeningHours, is_open: bool) -> None:
        self._stage, self._hours = stage, hours
        self._look = ClosedLook(stage, hours.cue) if hours.shows == CUE else None
        self._black = solid(stage.show.size)
        self._held: Pixels | None = None  # the cue's picture, once no engine renders it
        self._is_closed, self._admits, self.covered = False, True, 0.0
        self._opening_since: float | None = None  # when the show was to be open first
        self._loading_since: float | None = None  # when the engines were to run first
        self._stepped_at: float | None = None
        stage.picture.last_steps.insert(0, self._cover)
        if not is_open and not stage.transition.current.ready:
            self._start_closed()

    def _start_closed(self) -> None:
        """The show is closed at the start: nothing is loaded that would be ended at once."""
        self._is_closed = self._stage.picture.is_closed = True
        if self._look is None:
            self.covered = 1.0
            if self._hours.unload:
                self._stage.engines.unload()

    def step(self, is_open: bool, opens_soon: bool, now: float) -> None:
        """Take the next step.

        Args:
            is_open: Whether the show is to be open.
            opens_soon: Whether it opens within the time that its engines may need to load.
            now: Monotonic seconds.
        """
        if not is_open:
            self._opening_since = None
            if not self._is_closed:
                self._close(now)
            elif self._look is not None and not self._look.is_on and not opens_soon:
                self._look.put_on(now)  # the show was closed at the start
        elif self._is_closed and self._may_open(now):
            self._open(now)
        elif self._look is not None and not self._is_closed:
            self._look.take_off(now)  # the last run has ended while it was closed
        self._let_visitors()
        self._step_engines(is_open, opens_soon, now)
        self._move(now)

    def stop(self) -> None:
        """Show the picture as it is."""
        self._stage.picture.last_steps.remove(self._cover)

    @property
    def is_hidden(self) -> bool:
        """Whether nothing of the engine's picture shows."""
        return self.covered >= 1.0

    # --- closing and opening ---

    def _close(self, now: float) -> None:
        self._is_closed = self._stage.picture.is_closed = True
        if self._look is not None:
            self._look.put_on(now)

    def _may_open(self, now: float) -> bool:
        """Whether an engine renders, or cannot."""
        if self._opening_since is None:
            self._opening_since = now
        transition = self._stage.transition
        first = transition.leading.first
        ready = not transition.unloaded and (first.ready or bool(first.alarm))
        return ready or now - self._opening_since >= LONGEST_WAIT

    def _open(self, now: float) -> None:
        self._is_closed = self._stage.picture.is_closed = False
        if self._look is not None:
            self._look.take_off(now)

    def _let_visitors(self) -> None:
        """Let visitors join as long as it is open, unless the performer has closed it to them."""
        stage, were_admitted = self._stage, self._admits
        if stage.show.audience is None:
            return
        self._admits = not self._is_closed
        if were_admitted and self._is_closed and stage.audience.is_open:
            stage.automation.keep_hours(VISITORS, True)
            stage.audience.execute(CommandRequest("audience/close", ORIGIN))
        elif self._admits and VISITORS in stage.automation.hours:
            stage.automation.keep_hours(VISITORS, None)
            stage.audience.execute(CommandRequest("audience/open", ORIGIN))

    # --- engines ---

    def _step_engines(self, is_open: bool, opens_soon: bool, now: float) -> None:
        engines, unloaded = self._stage.engines, self._stage.transition.unloaded
        if is_open or opens_soon:
            if unloaded and self._look is not None:
                self._look.take_off(now)  # it is hidden, and the opening finds its look
            if self._loading_since is None:
                self._loading_since = now
            if unloaded and now - self._loading_since >= LOAD_PAUSE:
                log.info("opening hours: the show opens %s; the engines are loaded", "soon" if opens_soon else "now")
                engines.load(now)
            return
        self._loading_since = None
        if unloaded or not self._hours.unload or not self._may_unload(now):
            return
        held = self._stage.picture.undimmed if self._look is not None else None
        if engines.unload():
            log.info("opening hours: the show is closed; no engine runs")
            if held is not None:
                self._held, self.covered = held.copy(), 1.0  # it may be a frame of the source

    def _may_unload(self, now: float) -> bool:
        if self._look is None:
            return self.is_hidden
        return self._look.is_on and self._look.is_settled(now)

    # --- the picture ---

    def _move(self, now: float) -> None:
        """Fade towards what is wanted."""
        passed, self._stepped_at = now - (self._stepped_at if self._stepped_at is not None else now), now
        wanted = self._is_closed and (self._look is None or self._held is not None)
        change = passed / self._hours.fade if self._hours.fade > 0.0 else 1.0
        self.covered = min(self.covered + change, 1.0) if wanted else max(self.covered - change, 0.0)
        self._stage.picture.covered = self.covered
        if self.covered <= 0.0:
            self._held = None

    def _cover(self, pixels: Pixels, now: float) -> Pixels:
        """The last step of the output's picture."""
        if self.covered <= 0.0:
            return pixels
        stage = self._stage
        cover = self._held if self._held is not None else self._black
        if self._hours.shows == SLATE:
            cover = stage.picture.slate.pixels
        if cover is not self._black:
            cover = stage.picture.dim(cover, stage.values)
        return cover if self.covered >= 1.0 else blend(pixels, cover, self.covered)
