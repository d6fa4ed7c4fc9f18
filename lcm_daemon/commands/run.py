"""`lcm-daemon run` and `lcm-daemon serve`: play a show."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType

from lcm_daemon.commands.loading_line import LoadingLine
from lcm_daemon.commands.network_report import network_report
from lcm_daemon.commands.output import print_line
from lcm_daemon.commands.plugin_report import refused_plugins
from lcm_daemon.core.file_limit import raise_file_limit
from lcm_daemon.core.local_addresses import network_addresses
from lcm_daemon.core.paths import state_folder
from lcm_daemon.processes.bootstrap import LogLevels, set_up_logging, termination_signals
from lcm_daemon.processes.prestarted import Prestarted
from lcm_daemon.processes.segments import sweep
from lcm_daemon.shows.reader import load_show
from lcm_daemon.shows.show import Show
from lcm_daemon.stage.log_output import log_output
from lcm_daemon.stage.resume_file import ResumeFile
from lcm_daemon.stage.show_file import ShowFile
from lcm_daemon.stage.stage import Stage
from lcm_daemon.stage.succession import Succession
from lcm_daemon.transports.ndi_discovery import use_servers

log = logging.getLogger(__name__)

SERVE = ("sinks=[]", "audience.share=0", "audience.wall=mosaic")  # what `serve` changes of a show


def run(
    name: str, overrides: Sequence[str] = (), seconds: float | None = None, verbose: bool = False,
    log_levels: Mapping[str, int] | None = None, prestarted: Prestarted | None = None, watch: bool = False,
    interrupted: Sequence[int] = (), opens_page: bool = False,
) -> int:
    """Play a show until a signal ends it. Return the exit code.

    The first signal ends the show in order. After Ctrl-C the next run starts as the show says; after other signals, as
    of a shutdown, it continues with this look. A second Ctrl-C ends all processes at once; others may arrive twice.

    Args:
        name: a show file, or the name of a packaged show.
        overrides: `KEY=VALUE` pairs that replace values of the show file.
        seconds: end after this time; None plays without end.
        verbose: log debug messages of every module.
        log_levels: levels of single loggers, by name.
        prestarted: the process of the first desk, if it was started already.
        watch: whether a show whose file changes is reloaded by itself.
        interrupted: not empty if Ctrl-C was pressed before now.
        opens_page: whether the show's page is opened in a browser.

    Raises:
        LcmDaemonError: the show has mistakes or cannot be opened.
    """
    show = load_show(name, overrides)
    set_up_logging(LogLevels(logging.DEBUG if verbose else logging.INFO, log_levels or {}, log_output(show)))
    _prepare(show)
    resume_file = ResumeFile(Path(show.file), state_folder()) if show.resume else None
    file = ShowFile(show, overrides, watch)
    playing = Succession(Stage(show, resume_file=resume_file, prestarted=prestarted, show_file=file))

    def end(number: int, frame: FrameType | None) -> None:
        if playing.stopping and number == signal.SIGINT:
            playing.stage.kill()
            os._exit(130)
        playing.stop(keeps_look=number != signal.SIGINT)

    for number in termination_signals():
        signal.signal(number, end)
    if interrupted:
        raise KeyboardInterrupt
    line = LoadingLine(lambda: playing.stage.loading, sys.stdout, lambda taken: _print_addresses(show, taken))

    try:
        playing.run(seconds, lambda: _on_open(playing, line, show if opens_page else None))
    finally:
        line.stop()
    return 0


def _prepare(show: Show) -> None:
    """What comes before the show: it concerns the whole process."""
    use_servers(show.network.ndi_discovery)
    for refusal in refused_plugins():
        log.warning("%s", refusal)
    sweep()
    raise_file_limit()


def _on_open(playing: Succession, line: LoadingLine, opens_page_of: Show | None) -> None:
    print_line(playing.stage.describe())
    line.start()
    if opens_page_of is not None:
        from lcm_daemon.commands.open_page import open_page

        open_page(opens_page_of)


def _print_addresses(show: Show, seconds: float) -> None:
    """Print what works once the first model is loaded."""
    lines = network_report(show, network_addresses(), with_qr=sys.stdout.isatty())
    with contextlib.suppress(OSError, ValueError):  # the output has no reader
        print_line("\n".join([f"ready after {seconds:.1f} s", *lines]))
