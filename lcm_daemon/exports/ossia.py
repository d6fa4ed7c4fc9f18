"""The device for ossia score: a device file with which score reads the daemon's tree over OSCQuery.

score opens it from its library, or by the menu of the device explorer. The keys are those of score 3
(`Device::DeviceSettings`, `Protocols::OSCQuerySpecificSettings`); the protocol's id is that of its OSCQuery devices.
"""

from __future__ import annotations

import json
import re

from lcm_daemon.exports.surface import Surface

OSCQUERY = "1187fefe-0468-49d1-9eb7-92d7f4e11f6f"
ANY_PORT = 0  # score takes a free one for what it hears


def build(surface: Surface) -> bytes:
    """The `.device` file as JSON. Raises LcmDaemonError if the show has no OSC or no OSCQuery."""
    surface.need("osc", "oscquery")
    name = re.sub(r"[^A-Za-z0-9_.-]+", "_", surface.show).strip("_") or "lcm"  # what score allows in addresses
    device = {"Name": name, "Protocol": OSCQUERY, "Host": surface.query_url.replace("http", "ws", 1),
              "LocalPort": ANY_PORT}
    return json.dumps({"Device": device}, indent=1).encode()
