"""Reads and checks a show file."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from lcm_daemon import controllers
from lcm_daemon.automation.cue_list import Cue
from lcm_daemon.automation.modulation import Modulator
from lcm_daemon.automation.schema import (
    CUE,
    CUE_LIST,
    MODULATOR,
    cue_recipes,
    is_endless_loop,
    read_cues,
    read_modulators,
)
from lcm_daemon.controllers.network import NETWORK_FIELDS, network_policy
from lcm_daemon.core.document import Node, Problems, compose, compose_own, override
from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.core.parameters import Table
from lcm_daemon.core.schema import (
    Boolean,
    Choice,
    Custom,
    Deferred,
    DistinctItems,
    Field,
    Fields,
    Items,
    Number,
    OrFalse,
    PathText,
    PixelSize,
    Section,
    Text,
    defaults,
    unique_items,
)
from lcm_daemon.core.schema_shapes import Named, ParameterValues
from lcm_daemon.recipes.engine_defaults import ENGINE_DEFAULTS, EngineDefaults
from lcm_daemon.recipes.reader import (
    RECIPE_SHAPE,
    known_parameters,
    load_recipe,
    read_parameters,
    read_recipe,
    recipe_names,
)
from lcm_daemon.recipes.recipe import Recipe
from lcm_daemon.recipes.registry import ACCELERATOR_CHOICES, AUTO
from lcm_daemon.render.failsafe import FailsafeConfig
from lcm_daemon.render.policy import EngineTimeouts
from lcm_daemon.shows.audience import audience_fields, read_audience, refuse_late_pictures
from lcm_daemon.shows.audio_input import check_audio
from lcm_daemon.shows.engines import ENGINE, ENGINES, LOADED
from lcm_daemon.shows.library import find_show, is_packaged, read_text
from lcm_daemon.shows.names import ShowNames
from lcm_daemon.shows.plugin_controllers import plugin_section
from lcm_daemon.shows.show import Show, find_recipe, parameter_table
from lcm_daemon.shows.timecode import refuse_unheard_timecode
from lcm_daemon.shows.unattended import read_unattended, unattended_fields
from lcm_daemon.transports.endpoint import EndpointConfig, sender, sink_schema, source_schema
from lcm_daemon.transports.source_table import OWN, SourceTable

ENVIRONMENT_PREFIX = "LCM_DAEMON__"
_SECONDS = Number(0, 86_400)
MAX_FPS = 1000  # rates above 240 are for measurements and the memory bus


def load_show(path: str | Path, overrides: Sequence[str] = (), environment: Mapping[str, str] | None = None) -> Show:
    """Read a show.

    Args:
        path: The show's file, or the name of a show that comes with the package.
        overrides: "output.fps=60" each.
        environment: Variables that override too, such as LCM_DAEMON__OUTPUT__FPS=60; None for `os.environ`.

    Raises:
        DocumentError: The show has mistakes; it carries all of them.
        LcmDaemonError: The file cannot be read, or an override is not KEY=VALUE.
    """
    reading = inspect_show(path, overrides, environment)
    reading.problems.raise_if_any()
    assert reading.show is not None
    return reading.show


@dataclass(frozen=True)
class ShowReading:
    """What was read of a show file.

    Attributes:
        show: The show; None if it has mistakes.
        names: What its lines may name; None if nothing could be read.
        problems: The mistakes, and what it names outside of itself: files, devices, the targets of its maps.
    """

    show: Show | None
    names: ShowNames | None
    problems: Problems


def inspect_show(
    path: str | Path, overrides: Sequence[str] = (), environment: Mapping[str, str] | None = None,
    text: str | None = None,
) -> ShowReading:
    """Read as much of a show as can be read. Args as of `load_show`; text: what is not in the file yet.

    Raises:
        DocumentError: The file is not YAML, or an override leads nowhere.
        LcmDaemonError: The file cannot be read, or an override is not KEY=VALUE.
    """
    read = compose_own if text is None and is_packaged(find_show(path)) else compose
    node = read(read_text(path) if text is None else text, str(path))
    problems = Problems()
    problems.refer(node, "emptiness", "show" if node.is_empty else "")
    for where, dotted, value in _overrides(overrides, os.environ if environment is None else environment):
        _refuse_part_of_recipe(node, dotted, value, where)
        override(node, dotted, value, where)
    return ShowReading(*_read_show(node, find_show(path), problems), problems)


def _refuse_part_of_recipe(node: Node, dotted: str, value: str, where: str) -> None:
    """A key below `recipe` can be set if that is a mapping; a recipe's name has no keys."""
    if not dotted.startswith("recipe.") or not isinstance(node.raw, yaml.MappingNode):
        return
    key = dotted.removeprefix("recipe.")
    recipe = next((given.raw for name, given in node.items() if name.raw.value == "recipe"), None)
    if isinstance(recipe, yaml.ScalarNode):
        raise LcmDaemonError(f"{where}: recipe is a plain name here; write recipe as "
                             f"{{base: {recipe.value}, {key}: {value}}}")


