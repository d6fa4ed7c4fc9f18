"""Table of transports by name. Loading one imports its module, but its native library only when an endpoint opens."""

from __future__ import annotations

from lcm_daemon.core.plugins import NameTable
from lcm_daemon.core.schema import are_fields
from lcm_daemon.transports.base import Endpoint, Transport

TRANSPORTS = NameTable("transport", {
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
})


def load(name: str) -> Transport:
    """Return the transport of that name.

    Raises:
        KeyError: TRANSPORTS does not have the name.
        PluginError: The transport is of a plugin, and cannot be imported.
    """
    transport: Transport = TRANSPORTS.load(
        name, _is_transport, "a Transport with a Source or a Sink, whose fields are Fields", attribute="TRANSPORT")
    return transport


def _is_transport(part: object) -> bool:
    if not isinstance(part, Transport):
        return False
    ends = [end for end in (part.source, part.sink) if end is not None]
    return bool(ends) and all(issubclass(end, Endpoint) and are_fields(end.fields) for end in ends)
