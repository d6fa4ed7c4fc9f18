"""Reads recipes from YAML and checks them."""

from __future__ import annotations

import functools
import json
import math
import re
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import yaml

from lcm_daemon.core.document import Node, Problems, compose, compose_own, path_exists, read_error, resolved
from lcm_daemon.core.errors import DocumentError
from lcm_daemon.core.parameter_table import TABLE
from lcm_daemon.core.parameters import DRAW, Parameter, Refused, Table, Value
from lcm_daemon.core.render_size import MAX_SIDE, MIN_SIDE, SIDE_STEP
from lcm_daemon.core.schema import (
    Boolean,
    Choice,
    Custom,
    Deferred,
    Field,
    Fields,
    Items,
    Number,
    PathText,
    PixelSize,
    Section,
    Text,
    read_fields,
    unique_items,
)
from lcm_daemon.core.schema_shapes import Either, NameIn, ParameterValues
from lcm_daemon.core.suggestions import nearest
from lcm_daemon.recipes.checkpoints import SUFFIX, advise, check_keys, file_hint, laid_over, pickle_problem, too_long
from lcm_daemon.recipes.family_rules import check_family
from lcm_daemon.recipes.named_parts import NamedItems, image_prompts_of
from lcm_daemon.recipes.parts import (
    LORA_LIMIT,
    ControlNet,
    Files,
    ImagePrompt,
    Lora,
    Pix2Pix,
    TextualInversion,
    table_of_parts,
)
from lcm_daemon.recipes.recipe import MAX_IN_FLIGHT, Recipe, split_hub
from lcm_daemon.recipes.registry import (
    ACCELERATOR_CHOICES,
    AUTO,
    FAMILIES,
    MAP_KINDS,
    PIPELINES,
    PREPROCESSORS,
    SAMPLERS,
    STABLE_DIFFUSION,
    WITH_WEIGHTS,
)
from lcm_daemon.recipes.schedule_keys import SCHEDULE, check_schedule

FOLDER = Path(__file__).parent
DEFAULT = "builtin"
_DEVICE = re.compile(r"auto|cuda(:\d+)?|mps|cpu|openvino:(CPU|GPU(\.\d+)?|NPU)")
_NAME = re.compile(r"[A-Za-z0-9_-]{1,32}")  # it becomes part of an OSC address

_WORD = re.compile(r"[^\s()\[\]:\\]{1,64}")


def recipe_names() -> list[str]:
    """Names of the recipes that come with the package, the default first."""
    return list(_own_names())


@functools.cache  # the package's files do not change, and reading one show asks for them sixty times
def _own_names() -> tuple[str, ...]:
    return tuple(sorted((path.stem for path in FOLDER.glob("*.yaml")), key=lambda name: (name != DEFAULT, name)))


@functools.cache  # a show reads all of them to name what its maps may move
def load_recipe(name: str) -> Recipe:
    """Load one of the package's recipes. Raises DocumentError if there is none of that name or it has mistakes."""
    problems = Problems()
    recipe = read_recipe(name, FOLDER, problems)
    problems.raise_if_any()
    assert recipe is not None  # otherwise there is a problem
    return recipe


def read_recipe(where: Node | str, base_folder: Path, problems: Problems) -> Recipe | None:
    """Read a recipe.

    Args:
        where: One of `recipe_names()`, a .yaml file, or a mapping that overrides a `base`.
        base_folder: Folder that relative paths start from: that of the show file.
        problems: Receives every mistake, with its place.

    Returns:
        The recipe, or None if it has mistakes.
    """
    node = compose(json.dumps(where), "recipe") if isinstance(where, str) else where
    before = len(problems)
    values = _read(node, base_folder.absolute(), problems, ())
    return None if values is None or len(problems) > before else Recipe(**values)


