"""`lcm-daemon health`: whether a running daemon plays. For the health check of a container, and for scripts."""

from __future__ import annotations

import os
import sys

from lcm_daemon.commands.output import print_line
from lcm_daemon.commands.panel_answer import NoEntryError, read_health
from lcm_daemon.core.errors import LcmDaemonError

MAX_AGE = 5.0  # seconds; the stage sends a status twice a second
PANEL_PORT = 8000
PORT_VARIABLE = "LCM_DAEMON__PANEL__PORT"  # overrides a show, as `run` reads it


def health(host: str, port: int | None) -> int:
    """Print one line about the daemon; return 0 if its stage plays, else 1.

    A show whose engine fails, or whose input is missing, plays: the daemon itself does what can be done about it.

    Args:
        host: Host of the panel.
        port: Port of the panel; None for PORT_VARIABLE, or else PANEL_PORT.
    """
    try:
        found = read_health(host, _default_port() if port is None else port)
    except NoEntryError:
        print_line("the daemon answers, but does not show its status to this address without the pin")
        return 0
    except LcmDaemonError as error:
        print(error, file=sys.stderr)
        return 1
    age, status = found.get("status_age"), found["status"]
    if not isinstance(age, int | float) or age > MAX_AGE:
        print("the stage does not play: " + ("no status yet" if age is None else f"its status is {age} s old"),
              file=sys.stderr)
        return 1
    more = "".join(f"; {status[name]}" for name in ("engines", "hours", "alarm") if status.get(name))
    print_line(f"{status.get('show')} plays at {status.get('output_fps')} fps; engine: {status.get('engine')}{more}")
    return 0


def _default_port() -> int:
    """Raises LcmDaemonError if the variable is not a port."""
    text = os.environ.get(PORT_VARIABLE, str(PANEL_PORT))
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise LcmDaemonError(f"{PORT_VARIABLE}: {text!r:.40} is not a port")
    return int(text)
