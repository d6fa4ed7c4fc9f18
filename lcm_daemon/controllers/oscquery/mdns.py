"""The mDNS announcement of OSCQuery, by zeroconf: other programs find the daemon without being told where it is."""

from __future__ import annotations

import logging
import socket
from typing import Any

import psutil

from lcm_daemon.core.errors import LcmDaemonError, MissingIntegration

log = logging.getLogger(__name__)

SERVICE = "_oscjson._tcp.local."  # as the OSCQuery proposal names it
EVERYWHERE = "0.0.0.0"


class Announcement:
    """One service, announced on the interface of `host` alone, or on all for 0.0.0.0."""

    def __init__(self, name: str, host: str, port: int) -> None:
        self._name, self._host, self._port = name, host, port
        self._zeroconf: Any = None

    async def start(self) -> None:
        """Announce it; MissingIntegration without zeroconf, LcmDaemonError where the network refuses."""
        try:
            from zeroconf import InterfaceChoice, NonUniqueNameException
            from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf
        except ImportError as error:
            raise MissingIntegration(
                "OSCQuery", "mDNS needs the package zeroconf", "pip install 'lcm-daemon[oscquery]'") from error
        everywhere = self._host == EVERYWHERE
        info = AsyncServiceInfo(
            SERVICE, f"{self._name}.{SERVICE}", port=self._port, properties={"txtvers": "1"},
            parsed_addresses=_addresses() if everywhere else [self._host],
            server=f"{socket.gethostname().partition('.')[0]}.local.")
        try:
            self._zeroconf = AsyncZeroconf(InterfaceChoice.All if everywhere else [self._host])
            await self._zeroconf.async_register_service(info, allow_name_change=True)
        except (OSError, NonUniqueNameException) as error:
            await self.stop()
            raise LcmDaemonError(f"OSCQuery cannot be announced by mDNS: {error}") from error

    async def stop(self) -> None:
        """Take it back; may be called twice."""
        zeroconf, self._zeroconf = self._zeroconf, None
        if zeroconf is not None:
            await zeroconf.async_unregister_all_services()
            await zeroconf.async_close()


def _addresses() -> list[str]:
    """This machine's IPv4 addresses, loopback left out."""
    found = [each.address for card in psutil.net_if_addrs().values() for each in card if each.family == socket.AF_INET]
    return [address for address in found if not address.startswith("127.")]
