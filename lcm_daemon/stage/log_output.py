"""Where the log of a show goes: what its section `log` says, and the file of recent lines that crash reports quote."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path

from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.core.paths import state_file
from lcm_daemon.processes.bootstrap import log_levels, set_up_logging
from lcm_daemon.processes.log_output import LogOutput
from lcm_daemon.shows.show import Show

RECENT = ".recent.log"  # suffix of the file of recent lines


def log_output(show: Show) -> LogOutput:
    """The destinations of a show's log lines."""
    recent = ""
    if show.unattended.crash_reports.keep:
        with contextlib.suppress(LcmDaemonError):  # this user has no folder for it
            recent = str(state_file(Path(show.file), RECENT))
    return replace(show.unattended.log, recent=recent)


def log_as(show: Show) -> None:
    """Log as this show says, in this process and in those that it starts. Levels stay as they are."""
    levels = log_levels()
    if (output := log_output(show)) != levels.output:
        set_up_logging(replace(levels, output=output))
