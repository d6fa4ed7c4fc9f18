"""Outputs: the sinks of a running show, each of which can be switched off and on."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from lcm_daemon.core.control_state import Row, Rows
from lcm_daemon.core.frame import Frame
from lcm_daemon.core.metrics import Metrics
from lcm_daemon.core.parameters import Value
from lcm_daemon.core.refusals import Refusals
from lcm_daemon.shows.show import Show
from lcm_daemon.stage.handover import Handover
from lcm_daemon.transports.endpoint import EndpointConfig, switch_names
from lcm_daemon.transports.factory import build_sink
from lcm_daemon.transports.record import RecordSink
from lcm_daemon.transports.runner import OFF, SinkRunner

if TYPE_CHECKING:
    from lcm_daemon.core.audio_ring import AudioRing

log = logging.getLogger(__name__)


class SinkRates:
    """Turns the counters of sent frames into frames a second."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics, self._at = metrics, -math.inf
        self._counts: dict[str, int] = {}

    def measure(self, labels: Sequence[str], now: float) -> dict[str, int]:
        """The rate of each sink since the last call; `now` in monotonic seconds."""
        counts = {label: self._metrics.counts(f"sent/{label}").get(f"sent/{label}", 0) for label in labels}
        rates = {label: round((count - self._counts.get(label, 0)) / max(now - self._at, 1e-3))
                 for label, count in counts.items()}
        self._counts, self._at = counts, now
        return rates


class Outputs:
    """Every sink of a show that is installed.

    Attributes:
        sinks: their runners.
    """

    def __init__(self, show: Show, metrics: Metrics, left: Handover | None = None) -> None:
        """Build the sinks. left: what the show before has left; its open sinks are used as they are."""
        before = left or Handover()
        built = [before.pop_sink(config, show.size, show.fps) or build_sink(config, show.size, show.fps, metrics)
                 for config in show.sinks]
        self._configs = show.sinks
        self._built = built
        self.sinks = [runner for runner in built if runner is not None]
        self._size, self._metrics = show.size, metrics
        self._rates = SinkRates(metrics)
        self._switches: Mapping[str, Sequence[SinkRunner]] = {
            name: [runner for number in numbers if (runner := built[number]) is not None]
            for name, numbers in switch_names(show.sinks).items()
        }
        self._recorders = [runner for config, runner in zip(show.sinks, built, strict=True)
                           if runner is not None and config.transport == "record"]
        self.refusals = Refusals(metrics)

    def release(self, following: Show) -> list[tuple[EndpointConfig, SinkRunner]]:
        """The sinks that another show has as well, with their configurations. This show has them no longer."""
        pairs = [(config, runner) for config, runner in zip(self._configs, self._built, strict=True)
                 if runner is not None and config in following.sinks]
        self.sinks = [sink for sink in self.sinks if all(sink is not runner for _, runner in pairs)]
        return pairs

    def hear(self, ring: AudioRing) -> None:
        """Give the sound of the audio input to the recordings that want it."""
        for runner in self._recorders:
            if isinstance(runner.endpoint, RecordSink):
                runner.endpoint.ring = ring

    def post(self, frame: Frame) -> None:
        """Hand a frame to every sink; never waits."""
        for sink in self.sinks:
            sink.post(frame)

    def switch(self, name: str, on: bool) -> None:
        """Switch the sinks of this name off or on."""
        for sink in self._switches.get(name, ()):
            _switch(sink, on)

    def rows(self, now: float) -> Rows:
        """One row for each sink, or for the sinks that are switched together only: label, transport, state, size, rate.

        Args:
            now: Monotonic seconds.
        """
        rates = self._rates.measure([sink.label for sink in self.sinks], now)
        names = dict.fromkeys(self._own_name(sink) for sink in self.sinks)
        return tuple(self._row(name, self._switches[name], rates) for name in names)

    def _own_name(self, sink: SinkRunner) -> str:
        """The name that switches this sink and as few others as possible."""
        names = [name for name, runners in self._switches.items() if sink in runners]
        return min(names, key=lambda name: len(self._switches[name]))

    def _row(self, name: str, runners: Sequence[SinkRunner], rates: Mapping[str, int]) -> Row:
        worst = next((runner for runner in runners if runner.state not in ("running", OFF)), runners[0])
        width, height = self._size
        return {"name": name, "label": ", ".join(dict.fromkeys(runner.label for runner in runners)),
                "transport": worst.label.partition(" ")[0], "on": any(runner.is_on for runner in runners),
                "state": worst.state, "size": f"{width}x{height}",
                "fps": max(rates[runner.label] for runner in runners)}

    def recording(self) -> dict[str, Value]:
        """The file that is being recorded, for how long, and how much room its disk has; "" and 0 without one."""
        for runner in self._recorders:
            take = runner.endpoint.take if isinstance(runner.endpoint, RecordSink) and runner.is_on else None
            if take is not None:
                return {"record": take.path.name, "record_seconds": int(take.seconds),
                        "record_free": round(take.free / 1e9, 1)}
        return {"record": "", "record_seconds": 0, "record_free": 0.0}

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
