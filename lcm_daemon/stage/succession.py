"""Succession: plays a show, and after it the one that was reloaded or opened. Process and picture stay."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from lcm_daemon.core.clock import MonotonicClock
from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.core.paths import state_folder
from lcm_daemon.shows.show import Show
from lcm_daemon.stage.handover import Handover
from lcm_daemon.stage.log_output import log_as
from lcm_daemon.stage.resume_file import ResumeFile
from lcm_daemon.stage.show_file import ShowFile
from lcm_daemon.stage.stage import Stage
from lcm_daemon.transports.ndi_discovery import use_servers

log = logging.getLogger(__name__)


class Succession:
    """Plays shows one after another.

    Args:
        stage: The first show.

    Attributes:
        stage: The show that plays.
        stopping: Whether no other show will follow.
    """

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.stopping = self._keeps_look = False
        self._clock = MonotonicClock()

    def stop(self, keeps_look: bool = False) -> None:
        """End at the next tick; may be called from a signal handler. keeps_look: As of `Stage.stop`."""
        self.stopping, self._keeps_look = True, keeps_look
        self.stage.stop(keeps_look)

    def run(self, seconds: float | None, on_open: Callable[[], None]) -> None:
        """Play until `stop` is called, or for `seconds`. `on_open` is called when the first show is open.

        Raises:
            LcmDaemonError: The first show cannot be opened.
        """
        end = None if seconds is None else self._clock.now() + seconds
        self.stage.run(seconds, on_open)
        while (left := self.stage.leaves) is not None and not self.stopping:
            left_seconds = None if end is None else max(0.0, end - self._clock.now())
            before, following = self.stage, self.stage.show_file.next
            assert following is not None
            try:
                self._play(following.show, left, before.show_file, left_seconds)
            except LcmDaemonError as error:
                reason = f"{following.show.name} cannot be opened: {error}"
                log.error("show %s; %s plays again", reason, before.show.name)
                self._play(before.show, self.stage.leaves or left, before.show_file, left_seconds, reason)
        if self.stage.leaves is not None:
            self.stage.leaves.end_hold()
            self.stage.leaves.close(1.0)

    def _play(
        self, show: Show, left: Handover, before: ShowFile, seconds: float | None, reason: str = ""
    ) -> None:
        """Play another show. reason: why this one plays again."""
        file = ShowFile(show, before.overrides, before.watch, left.metrics)
        if reason:
            file.report(reason)
        log_as(show)
        use_servers(show.network.ndi_discovery)
        resume_file = ResumeFile(Path(show.file), state_folder()) if show.resume else None
        self.stage = Stage(show, resume_file=resume_file, left=left, show_file=file)
        if self.stopping:
            self.stage.stop(self._keeps_look)
        log.info("show %s: playing", show.name)
        self.stage.run(seconds)
