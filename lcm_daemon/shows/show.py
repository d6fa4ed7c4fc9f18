"""Show: one YAML file, read, checked and frozen. What `lcm-daemon run` runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lcm_daemon.automation.automation import AUTOMATION_PARAMETERS
from lcm_daemon.automation.cue_list import Cue
from lcm_daemon.automation.modulation import Modulator, table_of_modulators
from lcm_daemon.core.frame import Size
from lcm_daemon.core.parameters import Table, Value
from lcm_daemon.core.paths import state_folder
from lcm_daemon.recipes.reader import load_recipe, recipe_names
from lcm_daemon.recipes.recipe import Recipe
from lcm_daemon.render.failsafe import Plan
from lcm_daemon.render.policy import EngineTimeouts
from lcm_daemon.shows.library import is_packaged
from lcm_daemon.transports.endpoint import EndpointConfig


@dataclass(frozen=True)
class Show:
    """A checked show. `size` is (width, height) of the output in pixels, `fps` its rate.

    recipes: the show's own, by the names under which they can be changed to.   guide: the second source.
    crossfade: seconds from one recipe to the next.   target_fps: what the governor holds; 0 leaves it out.
    parameters: the show's values, over those of whichever recipe plays.
    demands: keys of every recipe that the show decides (safety, accelerate).
    controllers: the options of each by its name; None where it is left out.   resume: a run that broke off goes on.
    """

    name: str
    file: str
    recipe: Recipe
    recipes: Mapping[str, Recipe]
    demands: Mapping[str, Any]
    source: EndpointConfig | None
    guide: EndpointConfig | None
    size: Size
    fps: float
    crossfade: float
    target_fps: float
    failsafe: Plan
    slate: str
    sinks: tuple[EndpointConfig, ...]
    parameters: Mapping[str, Value]
    glides: Mapping[str, float]
    cues: tuple[Cue, ...]
    modulators: tuple[Modulator, ...]
    controllers: Mapping[str, Mapping[str, Any] | None]
    timeouts: EngineTimeouts
    spare: bool
    resume: bool

    @property
    def fallback(self) -> Recipe:
        """What plays where a recipe cannot: the built-in model on the safest settings, without faders of its own."""
        safest = replace(load_recipe("builtin"), name="builtin (safe)", device="cpu", dtype="float32")
        return replace(safest, controlnets=(), loras=())

    def catalogue(self) -> dict[str, Recipe]:
        """Every recipe that can be changed to, by name: those of the package, the show's first one, and its others."""
        package = {name: replace(load_recipe(name), **self.demands) for name in recipe_names()}
        return {**package, self.recipe.name: self.recipe, **self.recipes}

    def table(self, recipe: Recipe) -> Table:
        """Every parameter while this recipe plays: its own, and those of cues and modulation."""
        return {**recipe.table(), **AUTOMATION_PARAMETERS, **table_of_modulators(self.modulators)}

    def start(self, recipe: Recipe) -> dict[str, Value]:
        """Where every parameter starts, and returns to, while this recipe plays."""
        table = self.table(recipe)
        own = {name: parameter.default for name, parameter in table.items()}
        return own | recipe.start() | {name: value for name, value in self.parameters.items() if name in table}

    def describe(self, sinks: Sequence[str] | None = None) -> str:
        """The opening screen: what renders, what comes in, where the picture is, who listens.

        sinks: the labels of those that are there; all of the show's if None.
        """
        width, height = self.size
        outs = [sink.label for sink in self.sinks] if sinks is None else sinks
        ins = [("in", self.source.label if self.source else "none")]
        ends = [*ins, *([("guide", self.guide.label)] if self.guide else []), *(("out", label) for label in outs)]
        lines = [
            ("show", f"{self.name} ({self.file})"),
            ("recipe", f"{self.recipe.name}: {self.recipe.title or self.recipe.pipeline}"),
            *ends,
            ("picture", f"{width}x{height} at {self.fps:g} fps, failsafe {self.failsafe.mode}"),
            ("page", self._page),
            ("OSC", f"udp {self.osc['host']}:{self._osc_ports[0]}, such as /lcm/strength 0.7" if self.osc else "off"),
        ]
        return "\n".join(f"  {word:8} {text}" for word, text in lines)

    @property
    def _page(self) -> str:
        """Where the page is, as a browser of this machine opens it."""
        panel = self.controllers["panel"]
        if panel is None:
            return "off"
        host = "127.0.0.1" if panel["host"] == "0.0.0.0" else panel["host"]
        return f"http://{host}:{panel['port']}" if panel["port"] else f"on a free port of {host}"

    @property
    def browser_source(self) -> str:
        """Name of the browser source, "" if the show has none."""
        plans = [plan for plan in (self.source, self.guide) if plan and plan.transport == "browser"]
        return str(plans[0].options["name"]) if plans else ""

    @property
    def side(self) -> Path:
        """What files beside the show are called after: its own, or one in the user's folder if it is the package's."""
        file = Path(self.file)
        return state_folder() / file.name if is_packaged(file) else file

    @property
    def osc(self) -> Mapping[str, Any] | None:
        return self.controllers["osc"]

    @property
    def desk(self) -> dict[str, Mapping[str, Any]]:
        """Options of the controllers that are on, by name."""
        options = {name: given for name, given in self.controllers.items() if given is not None}
        if "oscquery" in options and self.osc is not None:
            options["oscquery"] = {**options["oscquery"], "osc_port": self._osc_ports[0]}
        return options

    @property
    def _osc_ports(self) -> Sequence[int]:
        assert self.osc is not None
        return self.osc["ports"] or (self.osc["port"],)
