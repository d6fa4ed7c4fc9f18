"""`lcm-daemon midi list`: the MIDI ports, with the numbers that a show uses for devices of one name."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator

from lcm_daemon.controllers.midi.port_names import PortNumbers
from lcm_daemon.controllers.midi.ports import BACKENDS, MidiBackend, RtMidi
from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.core.schema import nearest


def backend_opener(name: str) -> Callable[[], MidiBackend]:
    """Return the function that opens a MIDI system. Raises LcmDaemonError if the name is unknown."""
    if name not in BACKENDS:
        raise LcmDaemonError(f"MIDI: no backend {name!r}{nearest(name, BACKENDS)}")
    return functools.partial(RtMidi, name)


def list_ports(connect: Callable[[], MidiBackend]) -> Iterator[str]:
    """Yield a line for each port.

    Args:
        connect: opens the MIDI system.

    Raises:
        LcmDaemonError: MIDI is not available.
    """
    try:
        backend = connect()
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
