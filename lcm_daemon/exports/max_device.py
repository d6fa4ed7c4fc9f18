"""The device for Max for Live: the patcher of max_for_live.py in the file that Live takes, as a MIDI effect.

An `.amxd` that is not frozen consists of chunks: a name of four letters, the size as a 32-bit little-endian number, and
the data. "ampf" has the kind of the device, "ptch" the patcher's JSON with a zero at its end.
"""

from __future__ import annotations

import struct

from lcm_daemon.exports.max_for_live import patch_of
from lcm_daemon.exports.max_patch import Place
from lcm_daemon.exports.surface import Surface

MIDI_EFFECT = b"mmmm"
NOT_FROZEN = struct.pack("<I", 0)


def build(surface: Surface) -> bytes:
    """The `.amxd` file. Raises LcmDaemonError if the show has no OSC."""
    patch = patch_of(surface)
    through = patch.object("midiin", Place(900, 20, 60, 22)), patch.object("midiout", Place(900, 50, 60, 22))
    patch.connect(*through)  # a MIDI effect without them stops the notes of its track
    patcher = patch.to_json(devicewidth=patch.shown_width() + 4, latency=0, dependency_cache=[])
    return _chunk(b"ampf", MIDI_EFFECT) + _chunk(b"meta", NOT_FROZEN) + _chunk(b"ptch", patcher + b"\n\0")


def _chunk(name: bytes, data: bytes) -> bytes:
    return name + struct.pack("<I", len(data)) + data
