"""Show: one YAML file, read and checked. It is what `lcm-daemon run` runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lcm_daemon.automation.automation import AUTOMATION_PARAMETERS
from lcm_daemon.automation.cue_list import Cue
from lcm_daemon.automation.modulation import Modulator, table_of_modulators
from lcm_daemon.core.frame import Size
from lcm_daemon.core.network import NetworkPolicy
from lcm_daemon.core.parameter_table import TABLE
from lcm_daemon.core.parameters import Table, Value, in_groups
from lcm_daemon.recipes.engine_defaults import EngineDefaults
from lcm_daemon.recipes.reader import load_recipe, recipe_names
from lcm_daemon.recipes.recipe import Recipe
from lcm_daemon.render.failsafe import FailsafeConfig
from lcm_daemon.render.policy import EngineTimeouts
from lcm_daemon.shows.audience import AudienceConfig
from lcm_daemon.shows.engines import EngineGroup
from lcm_daemon.shows.library import companion_file
from lcm_daemon.shows.unattended import Unattended
from lcm_daemon.transports.endpoint import EndpointConfig
from lcm_daemon.web.address import browser_url


def parameter_table(recipes: Iterable[Recipe], modulators: Sequence[Modulator]) -> Table:
    """The parameters of a show while one of these recipes plays: those of recipes, automation and modulators."""
    table = {**TABLE}
    for recipe in recipes:
        table |= recipe.table()
    return in_groups({**table, **AUTOMATION_PARAMETERS, **table_of_modulators(modulators)})


def find_recipe(name: str, first: Recipe | None, others: Mapping[str, Recipe]) -> Recipe | None:
    """The recipe that a cue or a command of this name changes to. A show's own recipes go before the package's.

    Args:
        name: The name.
        first: The recipe that the show starts with.
        others: The show's other recipes, by the names that it gives them.
    """
    if name in others:
        return others[name]
    if first is not None and first.name == name:
        return first
    return load_recipe(name) if name in recipe_names() else None


@dataclass(frozen=True)
class Show:
    """A checked show.

    Attributes:
        name: Its name.
        file: Path of its file.
        recipe: The recipe that it starts with.
        recipes: Its other recipes, by the names that it gives them.
        recipe_overrides: Keys that it sets for every recipe (safety, accelerate).
        engine_defaults: What its `engine` sets for recipes that leave the choice open.
        source: The source; None for none.
        guide: The second source, for ControlNets and inpainting; None for none.
        sources: Further sources that source and guide can be changed to, by name.
        size: (width, height) of the output in pixels.
        fps: Rate of the output.
        crossfade: Seconds from one recipe to the next.
        target_fps: Rate of rendered frames that the governor holds; 0 switches it off.
        failsafe: What the output shows when no fresh frame has come.
        slate: Path of an image file; may be empty.
        sinks: The sinks.
        parameters: Start values that override those of the recipes.
        glides: Seconds by parameter; they override those of the parameter table.
        cues: The cue list.
        modulators: The modulators.
        controllers: Options of each controller by its name; None if it is off.
        timeouts: When an engine counts as hung.
        spare: Whether a second engine process waits for a quick restart.
        loads_spare: Whether that process loads the recipe too.
        resume: Whether a run continues with the look of an earlier one that was interrupted.
        cue_loop: Whether GO after the last cue starts the first one.
        lookahead: Seconds by which a quantised cue starts before its beat; None for what a picture takes.
        network: Who may reach the servers.
        prompts: The bank of prompts, which are played by their number.
        engines: Where engines run; empty for one, on the device of the recipe.
        unattended: What keeps it going while it is left alone.
        audience: Visitors with sessions of their own; None for none.
    """

    name: str
    file: str
    recipe: Recipe
    recipes: Mapping[str, Recipe]
    recipe_overrides: Mapping[str, Any]
    engine_defaults: EngineDefaults
    source: EndpointConfig | None
    guide: EndpointConfig | None
    sources: Mapping[str, EndpointConfig]
    size: Size
    fps: float
    crossfade: float
    target_fps: float
    failsafe: FailsafeConfig
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
    cue_loop: bool
    lookahead: float | None
    network: NetworkPolicy
    prompts: tuple[str, ...] = ()
    loads_spare: bool = False
    audience: AudienceConfig | None = None
    engines: tuple[EngineGroup, ...] = ()
    unattended: Unattended = field(default_factory=Unattended)

    @property
    def cue_destinations(self) -> tuple[tuple[str, ...], ...]:
        """Where cues send messages to, each once, as in `CueMessage.destination`."""
        return tuple(dict.fromkeys(message.destination for cue in self.cues for message in cue.send))

    @property
    def can_guide(self) -> bool:
        """Whether it has a guide, or may be given one while it plays."""
        return self.guide is not None or bool(self.sources) or any(cue.guide for cue in self.cues)

    @property
    def fallback(self) -> Recipe:
        """The recipe that plays if another one cannot: the built-in model, its safest settings, without its parts.

        Visitors see no picture of it that was not judged either, where the show says so.
        """
        safest = replace(load_recipe("builtin"), name="builtin (safe)", device="cpu", dtype="float32")
        return replace(safest, controlnets=(), loras=(), safety=self.recipe.safety and self.audience is not None)

    def catalogue(self) -> dict[str, Recipe]:
        """Every recipe that the show can change to, by name: the package's and its own."""
        found: dict[str, Recipe] = {}
        for name in dict.fromkeys([*recipe_names(), self.recipe.name, *self.recipes]):
            recipe = find_recipe(name, self.recipe, self.recipes)
            assert recipe is not None
            is_own = recipe is self.recipe or name in self.recipes
            found[name] = recipe if is_own else self.engine_defaults.apply(replace(recipe, **self.recipe_overrides))
        return found

    def too_large_recipes(self) -> dict[str, Size]:
        """The size of each recipe of the package that is above `network.max_size`. The show's own may be larger."""
        if self.network.max_size is None:
            return {}
        widest, highest = self.network.max_size
        own = {self.recipe.name, *self.recipes}
        return {name: recipe.size for name, recipe in self.catalogue().items()
                if name not in own and (recipe.size[0] > widest or recipe.size[1] > highest)}

    def table(self, recipe: Recipe) -> Table:
        """Every parameter while this recipe plays."""
        return parameter_table([recipe], self.modulators)

    def start_values(self, recipe: Recipe) -> dict[str, Value]:
        """Start value of every parameter while this recipe plays; panic returns to it."""
        table = self.table(recipe)
        own = {name: parameter.default for name, parameter in table.items()}
        return own | recipe.start_values() | {name: value for name, value in self.parameters.items() if name in table}

    def describe(self, sinks: Sequence[str] | None = None) -> str:
        """The text that is printed at the start: recipe, engines, source, sinks, output, page and OSC.

        Args:
            sinks: Labels of the sinks that are available; None for all of the show's.
        """
        width, height = self.size
        source = self.source.label if self.source else "none"
        guide = [("guide", self.guide.label)] if self.guide else []
        outs = [sink.label for sink in self.sinks] if sinks is None else sinks
        lines = [
            ("show", f"{self.name} ({self.file})"),
            ("recipe", f"{self.recipe.name}: {self.recipe.title or self.recipe.pipeline}"),
            *([("engines", ", ".join(group.describe() for group in self.engines))] if self.engines else []),
            ("in", source),
            *guide,
            *(("out", label) for label in outs),
            ("output", f"{width}x{height} at {self.fps:g} fps, failsafe {self.failsafe.mode}"),
            ("page", self._page),
            ("OSC", f"udp {self.osc['host']}:{self._osc_ports[0]}, such as /lcm/strength 0.7" if self.osc else "off"),
        ]
        return "\n".join(f"  {word:8} {text}" for word, text in lines)

    @property
    def _page(self) -> str:
        """The page's URL for a browser on this machine."""
        panel = self.controllers["panel"]
        if panel is None:
            return "off"
        if not panel["port"]:
            return f"on a free port of {panel['host']}"
        return browser_url(panel["host"], panel["port"], self.network.tls is not None)

    @property
    def browser_source(self) -> str:
        """Name of the browser source, or an empty string."""
        sources = (self.source, self.guide, *self.sources.values())
        return next((str(one.options["name"]) for one in sources if one and one.transport == "browser"), "")

    @property
    def companion_file(self) -> Path:
        """The path that files beside the show are named after: its own, or in the state folder if it is packaged."""
        return companion_file(Path(self.file))

    @property
    def osc(self) -> Mapping[str, Any] | None:
        """Options of the OSC controller; None if it is off."""
        return self.controllers["osc"]

    @property
    def desk_options(self) -> dict[str, Mapping[str, Any]]:
        """Options of the controllers that are on, by name."""
        options = {name: given for name, given in self.controllers.items() if given is not None}
        if "oscquery" in options and self.osc is not None:
            options["oscquery"] = {**options["oscquery"], "osc_port": self._osc_ports[0], "osc": self.osc}
        return options

    @property
    def _osc_ports(self) -> Sequence[int]:
        assert self.osc is not None
        return self.osc["ports"] or (self.osc["port"],)
