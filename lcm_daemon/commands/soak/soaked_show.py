"""SoakedShow: the copy of a show that is soaked, in a process group of its own, with a clock that can be set."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from lcm_daemon.commands.panel_answer import read_health
from lcm_daemon.commands.show_copy import HOST, copy_environment, copy_overrides, free_port
from lcm_daemon.commands.soak.shifted_clock import write_shift
from lcm_daemon.commands.soak.signals import kill_group
from lcm_daemon.controllers.osc_protocol.encoder import encode
from lcm_daemon.core.osc_names import SYNC
from lcm_daemon.core.parameters import Value
from lcm_daemon.shows.show import Show

END_SECONDS = 10.0  # for an orderly end
MODULE = "lcm_daemon.commands.soak.shifted_clock"


class SoakedShow:
    """A daemon that can be killed, cut off its power, started again and set to another time.

    Args:
        file: The show's file.
        overrides: What `--set` changes of it.
        ports: TCP port of its page and UDP port of its OSC.
        folder: An empty folder: for its log, its state and its compiled models.
        variables: Variables of its environment beside those of this process.
    """

    def __init__(
        self, file: str, overrides: Sequence[str], ports: tuple[int, int], folder: Path,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.state, self.cache = folder, folder / "state", folder / "cache"
        self.panel_port, self.osc_port = ports
        self._log, self._clock = folder / "log.txt", folder / "clock"
        write_shift(self._clock, 0.0)
        self._command = [sys.executable, "-m", MODULE, str(self._clock), "run", file,
                         *(word for override in overrides for word in ("--set", override))]
        self._environment = {**copy_environment(overrides), **(variables or {}), "LCM_DAEMON_STATE": str(self.state)}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it. Raises OSError."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT, env=self._environment,
                start_new_session=True)  # Ctrl-C goes to the soak, which ends its processes in order

    def stop(self) -> None:
        """End it in order, or kill it if it does not end."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self.cut_power()
        self._close()

    def cut_power(self) -> None:
        """Kill all of its processes at once."""
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            kill_group(self._process.pid)
        self._process.wait()
        self._close()

    def _close(self) -> None:
        assert self._process is not None
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def process(self) -> psutil.Process:
        """Its stage. Raises psutil.NoSuchProcess."""
        assert self._process is not None
        return psutil.Process(self._process.pid)

    def set_clock(self, seconds: float) -> None:
        """Set its time of day to the true one and `seconds`."""
        write_shift(self._clock, seconds)

    def health(self) -> dict[str, Any]:
        """What its page answers at `/health`. Raises LcmDaemonError if it does not answer."""
        return read_health(HOST, self.panel_port)

    def send(self, address: str, *values: Value) -> None:
        """Send it an OSC message; an unanswered port is not an error."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender, contextlib.suppress(OSError):
            sender.sendto(encode(address, list(values)), (HOST, self.osc_port))

    def carries_out(self, seconds: float, *message: Value) -> bool:
        """Send it an OSC message, if one is given; return whether it says within `seconds` that this is carried out.

        message: Address and arguments.
        """
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.settimeout(seconds)
            sender.connect((HOST, self.osc_port))
            try:
                for address, *values in filter(None, (message, (SYNC, 1))):
                    sender.send(encode(str(address), values))
                return any(SYNC.encode() in sender.recv(65536) for _ in range(8))
            except OSError:  # nothing listens, or no answer in time
                return False

    def log(self) -> list[str]:
        """The lines that it has logged, at most the last thousand."""
        with contextlib.suppress(OSError), self._log.open("rb") as log:
            log.seek(max(0, self._log.stat().st_size - 200_000))
            return log.read().decode("utf-8", errors="replace").splitlines()[-1000:]
        return []


def soaked_overrides(show: Show, bus: str, source: str, ports: tuple[int, int], sinks: Sequence[str]) -> list[str]:
    """What `--set` changes of a show for its soak. Unlike another copy, it keeps its state, in a folder of its own.

    Args:
        show: The show.
        bus: Name of the sink that gets its output.
        source: Its source, as a show says it; "" leaves the show's own.
        ports: Of page and OSC.
        sinks: Further sinks, each as a show says it.
    """
    given = copy_overrides(show, bus, *ports)
    kept = [override for override in given if override.partition("=")[0] not in ("resume", "sinks", "log")]
    sources = [f"source={source}", *(["guide={transport: testcard}"] if show.guide else [])] if source else []
    return [*kept, *sources, "resume=true", "log={}",
            f"sinks=[{', '.join(sinks)}]"]


def two_ports() -> tuple[int, int]:
    """Free ports of a page and of OSC."""
    return free_port(), free_port()
