"""A copy of a show that plays beside it, for `doctor` and `soak`: the same file, on ports and an output of its own."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lcm_daemon.commands.panel_answer import read_health
from lcm_daemon.processes.program import end_program
from lcm_daemon.shows.reader import ENVIRONMENT_PREFIX
from lcm_daemon.shows.show import Show
from lcm_daemon.shows.unattended import unattended_fields

HOST = "127.0.0.1"
END_SECONDS = 10.0  # for an orderly end
# Keys that a copy does without, and what switches each of them off: the show alone opens, calls and keeps files.
SWITCHED_OFF = {"opening_hours": "false", "alarms": "false", "log": "{}", "crash_reports": "{keep: 0}"}


def free_port() -> int:
    """A TCP port of this machine that is free now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def copy_overrides(show: Show, bus: str, panel_port: int, osc_port: int = 0) -> list[str]:
    """What `--set` changes of a show so that a copy can play beside it without being heard or seen.

    Args:
        show: The show.
        bus: Name of the shared memory that gets its output, in place of its sinks.
        panel_port: Port of its page, which this machine alone reaches, without a pin.
        osc_port: UDP port of its OSC; 0 for none.
    """
    servers = {"panel": f"{{host: {HOST}, port: {panel_port}}}"}
    if osc_port:
        servers["osc"] = f"{{host: {HOST}, port: {osc_port}}}"
    off = {name: "false" for name, options in show.controllers.items() if options is not None} | {"osc": "false"}
    unattended, ndi_discovery = unattended_fields(Path()), json.dumps(show.network.ndi_discovery)
    sections = {**off, **servers, **({"audience": "false"} if show.audience else {}), "resume": "false",
                "network": f"{{ndi_discovery: {ndi_discovery}}}",
                **{key: text for key, text in SWITCHED_OFF.items() if key in unattended},
                "sinks": f"[{{transport: memory, name: {bus}}}]"}
    parts = [f"cues.{number}.send=[]" for number, cue in enumerate(show.cues) if cue.send]
    if show.unattended.care is not None and show.unattended.care.night is not None:
        parts.append("care.night=false")
    return [*(f"{key}={text}" for key, text in sections.items()), *parts]


def copy_environment(overrides: Sequence[str]) -> dict[str, str]:
    """This process's variables for a copy, without those that set a part of a section that the copy replaces."""
    replaced = {override.partition("=")[0].upper() for override in overrides}
    return {name: text for name, text in os.environ.items() if not name.startswith(ENVIRONMENT_PREFIX)
            or name.removeprefix(ENVIRONMENT_PREFIX).partition("__")[0].upper() not in replaced}


class ShowCopy:
    """A copy of a show in a process of its own, while used as a context manager.

    Args:
        show: The show.
        overrides: What `--set` changes of it beside what makes it a copy.
        osc_port: As of `copy_overrides`.
        environment: Variables that are set beside those of this process.

    Attributes:
        bus: Name of the shared memory that gets its output.
        panel_port: Port of its page.
    """

    def __init__(
        self, show: Show, overrides: Sequence[str] = (), osc_port: int = 0, environment: Mapping[str, str] | None = None
    ) -> None:
        self.bus, self.panel_port = f"copy{os.getpid()}-{free_port()}", free_port()
        given = [*overrides, *copy_overrides(show, self.bus, self.panel_port, osc_port)]
        self._command = [sys.executable, "-P", "-m", "lcm_daemon", "run", show.file,
                         *(word for override in given for word in ("--set", override))]
        self._environment = {**copy_environment(given), **(environment or {})}

    def __enter__(self) -> ShowCopy:
        self._folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=subprocess.STDOUT,
                                             stdin=subprocess.DEVNULL, env=self._environment)
        return self

    def __exit__(self, *_: object) -> None:
        end_program(self._process, END_SECONDS)
        self._folder.cleanup()

    @property
    def _log(self) -> Path:
        return Path(self._folder.name) / "log.txt"

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    @property
    def pid(self) -> int:
        """Process id of its stage."""
        return self._process.pid

    def health(self) -> dict[str, Any]:
        """What its page answers at `/health`. Raises LcmDaemonError if it does not answer."""
        return read_health(HOST, self.panel_port)

    def log(self) -> list[str]:
        """The lines that it has logged."""
        return self._log.read_text("utf-8", errors="replace").splitlines()
