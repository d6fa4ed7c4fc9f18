"""What is known of an engine, for the report of its end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from lcm_daemon.pipelines.base import DeviceMemory
from lcm_daemon.recipes.recipe import Recipe
from lcm_daemon.render.engine_place import EnginePlace
from lcm_daemon.render.policy import describe_memory


class KnownEngine(Protocol):
    """What is asked of an `EngineSupervisor`."""

    report: Any
    place: EnginePlace
    node: str
    state: str
    rendered: int
    memory: DeviceMemory | None

    @property
    def recipe(self) -> Recipe:
        """The recipe that it renders."""

    @property
    def frames_under_way(self) -> int:
        """Frames that were sent, and whose results have not come."""


def describe_engine(engine: KnownEngine) -> Mapping[str, str]:
    """Name and value of each fact."""
    recipe, report = engine.recipe, engine.report
    facts = {"recipe": recipe.name, "size": "{}x{}".format(*recipe.size), "place": engine.place.name,
             "node": engine.node, "state": engine.state, "frames rendered": str(engine.rendered),
             "frames under way": str(engine.frames_under_way)}
    if report is not None:
        facts |= {"model": str(report.model), "device": str(report.device), "dtype": str(report.dtype)}
    if engine.memory is not None:
        facts["device memory"] = describe_memory(engine.memory)
    return {name: value for name, value in facts.items() if value}
