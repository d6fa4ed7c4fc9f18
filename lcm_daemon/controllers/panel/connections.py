"""What the page shows about the network: the addresses of this daemon, and who is connected."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
from collections.abc import Iterator
from typing import Any

from starlette.websockets import WebSocket

from lcm_daemon.core.control_state import ControlState
from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.core.local_addresses import network_addresses
from lcm_daemon.web.address import browser_url, network_urls
from lcm_daemon.web.certificate import CHECK_SECONDS, ServerCertificate
from lcm_daemon.web.qr import qr_image

log = logging.getLogger(__name__)

THIS_MACHINE = "this machine"


class Connections:
    """Keeps two lists: `addresses` (url, where, qr: an image) and `clients` (client, address, page, role).

    Args:
        host: The address that the panel listens on.
        certificate: The certificate of the panel; None for plain HTTP. It is renewed when addresses change.
    """

    def __init__(self, controls: ControlState, host: str, certificate: ServerCertificate | None) -> None:
        self._controls, self._host, self._certificate = controls, host, certificate
        self._clients: dict[str, dict[str, str]] = {}
        self._watching: asyncio.Task[None] | None = None

    async def start(self, port: int) -> None:
        """Find the addresses now, and again from time to time."""
        await self._find_addresses(port)
        self._watching = asyncio.create_task(self._watch(port))

    async def stop(self) -> None:
        """Stop to look for addresses."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)

    @contextlib.contextmanager
    def connected(self, name: str, page: str, socket: WebSocket) -> Iterator[None]:
        """List a client while the block runs. page: what it shows."""
        address = str((socket.scope.get("client") or ("",))[0])
        with contextlib.suppress(ValueError):
            address = THIS_MACHINE if ipaddress.ip_address(address).is_loopback else address
        self._clients[name] = {"client": name, "address": address, "page": page, "role": str(socket.scope["role"])}
        self._publish_clients()
        try:
            yield
        finally:
            del self._clients[name]
            self._publish_clients()

    def _publish_clients(self) -> None:
        self._controls.set_list("clients", tuple(self._clients.values()))

    async def _watch(self, port: int) -> None:
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            await self._find_addresses(port)

    async def _find_addresses(self, port: int) -> None:
        try:
            self._controls.set_list("addresses", await asyncio.to_thread(self._rows, port))
            if self._certificate is not None and await asyncio.to_thread(self._certificate.renew):
                log.info("panel: made another certificate for new addresses; browsers warn once more")
        except (OSError, LcmDaemonError) as error:
            log.warning("panel: the addresses of this machine cannot be read: %s", error)

    def _rows(self, port: int) -> tuple[dict[str, Any], ...]:
        secure = self._certificate is not None
        own = browser_url(self._host, port, secure)
        others = network_urls(self._host, port, network_addresses(), secure)
        return ({"url": own, "where": THIS_MACHINE, "qr": ""},
                *({"url": url, "where": "network", "qr": qr_image(url)} for url in others))
