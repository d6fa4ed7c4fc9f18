"""Show: one YAML file, read, checked and frozen. What `lcm-daemon run` runs."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from lcm_daemon import controllers, panel
from lcm_daemon.automation import OWN
from lcm_daemon.automation_fields import read_cues, read_modulators
from lcm_daemon.cue_file import RECORDED
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
    PathText,
    PixelSize,
    Reader,
    Section,
    Text,
    compose,
    nearest,
    override,
)
from lcm_daemon.end_plans import EndPlan, sink_plan, source_plan
from lcm_daemon.errors import LcmDaemonError
from lcm_daemon.failsafe import Plan
from lcm_daemon.folders import state_folder
from lcm_daemon.frame import Size
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

FOLDER = next(  # in the package once it is installed, beside it in a checkout
    (f for f in (Path(__file__).parent / "show_configs", Path(__file__).parent.parent / "show_configs") if f.is_dir()),
    Path(__file__).parent / "show_configs",
)
ENVIRONMENT = "LCM_DAEMON__"


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
        """What plays where a recipe cannot: the built-in model on the safest settings, without faders of its own."""
        safest = replace(load_recipe("builtin"), name="builtin (safe)", device="cpu", dtype="float32")
        return replace(safest, controlnets=(), loras=())

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
            ("page", self._page),
            ("OSC", f"udp {self.osc['host']}:{self._osc_ports[0]}, such as /lcm/strength 0.7" if self.osc else "off"),
        ]
        return "\n".join(f"  {word:8} {text}" for word, text in lines)

    @property
    def _page(self) -> str:
        """Where the page is, as a browser of this machine opens it."""
        if self.panel is None:
            return "off"
        host = "127.0.0.1" if self.panel["host"] == "0.0.0.0" else self.panel["host"]
        return f"http://{host}:{self.panel['port']}" if self.panel["port"] else f"on a free port of {host}"

    @property
    def side(self) -> Path:
        """What files beside the show are called after: its own, or one in the user's folder if it is the package's."""
        file = Path(self.file)
        return state_folder() / file.name if _is_packaged(file) else file

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
    node = compose(read_text(path), str(path))
    reader = Reader()
    for where, dotted, value in _overrides(overrides, os.environ if environment is None else environment):
        _refuse_part_of_recipe(node, dotted, value, where)
        override(node, dotted, value, where)
    show = _read_show(node, find_show(path), reader)
    reader.finish()
    assert show is not None
    return show


def read_text(path: str | Path) -> str:
    """The text of a show's file, found as `find_show` does. Raises LcmDaemonError, one line that says what to do."""
    word = str(path)
    try:
        return find_show(path).read_text("utf-8")
    except UnicodeDecodeError as error:
        raise LcmDaemonError(f"{path}: cannot be read: it is no text in UTF-8; save it as that") from error
    except FileNotFoundError as error:
        if word in names():
            reason = f"{word} is a recipe, not a show; play it with: lcm-daemon run demo --set recipe={word}"
        else:
            reason = f"{path}: cannot be read: {error.strerror}{nearest(word, [show.stem for show in shows()])}"
        raise LcmDaemonError(reason) from error
    except OSError as error:
        raise LcmDaemonError(f"{path}: cannot be read: {error.strerror}") from error


def _refuse_part_of_recipe(node: Node, dotted: str, value: str, where: str) -> None:
    """A key below `recipe` can be set where that is a mapping; the name of a recipe alone has no keys."""
    if not dotted.startswith("recipe.") or not isinstance(node.raw, yaml.MappingNode):
        return
    key = dotted.removeprefix("recipe.")
    recipe = next((given.raw for name, given in node.items() if name.raw.value == "recipe"), None)
    if isinstance(recipe, yaml.ScalarNode):
        raise LcmDaemonError(f"{where}: recipe is a plain name here; write recipe as "
                             f"{{base: {recipe.value}, {key}: {value}}}")


def find_show(path: str | Path) -> Path:
    """A path as it is, or the show of that name in the folder that comes with the daemon."""
    own = FOLDER / f"{Path(path).stem}.yaml"
    is_name = Path(path).name == str(path) or Path(path).parent.name == FOLDER.name
    return own if not Path(path).is_file() and is_name and own.exists() else Path(path)


def shows() -> list[Path]:
    """The shows that come with the daemon."""
    return sorted(path for path in FOLDER.glob("*.yaml") if not path.name.endswith(RECORDED))


def _is_packaged(file: Path) -> bool:
    return FOLDER.resolve() in file.resolve().parents


_SECONDS = Number(0, 86_400)


def _read_show(node: Node, file: Path, reader: Reader) -> Show | None:
    base = file.resolve().parent
    takes = Path.cwd() if _is_packaged(file) else base  # nobody looks for a recording inside the package
    found = Section(_fields(base, takes)).read(node, reader)
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
        slate=output["slate"] and str(base / Path(output["slate"]).expanduser()),
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
    "slate": Field(PathText(), "", "an image file; without it a plain card with the show's name"),
}
_ENGINE: Fields = {
    "deadline": Field(Number(0.1, 3600), 3.0, "seconds after which an unanswered frame is a hang"),
    "loading_deadline": Field(Number(1, 86_400), 600.0, "seconds a model may take to load and compile"),
    "spare": Field(Boolean(), True, "keep a second engine with its libraries imported, for a quick restart"),
}


def _fields(base: Path, takes: Path) -> Fields:
    """The top of a show. `base` is the folder that relative paths start from, `takes` the one that sinks' do."""
    recipe = Custom(lambda node, reader: read_recipe(node, base, reader), "a recipe's name, path or mapping")
    return {
        "name": Field(Text(), ""),
        "recipe": Field(recipe, load_recipe("builtin")),
        "recipes": Field(_recipes(base), {}, "recipes to change to, each under a name of its own"),
        "safety": Field(Boolean(), None, "every recipe with the safety checker, or none"),
        "accelerate": Field(Choice(ACCELERATORS), None, "every recipe on this accelerator"),
        "source": Field(_or_false(source_plan(base)), EndPlan("testcard", {})),
        "guide": Field(_or_false(source_plan(base)), None, "a second source, for the ControlNets that look at it"),
        "output": Field(Section(_OUTPUT), _defaults(_OUTPUT)),
        "sinks": Field(Items(sink_plan(takes)), ()),
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
