"""What each export sends: readers that open its file as its program does, without our code where that is possible.

A reader takes the file's bytes and returns the OSC messages that its controls send: address and arguments. A fader
sends one of its values. A format that sends no OSC is in SENDS_NOTHING, with the reason.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any

Messages = list[tuple[str, list[Any]]]
READERS: Mapping[str, str] = {  # the module with `addresses(data)`, by the name of the export
    "touchdesigner": "tests.exports.read_touchdesigner",
    "resolume": "tests.exports.read_resolume",
    "touchosc": "tests.exports.read_touchosc",
    "open-stage-control": "tests.exports.read_open_stage_control",
    "companion": "tests.exports.read_companion",
    "qlab": "tests.exports.read_qlab",
    "max": "tests.exports.read_max_for_live",
    "max-for-live": "tests.exports.read_max_device",
    "chataigne": "tests.exports.read_chataigne",
}
SENDS_NOTHING: Mapping[str, str] = {
    "resolume-notes": "a page to read",
    "obs": "OBS Studio shows the picture",
    "ossia": "a device file: score asks OSCQuery for the addresses",
    "midi": "a drawing",
}


def reader(name: str) -> Callable[[bytes], Messages]:
    """The reader of an export."""
    found: Callable[[bytes], Messages] = importlib.import_module(READERS[name]).addresses
    return found
