"""Schemas of YAML documents as data: a mapping of keys to `Field`s, each with a kind (`Text`, `Number`, `Choice`, ...).

Reading collects every mistake instead of stopping at the first one; the caller raises them together as a
`DocumentError`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from lcm_daemon.core.document import BACKSLASH, Node, Problems
from lcm_daemon.core.render_size import are_sides, nearest_sizes
from lcm_daemon.core.suggestions import nearest

REQUIRED: Any = object()
_SHAPES: Mapping[type[yaml.Node], str] = {yaml.MappingNode: "a mapping", yaml.SequenceNode: "a list"}

_WRITTEN_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?(/\d+(\.\d*)?)?")
_SIDES = re.compile(r"(\d{1,5}) ?[xX×*] ?(\d{1,5})")  # 1920x1080
_SWITCH = "^([Yy]es|YES|[Nn]o|NO|[Oo]n|ON|[Oo]ff|OFF)$"  # switches in YAML 1.1, text in the YAML 1.2 of editors
_NOTE = "x-"  # keys that begin so are ignored: they hold anchors, as in Docker Compose

JsonSchema = dict[str, Any]  # https://json-schema.org, draft 2020-12


@dataclass(frozen=True)
class FieldKind:
    """What a value may be."""

    def read(self, node: Node, problems: Problems) -> Any:
        """Return the value; if it is wrong, add to `problems` and return None."""
        raise NotImplementedError

    def describe(self) -> str:
        """What the value must be, as a noun phrase: "a whole number from 1 to 8"."""
        raise NotImplementedError

    def json_schema(self) -> JsonSchema:
        """The same as JSON Schema, for editors. It may accept more than `read` does, and never accepts less."""
        return {}

    def _refuse(self, node: Node, problems: Problems) -> None:
        shown = repr(node.value) if isinstance(node.raw, yaml.ScalarNode) else _SHAPES.get(type(node.raw), "this")
        problems.add(node, f"{shown:.80} is not {self.describe()}")


@dataclass(frozen=True)
class Text(FieldKind):
    """Text as it is written: 007 stays 007. refers: what it is the name of, as in Reference.kind."""

    refers: str = ""

    def read(self, node: Node, problems: Problems) -> Any:
        if not node.is_text:
            return self._refuse(node, problems)
        problems.refer(node, self.refers, node.text)
        return node.text

    def describe(self) -> str:
        return "text"

    def json_schema(self) -> JsonSchema:
        return {"type": ["string", "number"]}


@dataclass(frozen=True)
class PathText(Text):
    """Text that names a file or a folder and that `Path.expanduser` accepts."""

    def read(self, node: Node, problems: Problems) -> Any:
        text = super().read(node, problems)
        if text is not None and any(character < " " for character in text):
            problems.add(node, f"{text!r:.80} is not a path: in double quotes {BACKSLASH}")
            return None
        try:
            Path(text or "").expanduser()
        except RuntimeError:
            problems.add(node, f"{text!r:.80} is not a path: no user of that name has a home folder here")
            return None
        return text

    def describe(self) -> str:
        return "a path"


@dataclass(frozen=True)
class Number(FieldKind):
    """A number of a range, ends included."""

    low: float
    high: float
    whole: bool = False

    def read(self, node: Node, problems: Problems) -> Any:
        value = node.value if isinstance(node.raw, yaml.ScalarNode) else None
        if isinstance(value, str):
            value = _written_number(value)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            value = _meant_number(node.raw.value, value)
        if isinstance(value, int | float) and not isinstance(value, bool) and self.low <= value <= self.high:
            if not self.whole:
                return float(value)
            if isinstance(value, int) or (isinstance(node.value, str) and value.is_integer()):
                return int(value)
        if value is None and ":" in str(node.raw.value):  # YAML has read another number in it
            return problems.add(node, f"{node.raw.value!r:.80} is not {self.describe()}")
        return self._refuse(node, problems)

    def describe(self) -> str:
        return f"a {'whole ' if self.whole else ''}number from {self.low:g} to {self.high:g}"

    def json_schema(self) -> JsonSchema:
        return {"type": ["integer" if self.whole else "number", "string"], "minimum": self.low, "maximum": self.high,
                "pattern": f"^({_WRITTEN_NUMBER.pattern})$"}


def _written_number(text: str) -> float | None:
    """A number in a form that YAML reads as text: 3e1, "30" or 30000/1001; None for anything else."""
    if not _WRITTEN_NUMBER.fullmatch(text):
        return None
    above, _, below = text.partition("/")
    divisor = float(below) if below else 1.0
    return float(above) / divisor if divisor else None


def _meant_number(text: str, value: float) -> float | None:
    """A number that YAML 1.1 reads as people do not mean it: 030 is 30, not 24, and 1:30 is none, not 90."""
    if ":" in text:
        return None
    return int(text) if text.isdecimal() else value


@dataclass(frozen=True)
class Boolean(FieldKind):
    """true or false; YAML 1.1 also reads yes, no, on and off. 1 and 0 are the same."""

    def read(self, node: Node, problems: Problems) -> Any:
        if isinstance(node.raw, yaml.ScalarNode) and node.value in (0, 1) and isinstance(node.value, bool | int):
            return bool(node.value)
        return self._refuse(node, problems)

    def describe(self) -> str:
        return "true or false"

    def json_schema(self) -> JsonSchema:
        return {"anyOf": [{"enum": [True, False, 1, 0]}, {"type": "string", "pattern": _SWITCH}]}


@dataclass(frozen=True)
class Choice(FieldKind):
    """One word of several. refers: what the word is the name of, as in Reference.kind."""

    options: tuple[str, ...]
    refers: str = ""

    def read(self, node: Node, problems: Problems) -> Any:
        value = node.raw.value if isinstance(node.raw, yaml.ScalarNode) else None
        if value not in self.options:
            return self._refuse(node, problems)
        problems.refer(node, self.refers, value)
        return value

    def describe(self) -> str:
        return f"one of {', '.join(self.options)}"

    def json_schema(self) -> JsonSchema:
        return {"enum": list(self.options)}


@dataclass(frozen=True)
class PixelSize(FieldKind):
    """[width, height] in pixels; each side a multiple of `step`."""

    low: int = 16
    high: int = 8192
    step: int = 1

    def read(self, node: Node, problems: Problems) -> Any:
        value = node.value if isinstance(node.raw, yaml.SequenceNode) else None
        if isinstance(node.raw, yaml.ScalarNode) and (sides := _SIDES.fullmatch(node.text)):
            value = [int(sides[1]), int(sides[2])]
        if isinstance(value, list) and are_sides(value, self.low, self.high, self.step):
            return value[0], value[1]
        near = nearest_sizes(value, self.low, self.high, self.step) if isinstance(value, list) else ""
        return problems.add(node, near) if near else self._refuse(node, problems)

    def describe(self) -> str:
        multiples = f", in multiples of {self.step}" if self.step > 1 else ""
        return f"a size such as [512, 512] or 512x512 (pixels, {self.low} to {self.high} each{multiples})"

    def json_schema(self) -> JsonSchema:
        side = {"type": "integer", "minimum": self.low, "maximum": self.high, "multipleOf": self.step}
        return {"type": ["array", "string"], "items": side, "minItems": 2, "maxItems": 2,
                "pattern": f"^({_SIDES.pattern})$"}


@dataclass(frozen=True)
class Items(FieldKind):
    """A list whose items are all of one kind."""

    item: FieldKind

    def read(self, node: Node, problems: Problems) -> Any:
        if not isinstance(node.raw, yaml.SequenceNode):
            return self._refuse(node, problems)
        return tuple(self.item.read(Node(node.file, raw), problems) for raw in node.raw.value)

    def describe(self) -> str:
        return f"a list, each {self.item.describe()}"

    def json_schema(self) -> JsonSchema:
        return {"type": "array", "items": self.item.json_schema()}


@dataclass(frozen=True)
class DistinctItems(Items):
    """A list that should not hold one thing twice. A show plays with a second one; `check` names it.

    Attributes:
        thing: What an item is, such as "the device 'Pad'"; empty for what may be there twice.
    """

    thing: Callable[[Any], str] = str

    def read(self, node: Node, problems: Problems) -> Any:
        found = super().read(node, problems)
        first: dict[str, Node] = {}
        for item, raw in zip(found or (), node.raw.value, strict=False):
            thing, here = "" if item is None else self.thing(item), Node(node.file, raw)
            if thing and thing in first:
                other = first[thing].problem("")
                where = f"{other.line}:{other.column}"
                problems.refer(here, "repeat", f"{thing} is here twice; the other one is at {where}")
            first.setdefault(thing, here)
        return found


@dataclass(frozen=True)
class Field:
    """One key of a mapping. Without a default it is required."""

    kind: FieldKind
    default: Any = REQUIRED
    help: str = ""


Fields = Mapping[str, Field]


@dataclass(frozen=True)
class Section(FieldKind):
    """A mapping with known keys. Reads to a dict with every key, defaults filled in."""

    fields: Fields = field(hash=False)

    def read(self, node: Node, problems: Problems) -> Any:
        if not isinstance(node.raw, yaml.MappingNode):
            return self._refuse(node, problems)
        return read_fields(node, self.fields, problems)

    def describe(self) -> str:
        return f"a mapping with the keys {', '.join(self.fields)}"

    def json_schema(self) -> JsonSchema:
        properties = {
            name: _or_null(spec.kind.json_schema()) | ({"description": spec.help} if spec.help else {})
            for name, spec in self.fields.items()
        }
        required = [name for name, spec in self.fields.items() if spec.default is REQUIRED]
        return {"type": "object", "properties": properties, "required": required,
                "patternProperties": {f"^{_NOTE}": {}}, "additionalProperties": False}


def _or_null(schema: JsonSchema) -> JsonSchema:
    """The schema of a value that may also be null."""
    if "enum" in schema:
        return {**schema, "enum": [*schema["enum"], None]}
    if "anyOf" in schema:
        return {**schema, "anyOf": [*schema["anyOf"], {"type": "null"}]}
    types = schema.get("type", [])
    return {**schema, "type": [*([types] if isinstance(types, str) else types), "null"]} if types else schema


@dataclass(frozen=True)
class OrFalse(FieldKind):
    """A kind, or `false` (or null), which reads to None."""

    kind: FieldKind

    def read(self, node: Node, problems: Problems) -> Any:
        if isinstance(node.raw, yaml.ScalarNode) and node.value in (False, None):
            return None
        return self.kind.read(node, problems)

    def describe(self) -> str:
        return f"false, or {self.kind.describe()}"

    def json_schema(self) -> JsonSchema:
        return {"anyOf": [{"const": False}, self.kind.json_schema()]}


@dataclass(frozen=True)
class Custom(FieldKind):
    """A kind made of a function, for a single use. shape: the kind whose JSON Schema and keys it has."""

    reading: Callable[[Node, Problems], Any]
    description: str
    shape: FieldKind | None = None

    def read(self, node: Node, problems: Problems) -> Any:
        return self.reading(node, problems)

    def describe(self) -> str:
        return self.description

    def json_schema(self) -> JsonSchema:
        return self.shape.json_schema() if self.shape else {}


@dataclass(frozen=True)
class Deferred(FieldKind):
    """A value that the caller reads later, when it knows what is allowed. Reads to its node. shape: as of Custom."""

    description: str
    shape: FieldKind | None = None

    def read(self, node: Node, problems: Problems) -> Any:
        return node

    def describe(self) -> str:
        return self.description

    def json_schema(self) -> JsonSchema:
        return self.shape.json_schema() if self.shape else {}


def read_fields(node: Node, fields: Fields, problems: Problems) -> dict[str, Any]:
    """Read a mapping node; unknown, repeated and missing keys are mistakes.

    A key without a value has its default, as one that is not there. Keys that begin with "x-" are ignored.
    """
    found: dict[str, Any] = {}
    for name, key, value in unique_items(node, problems):
        if name in fields:
            if not value.is_null:
                found[name] = fields[name].kind.read(value, problems)
        elif not name.startswith(_NOTE):
            problems.add(key, f"unknown key {name!r:.80}{_place_of(name, fields) or nearest(name, fields)}")
    for name, spec in fields.items():
        if name not in found and spec.default is REQUIRED:
            problems.add(node, f"key {name!r} is missing: {spec.help or spec.kind.describe()}")
    return {name: found.get(name, spec.default) for name, spec in fields.items()}


def _place_of(name: str, fields: Fields) -> str:
    """The end of the error line for a key that belongs into one of the sections: "; did you mean 'engine.spare'?"."""
    kinds = ((section, getattr(spec.kind, "kind", spec.kind)) for section, spec in fields.items())  # false or a section
    places = [section for section, kind in kinds if isinstance(kind, Section) and name in kind.fields]
    return f"; did you mean '{places[0]}.{name}'?" if len(places) == 1 else ""


def unique_items(node: Node, problems: Problems) -> Iterator[tuple[str, Node, Node]]:
    """Name, key and value of each entry of a mapping node; a repeated key is a mistake and is skipped."""
    seen: set[str] = set()
    for key, value in node.items():
        name = str(key.raw.value)
        if name in seen:
            problems.add(key, f"key {name!r:.80} is here twice")
        else:
            seen.add(name)
            yield name, key, value


def defaults(fields: Fields) -> dict[str, Any]:
    """The default of every field."""
    return {name: spec.default for name, spec in fields.items()}


def are_fields(found: object) -> bool:
    """Whether an object of a plugin can be read as `Fields`."""
    return isinstance(found, Mapping) and all(
        isinstance(name, str) and isinstance(each, Field) and isinstance(each.kind, FieldKind)
        for name, each in found.items())


def complete_options(owner: str, options: Mapping[str, Any], fields: Fields) -> dict[str, Any]:
    """Return `options` with defaults filled in. Raises ValueError, which names `owner`, for an unknown option."""
    unknown = sorted(set(options) - set(fields))
    if unknown:
        raise ValueError(f"{owner}: unknown option {', '.join(unknown)}; there are {', '.join(fields)}")
    return {name: options.get(name, spec.default) for name, spec in fields.items()}
