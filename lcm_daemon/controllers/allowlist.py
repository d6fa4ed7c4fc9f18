"""The hosts that may use a controller, and the show's keys for hosts and networks."""

from __future__ import annotations

import functools
import ipaddress
from collections.abc import Sequence

from lcm_daemon.core.document import Node, Problems
from lcm_daemon.core.schema import Custom, Text

CACHED_HOSTS = 256


class Allowlist:
    """Checks hosts against a list of networks. An empty list allows every host.

    Args:
        networks: Addresses and networks as text, as `network_of` reads them.
    """

    def __init__(self, networks: Sequence[str]) -> None:
        self._networks = [network_of(text) for text in networks]
        self.allows = functools.lru_cache(CACHED_HOSTS)(self._allows)

    def _allows(self, host: str) -> bool:
        """Whether a host (an IPv4 address as text) is in the list."""
        return not self._networks or any(ipaddress.IPv4Address(host) in network for network in self._networks)


def network_of(text: str) -> ipaddress.IPv4Network:
    """Parse "192.168.1.20" (one host), "192.168.1.0/24" or "localhost"; raise ValueError for anything else."""
    return ipaddress.IPv4Network("127.0.0.1" if text == "localhost" else text)


def _read_host(node: Node, problems: Problems) -> str | None:
    text = Text().read(node, problems)
    if text is None:
        return None
    try:
        return str(ipaddress.IPv4Address("127.0.0.1" if text == "localhost" else text))
    except ValueError:
        problems.add(node, f"{text!r:.80} is not {HOST.describe()}")
        return None


def _read_network(node: Node, problems: Problems) -> str | None:
    text = Text().read(node, problems)
    if text is None:
        return None
    try:
        return str(network_of(text))
    except ValueError:
        problems.add(node, f"{text!r:.80} is not {NETWORK.describe()}")
        return None


HOST = Custom(_read_host, "an IPv4 address such as 127.0.0.1 (this machine only) or 0.0.0.0 (every network)")
NETWORK = Custom(_read_network, "an IPv4 address such as 192.168.1.20, or a network such as 192.168.1.0/24")