def _read(node: Node, folder: Path, problems: Problems, parents: tuple[Path, ...]) -> dict[str, Any] | None:
    """The fields of a recipe. parents: the files of the recipes that are based on this one."""
    if isinstance(node.raw, yaml.MappingNode):
        return _read_mapping(node, folder, problems, parents)
    if isinstance(node.raw, yaml.ScalarNode) and node.raw.value:
        return _read_named(node, folder, problems, parents)
    problems.add(node, "a recipe is a name, a .yaml file or a mapping with the key 'base'")
    return None


def _read_named(node: Node, folder: Path, problems: Problems, parents: tuple[Path, ...]) -> dict[str, Any] | None:
    name = PathText().read(node, problems)
    if name is None:
        return None
    is_own = name in recipe_names()
    path = FOLDER / f"{name}.yaml" if is_own else resolved(folder / Path(name).expanduser())
    if path in parents:
        problems.add(node, f"recipe {name!r} is based on itself")
        return None
    if path.suffix not in (".yaml", ".yml"):
        pickle = pickle_problem(name)
        known = file_hint(path) if path.suffix == SUFFIX else (
            f"; {pickle}" if pickle else nearest(name, recipe_names()))
        problems.add(node, f"no recipe or .yaml file {name!r:.80}{known}")
        return None
    problems.refer(node, "" if is_own else "document", name)
    try:
        return _read_file(path, is_own, problems, parents)
    except (OSError, UnicodeDecodeError) as error:
        problems.add(node, f"recipe file {path!s:.200} cannot be read: {read_error(error)}")
        return None


@functools.cache  # several recipes have the same base
def _compose_own_file(path: Path) -> Node:
    return compose_own(path.read_text(encoding="utf-8"), str(path))


def _read_file(path: Path, is_own: bool, problems: Problems, parents: tuple[Path, ...]) -> dict[str, Any] | None:
    try:
        document = _compose_own_file(path) if is_own else compose(path.read_text(encoding="utf-8"), str(path))
    except DocumentError as error:
        problems.extend(error.problems)
        return None
    if not isinstance(document.raw, yaml.MappingNode):
        problems.add(document, "a recipe file is a mapping with the keys " + ", ".join(FIELDS))
        return None
    values = _read_mapping(document, path.parent, problems, (*parents, path))
    return values and {**values, "name": path.stem, "origin": path.stem if is_own else str(path)}


def _read_mapping(node: Node, folder: Path, problems: Problems, parents: tuple[Path, ...]) -> dict[str, Any] | None:
    given = {str(key.raw.value): value for key, value in node.items()}
    read = read_fields(node, FIELDS, problems)
    base: dict[str, Any] | None = {"name": "own"}
    if "base" in given:
        base = _read(given["base"], folder, problems, parents)
    elif read["pipeline"] in WITH_WEIGHTS and not read["model"]:
        problems.add(node, "a recipe needs a 'model', or a 'base' that has one" + (
            f": {advise(folder / read['checkpoint'])}" if read["checkpoint"] else ""))
    if base is None:
        return None
    own = {key: _resolve_paths(read[key], folder) for key in given
           if key in FIELDS and key not in ("base", "parameters")}
    check_keys(own, base, given, folder, problems)
    values = laid_over(base, own) | {"origin": _origin(node)}
    images = image_prompts_of(values, given, problems)
    table = table_of_parts(values.get("loras", ()), values.get("controlnets", ()), images)
    inherited = {name: value for name, value in base.get("parameters", {}).items() if name in table}
    values["files"] = (*own.get("files", ()), *base.get("files", ()))  # `pull` fetches those of the base too
    own_values = read_parameters(given["parameters"], problems, table) if "parameters" in given else {}
    values["parameters"] = inherited | own_values
    check_family(values, given, node, problems)
    check_schedule(values, given, problems)
    return values


def _origin(node: Node) -> str:
    """The file that a mapping is written in; "" for one of the command line."""
    file = node.problem("").file
    return file if Path(file).is_file() else ""


