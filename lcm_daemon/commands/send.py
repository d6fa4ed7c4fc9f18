"""`lcm-daemon send`: sends one OSC message and prints what the daemon answers."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from lcm_daemon.commands.output import print_line
from lcm_daemon.controllers.osc.sender import send


def send_message(address: str, arguments: Sequence[str], host: str, port: int) -> int:
    """Send a message and print the answers, each as its address and its arguments.

    Returns:
        The exit code: 1 if the daemon refused the message.

    Raises:
        LcmDaemonError: The address is invalid, the message could not be sent, or nothing listens at the port.
    """
    answers = send(address, arguments, host, port)
    for answered, values in answers.messages:
        print_line(" ".join([answered, *map(_shown, values)]))
    for error in answers.errors:
        print(f"refused: {error}", file=sys.stderr)
    if not answers.confirmed and not answers.errors:
        print(f"sent to {host}:{port}; no lcm-daemon has confirmed it", file=sys.stderr)
    return 1 if answers.errors else 0


def _shown(value: object) -> str:
    """A float has the digits that OSC's 32 bits carry."""
    return f"{value:.7g}" if isinstance(value, float) else str(value)
