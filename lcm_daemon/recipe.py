"""Recipe: a model set-up as data. Read from YAML, checked with places, handed to the engine as it is.

A recipe names its weights and never fetches them: a folder, or a hub id that is looked up in the local cache alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from lcm_daemon.document import (
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
    read_fields,
)
from lcm_daemon.errors import LcmDaemonError
from lcm_daemon.frame import Size
from lcm_daemon.parameters import TABLE, Refused, Value

FOLDER = Path(__file__).parent / "recipes"
DEFAULT = "builtin"
GRID = 8  # pixels: every VAE of the known families shrinks by this factor

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_DEVICE = re.compile(r"auto|cuda(:\d+)?|mps|cpu")


@dataclass(frozen=True)
class Lora:
    """A low-rank addition to the model's weights, merged into them at load. weight: 1.0 is as it was trained."""

    model: str
    weight: float = 1.0


@dataclass(frozen=True)
class Recipe:
    """A model set-up. `name` is how the show calls it.

    model, vae, loras: an absolute folder, or a hub id ("owner/name"). An empty vae is the model's own.
    sampler: "lcm" noises anew between steps, "euler" follows the predicted noise (the Turbo family).
    guidance: "embedded" (the UNet takes the scale as an input), "classifier_free" (a second pass with the negative
    prompt where the scale is above 1), "none" (it is baked into the weights).
    size: (width, height) of rendering, in pixels.   download, vram: for people ("2.4 GB"), as is `licence`.
    parameters: values that differ from the parameters' own defaults.   fetch: the command that fetches the weights.
    """

    name: str
    title: str = ""
    pipeline: str = "latent_consistency"
    model: str = ""
    vae: str = ""
    loras: tuple[Lora, ...] = ()
    sampler: str = "lcm"
    guidance: str = "classifier_free"
    size: Size = (512, 512)
    device: str = "auto"
    dtype: str = "auto"
    licence: str = ""
    download: str = ""
    vram: str = ""
    parameters: Mapping[str, Value] = field(default_factory=dict)
    fetch: str = ""


def names() -> list[str]:
    """The recipes that come with the package, the default first."""
    return sorted((path.stem for path in FOLDER.glob("*.yaml")), key=lambda name: (name != DEFAULT, name))


def load_recipe(name: str) -> Recipe:
    """One of the package's recipes; raises DocumentError where there is none of that name or it is wrong."""
    reader = Reader()
    recipe = read_recipe(name, FOLDER, reader)
    reader.finish()
    assert recipe is not None  # whatever gives no recipe has been complained of
    return recipe


def read_recipe(where: Node | str, base_folder: Path, reader: Reader) -> Recipe | None:
    """The recipe that `where` names: one of `names()`, a .yaml file, or a mapping that overrides a `base`.

    base_folder: what relative paths start from, the folder of the show file.
    Problems go to `reader`, each at its place; None where no recipe could be made of it.
    """
    node = compose(json.dumps(where), "recipe") if isinstance(where, str) else where
    before = len(reader.problems)
    values = _read(node, base_folder.absolute(), reader, ())
    return None if values is None or len(reader.problems) > before else Recipe(**values)


def _read(node: Node, folder: Path, reader: Reader, above: tuple[Path, ...]) -> dict[str, Any] | None:
    if isinstance(node.raw, yaml.MappingNode):
        return _read_mapping(node, folder, reader, above)
    if isinstance(node.raw, yaml.ScalarNode) and node.raw.value:
        return _read_named(node, folder, reader, above)
    reader.complain(node, "a recipe is a name, a .yaml file or a mapping with the key 'base'")
    return None


def _read_named(node: Node, folder: Path, reader: Reader, above: tuple[Path, ...]) -> dict[str, Any] | None:
    name = str(node.raw.value)
    path = FOLDER / f"{name}.yaml" if name in names() else (folder / Path(name).expanduser()).resolve()
    if path in above:
        reader.complain(node, f"recipe {name!r} is based on itself")
        return None
    try:
        text = path.read_text(encoding="utf-8") if path.suffix in (".yaml", ".yml") else None
    except (OSError, UnicodeDecodeError) as error:
        reader.complain(node, f"recipe file {path} cannot be read: {getattr(error, 'strerror', None) or error}")
        return None
    if text is None:
        reader.complain(node, f"no recipe or .yaml file {name!r}{nearest(name, names())}")
        return None
    return _read_file(text, path, reader, above)


def _read_file(text: str, path: Path, reader: Reader, above: tuple[Path, ...]) -> dict[str, Any] | None:
    try:
        document = compose(text, str(path))
    except LcmDaemonError as error:
        reader.problems.extend(getattr(error, "problems", ()))
        return None
    if not isinstance(document.raw, yaml.MappingNode):
        reader.complain(document, "a recipe file is a mapping with the keys " + ", ".join(FIELDS))
        return None
    values = _read_mapping(document, path.parent, reader, (*above, path))
    return values and {**values, "name": path.stem}