class WeightsPath(str):
    """A file, a folder or a place on the hub that weights are loaded from, as a recipe names it."""


def _resolve_paths(value: Any, folder: Path) -> Any:
    """Make paths absolute: in a recipe they are relative to the folder of its file."""
    if isinstance(value, tuple):
        return tuple(_resolve_paths(entry, folder) for entry in value if entry is not None)
    if isinstance(value, WeightsPath):
        return _resolve_path(value, folder)
    if isinstance(value, Lora | ControlNet | ImagePrompt | Pix2Pix | TextualInversion):
        return replace(value, **{f.name: _resolve_paths(getattr(value, f.name), folder) for f in fields(value)})
    return value


def _resolve_path(text: str, folder: Path) -> str:
    if not text or (split_hub(text) and not path_exists(folder / text)):
        return str(text)
    return str(resolved(folder / Path(text).expanduser()))


def _read_device(node: Node, problems: Problems) -> str | None:
    if isinstance(node.raw, yaml.ScalarNode) and _DEVICE.fullmatch(node.raw.value):
        problems.refer(node, "device", node.raw.value)
        return str(node.raw.value)
    problems.add(node, "a device is auto, cuda, cuda:0 (cuda:1, ...), mps, cpu, openvino:CPU, openvino:GPU "
                       f"(openvino:GPU.1, ...) or openvino:NPU, not {node.value!r:.80}")
    return None


def _read_in_flight(node: Node, problems: Problems) -> int | None:
    if node.value in (AUTO, *range(1, MAX_IN_FLIGHT + 1)) and not isinstance(node.value, bool):
        return 0 if node.value == AUTO else int(node.value)
    problems.add(node, f"frames in flight are auto or 1 to {MAX_IN_FLIGHT}, not {node.value!r:.80}")
    return None


def _read_weights(node: Node, problems: Problems) -> WeightsPath | None:
    text = PathText("weights").read(node, problems)
    if text is not None and (problem := pickle_problem(text) or ("" if split_hub(text) else too_long(text))):
        problems.add(node, problem)
    return None if text is None else WeightsPath(text)


def _read_name(node: Node, problems: Problems) -> str | None:
    if isinstance(node.raw, yaml.ScalarNode) and _NAME.fullmatch(node.raw.value):
        return str(node.raw.value)
    problems.add(node, "a name is 1 to 32 letters, digits, _ or -: it becomes part of an address")
    return None


def _read_word(node: Node, problems: Problems) -> str | None:
    if isinstance(node.raw, yaml.ScalarNode) and _WORD.fullmatch(node.raw.value):
        return str(node.raw.value)
    problems.add(node, "a word of a prompt has no blanks, brackets or colons, and at most 64 characters")
    return None


def _part(kind: type[Any], fields: Fields, short: str = "") -> Custom:
    """Schema of one of `loras`, `controlnets`, ...: a mapping, or the text of its field `short` alone."""

    def read(node: Node, problems: Problems) -> Any:
        if short and isinstance(node.raw, yaml.ScalarNode):
            text = _read_weights(node, problems)
            return None if text is None else kind(**{short: text})
        before = len(problems)
        values = Section(fields).read(node, problems)
        return kind(**values) if values is not None and len(problems) == before else None

    described = f"a mapping with the keys {', '.join(fields)}" + (f", or the {short} alone" if short else "")
    return Custom(read, described, Either((Text(), Section(fields))) if short else Section(fields))


def read_parameters(node: Node, problems: Problems, table: Table = TABLE) -> dict[str, Value]:
    """Read start values. A value out of range is a mistake in a file; from a controller it is clamped."""
    values: dict[str, Value] = {}
    for name, value in known_parameters(node, problems, table):
        _read_parameter(table[name], value, values, problems)
    return values


