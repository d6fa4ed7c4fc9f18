"""Show: one YAML file, read, checked and frozen. What `lcm-daemon run` runs."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

import yaml

from lcm_daemon import controllers, panel
from lcm_daemon.automation import OWN
from lcm_daemon.automation_fields import read_cues, read_modulators
from lcm_daemon.cues import Cue
from lcm_daemon.document import (
    Boolean,
    Choice,
    Custom,
    Field,
    Fields,
    Items,
    Kind,
    Node,
    Number,
    PixelSize,
    Reader,
    Section,
    Text,
    compose,
    nearest,
    override,
    read_fields,
)
from lcm_daemon.errors import LcmDaemonError
from lcm_daemon.failsafe import Plan
from lcm_daemon.frame import Fit, Size
from lcm_daemon.modulation import Modulator, table_of_modulators
from lcm_daemon.parameters import TABLE, Table, Value
from lcm_daemon.recipe import (
    ACCELERATORS,
    Recipe,
    known_parameters,
    load_recipe,
    names,
    read_parameters,
    read_recipe,
)
from lcm_daemon.transports import TRANSPORTS, load

FOLDER = next(  # in the package once it is installed, beside it in a checkout
    (f for f in (Path(__file__).parent / "show_configs", Path(__file__).parent.parent / "show_configs") if f.is_dir()),
    Path(__file__).parent / "show_configs",
)
ENVIRONMENT = "LCM_DAEMON__"


@dataclass(frozen=True)
class EndPlan:
    """One source or sink of a show. `options` are the transport's own; `fit` is for sources, `optional` for both."""

    transport: str
    options: Mapping[str, Any]
    fit: Fit = "cover"
    optional: bool = False

    @property
    def label(self) -> str:
        """As the log and the status call it: "ndi lcm"."""
        name = self.options.get("name") or self.options.get("path") or ""
        return f"{self.transport} {name}".strip()


@dataclass(frozen=True)
class Patience:
    """Seconds after which an engine's silence is a hang, and between tries once every recipe has failed."""

    frame: float = 3.0
    loading: float = 600.0
    alarm: float = 60.0


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
    source: EndPlan | None
    guide: EndPlan | None
    size: Size
    fps: float
    crossfade: float
    target_fps: float
    failsafe: Plan
    slate: str
    sinks: tuple[EndPlan, ...]
    parameters: Mapping[str, Value]
    glides: Mapping[str, float]
    cues: tuple[Cue, ...]
    modulators: tuple[Modulator, ...]
    controllers: Mapping[str, Mapping[str, Any] | None]
    panel: Mapping[str, Any] | None
    patience: Patience
    spare: bool
    resume: bool

    @property
    def fallback(self) -> Recipe:
        """What plays where a recipe cannot: the built-in model on the safest settings, whatever the show demands."""
        return replace(load_recipe("builtin"), name="builtin (safe)", device="cpu", dtype="float32")

    def catalogue(self) -> dict[str, Recipe]:
        """Every recipe that can be changed to, by name: those of the package, the show's first one, and its others."""
        package = {name: replace(load_recipe(name), **self.demands) for name in names()}
        return {**package, self.recipe.name: self.recipe, **self.recipes}

    def table(self, recipe: Recipe) -> Table:
        """Every parameter while this recipe plays: its own, and those of cues and modulation."""
        return {**recipe.table(), **OWN, **table_of_modulators(self.modulators)}

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
            ("page", f"http://{self.panel['host']}:{self.panel['port']}" if self.panel else "off"),
            ("OSC", f"udp {self.osc['host']}:{self._osc_ports[0]}, such as /lcm/strength 0.7" if self.osc else "off"),
        ]
        return "\n".join(f"  {word:8} {text}" for word, text in lines)

    @property
    def osc(self) -> Mapping[str, Any] | None:
        return self.controllers["osc"]

    @property
    def desk(self) -> dict[str, Mapping[str, Any]]:
        """The options of what stands on the desk, by name."""
        standing = {**self.controllers, "panel": self.panel}
        if self.controllers["oscquery"] is not None and self.osc is not None:
            standing["oscquery"] = {**self.controllers["oscquery"], "osc_port": self._osc_ports[0]}
        return {name: options for name, options in standing.items() if options is not None}

    @property
    def _osc_ports(self) -> Sequence[int]:
        assert self.osc is not None
        return self.osc["ports"] or (self.osc["port"],)


