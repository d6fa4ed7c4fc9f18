"""Reads and checks a show file."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from lcm_daemon import controllers
from lcm_daemon.automation.automation import AUTOMATION_PARAMETERS
from lcm_daemon.automation.modulation import table_of_modulators
from lcm_daemon.automation.schema import read_cues, read_modulators
from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.core.parameter_table import TABLE
from lcm_daemon.core.parameters import Table
from lcm_daemon.core.document import Node, Problems, compose, override
from lcm_daemon.core.schema import (
    Boolean,
    Choice,
    Custom,
    Field,
    FieldKind,
    Fields,
    Items,
    Number,
    PathText,
    PixelSize,
    Section,
    Text,
)
from lcm_daemon.recipes.reader import known_parameters, load_recipe, read_parameters, read_recipe, recipe_names
from lcm_daemon.recipes.recipe import ACCELERATORS, Recipe
from lcm_daemon.render.failsafe import Plan
from lcm_daemon.render.policy import EngineTimeouts
from lcm_daemon.shows.library import find_show, is_packaged, read_text
from lcm_daemon.shows.show import Show
from lcm_daemon.transports.endpoint import EndpointConfig, sink_schema, source_schema

ENVIRONMENT = "LCM_DAEMON__"


def load_show(path: str | Path, overrides: Sequence[str] = (), environment: Mapping[str, str] | None = None) -> Show:
    """Read a show file, or one of the shows that come with the daemon by its name.

    overrides: "output.fps=60" each. environment: LCM_DAEMON__OUTPUT__FPS=60 in it overrides too (os.environ if None).
    Raises DocumentError with every problem found.
    """
    node = compose(read_text(path), str(path))
    problems = Problems()
    for where, dotted, value in _overrides(overrides, os.environ if environment is None else environment):
        _refuse_part_of_recipe(node, dotted, value, where)
        override(node, dotted, value, where)
    show = _read_show(node, find_show(path), problems)
    problems.raise_if_any()
    assert show is not None
    return show


def _refuse_part_of_recipe(node: Node, dotted: str, value: str, where: str) -> None:
    """A key below `recipe` can be set where that is a mapping; the name of a recipe alone has no keys."""
    if not dotted.startswith("recipe.") or not isinstance(node.raw, yaml.MappingNode):
        return
    key = dotted.removeprefix("recipe.")
    recipe = next((given.raw for name, given in node.items() if name.raw.value == "recipe"), None)
    if isinstance(recipe, yaml.ScalarNode):
        raise LcmDaemonError(f"{where}: recipe is a plain name here; write recipe as "
                             f"{{base: {recipe.value}, {key}: {value}}}")


_SECONDS = Number(0, 86_400)


def _read_show(node: Node, file: Path, problems: Problems) -> Show | None:
    base = file.resolve().parent
    takes = Path.cwd() if is_packaged(file) else base  # nobody looks for a recording inside the package
    found = Section(_fields(base, takes)).read(node, problems)
    if found is None:
        return None
    table = {**AUTOMATION_PARAMETERS, **_table((found["recipe"], *(found["recipes"] or {}).values()))}
    modulators = read_modulators(found["modulation"] or (), problems, table)
    table |= table_of_modulators(modulators)
    cues = read_cues(found["cues"] or (), problems, table, [*recipe_names(), *(found["recipes"] or {})])
    parameters = read_parameters(found["parameters"], problems, table) if found["parameters"] else {}
    glides = _read_glides(found["glides"], problems, table) if found["glides"] else {}
    if found["tempo"] and found["midi"] and found["midi"]["clock"]:
        problems.add(node, "tempo.source and midi.clock cannot both give the beat: leave one of them out")
    if found["panel"] is None and "browser" in {plan.transport for plan in (found["source"], found["guide"]) if plan}:
        problems.add(node, "a source of the transport browser needs the panel, which is off")
    if problems.found:
        return None
    output, engine = found["output"], found["engine"]
    demands = {key: found[key] for key in ("safety", "accelerate") if found[key] is not None}
    return Show(
        name=found["name"] or file.stem,
        file=str(file),
        recipe=replace(found["recipe"], **demands),
        recipes={name: replace(recipe, name=name, **demands) for name, recipe in found["recipes"].items()},
        demands=demands,
        source=found["source"],
        guide=found["guide"],
        size=output["size"],
        fps=output["fps"],
        crossfade=output["crossfade"],
        target_fps=output["target_fps"],
        failsafe=Plan(output["failsafe"], output["hold_seconds"], output["fade_seconds"], output["fade_to"]),
        slate=output["slate"] and str(base / Path(output["slate"]).expanduser()),
        sinks=found["sinks"],
        parameters=parameters,
        glides=glides,
        cues=cues,
        modulators=modulators,
        controllers={name: found[name] for name in controllers.CONTROLLERS},
        timeouts=EngineTimeouts(engine["deadline"], engine["loading_deadline"]),
        spare=engine["spare"],
        resume=found["resume"],
    )


def _table(recipes: Sequence[Recipe | None]) -> Table:
    """The parameters of every recipe of the show; one that could not be read has been complained of."""
    return {**TABLE, **{name: parameter for recipe in recipes if recipe for name, parameter in recipe.table().items()}}


_OUTPUT: Fields = {
    "size": Field(PixelSize(), (512, 512), "width and height of what the sinks get, in pixels"),
    "fps": Field(Number(1, 240), 30.0, "pictures per second, kept whatever happens"),
    "target_fps": Field(Number(0, 240), 0.0, "rendered pictures per second that the governor holds; 0 switches it off"),
    "crossfade": Field(Number(0, 60), 1.0, "seconds from one recipe's picture to the next one's"),
    "failsafe": Field(Choice(("hold", "fade", "passthrough", "slate")), "hold", "what shows when no fresh frame comes"),
    "hold_seconds": Field(_SECONDS, 5.0, "how long the last frame is held before the failsafe"),
    "fade_seconds": Field(_SECONDS, 2.0, "how long the fade takes"),
    "fade_to": Field(Choice(("black", "input")), "black", "where the fade goes"),
    "slate": Field(PathText(), "", "an image file; without it a plain card with the show's name"),
}
_ENGINE: Fields = {
    "deadline": Field(Number(0.1, 3600), 3.0, "seconds after which an unanswered frame is a hang"),
    "loading_deadline": Field(Number(1, 86_400), 600.0, "seconds a model may take to load and compile"),
    "spare": Field(Boolean(), True, "keep a second engine with its libraries imported, for a quick restart"),
}


def _fields(base: Path, takes: Path) -> Fields:
    """The top of a show. `base` is the folder that relative paths start from, `takes` the one that sinks' do."""
    recipe = Custom(lambda node, problems: read_recipe(node, base, problems), "a recipe's name, path or mapping")
    return {
        "name": Field(Text(), ""),
        "recipe": Field(recipe, load_recipe("builtin")),
        "recipes": Field(_recipes(base), {}, "recipes to change to, each under a name of its own"),
        "safety": Field(Boolean(), None, "every recipe with the safety checker, or none"),
        "accelerate": Field(Choice(ACCELERATORS), None, "every recipe on this accelerator"),
        "source": Field(_or_false(source_schema(base)), EndpointConfig("testcard", {})),
        "guide": Field(_or_false(source_schema(base)), None, "a second source, for the ControlNets that look at it"),
        "output": Field(Section(_OUTPUT), _defaults(_OUTPUT)),
        "sinks": Field(Items(sink_schema(takes)), ()),
        "parameters": Field(Custom(_later, "a mapping of parameters to values"), None),
        "glides": Field(Custom(_later, "a mapping of parameters to seconds"), None),
        "cues": Field(Items(Custom(_later, "a cue")), (), "looks in a row, each with its fade"),
        "modulation": Field(Items(Custom(_later, "a modulator")), (), "what moves parameters around their values"),
        **{name: _controller(name) for name in controllers.CONTROLLERS},
        "resume": Field(Boolean(), True, "after a power cut or a crash, begin with the look that the last run had"),
        "engine": Field(Section(_ENGINE), _defaults(_ENGINE)),
    }


