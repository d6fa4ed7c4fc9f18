"""Browser source: camera or screen of a browser that has the daemon's page open.

The page sends its frames to the desk. The desk publishes them in shared memory (shared_memory.py) under the source's
name, and the stage reads them as it reads those of any other sender on this machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lcm_daemon.core.clock import Clock
from lcm_daemon.core.schema import Field, Text
from lcm_daemon.transports.base import Probe, Transport
from lcm_daemon.transports.shared_memory import PREFIX, MemorySink, MemorySource, segment_name

_FIELDS = {"name": Field(Text(), "page", "name that page and source share; two daemons on one machine need two names")}


class BrowserSource(MemorySource):
    """Reads the page's frames. It waits for a page, and follows it through reloads and changes of size."""

    is_listed = False  # the desk serves one name, the show's
    fields = _FIELDS

    def __init__(self, options: Mapping[str, Any], clock: Clock | None = None) -> None:
        super().__init__(options, clock)
        self._name = _browser_segment(self.options["name"])

    @property
    def is_connected(self) -> None:
        return None  # the daemon's own desk keeps the name, whether a page sends or not

    @classmethod
    def discover(cls, seconds: float) -> list[str]:
        return []  # a page that is not open yet has no name


class PageSink(MemorySink):
    """Publishes the page's frames, for the desk. Not available as a sink of a show."""

    fields = _FIELDS

    def __init__(self, options: Mapping[str, Any]) -> None:
        super().__init__(options)
        self._name = _browser_segment(self.options["name"])


def memory_label(name: str) -> str:
    """The name by which `list sources` would print the frames of the browser source `name` as a memory source."""
    return _browser_segment(name).removeprefix(PREFIX)


def _browser_segment(name: str) -> str:
    """Segment name that differs from that of a `memory` sink of the same name."""
    return segment_name(f"browser {name}")


def _probe() -> Probe:
    return Probe(True, "built in; the page asks for the camera")


TRANSPORT = Transport(source=BrowserSource, sink=None, probe=_probe)