def _read_show(node: Node, file: Path, problems: Problems) -> tuple[Show | None, ShowNames | None]:
    base = file.resolve().parent
    recordings = Path.cwd() if is_packaged(file) else base  # a user does not look for recordings inside the package
    found = Section(show_fields(base, recordings)).read(node, problems)
    if found is None:
        return None, None
    moved = _read_moves(found, base, problems)
    _check_together(node, found, moved["cues"], problems)
    check_audio(node, found, moved["modulators"], problems)
    refuse_late_pictures(node, moved["audience"], [found["recipe"], *(found["recipes"] or {}).values()], problems)
    moved["unattended"] = read_unattended(found, recordings, problems)
    show = None if problems else _build_show(file, base, found, moved)
    if show is not None:
        _check_devices(node, show, problems)
    return show, _read_names(node, file, found, moved["modulators"], is_whole=show is not None)


def _check_together(node: Node, found: Mapping[str, Any], cues: Sequence[Cue], problems: Problems) -> None:
    """Find keys that are right one by one, but not together."""
    if found["tempo"] and found["tempo"]["source"] == "link" and found["midi"] and found["midi"]["clock"]:
        problems.add(node, "tempo.source and midi.clock cannot both set the tempo: remove one of them")
    if found["cue_list"] and found["cue_list"]["loop"] and is_endless_loop(cues):
        problems.add(node, "cue_list.loop: the cues would start one another for ever without any time between them")
    refuse_unheard_timecode(found, problems)
    if found["panel"] is None and "browser" in {
        end.transport for end in (found["source"], found["guide"], *found["sources"].values()) if end
    }:
        problems.add(node, "a source of the transport browser needs the panel, which is off")


def _check_devices(node: Node, show: Show, problems: Problems) -> None:
    """Find recipes on a device of OpenVINO with another accelerator: they would play on the CPU without it."""
    for recipe in (show.recipe, *show.recipes.values()):
        if recipe.device.startswith("openvino:") and recipe.accelerate not in (AUTO, "openvino"):
            problems.add(node, f"recipe {recipe.name}: {recipe.device} computes what OpenVINO compiles, so accelerate "
                               f"is auto or openvino, not {recipe.accelerate}")


def _build_show(file: Path, base: Path, found: Mapping[str, Any], moved: Mapping[str, Any]) -> Show:
    output, engine = found["output"], found["engine"]
    overrides = {key: found[key] for key in ("safety", "accelerate") if found[key] is not None}
    defaults_of_engine = EngineDefaults(**{key: engine[key] for key in ENGINE_DEFAULTS})
    recipes = {name: replace(recipe, name=name, **overrides) for name, recipe in found["recipes"].items()}
    return Show(
        name=found["name"] or file.stem,
        file=str(file),
        recipe=defaults_of_engine.apply(replace(found["recipe"], **overrides)),
        recipes={name: defaults_of_engine.apply(recipe) for name, recipe in recipes.items()},
        recipe_overrides=overrides,
        engine_defaults=defaults_of_engine,
        source=found["source"],
        guide=found["guide"],
        sources=found["sources"],
        size=output["size"],
        fps=output["fps"],
        crossfade=output["crossfade"],
        target_fps=output["target_fps"],
        failsafe=FailsafeConfig(output["failsafe"], output["hold_seconds"], output["fade_seconds"], output["fade_to"]),
        slate=output["slate"] and str(base / Path(output["slate"]).expanduser()),
        sinks=found["sinks"],
        **moved,
        controllers={name: found[name] for name in controllers.CONTROLLERS},
        timeouts=EngineTimeouts(engine["deadline"], engine["loading_deadline"]),
        spare=bool(engine["spare"]),
        loads_spare=engine["spare"] == LOADED,
        engines=found["engines"],
        resume=found["resume"],
        cue_loop=found["cue_list"]["loop"],
        lookahead=found["cue_list"]["lookahead"],
        network=network_policy(found["network"], base),
        prompts=found["prompts"],
    )


