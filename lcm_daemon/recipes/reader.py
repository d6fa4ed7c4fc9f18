"""Reads recipes from YAML and checks them with places."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import yaml

from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.core.frame import Size
from lcm_daemon.core.parameter_table import TABLE
from lcm_daemon.core.parameters import Parameter, Refused, Table, Value
from lcm_daemon.core.schema import (
    Boolean,
    Choice,
    Custom,
    Field,
    Fields,
    Items,
    Node,
    Number,
    PathText,
    PixelSize,
    Problems,
    Section,
    Text,
    compose,
    nearest,
    read_fields,
)
from lcm_daemon.recipes.parts import ControlNet, Files, ImagePrompt, Lora, table_of_parts
from lcm_daemon.recipes.recipe import ACCELERATORS, GRID, PREPROCESSORS, SAMPLERS, Recipe, split_hub

FOLDER = Path(__file__).parent
DEFAULT = "builtin"
_DEVICE = re.compile(r"auto|cuda(:\d+)?|mps|cpu")
_NAME = re.compile(r"[A-Za-z0-9_-]{1,32}")  # it becomes part of an OSC address


def recipe_names() -> list[str]:
    """The recipes that come with the package, the default first."""
    return sorted((path.stem for path in FOLDER.glob("*.yaml")), key=lambda name: (name != DEFAULT, name))


def load_recipe(name: str) -> Recipe:
    """One of the package's recipes; raises DocumentError where there is none of that name or it is wrong."""
    problems = Problems()
    recipe = read_recipe(name, FOLDER, problems)
    problems.raise_if_any()
    assert recipe is not None  # whatever gives no recipe has been complained of
    return recipe


def read_recipe(where: Node | str, base_folder: Path, problems: Problems) -> Recipe | None:
    """The recipe that `where` names: one of `recipe_names()`, a .yaml file, or a mapping that overrides a `base`.

    base_folder: what relative paths start from, the folder of the show file.
    Problems go to `problems`, each at its place; None where no recipe could be made of it.
    """
    node = compose(json.dumps(where), "recipe") if isinstance(where, str) else where
    before = len(problems)
    values = _read(node, base_folder.absolute(), problems, ())
    return None if values is None or len(problems) > before else Recipe(**values)


def _read(node: Node, folder: Path, problems: Problems, above: tuple[Path, ...]) -> dict[str, Any] | None:
    if isinstance(node.raw, yaml.MappingNode):
        return _read_mapping(node, folder, problems, above)
    if isinstance(node.raw, yaml.ScalarNode) and node.raw.value:
        return _read_named(node, folder, problems, above)
    problems.add(node, "a recipe is a name, a .yaml file or a mapping with the key 'base'")
    return None


def _read_named(node: Node, folder: Path, problems: Problems, above: tuple[Path, ...]) -> dict[str, Any] | None:
    name = PathText().read(node, problems)
    if name is None:
        return None
    path = FOLDER / f"{name}.yaml" if name in recipe_names() else (folder / Path(name).expanduser()).resolve()
    if path in above:
        problems.add(node, f"recipe {name!r} is based on itself")
        return None
    try:
        text = path.read_text(encoding="utf-8") if path.suffix in (".yaml", ".yml") else None
    except (OSError, UnicodeDecodeError) as error:
        problems.add(node, f"recipe file {path} cannot be read: {getattr(error, 'strerror', None) or error}")
        return None
    if text is None:
        problems.add(node, f"no recipe or .yaml file {name!r}{nearest(name, recipe_names())}")
        return None
    return _read_file(text, path, problems, above)


def _read_file(text: str, path: Path, problems: Problems, above: tuple[Path, ...]) -> dict[str, Any] | None:
    try:
        document = compose(text, str(path))
    except LcmDaemonError as error:
        problems.extend(getattr(error, "problems", ()))
        return None
    if not isinstance(document.raw, yaml.MappingNode):
        problems.add(document, "a recipe file is a mapping with the keys " + ", ".join(FIELDS))
        return None
    values = _read_mapping(document, path.parent, problems, (*above, path))
    return values and {**values, "name": path.stem}