def load_show(path: str | Path, overrides: Sequence[str] = (), environment: Mapping[str, str] | None = None) -> Show:
    """Read a show file, or one of the shows that come with the daemon by its name.

    overrides: "output.fps=60" each. environment: LCM_DAEMON__OUTPUT__FPS=60 in it overrides too (os.environ if None).
    Raises DocumentError with every problem found.
    """
    file = find_show(path)
    try:
        text = file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise LcmDaemonError(f"{path}: cannot be read: {reason}") from error
    node = compose(text, str(path))
    reader = Reader()
    for where, dotted, value in _overrides(overrides, os.environ if environment is None else environment):
        override(node, dotted, value, where)
    show = _read_show(node, file, reader)
    reader.finish()
    assert show is not None
    return show


def find_show(path: str | Path) -> Path:
    """A path as it is, or the show of that name in the folder that comes with the daemon."""
    own = FOLDER / f"{Path(path).stem}.yaml"
    is_name = Path(path).name == str(path) or Path(path).parent.name == FOLDER.name
    return own if not Path(path).is_file() and is_name and own.exists() else Path(path)


def shows() -> list[Path]:
    """The shows that come with the daemon."""
    return sorted(FOLDER.glob("*.yaml"))


_SECONDS = Number(0, 86_400)


def _read_show(node: Node, file: Path, reader: Reader) -> Show | None:
    base = file.resolve().parent
    found = Section(_fields(base)).read(node, reader)
    if found is None:
        return None
    table = {**OWN, **_table((found["recipe"], *(found["recipes"] or {}).values()))}
    modulators = read_modulators(found["modulation"] or (), reader, table)
    table |= table_of_modulators(modulators)
    cues = read_cues(found["cues"] or (), reader, table, [*names(), *(found["recipes"] or {})])
    parameters = read_parameters(found["parameters"], reader, table) if found["parameters"] else {}
    glides = _read_glides(found["glides"], reader, table) if found["glides"] else {}
    if found["tempo"] and found["midi"] and found["midi"]["clock"]:
        reader.complain(node, "tempo.source and midi.clock cannot both give the beat: leave one of them out")
    if found["panel"] is None and "browser" in {plan.transport for plan in (found["source"], found["guide"]) if plan}:
        reader.complain(node, "a source of the transport browser needs the panel, which is off")
    if reader.problems:
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
        slate=output["slate"] and str(base / output["slate"]),
        sinks=found["sinks"],
        parameters=parameters,
        glides=glides,
        cues=cues,
        modulators=modulators,
        controllers={name: found[name] for name in controllers.CONTROLLERS},
        panel=found["panel"],
        patience=Patience(engine["deadline"], engine["loading_deadline"]),
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
    "slate": Field(Text(), "", "an image file; without it a plain card with the show's name"),
}
_ENGINE: Fields = {
    "deadline": Field(Number(0.1, 3600), 3.0, "seconds after which an unanswered frame is a hang"),
    "loading_deadline": Field(Number(1, 86_400), 600.0, "seconds a model may take to load and compile"),
    "spare": Field(Boolean(), True, "keep a second engine with its libraries imported, for a quick restart"),
}


def _fields(base: Path) -> Fields:
    """The top of a show. `base` is the folder that relative paths start from."""
    recipe = Custom(lambda node, reader: read_recipe(node, base, reader), "a recipe's name, path or mapping")
    return {
        "name": Field(Text(), ""),
        "recipe": Field(recipe, load_recipe("builtin")),
        "recipes": Field(_recipes(base), {}, "recipes to change to, each under a name of its own"),
        "safety": Field(Boolean(), None, "every recipe with the safety checker, or none"),
        "accelerate": Field(Choice(ACCELERATORS), None, "every recipe on this accelerator"),
        "source": Field(_or_false(_end(base, False)), EndPlan("testcard", {})),
        "guide": Field(_or_false(_end(base, False)), None, "a second source, for the ControlNets that look at it"),
        "output": Field(Section(_OUTPUT), _defaults(_OUTPUT)),
        "sinks": Field(Items(_end(base, True)), ()),
        "parameters": Field(Custom(_later, "a mapping of parameters to values"), None),
        "glides": Field(Custom(_later, "a mapping of parameters to seconds"), None),
        "cues": Field(Items(Custom(_later, "a cue")), (), "looks in a row, each with its fade"),
        "modulation": Field(Items(Custom(_later, "a modulator")), (), "what moves parameters around their values"),
        **{name: _controller(name) for name in controllers.CONTROLLERS},
        "panel": Field(_or_false(Section(panel.FIELDS)), _defaults(panel.FIELDS)),
        "resume": Field(Boolean(), True, "after a power cut or a crash, begin with the look that the last run had"),
        "engine": Field(Section(_ENGINE), _defaults(_ENGINE)),
    }


