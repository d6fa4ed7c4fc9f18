"""Document: YAML read with the place of every key, checked against a table of fields.

A schema is data: a `Mapping` of field names to `Field`s, each with a kind (`Text`, `Number`, `Choice`, ...). Reading
collects every problem instead of stopping at the first; the caller raises them together as a `DocumentError`.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from lcm_daemon.core.errors import DocumentError, Problem

REQUIRED: Any = object()
_TEXT = "tag:yaml.org,2002:str"
BACKSLASH = "a backslash begins a special character; write / instead, or use single quotes"
_SHAPES: Mapping[type[yaml.Node], str] = {yaml.MappingNode: "a mapping", yaml.SequenceNode: "a list"}


@dataclass
class Node:
    """A YAML node and the file it stands in."""

    file: str
    raw: yaml.Node

    @property
    def value(self) -> Any:
        """The plain Python value, as `yaml.safe_load` would give it; the text itself where it gives none (31 June)."""
        try:
            return yaml.constructor.SafeConstructor().construct_document(self.raw)
        except (yaml.YAMLError, ValueError):
            return self.raw.value

    def problem(self, text: str) -> Problem:
        mark = self.raw.start_mark  # its name is the file's, or the override's that the node came from
        return Problem(mark.name or self.file, mark.line + 1, mark.column + 1, text)

    def items(self) -> list[tuple[Node, Node]]:
        """Key and value nodes of a mapping."""
        return [(Node(self.file, k), Node(self.file, v)) for k, v in self.raw.value]


class Problems:
    """The mistakes found while a document is read."""

    def __init__(self) -> None:
        self.found: list[Problem] = []

    def __len__(self) -> int:
        return len(self.found)

    def add(self, node: Node, text: str) -> None:
        """Add a mistake at the place of `node`."""
        self.found.append(node.problem(text))

    def extend(self, found: Iterable[Problem]) -> None:
        """Add mistakes that have their places already."""
        self.found.extend(found)

    def raise_if_any(self) -> None:
        """Raise DocumentError if there is a mistake."""
        if self.found:
            raise DocumentError(self.found)


@dataclass(frozen=True)
class FieldKind:
    """What a value may be. `read` returns it, or complains and returns None."""

    def read(self, node: Node, problems: Problems) -> Any:
        raise NotImplementedError

    def describe(self) -> str:
        raise NotImplementedError

    def _refuse(self, node: Node, problems: Problems) -> Any:
        shown = repr(node.value) if isinstance(node.raw, yaml.ScalarNode) else _SHAPES.get(type(node.raw), "this")
        problems.add(node, f"{shown:.80} is not {self.describe()}")
        return None


@dataclass(frozen=True)
class Text(FieldKind):
    def read(self, node: Node, problems: Problems) -> Any:
        if isinstance(node.raw, yaml.ScalarNode) and not isinstance(node.value, bool | None):
            return str(node.raw.value)  # as it is written: 007 stays 007
        return self._refuse(node, problems)

    def describe(self) -> str:
        return "text"


@dataclass(frozen=True)
class PathText(Text):
    """Text that names a file or a folder; `Path.expanduser` can make something of it."""

    def read(self, node: Node, problems: Problems) -> Any:
        text = super().read(node, problems)
        if text is not None and any(character < " " for character in text):
            problems.add(node, f"{text!r:.80} is no path: in double quotes {BACKSLASH}")
            return None
        try:
            Path(text or "").expanduser()
        except RuntimeError:
            problems.add(node, f"{text!r:.80} is no path: nobody of that name has a home folder here")
            return None
        return text

    def describe(self) -> str:
        return "a path"


@dataclass(frozen=True)
class Number(FieldKind):
    low: float
    high: float
    whole: bool = False

    def read(self, node: Node, problems: Problems) -> Any:
        value = node.value if isinstance(node.raw, yaml.ScalarNode) else None
        if isinstance(value, int if self.whole else int | float) and not isinstance(value, bool):
            if self.low <= value <= self.high:
                return int(value) if self.whole else float(value)
        return self._refuse(node, problems)

    def describe(self) -> str:
        return f"a {'whole ' if self.whole else ''}number from {self.low:g} to {self.high:g}"


@dataclass(frozen=True)
class Boolean(FieldKind):
    def read(self, node: Node, problems: Problems) -> Any:
        if isinstance(node.raw, yaml.ScalarNode) and isinstance(node.value, bool):
            return bool(node.value)
        return self._refuse(node, problems)

    def describe(self) -> str:
        return "true or false"


@dataclass(frozen=True)
class Choice(FieldKind):
    options: tuple[str, ...]

    def read(self, node: Node, problems: Problems) -> Any:
        value = node.raw.value if isinstance(node.raw, yaml.ScalarNode) else None
        return value if value in self.options else self._refuse(node, problems)

    def describe(self) -> str:
        return f"one of {', '.join(self.options)}"


@dataclass(frozen=True)
class PixelSize(FieldKind):
    """[width, height] in pixels."""

    low: int = 16
    high: int = 8192

    def read(self, node: Node, problems: Problems) -> Any:
        value = node.value if isinstance(node.raw, yaml.SequenceNode) else None
        if isinstance(value, list) and len(value) == 2 and all(
            isinstance(side, int) and self.low <= side <= self.high for side in value
        ):
            return value[0], value[1]
        return self._refuse(node, problems)

    def describe(self) -> str:
        return f"a size such as [512, 512] (pixels, {self.low} to {self.high} each)"


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


@dataclass(frozen=True)
class Field:
    """One key of a mapping. Without a default it is required."""

    kind: FieldKind
    default: Any = REQUIRED
    help: str = ""


Fields = Mapping[str, Field]


@dataclass(frozen=True)
class Section(FieldKind):
    """A mapping with known keys; reads to a dict that holds every key, defaults filled in."""

    fields: Fields = field(hash=False)

    def read(self, node: Node, problems: Problems) -> Any:
        if not isinstance(node.raw, yaml.MappingNode):
            return self._refuse(node, problems)
        return read_fields(node, self.fields, problems)

    def describe(self) -> str:
        return f"a mapping with the keys {', '.join(self.fields)}"


@dataclass(frozen=True)
class Custom(FieldKind):
    """A kind made of a function, for what one caller alone needs."""

    reading: Callable[[Node, Problems], Any]
    description: str

    def read(self, node: Node, problems: Problems) -> Any:
        return self.reading(node, problems)

    def describe(self) -> str:
        return self.description


def read_fields(node: Node, fields: Fields, problems: Problems) -> dict[str, Any]:
    """Read a mapping node against `fields`: unknown, doubled and missing keys are problems."""
    found: dict[str, Any] = {}
    for key, value in node.items():
        name = str(key.raw.value)
        if name not in fields:
            problems.add(key, f"unknown key {name!r}{nearest(name, fields)}")
        elif name in found:
            problems.add(key, f"key {name!r} stands here twice")
        else:
            found[name] = fields[name].kind.read(value, problems)
    for name, spec in fields.items():
        if name not in found and spec.default is REQUIRED:
            problems.add(node, f"key {name!r} is missing: {spec.help or spec.kind.describe()}")
    return {name: found.get(name, spec.default) for name, spec in fields.items()}


def nearest(name: str, known: Sequence[str] | Mapping[str, Any]) -> str:
    """The end of an error line: "; did you mean 'x'?", or what there is to choose from."""
    close = difflib.get_close_matches(name, list(known), 1, 0.5)
    return f"; did you mean {close[0]!r}?" if close else f"; there are {', '.join(known)}"


def compose(text: str, file: str) -> Node:
    """Parse YAML into a node (an empty document is an empty mapping); syntax errors become DocumentError."""
    try:
        loader = yaml.SafeLoader(text)
        loader.name = file
        raw = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        reason = f"not YAML: {error.problem or error.context}"
        if "double-quoted" in (error.context or "") and "escape" in reason:
            reason += f": in double quotes {BACKSLASH}"
        raise DocumentError([Problem(file, line, column, reason)]) from error
    except yaml.YAMLError as error:
        raise DocumentError([Problem(file, 1, 1, f"not YAML: {error}".splitlines()[0])]) from error
    _refuse_foreign(raw, file)
    return Node(file, raw or yaml.MappingNode("tag:yaml.org,2002:map", [], *(_mark(file),) * 2))


def _refuse_foreign(node: yaml.Node | None, file: str, depth: int = 0) -> None:
    """Tags that ask for Python objects, and nesting that no show needs, are problems before anything reads them."""
    if node is None:
        return
    if not node.tag.startswith("tag:yaml.org,2002:") or ":python/" in node.tag or depth > 32:
        reason = "nested too deeply" if depth > 32 else f"the tag {node.tag!r:.80} is not allowed"
        raise DocumentError([Node(file, node).problem(reason)])
    parts = [part for pair in node.value for part in pair] if isinstance(node, yaml.MappingNode) else node.value
    for part in parts if isinstance(node, yaml.CollectionNode) else ():
        _refuse_foreign(part, file, depth + 1)


def override(root: Node, path: str, text: str, where: str) -> None:
    """Put `text` (YAML) at the dotted `path` below `root`, making mappings on the way; places name `where`.

    A number in the path counts the items of a list from 0. Raises DocumentError where the path leads nowhere.
    """
    *way, last = path.split(".")
    here = root.raw
    for step in way:
        here = _child(here, step, where)
    value = compose(text, where).raw if text.strip() else yaml.ScalarNode(_TEXT, "", *(_mark(where),) * 2)
    _put(here, last, value, where)


def _child(node: yaml.Node, step: str, where: str) -> yaml.Node:
    if isinstance(node, yaml.SequenceNode) and step.isdigit() and int(step) < len(node.value):
        item: yaml.Node = node.value[int(step)]
        return item
    if isinstance(node, yaml.MappingNode):
        found: yaml.Node | None = next((value for key, value in node.value if key.value == step), None)
        if found is None:
            found = yaml.MappingNode("tag:yaml.org,2002:map", [], *(_mark(where),) * 2)
            _put(node, step, found, where)
        return found
    raise DocumentError([Problem(where, 1, 1, f"there is no {step!r} to set in the show")])


def _put(node: yaml.Node, step: str, value: yaml.Node, where: str) -> None:
    if isinstance(node, yaml.SequenceNode) and step.isdigit() and int(step) < len(node.value):
        node.value[int(step)] = value
    elif isinstance(node, yaml.MappingNode):
        node.value[:] = [(k, v) for k, v in node.value if k.value != step]
        node.value.append((yaml.ScalarNode(_TEXT, step, *(_mark(where),) * 2), value))
    else:
        raise DocumentError([Problem(where, 1, 1, f"there is no {step!r} to set in the show")])


def _mark(file: str) -> yaml.Mark:
    return yaml.Mark(file, 0, 0, 0, None, None)  # type: ignore[arg-type]
