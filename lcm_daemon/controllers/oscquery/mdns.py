"""Announces OSCQuery by mDNS (zeroconf), so that other programs find the daemon by themselves."""

from __future__ import annotations

import logging
import socket
from typing import Any

import psutil

from lcm_daemon.core.errors import LcmDaemonError, MissingIntegration
from lcm_daemon.web.origin_guard import mdns_host

log = logging.getLogger(__name__)

SERVICE = "_oscjson._tcp.local."  # the service type of the OSCQuery proposal
OSC_SERVICE = "_osc._udp.local."  # that of OSC itself, which TouchOSC and others look for
ALL_INTERFACES = ("0.0.0.0", "::")


class Announcement:
    """The announcement of OSCQuery and OSC, on the interface of `host`, or on all interfaces for 0.0.0.0 and `::`.

    Args:
        name: Name of both services.
        host: The address that OSCQuery listens on.
        port: TCP port of OSCQuery.
        osc_port: UDP port of OSC; 0 does not announce it.
    """

    def __init__(self, name: str, host: str, port: int, osc_port: int = 0) -> None:
        self._name, self._host, self._port, self._osc_port = name, host, port, osc_port
        self._zeroconf: Any = None

    async def start(self) -> None:
        """Announce the services.

        Raises:
            MissingIntegration: zeroconf is not installed.
            LcmDaemonError: The network refuses the announcement.
        """
        try:
            from zeroconf import InterfaceChoice, NonUniqueNameException
            from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf
        except ImportError as error:
            raise MissingIntegration(
                "OSCQuery", "mDNS needs the package zeroconf", "pip install 'lcm-daemon[oscquery]'") from error
        everywhere = self._host in ALL_INTERFACES
        services = {SERVICE: self._port, **({OSC_SERVICE: self._osc_port} if self._osc_port else {})}
        try:
            self._zeroconf = AsyncZeroconf(InterfaceChoice.All if everywhere else [self._host])
            for service, port in services.items():
                info = AsyncServiceInfo(
                    service, f"{self._name}.{service}", port=port, properties={"txtvers": "1"},
                    parsed_addresses=_addresses() if everywhere else [self._host], server=f"{mdns_host()}.")
                await self._zeroconf.async_register_service(info, allow_name_change=True)
        except (OSError, NonUniqueNameException) as error:
            await self.stop()
            raise LcmDaemonError(f"OSCQuery: the mDNS announcement failed: {error}") from error

    async def stop(self) -> None:
        """Withdraw the announcement. Safe to call twice."""
        zeroconf, self._zeroconf = self._zeroconf, None
        if zeroconf is not None:
            await zeroconf.async_unregister_all_services()
            await zeroconf.async_close()


def _addresses() -> list[str]:
    """This machine's IPv4 addresses, except loopback."""
    found = [each.address for card in psutil.net_if_addrs().values() for each in card if each.family == socket.AF_INET]
    return [address for address in found if not address.startswith("127.")]