def _read_names(
    node: Node, file: Path, found: Mapping[str, Any], modulators: Sequence[Modulator], is_whole: bool
) -> ShowNames:
    entries = {str(key.raw.value): value for key, value in node.items()}
    recipes: Mapping[str, Recipe] = found["recipes"] or {}
    output, network, midi = (found[key] or {} for key in ("output", "network", "midi"))
    return ShowNames(
        file, found["recipe"], {name: recipes.get(name) for name in _keys(entries.get("recipes"))}, modulators,
        [sink for sink in found["sinks"] or () if sink], _keys(entries.get("sources")), _cue_names(found["cues"] or ()),
        list(midi.get("banks") or ()), len(found["prompts"] or ()), output.get("slate") or "",
        network.get("max_size"), is_whole)


def _keys(node: Node | None) -> list[str]:
    """The keys of a mapping; none of anything else."""
    pairs = node.items() if node is not None and isinstance(node.raw, yaml.MappingNode) else []
    return [str(key.raw.value) for key, _ in pairs]


def _cue_names(nodes: Sequence[Node]) -> list[str]:
    pairs = [pair for node in nodes if isinstance(node.raw, yaml.MappingNode) for pair in node.items()]
    return [str(value.raw.value) for key, value in pairs if key.raw.value == "name"]


def _read_moves(found: Mapping[str, Any], base: Path, problems: Problems) -> dict[str, Any]:
    """Read what names parameters: start values, glides, cues, modulators, audience. The recipes decide which exist."""
    first, others = found["recipe"], found["recipes"] or {}
    own = [*([first] if first else []), *others.values()]
    named = {name: recipe for name in cue_recipes(found["cues"] or ()) if (recipe := find_recipe(name, first, others))}
    every = [*own, *named.values()]
    modulators = read_modulators(found["modulation"] or (), problems, parameter_table(every, ()))
    table = parameter_table(every, modulators)
    tables = {"": table}
    for name, recipe in named.items():  # a cue may also set what the recipe before it has, such as fade out its LoRA
        tables[name] = parameter_table([*own, recipe], modulators)
    recipes = list(dict.fromkeys([*recipe_names(), *(recipe.name for recipe in own), *others]))
    return {
        "modulators": modulators,
        "cues": read_cues(found["cues"] or (), problems, tables, recipes, SourceTable(None, found["sources"]).problem),
        "parameters": read_parameters(found["parameters"], problems, table) if found["parameters"] else {},
        "glides": _read_glides(found["glides"], problems, table) if found["glides"] else {},
        "audience": read_audience(found["audience"], base, problems, table),
    }


_OUTPUT: Fields = {
    "size": Field(PixelSize(), (512, 512), "width and height of the output, in pixels"),
    "fps": Field(Number(1, MAX_FPS), 30.0, "frames per second of the output, held under all conditions"),
    "target_fps": Field(Number(0, MAX_FPS), 0.0, "rendered frames per second that the governor holds; 0 for none"),
    "crossfade": Field(Number(0, 60), 1.0, "seconds from one recipe to the next"),
    "failsafe": Field(Choice(("hold", "fade", "passthrough", "slate"), "failsafe"), "hold",
                      "what the output shows when no fresh frame has come"),
    "hold_seconds": Field(_SECONDS, 5.0, "how long the last frame is held before the failsafe"),
    "fade_seconds": Field(_SECONDS, 2.0, "how long the fade takes"),
    "fade_to": Field(Choice(("black", "input")), "black", "what it fades to"),
    "slate": Field(PathText("file"), "", "an image file; without it, a plain card with the show's name"),
}


