"""`lcm-daemon pin`: prints the hash of a pin for a show."""

from __future__ import annotations

import getpass
import secrets
import sys
from collections.abc import Callable

from lcm_daemon.commands.output import PrintLine, print_line
from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.web.pin import MAX_LENGTH, MIN_LENGTH, hash_pin, is_pin

DIGITS = 8  # of a pin that is made up


def print_hash(ask: Callable[[str], str] | None = None, print_line: PrintLine = print_line) -> int:
    """Ask for a pin, or make one up, and print the lines for a show. Return the exit code.

    Args:
        ask: Asks for a line; None for the terminal, which does not show it, or standard input.
        print_line: Receives the output.

    Raises:
        LcmDaemonError: What was entered cannot be a pin.
    """
    if ask is None:
        ask = getpass.getpass if sys.stdin.isatty() else lambda prompt: sys.stdin.readline().rstrip("\r\n")
    pin = ask("pin (empty: make one up): ")
    if not pin:
        pin = f"{secrets.randbelow(10**DIGITS):0{DIGITS}}"
        print_line(f"# pin: {pin}")
    if not is_pin(pin):
        raise LcmDaemonError(f"a pin has {MIN_LENGTH} to {MAX_LENGTH} characters, and no space at its ends")
    print_line(f"network: {{access: {{pin: {hash_pin(pin)!r}}}}}")
    return 0