def _controller(name: str) -> Field:
    """A controller's section. OSC is there unless it is left out, the others where the show has them."""
    fields = controllers.load(name).fields
    return Field(_or_false(Section(fields)), _defaults(fields) if name == "osc" else None)


def _defaults(fields: Fields) -> dict[str, Any]:
    return {name: spec.default for name, spec in fields.items()}


def _later(node: Node, reader: Reader) -> Node:
    return node  # read once the recipes have said which parameters there are


def _recipes(base: Path) -> Custom:
    """A mapping of names to recipes."""

    def read(node: Node, reader: Reader) -> dict[str, Recipe]:
        if not isinstance(node.raw, yaml.MappingNode):
            reader.complain(node, "a mapping of names to recipes is wanted, such as {ink: {base: sd-turbo}}")
            return {}
        found = {str(key.raw.value): read_recipe(value, base, reader) for key, value in node.items()}
        return {name: recipe for name, recipe in found.items() if recipe}

    return Custom(read, "a mapping of names to recipes")


def _or_false(kind: Kind) -> Custom:
    """The kind, or `false` to leave it out."""

    def read(node: Node, reader: Reader) -> Any:
        off = isinstance(node.raw, yaml.ScalarNode) and node.value is False
        return None if off else kind.read(node, reader)

    return Custom(read, f"false, or {kind.describe()}")


def _end(base: Path, is_sink: bool) -> Custom:
    """A source or a sink: `transport` says whose option table the other keys are read against."""
    common: Fields = {"transport": Field(Text()), "optional": Field(Boolean(), False)}
    common = common if is_sink else {**common, "fit": Field(Choice(get_args(Fit)), "cover")}

    def read(node: Node, reader: Reader) -> EndPlan | None:
        name = _transport(node, is_sink, reader)
        if name is None:
            return None
        end = load(name).sink if is_sink else load(name).source
        assert end is not None
        found = read_fields(node, {**common, **end.fields}, reader)
        options = {key: found[key] for key in end.fields}
        if isinstance(options.get("path"), str) and options["path"]:
            options["path"] = str(base / Path(options["path"]).expanduser())
        return EndPlan(name, options, found.get("fit", "cover"), found["optional"])

    return Custom(read, "a mapping with the key transport")


def _transport(node: Node, is_sink: bool, reader: Reader) -> str | None:
    """The transport's name, if it has the end that is asked for."""
    pairs = node.items() if isinstance(node.raw, yaml.MappingNode) else []
    value = next((value for key, value in pairs if key.raw.value == "transport"), None)
    name = value.raw.value if value and isinstance(value.raw, yaml.ScalarNode) else ""
    end = "sink" if is_sink else "source"
    if name in TRANSPORTS and getattr(load(name), end) is not None:
        return str(name)
    fitting = [name for name in TRANSPORTS if getattr(load(name), end) is not None]
    if value is None:
        reader.complain(node, f"a {end} is a mapping with the key transport: {', '.join(fitting)}")
    else:
        reader.complain(value, f"{name!r:.80} is no {end}{nearest(name, fitting)}")
    return None


def _read_glides(node: Node, reader: Reader, table: Table) -> dict[str, float]:
    glides: dict[str, float] = {}
    for name, value in known_parameters(node, reader, table):
        if not table[name].glides:
            reader.complain(value, f"{name} cannot glide: it is no float")
        glides[name] = _SECONDS.read(value, reader) or 0.0
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
