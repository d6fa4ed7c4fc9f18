"""`lcm-daemon midi list`: the MIDI ports, with the numbers that a show uses for devices of one name."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
from collections.abc import Callable, Iterator

from lcm_daemon.controllers.midi.port_names import PortNumbers
from lcm_daemon.controllers.midi.ports import BACKENDS, MidiBackend, RtMidi
from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.core.suggestions import nearest


def backend_opener(name: str, sysex: bool = False) -> Callable[[], MidiBackend]:
    """Return the function that opens a MIDI system. Raises LcmDaemonError if the name is unknown.

    Args:
        name: Key of BACKENDS.
        sysex: Whether inputs receive system exclusive messages.
    """
    if name not in BACKENDS:
        raise LcmDaemonError(f"MIDI: no backend {name!r}{nearest(name, BACKENDS)}")
    return functools.partial(RtMidi, name, sysex=sysex)


def open_backend(connect: Callable[[], MidiBackend]) -> MidiBackend:
    """Open a MIDI system, with one line where it does not answer: JACK's library prints five of its own.

    Raises:
        LcmDaemonError: MIDI is not available.
    """
    try:
        with _native_errors_hidden():
            return connect()
    except OSError as error:
        reason = "JACK does not run; start it, or choose another --backend" if "JACK" in str(error) else error
        raise LcmDaemonError(f"MIDI: {reason}") from error


@contextlib.contextmanager
def _native_errors_hidden() -> Iterator[None]:
    """Discard what libraries write to standard error, below Python."""
    try:
        sys.stderr.flush()
        kept = os.dup(2)
    except (AttributeError, OSError):  # standard error is closed
        yield
        return
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 2)
        os.close(nowhere)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def list_ports(connect: Callable[[], MidiBackend]) -> Iterator[str]:
    """Yield a line for each port.

    Args:
        connect: opens the MIDI system.

    Raises:
        LcmDaemonError: MIDI is not available.
    """
    backend = open_backend(connect)
    try:
        try:
            inputs, outputs = PortNumbers().number(*backend.port_names())
        finally:
            backend.close()
    except OSError as error:
        raise LcmDaemonError(f"MIDI: {error}") from error
    if not inputs and not outputs:
        yield "no MIDI devices"
    yield from (f"input   {port}" for port in inputs)
    yield from (f"output  {port}" for port in outputs)