def _read_mapping(node: Node, folder: Path, reader: Reader, above: tuple[Path, ...]) -> dict[str, Any] | None:
    given = {str(key.raw.value): value for key, value in node.items()}
    read = read_fields(node, FIELDS, reader)
    base: dict[str, Any] | None = {"name": "own"}
    if "base" in given:
        base = _read(given["base"], folder, reader, above)
    elif read["pipeline"] != "passthrough" and not read["model"]:
        reader.complain(node, "a recipe needs a 'model', or a 'base' that has one")
    if base is None:
        return None
    own = {key: _placed(key, read[key], folder) for key in given if key in FIELDS and key != "base"}
    parameters = {**base.get("parameters", {}), **(own.get("parameters") or {})}
    return {**base, **own, "parameters": parameters}


def _placed(key: str, value: Any, folder: Path) -> Any:
    """Paths in a recipe are relative to the file they stand in; from here on they are absolute."""
    if key in ("model", "vae"):
        return _weights(value, folder)
    if key == "loras":
        return tuple(Lora(_weights(lora.model, folder), lora.weight) for lora in value or () if lora)
    return value


def _weights(text: str | None, folder: Path) -> str:
    if not text or (_HUB_ID.fullmatch(text) and not (folder / text).exists()):
        return text or ""
    return str((folder / Path(text).expanduser()).resolve())


def _read_size(node: Node, reader: Reader) -> Size | None:
    size: Size | None = PixelSize(64, 2048).read(node, reader)
    if size and (size[0] % GRID or size[1] % GRID):
        reader.complain(node, f"a render size is in multiples of {GRID} pixels, such as [512, 512]")
    return size


def _read_device(node: Node, reader: Reader) -> str | None:
    if isinstance(node.raw, yaml.ScalarNode) and _DEVICE.fullmatch(node.raw.value):
        return str(node.raw.value)
    reader.complain(node, "a device is auto, cuda, cuda:0 (cuda:1, ...), mps or cpu")
    return None


def _read_lora(node: Node, reader: Reader) -> Lora | None:
    if isinstance(node.raw, yaml.ScalarNode):
        model = Text().read(node, reader)
        return Lora(model) if model else None
    before = len(reader.problems)
    values = Section(_LORA).read(node, reader)
    return Lora(**values) if len(reader.problems) == before else None


def read_parameters(node: Node, reader: Reader) -> dict[str, Value]:
    """Start values, in a recipe or a show. Out of range is a mistake in a file; from a fader it is clamped."""
    values: dict[str, Value] = {}
    for name, value in known_parameters(node, reader):
        _read_parameter(name, value, values, reader)
    return values


def known_parameters(node: Node, reader: Reader) -> Iterator[tuple[str, Node]]:
    """The parameters that a mapping names, each with its value's node; other names are complained of."""
    if not isinstance(node.raw, yaml.MappingNode):
        reader.complain(node, "a mapping of parameters is wanted, such as {steps: 2, strength: 0.6}")
        return
    for key, value in node.items():
        name = str(key.raw.value)
        if name in TABLE:
            yield name, value
        else:
            reader.complain(key, f"there is no parameter {name!r}{nearest(name, TABLE)}")


def _read_parameter(name: str, node: Node, values: dict[str, Value], reader: Reader) -> None:
    parameter = TABLE[name]
    try:
        values[name] = parameter.coerce(node.value)
    except Refused as error:
        reader.complain(node, str(error))
        return
    if parameter.kind in ("float", "int") and values[name] != node.value:
        reader.complain(node, f"{name} goes from {parameter.low:g} to {parameter.high:g}, not {node.value!r}")


def _is_named(node: Node, reader: Reader) -> Node:
    return node  # read on its own, since it decides what everything else is laid over


_LORA: Fields = {"model": Field(Text(), help="a folder, a file or a hub id"), "weight": Field(Number(-4, 4), 1.0)}
_SOURCE: Kind = Text()

FIELDS: Fields = {
    "base": Field(Custom(_is_named, "a recipe"), None, "the recipe that this one changes"),
    "title": Field(Text(), "", "one line for people"),
    "pipeline": Field(Choice(("latent_consistency", "passthrough")), "latent_consistency"),
    "model": Field(_SOURCE, "", "a diffusers folder, or its hub id"),
    "vae": Field(_SOURCE, "", "another VAE than the model's own: a folder or a hub id"),
    "loras": Field(Items(Custom(_read_lora, "a folder, a file, a hub id, or {model: ..., weight: 1.0}")), ()),
    "sampler": Field(Choice(("lcm", "euler")), "lcm"),
    "guidance": Field(Choice(("none", "embedded", "classifier_free")), "classifier_free"),
    "size": Field(Custom(_read_size, "a size such as [512, 512]"), (512, 512)),
    "device": Field(Custom(_read_device, "a device"), "auto"),
    "dtype": Field(Choice(("auto", "float16", "bfloat16", "float32")), "auto"),
    "licence": Field(Text(), "", "of the weights"),
    "download": Field(Text(), "", "size, such as 2.4 GB"),
    "vram": Field(Text(), "", "memory it takes on the device, such as 3 GB"),
    "parameters": Field(Custom(read_parameters, "a mapping of parameters"), {}),
    "fetch": Field(Text(), "", "the command that fetches the weights"),
}
