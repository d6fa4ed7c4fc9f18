"""Shapes of values that a function reads, for `lcm-daemon schema` and `list keys`. They read nothing themselves."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from lcm_daemon.core.document import Node, Problems
from lcm_daemon.core.parameters import DRAW, Parameter, Table
from lcm_daemon.core.schema import (
    Custom,
    Deferred,
    Field,
    FieldKind,
    Fields,
    Items,
    JsonSchema,
    OrFalse,
    Section,
)


@dataclass(frozen=True)
class Either(FieldKind):
    """A value of one of these kinds."""

    kinds: Sequence[FieldKind]

    def describe(self) -> str:
        return ", or ".join(kind.describe() for kind in self.kinds)

    def json_schema(self) -> JsonSchema:
        return {"anyOf": [kind.json_schema() for kind in self.kinds]}


@dataclass(frozen=True)
class NameIn(FieldKind):
    """A name of a table. All its names are listed only for errors and schemas: plugins may add to it."""

    table: Mapping[str, str] = field(hash=False)

    def read(self, node: Node, problems: Problems) -> Any:
        value = node.raw.value if isinstance(node.raw, yaml.ScalarNode) else ""
        return value if value in self.table else self._refuse(node, problems)

    def describe(self) -> str:
        return f"one of {', '.join(self.table)}"

    def json_schema(self) -> JsonSchema:
        return {"enum": list(self.table)}


@dataclass(frozen=True)
class LateSection(FieldKind):
    """A mapping whose keys are known once a module is imported. fields: imports it."""

    fields: Callable[[], Fields] = field(hash=False)

    def describe(self) -> str:
        return Section(self.fields()).describe()

    def json_schema(self) -> JsonSchema:
        return Section(self.fields()).json_schema()


@dataclass(frozen=True)
class Named(FieldKind):
    """A mapping of names that the user chooses to values of one kind."""

    kind: FieldKind

    def describe(self) -> str:
        return f"a mapping of names, each {self.kind.describe()}"

    def json_schema(self) -> JsonSchema:
        return {"type": "object", "additionalProperties": self.kind.json_schema()}


@dataclass(frozen=True)
class Variants(FieldKind):
    """A mapping whose other keys depend on the value of one key.

    Attributes:
        key: That key, such as "transport".
        common: The keys of every mapping.
        fields: The keys beside `key` and `common`, by its values. A function: it may have to import modules.
    """

    key: str
    common: Fields = field(hash=False)
    fields: Callable[[], Mapping[str, Fields]] = field(hash=False)

    def describe(self) -> str:
        return f"a mapping with the key {self.key}"

    def json_schema(self) -> JsonSchema:
        found = self.fields()
        return {
            "type": "object", "required": [self.key], "properties": {self.key: {"enum": list(found)}},
            "allOf": [self._case(value, fields) for value, fields in found.items()],
        }

    def _case(self, value: str, fields: Fields) -> JsonSchema:
        schema = Section({**self.common, **fields}).json_schema()
        schema["properties"] = {self.key: {"const": value}, **schema["properties"]}
        return {"if": {"required": [self.key], "properties": {self.key: {"const": value}}}, "then": schema}


@dataclass(frozen=True)
class ParameterValues(FieldKind):
    """A mapping of parameters to values. Recipes and modulators bring further parameters: `lora/ink`, `mod/drift/rate`.

    Attributes:
        table: The parameters that every show has. A function: it is made when it is asked for.
        value: The kind of every value; None for the parameters' own.
    """

    table: Callable[[], Table] = field(hash=False)
    value: FieldKind | None = None

    def describe(self) -> str:
        return "a mapping of parameters to values"

    def json_schema(self) -> JsonSchema:
        return {
            "type": "object",
            "properties": {name: self._value(parameter) for name, parameter in self.table().items()},
            "patternProperties": {"/|^image_prompt$": {}}, "additionalProperties": False,
        }

    def _value(self, parameter: Parameter) -> JsonSchema:
        schema = self.value.json_schema() if self.value else value_schema(parameter)
        return {**schema, "description": parameter.help}


def value_schema(parameter: Parameter) -> JsonSchema:
    """What a show file may give a parameter: more than its own type, as `Parameter.coerce` converts."""
    match parameter.kind:
        case "float" | "int":
            return {"type": ["number", "string", "boolean"], **_limits(parameter)}
        case "choice":
            return {"anyOf": [{"enum": list(parameter.choices)}, {"type": ["number", "boolean"]}]}
        case "bool":
            return {"type": ["boolean", "number", "string"]}
        case "text":
            return {"type": ["string", "number", "boolean"]}


def _limits(parameter: Parameter) -> JsonSchema:
    limits = (("minimum", DRAW if parameter.draws else parameter.low), ("maximum", parameter.high))
    return {key: limit for key, limit in limits if math.isfinite(limit)}


def keys_of(kind: FieldKind) -> list[tuple[str, Field]]:
    """What is directly inside a kind: a path below it (".fps", "[]", ".NAME") and the field of each part."""
    match kind:
        case Custom() | Deferred():
            return keys_of(kind.shape) if kind.shape else []
        case OrFalse():
            return keys_of(kind.kind)
        case Items():
            return [("[]", Field(kind.item))]
        case Section():
            return [(f".{name}", spec) for name, spec in kind.fields.items()]
        case LateSection():
            return keys_of(Section(kind.fields()))
        case Named():
            return [(".NAME", Field(kind.kind, help=kind.kind.describe()))]
        case Either():
            return [pair for one in kind.kinds for pair in keys_of(one)]
        case Variants():
            own = {key: spec for key, spec in kind.common.items() if key != kind.key}
            cases = [(f".{name} ({value})", spec) for value, fields in kind.fields().items()
                     for name, spec in fields.items() if name not in own]
            shared = [(f".{name}", spec) for name, spec in own.items()]
            return [(f".{kind.key}", kind.common[kind.key]), *shared, *cases]
        case ParameterValues():
            return [(f".{name}", Field(kind.value or _Described(parameter), parameter.default, parameter.help))
                    for name, parameter in kind.table().items()]
    return []


@dataclass(frozen=True)
class _Described(FieldKind):
    """A parameter's value."""

    parameter: Parameter

    def describe(self) -> str:
        one = self.parameter
        if one.choices:
            return f"one of {', '.join(one.choices)}"
        if math.isfinite(one.high):
            return f"a {'whole ' if one.kind == 'int' else ''}number from {one.low:g} to {one.high:g}"
        return {"bool": "true or false"}.get(one.kind, one.kind)
