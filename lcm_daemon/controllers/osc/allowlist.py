"""Senders: whose OSC is taken, where the show says so."""

from __future__ import annotations

import functools
import ipaddress
from collections.abc import Sequence

REMEMBERED = 256  # hosts


class Senders:
    """The hosts that may send. `networks`: addresses and networks as text; none at all lets everybody in."""

    def __init__(self, networks: Sequence[str]) -> None:
        self._networks = [network_of(text) for text in networks]
        self.admits = functools.lru_cache(REMEMBERED)(self._admits)

    def _admits(self, host: str) -> bool:
        """Whether a host (an IPv4 address as text) may send."""
        return not self._networks or any(ipaddress.IPv4Address(host) in network for network in self._networks)


def network_of(text: str) -> ipaddress.IPv4Network:
    """Read "192.168.1.20" (that host alone), "192.168.1.0/24" or "localhost"; ValueError where it is neither."""
    return ipaddress.IPv4Network("127.0.0.1" if text == "localhost" else text)
