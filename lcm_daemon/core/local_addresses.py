"""Addresses and names of this machine."""

from __future__ import annotations

import ipaddress
import socket

import psutil


def network_addresses() -> list[str]:
    """The addresses at which others in the network may find this machine: IPv4 first, private ones before public ones.

    Loopback and link-local addresses are left away, and interfaces that are down.
    """
    up = {name for name, state in psutil.net_if_stats().items() if state.isup}
    found = []
    for name, addresses in psutil.net_if_addrs().items():
        for each in addresses:
            if name in up and each.family in (socket.AF_INET, socket.AF_INET6):
                address = ipaddress.ip_address(each.address.partition("%")[0])
                if not (address.is_loopback or address.is_link_local or address.is_unspecified):
                    found.append(address)
    return [str(each) for each in sorted(set(found), key=lambda each: (each.version, not each.is_private, each))]


def host_names() -> list[str]:
    """The names of this machine: its host name, and the one under which mDNS finds it (RFC 6762)."""
    name = socket.gethostname().lower()
    return list(dict.fromkeys([name, f"{name.partition('.')[0]}.local"]))


def machine_name() -> str:
    """The name of this machine as NDI shows it: "STAGE" of the sender "STAGE (lcm)"."""
    return socket.gethostname().upper()
