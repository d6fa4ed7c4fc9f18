"""StatusReport: what the stage reports to the desk twice a second."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from lcm_daemon.core.parameters import Value
from lcm_daemon.core.requests import ParameterState
from lcm_daemon.stage.status import Status
from lcm_daemon.stage.value_origin import describe_last_move, parameter_states, start_origins

if TYPE_CHECKING:
    from lcm_daemon.stage.stage import Stage

_REFUSED = ("refused", "unknown", "malformed")  # ends of the desk's counters of rejected input


class StatusReport:
    """Collects the status and the state of every parameter of a running show."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._status = Status(stage.metrics)

    def is_due(self, now: float) -> bool:
        return self._status.is_due(now)

    def status(self, now: float) -> Mapping[str, Value]:
        """The entries that the page and OSC's /lcm/status show."""
        stage, transition = self._stage, self._stage.transition
        engine, age = transition.leading.engines[0], transition.age(now)
        entries: dict[str, Value] = {
            "show": stage.show.name,
            "recipe": engine.recipe.name,
            "size": "{}x{}".format(*engine.recipe.size),
            "change": transition.describe(),
            **stage.automation.status(),
            "moved": describe_last_move(stage.parameters),
            "governor": stage.switcher.describe_governor(),
            "error": transition.state.error,
            "engine": engine.state,
            "engine_pid": engine.pid,
            "desk_pid": stage.desk.pid,
            "alarm": "; ".join(one.alarm for one in transition.leading.engines if one.alarm),
            "source": f"{stage.source.label}: {stage.source.state}" if stage.source else "none",
            "sinks": "; ".join(f"{sink.label}: {sink.state}" for sink in stage.sinks) or "none",
            "missed": stage.ticker.skipped,
            "failsafe": stage.failsafe.is_active(age),
            "refused": sum(n for path, n in stage.desk.counts.items() if path.endswith(_REFUSED)),
        }
        if stage.guide:
            entries["guide"] = f"{stage.guide.label}: {stage.guide.state}"
        return self._status.collect(now, entries)

    def parameter_states(self) -> Mapping[str, ParameterState]:
        """Every parameter's base value, value in force, and who set it."""
        stage = self._stage
        recipe, values = stage.recipes.playing.recipe, stage.automation.values
        modulated = (parameter.name for modulator in stage.show.modulators for parameter in modulator.parameters())
        origins = start_origins(stage.show.table(recipe), {*stage.show.parameters, *modulated}, recipe)
        governed = stage.switcher.govern_values(values)
        return parameter_states(stage.parameters, values, governed, origins, stage.show.modulators)
