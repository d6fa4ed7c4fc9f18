"""`lcm-daemon run`: plays a show."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType

from lcm_daemon.core.paths import state_folder
from lcm_daemon.processes.bootstrap import LogLevels, set_up_logging, termination_signals
from lcm_daemon.processes.prestarted import Prestarted
from lcm_daemon.shows.reader import load_show
from lcm_daemon.stage.resume_file import ResumeFile
from lcm_daemon.stage.stage import Stage


def run(
    name: str, overrides: Sequence[str] = (), seconds: float | None = None, verbose: bool = False,
    log_levels: Mapping[str, int] | None = None, prestarted: Prestarted | None = None,
) -> int:
    """Play a show until a signal ends it. Return the exit code.

    The first signal ends the show in order. A second Ctrl-C ends all processes at once; other signals may arrive twice
    for one cause, as SIGHUP does when a terminal closes.

    Args:
        name: a show file, or the name of a packaged show.
        overrides: `KEY=VALUE` pairs that replace values of the show file.
        seconds: end after this time; None plays without end.
        verbose: log debug messages of every module.
        log_levels: levels of single loggers, by name.
        prestarted: the process of the first desk, if it was started already.

    Raises:
        LcmDaemonError: the show has mistakes or cannot be opened.
    """
    show = load_show(name, overrides)
    set_up_logging(LogLevels(logging.DEBUG if verbose else logging.INFO, log_levels or {}))
    resume_file = ResumeFile(Path(show.file), state_folder()) if show.resume else None
    stage = Stage(show, resume_file=resume_file, prestarted=prestarted)

    def end(number: int, frame: FrameType | None) -> None:
        if stage.stopping and number == signal.SIGINT:
            stage.kill()
            os._exit(130)
        stage.stop()

    for number in termination_signals():
        signal.signal(number, end)
    stage.run(seconds, on_open=lambda: print(stage.describe(), flush=True))
    return 0
