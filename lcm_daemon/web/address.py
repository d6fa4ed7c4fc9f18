"""Addresses of the web servers as a browser on this machine opens them."""

from __future__ import annotations

import ipaddress

# A server that listens on all addresses is reached through loopback.
_UNSPECIFIED = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}


def browser_url(host: str, port: int) -> str:
    """URL that a browser on this machine opens for a server that listens on this host and port.

    Args:
        host: Host name or IP address; "0.0.0.0" and "::" are all addresses of the machine.
        port: TCP port.
    """
    bare = host.strip("[]")
    try:
        address = ipaddress.ip_address(bare)
    except ValueError:
        return f"http://{_UNSPECIFIED.get(host, host)}:{port}"
    if address.is_unspecified:
        address = ipaddress.ip_address(_UNSPECIFIED[str(address)])
    if isinstance(address, ipaddress.IPv4Address):
        return f"http://{address}:{port}"
    text = str(address).replace("%", "%25")  # a zone, as in fe80::1%eth0 (RFC 6874)
    return f"http://[{text}]:{port}"