def known_parameters(node: Node, problems: Problems, table: Table = TABLE) -> Iterator[tuple[str, Node]]:
    """The parameters that a mapping names, each with the node of its value; unknown names are mistakes."""
    if not isinstance(node.raw, yaml.MappingNode):
        problems.add(node, "a mapping of parameters is wanted, such as {steps: 2, strength: 0.6}")
        return
    for name, key, value in unique_items(node, problems):
        if name in table:
            yield name, value
        else:
            problems.add(key, f"no parameter {name!r:.80}{nearest(name, table)}")


def _read_parameter(parameter: Parameter, node: Node, values: dict[str, Value], problems: Problems) -> None:
    name, given = parameter.name, node.value
    is_word = isinstance(given, bool) and parameter.kind in ("text", "choice")
    if is_word or (parameter.kind == "text" and node.is_text):
        given = node.text  # 007 stays 007, yes stays yes; of an override, "yes: no" is text too
    try:
        values[name] = parameter.coerce(given)
        if parameter.kind in ("float", "int"):  # 33% and 0,33 are numbers too
            given = replace(parameter, low=-math.inf, high=math.inf).coerce(given)
    except Refused as error:
        problems.add(node, str(error))
        return
    if parameter.kind in ("float", "int") and values[name] != given:
        drawn = f", or is {DRAW} for a random one" if parameter.draws else ""
        problems.add(node, f"{name} goes from {parameter.low:g} to {parameter.high:g}{drawn}, not {node.value!r:.80}")


_WEIGHTS = Custom(_read_weights, "a folder, a file or a place on the hub", Text())
NAME = Custom(_read_name, "a name")
_LORA: Fields = {
    "name": Field(NAME, "", "makes it live, through the parameter lora/<name>"),
    "model": Field(_WEIGHTS),
    "weight": Field(Number(-LORA_LIMIT, LORA_LIMIT), 1.0),
}
_CONTROLNET: Fields = {
    "name": Field(NAME, help="part of the names of its parameters: control/<name>/weight, control/<name>/start, ..."),
    "model": Field(_WEIGHTS),
    "preprocessor": Field(NameIn(PREPROCESSORS), "canny", "makes the control map; none if the frame is one"),
    "detector": Field(_WEIGHTS, "", "the preprocessor's own model"),
    "map": Field(Choice((AUTO, *MAP_KINDS)), AUTO, "for a ControlNet-Union; auto: what the preprocessor makes"),
    "source": Field(Choice(("input", "guide")), "input", "the frames it follows: the input or the show's guide"),
    "weight": Field(Number(0, 2), 1.0),
    "start": Field(Number(0, 1), 0.0),
    "end": Field(Number(0, 1), 1.0),
    "interval": Field(Number(1, 16, whole=True), 1),
}
_IMAGE_PROMPT: Fields = {
    "model": Field(_WEIGHTS, help="the adapter's file"),
    "encoder": Field(_WEIGHTS, help="the folder of its image encoder"),
    "image": Field(_WEIGHTS, "", "an image file; without it, the live input"),
    "weight": Field(Number(0, 2), 0.6),
}
_NAMED_IMAGE_PROMPT: Fields = {
    "name": Field(NAME, help="part of the name of its parameter: image_prompt/<name>"), **_IMAGE_PROMPT}
_PIX2PIX: Fields = {
    "model": Field(_WEIGHTS, help="a .safetensors file, made of the published pickle"),
    "preprocessor": Field(NameIn(PREPROCESSORS), "canny", "makes the map; none if the frame is one"),
    "detector": Field(_WEIGHTS, "", "the preprocessor's own model"),
}
_EMBEDDING: Fields = {
    "model": Field(_WEIGHTS, help="a .safetensors file"),
    "name": Field(Custom(_read_word, "a word"), "", "the word in prompts; without it, the file's name"),
}
_FILES: Fields = {
    "source": Field(Text(), help="owner/name on the hub"),
    "files": Field(Items(Text()), help="file names or patterns"),
    "revision": Field(Text(), "", "a branch, a tag or a commit"),
}

