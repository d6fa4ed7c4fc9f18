"""The transports by name. Importing one never imports its native library: that happens when an end is opened."""

from __future__ import annotations

import importlib
from collections.abc import Mapping

from lcm_daemon.transports.base import Transport

TRANSPORTS: Mapping[str, str] = {
    "testcard": "lcm_daemon.transports.testcard",
    "file": "lcm_daemon.transports.file",
    "camera": "lcm_daemon.transports.camera",
    "ndi": "lcm_daemon.transports.ndi",
    "spout": "lcm_daemon.transports.spout",
    "syphon": "lcm_daemon.transports.syphon",
    "memory": "lcm_daemon.transports.shared_memory",
    "browser": "lcm_daemon.transports.browser",
    "record": "lcm_daemon.transports.record",
}


def load(name: str) -> Transport:
    """The transport of that name; KeyError where TRANSPORTS has none."""
    transport: Transport = importlib.import_module(TRANSPORTS[name]).TRANSPORT
    return transport
