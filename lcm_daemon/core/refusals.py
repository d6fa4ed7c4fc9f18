"""Refusals: what the stage could not do of what controllers requested, on its way back to them."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from lcm_daemon.core.metrics import LogThrottle, Metrics

log = logging.getLogger(__name__)

MAX_WAITING = 64  # refusals that wait for the desk; further ones are only logged


@dataclass(frozen=True)
class Refusal:
    """A request that was not carried out.

    Attributes:
        origin: Who made it, as "osc/127.0.0.1:52311".
        text: Why, for people.
        answered: Whether its sender is told. One that may not connect is not.
    """

    origin: str
    text: str
    answered: bool = True


class Refusals:
    """Counts and logs refusals, and collects them for the desk."""

    def __init__(self, metrics: Metrics) -> None:
        self._throttle = LogThrottle(log, metrics)
        self._waiting: list[Refusal] = []

    def add(self, path: str, origin: str, text: str) -> None:
        """Count a refusal under `path`, log it, and report it."""
        self._throttle.warn(path, f"{origin}: {text}")
        self.report(origin, text)

    def report(self, origin: str, text: str) -> None:
        """Report a refusal that is logged elsewhere."""
        if len(self._waiting) < MAX_WAITING:
            self._waiting.append(Refusal(origin, text))

    def pop(self) -> list[Refusal]:
        """Return the refusals since the last call."""
        waiting, self._waiting = self._waiting, []
        return waiting
