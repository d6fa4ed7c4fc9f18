"""The keys of `dmx:` in a show."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from lcm_daemon.controllers.allowlist import HOST, NETWORK
from lcm_daemon.controllers.dmx.line import LINE, UNIVERSE, DmxLine
from lcm_daemon.controllers.dmx.packet import ARTNET, HTP, MERGES, PORTS, PROTOCOLS, SACN
from lcm_daemon.core.document import Node, Problems
from lcm_daemon.core.schema import Boolean, Choice, Custom, Field, Fields, Items, Number, Text

BOTH = "both"  # protocols
HOLD, ZERO = "hold", "zero"  # what a universe does whose last sender is gone
_PORT = Number(1, 65535, whole=True)


def _read_host(node: Node, problems: Problems) -> str | None:
    host: str | None = HOST.read(node, problems)
    if host is not None and ipaddress.ip_address(host).version != 4:
        problems.add(node, f"{host} is not {_HOST.describe()}: Art-Net and sACN senders use IPv4")
        return None
    return host


_HOST = Custom(_read_host, "an IPv4 address such as 192.168.1.5, or 0.0.0.0 (every network)", Text())

FIELDS: Fields = {
    "protocol": Field(Choice((BOTH, *PROTOCOLS)), BOTH, "what is listened to: artnet, sacn, or both"),
    "universe": Field(UNIVERSE, 1, "the universe of lines that name none, as the sender counts: Art-Net from 0, sACN "
                                   "from 1"),
    "map": Field(Items(LINE), (), "what the channels do, one line each"),
    "merge": Field(Choice(MERGES), HTP, "of several senders of one priority: htp, the highest level of each channel; "
                                        "ltp, the sender that has changed something last"),
    "on_loss": Field(Choice((HOLD, ZERO)), HOLD, "what happens when the last sender is gone: the values stay, or all "
                                                 "channels go to 0"),
    "timecode": Field(Boolean(), False, "follow the timecode of Art-Net: cues start at it"),
    "host": Field(_HOST, "0.0.0.0", "address of this machine that is listened on; 0.0.0.0 for all: only then do Linux "
                                    "and macOS receive broadcast and multicast"),
    "allow": Field(Items(NETWORK), (), "addresses and networks that may send, in addition to network.allow; an empty "
                                       "list allows all"),
    "artnet_port": Field(_PORT, PORTS[ARTNET], "UDP port of Art-Net"),
    "sacn_port": Field(_PORT, PORTS[SACN], "UDP port of sACN"),
}


def universes_of(lines: Sequence[DmxLine], default: int) -> dict[int, list[DmxLine]]:
    """The lines by universe. default: The universe of lines that name none."""
    found: dict[int, list[DmxLine]] = {}
    for line in lines:
        found.setdefault(default if line.universe is None else line.universe, []).append(line)
    return found
