"""Sends one OSC message over UDP, for `lcm-daemon send`."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Sequence

from lcm_daemon.controllers.osc_protocol.encoder import encode
from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.core.parameters import Value

_BOOLEANS = {"true": True, "false": False}
_NUMERAL = frozenset("+-.0123456789eE")


def parse_argument(text: str) -> Value:
    """Convert a command-line argument to an int, a finite float, a bool ("true", "false"), or leave it as text."""
    if text.lower() in _BOOLEANS:
        return _BOOLEANS[text.lower()]
    for kind in (int, float) if _NUMERAL.issuperset(text) else ():  # not 1_000, and not the words inf and nan
        with contextlib.suppress(ValueError):
            return kind(text)
    return text


def send(address: str, arguments: Sequence[str], host: str = "127.0.0.1", port: int = 9000) -> None:
    """Send one message over UDP.

    Args:
        address: The OSC address.
        arguments: The arguments as text; `parse_argument` gives them their types.
        host: Where to send it.
        port: UDP port at the host.

    Raises:
        LcmDaemonError: The address is invalid, or the message could not be sent.
    """
    if not address.startswith("/"):
        raise LcmDaemonError(f"an OSC address starts with a slash, such as /lcm/strength, and {address!r} does not")
    packet = encode(address, [parse_argument(argument) for argument in arguments])
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(packet, (host, port))
    except (OSError, OverflowError) as error:
        raise LcmDaemonError(f"OSC: could not send to {host}:{port}: {error}") from error