def _read_mapping(node: Node, folder: Path, problems: Problems, above: tuple[Path, ...]) -> dict[str, Any] | None:
    given = {str(key.raw.value): value for key, value in node.items()}
    read = read_fields(node, FIELDS, problems)
    base: dict[str, Any] | None = {"name": "own"}
    if "base" in given:
        base = _read(given["base"], folder, problems, above)
    elif read["pipeline"] != "passthrough" and not read["model"]:
        problems.add(node, "a recipe needs a 'model', or a 'base' that has one")
    if base is None:
        return None
    own = {key: _placed(read[key], folder) for key in given if key in FIELDS and key not in ("base", "parameters")}
    values = {**base, **own}
    table = table_of_parts(values.get("loras", ()), values.get("controlnets", ()), values.get("image_prompt"))
    kept = {name: value for name, value in base.get("parameters", {}).items() if name in table}
    values["files"] = (*own.get("files", ()), *base.get("files", ()))  # what changes is fetched beside what stays
    values["parameters"] = kept | (read_parameters(given["parameters"], problems, table) if "parameters" in given else {})
    return values


def _placed(value: Any, folder: Path) -> Any:
    """Paths in a recipe are relative to the file they stand in; from here on they are absolute."""
    if isinstance(value, tuple):
        return tuple(_placed(entry, folder) for entry in value if entry is not None)
    if isinstance(value, Source):
        return _locate(value, folder)
    if isinstance(value, Lora | ControlNet | ImagePrompt):
        return replace(value, **{f.name: _placed(getattr(value, f.name), folder) for f in fields(value)})
    return value


class Source(str):
    """Text that says where weights are: a folder, a file, or a place on the hub."""


def _locate(text: str, folder: Path) -> str:
    if not text or (split_hub(text) and not (folder / text).exists()):
        return str(text)
    return str((folder / Path(text).expanduser()).resolve())


def _read_size(node: Node, problems: Problems) -> Size | None:
    size: Size | None = PixelSize(64, 2048).read(node, problems)
    if size and (size[0] % GRID or size[1] % GRID):
        problems.add(node, f"a render size is in multiples of {GRID} pixels, such as [512, 512]")
    return size


def _read_device(node: Node, problems: Problems) -> str | None:
    if isinstance(node.raw, yaml.ScalarNode) and _DEVICE.fullmatch(node.raw.value):
        return str(node.raw.value)
    problems.add(node, "a device is auto, cuda, cuda:0 (cuda:1, ...), mps or cpu")
    return None


def _read_source(node: Node, problems: Problems) -> Source | None:
    text = PathText().read(node, problems)
    return None if text is None else Source(text)


def _read_name(node: Node, problems: Problems) -> str | None:
    if isinstance(node.raw, yaml.ScalarNode) and _NAME.fullmatch(node.raw.value):
        return str(node.raw.value)
    problems.add(node, "a name is 1 to 32 letters, digits, _ or -: it becomes part of an address")
    return None


def _entry(kind: type[Any], fields: Fields, short: str = "") -> Custom:
    """One of `loras`, `controlnets`, ...: a mapping, or for the simplest case the text of its field `short`."""

    def read(node: Node, problems: Problems) -> Any:
        if short and isinstance(node.raw, yaml.ScalarNode):
            text = _read_source(node, problems)
            return None if text is None else kind(**{short: text})
        before = len(problems)
        values = Section(fields).read(node, problems)
        return kind(**values) if values is not None and len(problems) == before else None

    return Custom(read, f"a mapping with the keys {', '.join(fields)}" + (f", or the {short} alone" if short else ""))


def _read_schedule(node: Node, problems: Problems) -> dict[str, Any]:
    """Over the model's scheduler_config.json: plain values by the names that diffusers gives them."""
    if not isinstance(node.raw, yaml.MappingNode):
        problems.add(node, "a mapping is wanted, such as {prediction_type: sample}")
        return {}
    return {str(key.raw.value): value.value for key, value in node.items()}


def read_parameters(node: Node, problems: Problems, table: Table = TABLE) -> dict[str, Value]:
    """Start values, in a recipe or a show. Out of range is a mistake in a file; from a fader it is clamped."""
    values: dict[str, Value] = {}
    for name, value in known_parameters(node, problems, table):
        _read_parameter(table[name], value, values, problems)
    return values


def known_parameters(node: Node, problems: Problems, table: Table = TABLE) -> Iterator[tuple[str, Node]]:
    """The parameters that a mapping names, each with its value's node; other names are complained of."""
    if not isinstance(node.raw, yaml.MappingNode):
        problems.add(node, "a mapping of parameters is wanted, such as {steps: 2, strength: 0.6}")
        return
    seen: set[str] = set()
    for key, value in node.items():
        name = str(key.raw.value)
        if name in seen:
            problems.add(key, f"key {name!r} stands here twice")
        elif name in table:
            seen.add(name)
            yield name, value
        else:
            problems.add(key, f"there is no parameter {name!r}{nearest(name, table)}")


