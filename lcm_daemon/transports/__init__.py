"""Table of transports by name. Loading one imports its module, but its native library only when an endpoint opens."""

from __future__ import annotations

import importlib
from collections.abc import Mapping

from lcm_daemon.transports.base import Transport

TRANSPORTS: Mapping[str, str] = {
    "testcard": "lcm_daemon.transports.testcard",
    "file": "lcm_daemon.transports.file",
    "picture": "lcm_daemon.transports.picture",
    "camera": "lcm_daemon.transports.camera",
    "ndi": "lcm_daemon.transports.ndi",
    "spout": "lcm_daemon.transports.spout",
    "syphon": "lcm_daemon.transports.syphon",
    "memory": "lcm_daemon.transports.shared_memory",
    "browser": "lcm_daemon.transports.browser",
    "record": "lcm_daemon.transports.record",
    "window": "lcm_daemon.transports.window",
}


def load(name: str) -> Transport:
    """Return the transport of that name; raises KeyError if TRANSPORTS does not have it."""
    transport: Transport = importlib.import_module(TRANSPORTS[name]).TRANSPORT
    return transport