def _controller(name: str) -> Field:
    """The section of a controller. `false` switches off a controller that is on by default."""
    kind = controllers.load(name)
    return Field(_or_false(Section(kind.fields)), _defaults(kind.fields) if kind.on_by_default else None)


def _defaults(fields: Fields) -> dict[str, Any]:
    return {name: spec.default for name, spec in fields.items()}


def _later(node: Node, problems: Problems) -> Node:
    return node  # read once the recipes have said which parameters there are


def _recipes(base: Path) -> Custom:
    """A mapping of names to recipes."""

    def read(node: Node, problems: Problems) -> dict[str, Recipe]:
        if not isinstance(node.raw, yaml.MappingNode):
            problems.add(node, "a mapping of names to recipes is wanted, such as {ink: {base: sd-turbo}}")
            return {}
        found = {str(key.raw.value): read_recipe(value, base, problems) for key, value in node.items()}
        return {name: recipe for name, recipe in found.items() if recipe}

    return Custom(read, "a mapping of names to recipes")


def _or_false(kind: FieldKind) -> Custom:
    """The kind, or `false` to leave it out."""

    def read(node: Node, problems: Problems) -> Any:
        off = isinstance(node.raw, yaml.ScalarNode) and node.value is False
        return None if off else kind.read(node, problems)

    return Custom(read, f"false, or {kind.describe()}")


def _read_glides(node: Node, problems: Problems, table: Table) -> dict[str, float]:
    glides: dict[str, float] = {}
    for name, value in known_parameters(node, problems, table):
        if not table[name].glides:
            problems.add(value, f"{name} cannot glide: it is no float")
        glides[name] = _SECONDS.read(value, problems) or 0.0
    return glides


def _overrides(given: Sequence[str], environment: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """(where it comes from, dotted path, YAML text); the command line comes last and so wins."""
    for name, text in sorted(environment.items()):
        if name.startswith(ENVIRONMENT):
            yield name, name.removeprefix(ENVIRONMENT).lower().replace("__", "."), text
    for assignment in given:
        path, equals, text = assignment.partition("=")
        if not equals:
            raise LcmDaemonError(f"--set {assignment}: write it as KEY=VALUE, for example output.fps=60")
        yield f"--set {path}", path.strip(), text
