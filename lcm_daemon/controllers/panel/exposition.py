"""The numbers of a daemon as Prometheus reads them (https://prometheus.io/docs/instrumenting/exposition_formats)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping

import psutil
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector, CollectorRegistry

from lcm_daemon import __version__
from lcm_daemon.controllers.panel.liveness import liveness
from lcm_daemon.core.control_state import ControlState, Rows
from lcm_daemon.core.metrics import BOUNDS, Histogram
from lcm_daemon.core.parameters import Value
from lcm_daemon.core.stage_numbers import StageNumbers

PREFIX = "lcm_daemon_"
DURATIONS = {  # name and help of each path of `Metrics.time` that is shown
    "latency": ("latency_seconds", "From the capture of an input to its result."),
    "engine/latency": ("engine_latency_seconds", "From the request of a frame to its result."),
    "engine/render": ("render_seconds", "What the engine spends on a frame."),
    "engine/load": ("load_seconds", "From the start of an engine until it renders."),
    "tick/late": ("tick_late_seconds", "How late output frames are."),
}
FRAMES = {"source/frames": "source", "guide/frames": "guide", "engine/rendered": "rendered"}
KNOWN_STATES = ("running", "waiting", "off", "opening", "rendering", "loading", "starting", "stopped", "unchanged",
                "alarm")
OTHER_STATE = "failed"  # the state is a reason then
_DROPPED, _SENT, _ENDED = "dropped/", "sent/", re.compile(r"(engine|desk|audience)/ended/(.+)")


def exposition(controls: ControlState, clients: int, now: float, accept: str) -> Callable[[], tuple[bytes, str]]:
    """Copy the numbers. The function that is returned writes them as text; it may run on another thread.

    Args:
        controls: The show.
        clients: Pages and streams that are connected.
        now: Monotonic seconds.
        accept: The Accept header, which may ask for OpenMetrics.
    """
    found = _Numbers(controls, clients, now)

    def write() -> tuple[bytes, str]:
        registry = CollectorRegistry(auto_describe=False)
        registry.register(found)
        encode, content_type = choose_encoder(accept)
        return encode(registry), content_type

    return write


class _Numbers(Collector):
    """The numbers at one moment."""

    def __init__(self, controls: ControlState, clients: int, now: float) -> None:
        self._status, self._numbers, self._now = dict(controls.status), controls.numbers or StageNumbers(now), now
        self._liveness = liveness(controls.numbers, now)
        self._counts = {**self._numbers.desk_counts, **controls.metrics.counts(), **self._numbers.counts}
        self._engines, self._sinks = controls.lists.get("engines", ()), controls.lists.get("sinks", ())
        self._clients = clients

    def collect(self) -> Iterator[Metric]:
        """Every metric."""
        status = self._status
        yield InfoMetricFamily("lcm_daemon", "The daemon.", {
            "version": __version__, "show": str(status.get("show", "")), "recipe": str(status.get("recipe", "")),
            "size": str(status.get("size", ""))})
        yield _gauge("alive", "Whether the stage ticks.", self._liveness.is_alive)
        yield _gauge("ready", "Whether the output shows what it should.", self._liveness.is_ready)
        yield from self._ages()
        yield from self._frames()
        for path, (name, text) in DURATIONS.items():
            if path in self._numbers.durations:
                yield _histogram(name, text, self._numbers.durations[path])
        yield from self._faults()
        yield from self._states()
        yield from self._processes()
        yield from self._rest()

    def _ages(self) -> Iterator[Metric]:
        found = self._liveness
        for name, text, age in (
            ("stage_age_seconds", "Since the stage said what it measures.", found.stage_age),
            ("output_age_seconds", "Since a frame reached a sink.", found.output_age),
            ("picture_age_seconds", "For which the picture that goes out is out of date.", found.picture_age),
            ("input_age_seconds", "The same of the newest input.", self._numbers.input_age),
        ):
            if age is not None:
                yield _gauge(name, text, age)
        family = GaugeMetricFamily(PREFIX + "sink_age_seconds", "Since a sink took a frame.", labels=["sink"])
        for label, at in self._numbers.sinks.items():
            if at is not None:
                family.add_metric([label], max(0.0, self._now - at))
        yield family

    def _frames(self) -> Iterator[Metric]:
        counts = self._counts
        frames = {"output": self._numbers.ticks, **{name: counts.get(path, 0) for path, name in FRAMES.items()}}
        yield _counter("frames", "Frames that came from a source, were rendered, and were chosen.", "of", frames)
        yield _counter("sink_frames", "Frames that a sink took.", "sink", _below(counts, _SENT))
        dropped = {**_below(counts, _DROPPED), "late tick": self._numbers.missed}
        yield _counter("dropped", "Frames that were not shown.", "reason", dropped)
        rates = {name: self._status.get(f"{key}fps") for name, key in (
            ("rendered", ""), ("source", "input_"), ("output", "output_"))}
        yield _gauges("fps", "Frames a second.", "of", {**rates, "wanted output": self._numbers.fps})

    def _faults(self) -> Iterator[Metric]:
        restarts = CounterMetricFamily(PREFIX + "restarts", "Processes that have failed.", labels=["process", "cause"])
        for path, count in self._counts.items():
            if match := _ENDED.fullmatch(path):
                restarts.add_metric([match[1], match[2]], count)
        yield restarts
        yield _gauges("alarm", "The alarms, by cause.", "cause", dict.fromkeys(self._numbers.alarms, 1))
        yield _gauge("alarms", "How many alarms there are.", len(self._numbers.alarms))

    def _states(self) -> Iterator[Metric]:
        family = GaugeMetricFamily(PREFIX + "state", "States of the parts.", labels=["part", "name", "state"])
        for part, rows in (("engine", self._engines), ("sink", self._sinks), ("source", self._source())):
            for row in rows:
                family.add_metric([part, str(row["name"]), state_word(str(row["state"]))], 1)
        yield family

    def _source(self) -> Rows:
        label, separator, state = str(self._status.get("source", "")).rpartition(": ")
        return ({"name": label, "state": state.partition(";")[0]},) if separator else ()

    def _processes(self) -> Iterator[Metric]:
        memory, processor, files = {}, {}, {}
        pids = {**self._numbers.pids, "audience": self._status.get("audience_pid", 0)}
        for name, pid in pids.items():
            try:
                process = psutil.Process(int(pid)) if pid else None
                if process is not None:
                    memory[name], times = process.memory_info().rss, process.cpu_times()
                    processor[name] = times.user + times.system
                    files[name] = process.num_fds() if hasattr(process, "num_fds") else None
            except psutil.Error:  # it has ended
                continue
        yield _gauges("process_resident_bytes", "Memory of a process.", "process", memory)
        yield _counter("process_cpu_seconds", "Processor time of a process.", "process", processor)
        yield _gauges("process_open_files", "Open files and sockets of a process.", "process", files)
        device = GaugeMetricFamily(PREFIX + "device_memory_bytes", "Memory of an engine's device.",
                                   labels=["engine", "kind"])
        for engine, (used, total) in self._numbers.memory.items():
            device.add_metric([engine, "used"], used)
            device.add_metric([engine, "total"], total)
        yield device

    def _rest(self) -> Iterator[Metric]:
        yield _gauge("clients", "Pages and streams that are connected.", self._clients)
        yield _gauges("status", "Every number of the status; `lcm-daemon list status` explains them.", "name",
                      self._status)
        yield _counter("events", "Every counter of the stage and the desk.", "event", self._counts)


def state_word(state: str) -> str:
    """One of KNOWN_STATES, or OTHER_STATE: the details of a state make no label."""
    word = state.partition(" ")[0].rstrip(":,;")
    return word if word in KNOWN_STATES else OTHER_STATE


def _below(counts: Mapping[str, int], prefix: str) -> dict[str, int]:
    return {path.removeprefix(prefix): count for path, count in counts.items() if path.startswith(prefix)}


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(PREFIX + name, text, float(value))


def _gauges(name: str, text: str, label: str, values: Mapping[str, Value | None]) -> Metric:
    """A gauge for each value that is a number or a switch."""
    family = GaugeMetricFamily(PREFIX + name, text, labels=[label])
    for key, value in values.items():
        if isinstance(value, int | float):
            family.add_metric([key], float(value))
    return family


def _counter(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    family = CounterMetricFamily(PREFIX + name, text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family


def _histogram(name: str, text: str, found: Histogram) -> Metric:
    family, total, buckets = HistogramMetricFamily(PREFIX + name, text), 0, []
    for bound, count in zip((*map(str, BOUNDS), "+Inf"), found.counts, strict=True):
        total += count
        buckets.append((bound, float(total)))
    family.add_metric([], buckets, found.seconds)
    return family
