"""What monitors ask the page's server: `/livez`, `/readyz`, `/metrics` and `/health`.

    GET /livez      200 while the stage ticks, else 503; JSON with the reason
    GET /readyz     200 while the output shows what it should, else 503; JSON with the ages
    GET /metrics    numbers for Prometheus
    GET /health     status, values, value origins and counters as JSON; prompts only for those who may know them

The first two answer without a pin. `/metrics` wants the role of a viewer, or an address that the show names in
`panel.monitors`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from lcm_daemon.controllers.allowlist import Allowlist
from lcm_daemon.controllers.panel import messages
from lcm_daemon.controllers.panel.liveness import Liveness, liveness
from lcm_daemon.core.control_state import ControlState
from lcm_daemon.core.network import NONE
from lcm_daemon.web.origin_guard import Scope

OPEN_PATHS = frozenset({"/livez", "/readyz", "/metrics"})  # `Monitoring` looks at the role itself
NO_STORE = {"Cache-Control": "no-store", "Cross-Origin-Resource-Policy": "same-origin"}
MISSING = "numbers for Prometheus need the package prometheus-client: pip install \"lcm-daemon[metrics]\"\n"
FORBIDDEN = "enter the pin, or let the show name this address in panel.monitors\n"


class Monitoring:
    """The routes.

    Args:
        controls: The show.
        monitors: Addresses and networks that may read `/metrics` without the pin.
        clients: Returns how many pages and streams are connected.
        knows: Whether the client of a request may know prompts.
    """

    def __init__(
        self, controls: ControlState, monitors: Sequence[str], clients: Callable[[], int],
        knows: Callable[[Scope], bool],
    ) -> None:
        self._controls, self._clients, self._knows = controls, clients, knows
        self._monitors = Allowlist(monitors) if monitors else None

    def routes(self) -> list[Route]:
        """All of them."""
        return [Route("/livez", self._get_livez), Route("/readyz", self._get_readyz),
                Route("/metrics", self._get_metrics), Route("/health", self._get_health)]

    async def _get_livez(self, request: Request) -> Response:
        found = self._liveness()
        return _answer(found, found.is_alive, {"alive": found.is_alive})

    async def _get_readyz(self, request: Request) -> Response:
        found = self._liveness()
        return _answer(found, found.is_ready, {"ready": found.is_ready})

    async def _get_metrics(self, request: Request) -> Response:
        if request.scope["role"] == NONE and not self._is_monitor(request):
            return PlainTextResponse(FORBIDDEN, 401, headers=NO_STORE)
        try:
            from lcm_daemon.controllers.panel.exposition import exposition
        except ImportError:
            return PlainTextResponse(MISSING, 501, headers=NO_STORE)
        find = exposition(self._controls, self._clients(), time.monotonic(), request.headers.get("accept", ""))
        body, content_type = await asyncio.to_thread(find)  # it asks the system about processes
        return Response(body, headers={**NO_STORE, "Content-Type": content_type})

    async def _get_health(self, request: Request) -> Response:
        age = self._liveness().stage_age
        health = messages.describe_health(
            self._controls, self._clients(), None if age is None else round(age, 1), self._knows(request.scope))
        return JSONResponse(health, headers=NO_STORE)

    def _liveness(self) -> Liveness:
        return liveness(self._controls.numbers, time.monotonic())

    def _is_monitor(self, request: Request) -> bool:
        return self._monitors is not None and request.client is not None and self._monitors.allows(request.client.host)


def _answer(found: Liveness, is_good: bool, verdict: dict[str, Any]) -> Response:
    ages = {name: value and round(value, 3) for name, value in (
        ("stage_age", found.stage_age), ("output_age", found.output_age), ("picture_age", found.picture_age))}
    reason = {} if is_good else {"reason": found.reason}
    return JSONResponse({**verdict, **reason, **ages}, 200 if is_good else 503, headers=NO_STORE)
