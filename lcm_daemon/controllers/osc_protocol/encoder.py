"""Builds OSC messages with python-osc."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from pythonosc.osc_message_builder import BuildError, OscMessageBuilder

from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.core.parameters import Value

_INT32 = range(-(2**31), 2**31)


def encode(address: str, arguments: Sequence[Value]) -> bytes:
    """Encode one OSC message: float as f, int as i (h if it needs more than 32 bits), bool as T or F, text as s.

    Args:
        address: The OSC address.
        arguments: The arguments.

    Raises:
        LcmDaemonError: OSC has no encoding for an argument.
    """
    builder = OscMessageBuilder(address)
    try:
        for argument in arguments:
            whole = isinstance(argument, int) and not isinstance(argument, bool)
            builder.add_arg(argument, ("i" if argument in _INT32 else "h") if whole else None)
        return bytes(builder.build().dgram)
    except (BuildError, ValueError, OverflowError, struct.error) as error:
        raise LcmDaemonError(f"OSC: cannot encode {address} {list(arguments)!r:.80}: {error}") from error