FIELDS: Fields = {
    "base": Field(Deferred("a recipe"), None, "the recipe that this one changes"),
    "title": Field(Text(), "", "one line for users"),
    "pipeline": Field(NameIn(PIPELINES), "latent_consistency"),
    "family": Field(Choice(tuple(FAMILIES)), STABLE_DIFFUSION, "the kinds of parts that the model is made of"),
    "model": Field(_WEIGHTS, "", "a diffusers folder, or its place on the hub"),
    "checkpoint": Field(_WEIGHTS, "", "a whole model in one .safetensors file; the base gives what it lacks"),
    "unet": Field(_WEIGHTS, "", "another UNet than the model's own: a folder or a .safetensors file"),
    "vae": Field(_WEIGHTS, "", "another VAE than the model's own: a folder or a .safetensors file"),
    "loras": Field(NamedItems(_part(Lora, _LORA, "model"), "LoRA"), ()),
    "controlnets": Field(NamedItems(_part(ControlNet, _CONTROLNET), "ControlNet"), ()),
    "image_prompt": Field(_part(ImagePrompt, _IMAGE_PROMPT), None, "an image beside the words of the prompt"),
    "image_prompts": Field(NamedItems(_part(ImagePrompt, _NAMED_IMAGE_PROMPT), "image prompt"), (), "several of them"),
    "pix2pix": Field(_part(Pix2Pix, _PIX2PIX, "model"), None, "the weights of a pix2pix-turbo, for that family"),
    "upscaler": Field(_WEIGHTS, "", "a network of Real-ESRGAN for `upscale`, a .safetensors file"),
    "interpolator": Field(_WEIGHTS, "", "a network RIFE 4.25 or 4.26 for `interpolate`, a .safetensors file"),
    "embeddings": Field(NamedItems(_part(TextualInversion, _EMBEDDING, "model"), "embedding", lambda part: part.word,
                                   "a prompt names them"), (), "words learned as vectors"),
    "clip_skip": Field(Number(1, 12, whole=True), 0,
                       "layer of the text encoders, counted from the last one, which is 1, as in other programs"),
    "sampler": Field(Choice(tuple(SAMPLERS)), "lcm"),
    "schedule": Field(SCHEDULE, {}, "overrides the model's scheduler_config.json"),
    "guidance": Field(Choice(("none", "embedded", "classifier_free")), "classifier_free"),
    "size": Field(PixelSize(MIN_SIDE, MAX_SIDE, SIDE_STEP), (512, 512), "width and height of the rendered frames"),
    "device": Field(Custom(_read_device, "a device"), "auto"),
    "dtype": Field(Choice(("auto", "float16", "bfloat16", "float32")), "auto"),
    "accelerate": Field(Choice(ACCELERATOR_CHOICES, "accelerator"), "auto"),
    "in_flight": Field(Custom(_read_in_flight, f"auto, or 1 to {MAX_IN_FLIGHT}"), 0,
                       "frames under way in the engine at once: more are faster on a GPU, and later; auto chooses"),
    "recorded": Field(Boolean(), True, "record frames as CUDA graphs; false launches each kernel by itself"),
    "stream_batch": Field(Boolean(), False, "one pass for all steps; the output is as many frames late, less one"),
    "safety": Field(Boolean(), False, "do not show frames that the safety checker rejects"),
    "licence": Field(Text(), "", "of the weights"),
    "download": Field(Text(), "", "size, such as 2.4 GB"),
    "vram": Field(Text(), "", "memory that it takes on the device, such as 3 GB"),
    "parameters": Field(Deferred("a mapping of parameters", ParameterValues(lambda: TABLE)), {}),
    "files": Field(Items(_part(Files, _FILES)), (), "what `lcm-daemon pull` fetches"),
}
RECIPE_SHAPE = Either((Text(), Section(FIELDS)))