def show_fields(base: Path, recordings: Path) -> Fields:
    """The keys of a show.

    Args:
        base: Folder that relative paths start from.
        recordings: Folder that the paths of sinks start from.
    """
    recipe = Custom(lambda node, problems: read_recipe(node, base, problems), "a recipe's name, path or mapping",
                    RECIPE_SHAPE)
    return {
        "name": Field(Text(), ""),
        "recipe": Field(recipe, load_recipe("builtin")),
        "recipes": Field(_recipes(base), {}, "recipes to change to, by names of your choice"),
        "safety": Field(Boolean(), None, "whether every recipe uses the safety checker"),
        "accelerate": Field(Choice(ACCELERATOR_CHOICES, "accelerator"), None,
                            "accelerator of every recipe, in place of what recipes and `engine` say"),
        "source": Field(OrFalse(source_schema(base)), EndpointConfig("testcard", {})),
        "guide": Field(OrFalse(source_schema(base)), None, "a second source, for ControlNets and inpainting"),
        "sources": Field(_sources(base), {}, "sources to change to while it plays, by names of your choice"),
        "output": Field(Section(_OUTPUT), defaults(_OUTPUT)),
        "sinks": Field(DistinctItems(sink_schema(recordings), sender), ()),
        "parameters": Field(Deferred("a mapping of parameters to values", ParameterValues(_table)), None,
                            "start values, in place of the recipe's"),
        "prompts": Field(Items(Text()), (), "a bank of prompts, which `/lcm/prompts/play 3` plays by number"),
        "glides": Field(Deferred("a mapping of parameters to seconds", ParameterValues(_table, _SECONDS)), None,
                        "seconds that a parameter takes to reach a new value"),
        "cues": Field(Items(Deferred("a cue", Section(CUE))), (), "a list of looks, each with its fade"),
        "cue_list": Field(Section(CUE_LIST), defaults(CUE_LIST), "how the cues play"),
        "modulation": Field(Items(Deferred("a modulator", Section(MODULATOR))), (),
                            "what moves parameters around their values"),
        "network": Field(Section(NETWORK_FIELDS), defaults(NETWORK_FIELDS), "who may reach the servers"),
        **{name: _controller(name) for name in controllers.CONTROLLERS},
        "audience": Field(OrFalse(Section(audience_fields(base))), None, "visitors who play from their phones"),
        "resume": Field(Boolean(), True, "after a power cut, a shutdown or a crash, start with the last run's look"),
        "engine": Field(Section(ENGINE), defaults(ENGINE)),
        "engines": ENGINES,
        **unattended_fields(base),
    }


def _table() -> Table:
    """The parameters of every show."""
    return parameter_table((), ())


def _controller(name: str) -> Field:
    """The section of a controller. `false` switches off a controller that is on by default."""
    if controllers.CONTROLLERS.plugin(name):
        return plugin_section(name)
    kind = controllers.load(name)
    return Field(OrFalse(Section(kind.fields)), defaults(kind.fields) if kind.on_by_default else None)


def _recipes(base: Path) -> Custom:
    """A mapping of names to recipes."""

    def read(node: Node, problems: Problems) -> dict[str, Recipe]:
        if not isinstance(node.raw, yaml.MappingNode):
            problems.add(node, "a mapping of names to recipes is wanted, such as {ink: {base: sd-turbo}}")
            return {}
        found = {name: read_recipe(value, base, problems) for name, _, value in unique_items(node, problems)}
        return {name: recipe for name, recipe in found.items() if recipe}

    return Custom(read, "a mapping of names to recipes", Named(RECIPE_SHAPE))


def _sources(base: Path) -> Custom:
    """A mapping of names to sources."""
    schema, wanted = source_schema(base), "a mapping of names to sources is wanted, such as {wide: {transport: camera}}"

    def read(node: Node, problems: Problems) -> dict[str, EndpointConfig]:
        found: dict[str, EndpointConfig] = {}
        if not isinstance(node.raw, yaml.MappingNode):
            problems.add(node, wanted)
            return found
        for name, key, value in unique_items(node, problems):
            if name == OWN or name.splitlines() != [name]:
                problems.add(key, f"{name!r:.80} is not a name for a source: one line of text is wanted, and "
                             f"{OWN!r} is the show's own source")
            elif (config := schema.read(value, problems)) is not None:
                found[name] = config
        return found

    return Custom(read, "a mapping of names to sources", Named(schema))


def _read_glides(node: Node, problems: Problems, table: Table) -> dict[str, float]:
    glides: dict[str, float] = {}
    for name, value in known_parameters(node, problems, table):
        if not table[name].glides:
            problems.add(value, f"{name} cannot glide: only floats, prompts and seeds do")
        glides[name] = _SECONDS.read(value, problems) or 0.0
    return glides


def _overrides(given: Sequence[str], environment: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """Where an override comes from, its dotted path, its YAML text. The command line comes last, so it wins."""
    for name, text in sorted(environment.items()):
        if name.startswith(ENVIRONMENT_PREFIX):
            yield name, name.removeprefix(ENVIRONMENT_PREFIX).lower().replace("__", "."), text
    for assignment in given:
        path, equals, text = assignment.partition("=")
        if not equals:
            raise LcmDaemonError(f"--set {assignment}: write it as KEY=VALUE, for example output.fps=60")
        yield f"--set {path}", path.strip(), text
