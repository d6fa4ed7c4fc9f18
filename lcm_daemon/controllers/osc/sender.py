"""Sending OSC: messages built with python-osc, and the one that `lcm-daemon send` sends."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Sequence

from pythonosc.osc_message_builder import BuildError, OscMessageBuilder

from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.core.parameters import Value

_WORDS = {"true": True, "false": False}
_NUMERAL = frozenset("+-.0123456789eE")
_INT32 = range(-(2**31), 2**31)


def encode(address: str, arguments: Sequence[Value], wide: bool = False) -> bytes:
    """One OSC message: float as f, int as i (h beyond 32 bits), bool as T or F, text as s. Raises LcmDaemonError.

    wide: every int as h.
    """
    builder = OscMessageBuilder(address)
    try:
        for argument in arguments:
            whole = isinstance(argument, int) and not isinstance(argument, bool)
            builder.add_arg(argument, ("i" if argument in _INT32 and not wide else "h") if whole else None)
        return bytes(builder.build().dgram)
    except (BuildError, ValueError, OverflowError, struct.error) as error:
        raise LcmDaemonError(f"OSC cannot carry {address} {list(arguments)!r:.80}: {error}") from error


def typed(text: str) -> Value:
    """An argument as a person types it: an int, a finite float, true or false, else text."""
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    for kind in (int, float) if _NUMERAL.issuperset(text) else ():  # not 1_000, nor the words inf and nan
        with contextlib.suppress(ValueError):
            return kind(text)
    return text


def send(address: str, arguments: Sequence[str], host: str = "127.0.0.1", port: int = 9000) -> None:
    """Send one message over UDP, its arguments typed by look; raise LcmDaemonError where it cannot leave."""
    if not address.startswith("/"):
        raise LcmDaemonError(f"an OSC address starts with a slash, as /lcm/strength does: {address!r}")
    packet = encode(address, [typed(argument) for argument in arguments])
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(packet, (host, port))
    except (OSError, OverflowError) as error:
        raise LcmDaemonError(f"OSC to {host}:{port} could not be sent: {error}") from error
