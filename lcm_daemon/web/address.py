"""Addresses of the web servers as browsers open them."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

# A server that listens on all addresses is reached through loopback.
_UNSPECIFIED = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}


def browser_url(host: str, port: int, secure: bool = False) -> str:
    """URL that a browser on this machine opens for a server that listens on this host and port.

    Args:
        host: Host name or IP address; "0.0.0.0" and "::" are all addresses of the machine.
        port: TCP port.
        secure: Whether the server speaks TLS.
    """
    scheme = "https" if secure else "http"
    address = _address(host)
    if address is None:
        return f"{scheme}://{_UNSPECIFIED.get(host, host)}:{port}"
    if address.is_unspecified:
        address = ipaddress.ip_address(_UNSPECIFIED[str(address)])
    if isinstance(address, ipaddress.IPv4Address):
        return f"{scheme}://{address}:{port}"
    text = str(address).replace("%", "%25")  # a zone, as in fe80::1%eth0 (RFC 6874)
    return f"{scheme}://[{text}]:{port}"


def network_urls(host: str, port: int, addresses: Sequence[str], secure: bool = False) -> list[str]:
    """URLs that browsers of the network open for a server that listens on this host and port; none for loopback.

    Args:
        host: As of `browser_url`.
        port: TCP port.
        addresses: The addresses of this machine in the network.
        secure: As of `browser_url`.
    """
    address = _address(host)
    if address is None:
        return [] if host == "localhost" else [browser_url(host, port, secure)]
    if address.is_loopback:
        return []
    if not address.is_unspecified:
        return [browser_url(host, port, secure)]
    return [browser_url(each, port, secure) for each in addresses if address.version == 6 or ":" not in each]


def is_open(host: str) -> bool:
    """Whether a server that listens on this host is reached from the network."""
    address = _address(host)
    return host != "localhost" if address is None else not address.is_loopback


def network_of(address: str) -> str:
    """What counts as one address: of IPv6, the /64 that one host may choose its addresses from."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv6Address):
        mapped = found.ipv4_mapped
        if mapped or found.is_loopback:
            return str(mapped or found)
        return str(ipaddress.ip_network((found, 64), strict=False))
    return address


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None
