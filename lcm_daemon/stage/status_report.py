"""StatusReport: what the stage reports to the desk twice a second."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from lcm_daemon.automation.automation import Automation
from lcm_daemon.core.live_values import Parameters
from lcm_daemon.core.metrics import Metrics
from lcm_daemon.core.moving_values import MovingValues
from lcm_daemon.core.parameters import Value
from lcm_daemon.core.requests import ParameterState
from lcm_daemon.desk.desk_supervisor import DeskSupervisor
from lcm_daemon.render.failsafe import Failsafe
from lcm_daemon.render.load_progress import loaded_share
from lcm_daemon.render.policy import describe_memory
from lcm_daemon.render.recipe_switcher import RecipeSwitcher
from lcm_daemon.shows.show import Show
from lcm_daemon.stage.inputs import Inputs
from lcm_daemon.stage.output_rate import OutputRate
from lcm_daemon.stage.value_origin import describe_last_move, parameter_states, start_origins
from lcm_daemon.transports.runner import Runner

_REFUSED = ("refused", "unknown", "malformed")  # ends of the desk's counters of rejected input
STATUS_INTERVAL = 0.5  # seconds
NO_INPUT_SECONDS = 2.0  # without a frame, after which the status says that the input is missing


class StatusNumbers:
    """Turns counters into rates, and timings into milliseconds."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._started: float | None = None
        self._last = 0.0
        self._counts: dict[str, int] = {}

    def is_due(self, now: float) -> bool:
        return now - self._last >= STATUS_INTERVAL

    def collect(self, now: float, entries: Mapping[str, Value]) -> dict[str, Value]:
        """The status at `now` (monotonic seconds): the numbers below, and the caller's `entries`.

        fps: rendered frames a second.
        input_fps: frames a second from the source.
        latency: milliseconds from the capture of an input to its result, median.
        engine_latency: milliseconds from the request of a frame to its result, median.
        render: milliseconds that the engine spends on a frame, median; with several under way, without its wait.
        late: milliseconds that a tick is late, 99th percentile.
        dropped: frames dropped so far.
        replaced: engines and desks replaced so far.
        uptime: seconds since the first status.
        """
        if self._started is None:
            self._started = now
        numbers: dict[str, Value] = {
            "fps": round(self._rate("engine/rendered", now), 1),
            "input_fps": round(self._rate("source/frames", now), 1),
            "latency": round(1000 * self._metrics.timing("latency"), 1),
            "engine_latency": round(1000 * self._metrics.timing("engine/latency"), 1),
            "render": round(1000 * self._metrics.timing("engine/render"), 1),
            "late": round(1000 * self._metrics.timing("tick/late", 0.99), 2),
            "dropped": self._metrics.total("dropped/"),
            "replaced": self._metrics.total("engine/replaced") + self._metrics.total("desk/replaced"),
            "uptime": int(now - self._started),
        }
        self._last = now
        return {**numbers, **entries}

    def _rate(self, path: str, now: float) -> float:
        count, before = self._metrics.total(path), self._counts.get(path, 0)
        self._counts[path] = count
        return (count - before) / max(now - self._last, 1e-3) if self._last else 0.0


class StatusReport:
    """Collects the status and the state of every parameter of a running show."""

    def __init__(
        self, show: Show, metrics: Metrics, parameters: Parameters, automation: Automation, switcher: RecipeSwitcher,
        desk: DeskSupervisor, failsafe: Failsafe,
    ) -> None:
        self._show, self._parameters, self._automation, self._switcher = show, parameters, automation, switcher
        self._desk, self._failsafe = desk, failsafe
        self._status, self._output_rate = StatusNumbers(metrics), OutputRate(show.fps, metrics)

    def is_due(self, now: float) -> bool:
        return self._status.is_due(now)

    def status(
        self, now: float, inputs: Inputs, sinks: Sequence[Runner], missed: int, age: float | None,
        more: Mapping[str, Value] = MappingProxyType({}),
    ) -> Mapping[str, Value]:
        """The entries that the page and OSC's /lcm/status show.

        loaded: percent of the loading that is done; 100 while no engine loads.
        no_input: whether the source sends nothing that the mode needs.

        Args:
            now: Monotonic seconds.
            inputs: Source and guide.
            sinks: What the show's sinks run on.
            missed: Ticks that were skipped so far.
            age: Seconds for which the output is out of date; None before the first result.
            more: Further entries.
        """
        transition = self._switcher.transition
        engine = transition.leading.first
        entries: dict[str, Value] = {
            "show": self._show.name,
            "recipe": engine.recipe.name,
            "size": "{}x{}".format(*engine.recipe.size),
            "change": transition.describe(),
            **self._automation.status(now),
            "moved": describe_last_move(self._parameters),
            "loaded": round(100 * min(loaded_share(each.first.state) for each in transition.players)),
            "governor": self._switcher.describe_governor(),
            "upgrade": self._switcher.describe_upgrade(),
            "error": "; ".join(filter(None, (transition.state.error, inputs.error))),
            "engine": engine.state,
            "in_flight": engine.in_flight,
            "engine_pid": engine.pid,
            "desk_pid": self._desk.pid,
            "source": inputs.source.describe(),
            "no_input": self._lacks_input(now, inputs),
            "sinks": "; ".join(f"{sink.label}: {sink.state}" for sink in sinks) or "none",
            "output_fps": round(self._output_rate.reached(now, missed), 1),
            "missed": missed,
            "failsafe": self._failsafe.is_active(age),
            "refused": sum(n for path, n in self._desk.counts.items() if path.endswith(_REFUSED)),
        }
        if engine.memory is not None:
            entries["memory"] = describe_memory(engine.memory)
        if self._show.can_guide:
            entries["guide"] = inputs.guide.describe()
        return self._status.collect(now, {**entries, **more})

    def _lacks_input(self, now: float, inputs: Inputs) -> bool:
        """Whether the source sends nothing that the mode needs. A show without a source lacks nothing."""
        source, age = inputs.source, inputs.source.age(now)
        needed = source.runner is not None and self._automation.values.get("mode") != "text"
        return needed and (age is None or age >= NO_INPUT_SECONDS)

    def moving_values(self, now: float) -> MovingValues:
        """The numbers that differ at `now` (monotonic seconds) from what they were set to."""
        in_force = self._switcher.govern_values(self._automation.values)
        return MovingValues.of(self._parameters.targets(), self._parameters.evaluate(now), in_force)

    def parameter_states(self) -> Mapping[str, ParameterState]:
        """Every parameter's base value, value in force, and who set it."""
        show, recipe = self._show, self._switcher.transition.state.playing.recipe
        modulated = (parameter.name for modulator in show.modulators for parameter in modulator.parameters())
        origins = start_origins(self._parameters.table, {*show.parameters, *modulated}, recipe)
        values = self._automation.values
        governed = self._switcher.govern_values(values)
        return parameter_states(self._parameters, values, governed, origins, self._automation.bank.modulators)