def _read_parameter(parameter: Parameter, node: Node, values: dict[str, Value], problems: Problems) -> None:
    name = parameter.name
    try:
        values[name] = parameter.coerce(node.value)
    except Refused as error:
        problems.add(node, str(error))
        return
    if parameter.kind in ("float", "int") and values[name] != node.value:
        problems.add(node, f"{name} goes from {parameter.low:g} to {parameter.high:g}, not {node.value!r}")


def _later(node: Node, problems: Problems) -> Node:
    return node  # read on its own, once it is known what it is laid over


_SOURCE = Custom(_read_source, "a folder, a file or a place on the hub")
NAME = Custom(_read_name, "a name")
_LORA: Fields = {
    "name": Field(NAME, "", "makes it live, by the parameter lora/<name>"),
    "model": Field(_SOURCE),
    "weight": Field(Number(-4, 4), 1.0),
}
_CONTROLNET: Fields = {
    "name": Field(NAME, help="of its parameters: control/<name>/weight, control/<name>/start, ..."),
    "model": Field(_SOURCE),
    "preprocessor": Field(Choice(PREPROCESSORS), "canny", "what makes the map; none if the picture is one"),
    "detector": Field(_SOURCE, "", "the preprocessor's own model"),
    "source": Field(Choice(("input", "guide")), "input", "the picture it looks at: the input or the show's guide"),
    "weight": Field(Number(0, 2), 1.0),
    "start": Field(Number(0, 1), 0.0),
    "end": Field(Number(0, 1), 1.0),
    "interval": Field(Number(1, 16, whole=True), 1),
}
_IMAGE_PROMPT: Fields = {
    "model": Field(_SOURCE, help="the adapter's file"),
    "encoder": Field(_SOURCE, help="the folder of its image encoder"),
    "image": Field(_SOURCE, "", "an image file; left out, the live input"),
    "weight": Field(Number(0, 2), 0.6),
}
_FILES: Fields = {
    "source": Field(Text(), help="owner/name on the hub"),
    "files": Field(Items(Text()), help="file names or patterns"),
    "revision": Field(Text(), "", "a branch, a tag or a commit"),
}

FIELDS: Fields = {
    "base": Field(Custom(_later, "a recipe"), None, "the recipe that this one changes"),
    "title": Field(Text(), "", "one line for people"),
    "pipeline": Field(Choice(("latent_consistency", "passthrough")), "latent_consistency"),
    "model": Field(_SOURCE, "", "a diffusers folder, or its place on the hub"),
    "unet": Field(_SOURCE, "", "another UNet than the model's own: a folder or a .safetensors file"),
    "vae": Field(_SOURCE, "", "another VAE than the model's own"),
    "loras": Field(Items(_entry(Lora, _LORA, "model")), ()),
    "controlnets": Field(Items(_entry(ControlNet, _CONTROLNET)), ()),
    "image_prompt": Field(_entry(ImagePrompt, _IMAGE_PROMPT), None),
    "sampler": Field(Choice(SAMPLERS), "lcm"),
    "schedule": Field(Custom(_read_schedule, "a mapping"), {}, "over the model's scheduler_config.json"),
    "guidance": Field(Choice(("none", "embedded", "classifier_free")), "classifier_free"),
    "size": Field(Custom(_read_size, "a size such as [512, 512]"), (512, 512)),
    "device": Field(Custom(_read_device, "a device"), "auto"),
    "dtype": Field(Choice(("auto", "float16", "bfloat16", "float32")), "auto"),
    "accelerate": Field(Choice(ACCELERATORS), "auto"),
    "stream_batch": Field(Boolean(), False, "one pass for all steps, as many frames late as steps less one"),
    "safety": Field(Boolean(), False, "show no frame that the safety checker objects to"),
    "licence": Field(Text(), "", "of the weights"),
    "download": Field(Text(), "", "size, such as 2.4 GB"),
    "vram": Field(Text(), "", "memory it takes on the device, such as 3 GB"),
    "parameters": Field(Custom(_later, "a mapping of parameters"), {}),
    "files": Field(Items(_entry(Files, _FILES)), (), "what `lcm-daemon pull` fetches"),
}
