"""Browser: the camera or the screen of whoever has the daemon's page open.

The page's pictures reach the desk, which publishes them in shared memory (memory.py) under the name of the source; so
the stage reads them as those of any other sender on this machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lcm_daemon.core.clock import Clock
from lcm_daemon.core.schema import Field, Text
from lcm_daemon.transports.base import Probe, Transport
from lcm_daemon.transports.shared_memory import MemorySink, MemorySource, segment_name

_FIELDS = {"name": Field(Text(), "page", "between page and source; two daemons on one machine need two names")}


class BrowserSource(MemorySource):
    """What the page sends. It waits for a page, and follows it through reloads and changes of size."""

    fields = _FIELDS

    def __init__(self, options: Mapping[str, Any], clock: Clock | None = None) -> None:
        super().__init__(options, clock)
        self._name = _segment(self.options["name"])

    @classmethod
    def discover(cls, seconds: float) -> list[str]:
        return []  # a page that is not open yet has no name


class PageSink(MemorySink):
    """Where the desk puts what the page sends; no sink of a show."""

    fields = _FIELDS

    def __init__(self, options: Mapping[str, Any]) -> None:
        super().__init__(options)
        self._name = _segment(self.options["name"])


def _segment(name: str) -> str:
    """Another one than that of a `memory` sink of the same name."""
    return segment_name(f"browser {name}")


def _probe() -> Probe:
    return Probe(True, "built in; the page asks for the camera")


TRANSPORT = Transport(source=BrowserSource, sink=None, probe=_probe)
