"""Outputs: the sinks of a running show, each of which can be switched off and on."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from lcm_daemon.core.frame import Frame
from lcm_daemon.core.metrics import Metrics
from lcm_daemon.core.refusals import Refusals
from lcm_daemon.shows.show import Show
from lcm_daemon.transports.endpoint import switch_names
from lcm_daemon.transports.factory import build_sink
from lcm_daemon.transports.runner import SinkRunner

log = logging.getLogger(__name__)


class Outputs:
    """Every sink of a show that is installed.

    Attributes:
        sinks: their runners.
    """

    def __init__(self, show: Show, metrics: Metrics) -> None:
        built = [build_sink(config, show.size, show.fps, metrics) for config in show.sinks]
        self.sinks = [runner for runner in built if runner is not None]
        self._switches: Mapping[str, Sequence[SinkRunner]] = {
            name: [runner for number in numbers if (runner := built[number]) is not None]
            for name, numbers in switch_names(show.sinks).items()
        }
        self._recorders = [runner for config, runner in zip(show.sinks, built, strict=True)
                           if runner is not None and config.transport == "record"]
        self.refusals = Refusals(metrics)

    def post(self, frame: Frame) -> None:
        """Hand a frame to every sink; never waits."""
        for sink in self.sinks:
            sink.post(frame)

    def switch(self, name: str, on: bool) -> None:
        """Switch the sinks of this name off or on."""
        for sink in self._switches.get(name, ()):
            _switch(sink, on)

    def record(self, on: bool, origin: str) -> None:
        """Start or stop every recording. Each start is another take: another file."""
        if not self._recorders:
            verb = "start" if on else "stop"
            self.refusals.add("record/refused", origin, f"record/{verb}: the show has no sink of the transport record")
        for sink in self._recorders:
            _switch(sink, on)


def _switch(sink: SinkRunner, on: bool) -> None:
    if sink.is_on != on:
        log.info("%s: switched %s", sink.label, "on" if on else "off")
        sink.switch(on)
