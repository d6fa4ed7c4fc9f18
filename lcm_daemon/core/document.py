"""YAML documents as nodes that know their place, and the mistakes found in them.

PyYAML parses them. What would crash it, or what would grow without bound, is refused here with its place: deep nesting,
aliases that expand to millions of values or contain themselves, tags that ask for Python objects.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from lcm_daemon.core.errors import DocumentError, Problem

BACKSLASH = "a backslash begins a special character; write / instead, or use single quotes"
MAX_CHARACTERS = 4_000_000
MAX_DEPTH = 32
MAX_NODES = 100_000  # with every alias counted as often as it is used
MAX_INT_CHARACTERS = 64  # a longer integer is read as text: Python refuses to print one of more than 4,300 digits
_TAGS = "tag:yaml.org,2002:"
_TYPED = "typed"  # attribute of an override's node: its text
# What PyYAML's constructors raise for a scalar that is not what its tag says: !!int "", !!bool maybe, 2024-06-31.
_NO_VALUE = (yaml.YAMLError, ValueError, ArithmeticError, LookupError, AttributeError, TypeError)


@dataclass
class Node:
    """A YAML node and the file that it is in."""

    file: str
    raw: yaml.Node

    @property
    def value(self) -> Any:
        """The plain Python value, as `yaml.safe_load` returns it; the text as written if it has none (31 June)."""
        try:
            return yaml.constructor.SafeConstructor().construct_document(self.raw)
        except _NO_VALUE:
            return self.raw.value

    @property
    def text(self) -> str:
        """A scalar as it is written, or all of an override: the prompt "yes: no" would be a mapping in YAML."""
        return str(getattr(self.raw, _TYPED, self.raw.value))

    @property
    def is_text(self) -> bool:
        """Whether this may be read as its `text`: a number or text of a file, or any override."""
        is_scalar = isinstance(self.raw, yaml.ScalarNode) and not isinstance(self.value, bool | None)
        return is_scalar or hasattr(self.raw, _TYPED)

    @property
    def is_null(self) -> bool:
        """Whether nothing is written here, as behind a key whose lines are all commented out; or null, or ~."""
        return self.raw.tag == f"{_TAGS}null" and not hasattr(self.raw, _TYPED)

    @property
    def is_empty(self) -> bool:
        """Whether the document has nothing but comments; {} is something."""
        return isinstance(self.raw, yaml.MappingNode) and self.raw.start_mark.buffer is None and not self.raw.value

    def problem(self, text: str) -> Problem:
        """A mistake at the place of this node."""
        mark = self.raw.start_mark  # it names the file, or the override that the node came from
        return Problem(mark.name or self.file, mark.line + 1, mark.column + 1, text)

    def items(self) -> list[tuple[Node, Node]]:
        """Key and value nodes of a mapping."""
        return [(Node(self.file, k), Node(self.file, v)) for k, v in self.raw.value]


@dataclass(frozen=True)
class Reference:
    """A value that names something outside of the document: a parameter, a file, a device.

    A show plays without it, as it may come later; `check` looks whether it is there.

    Attributes:
        node: the value's node.
        kind: what it names, such as "parameter" or "file"; "document" for a file that was read with this one, such as
            a recipe; "repeat" if it repeats another value.
        name: the name; of a repeat, a line that says what is repeated.
    """

    node: Node
    kind: str
    name: str


class Problems:
    """The mistakes found while a document is read, and what it refers to."""

    def __init__(self) -> None:
        self.found: list[Problem] = []
        self.references: list[Reference] = []

    def refer(self, node: Node, kind: str, name: str) -> None:
        """Note what the value of `node` refers to; nothing for an empty kind or name."""
        if kind and name:
            self.references.append(Reference(node, kind, name))

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


class _Loader(yaml.SafeLoader):
    """Parses YAML. Raises DocumentError if it is nested too deeply, at the first level that is too deep."""

    def __init__(self, text: str, file: str) -> None:
        super().__init__(text)
        self.name = file
        self._file, self._depth = file, 0

    def fetch_more_tokens(self) -> None:
        """Brackets are counted before they are parsed: the scanner reads ahead, in quadratic time."""
        if self.flow_level > MAX_DEPTH:
            raise self._too_deep(self.get_mark())
        super().fetch_more_tokens()

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self._too_deep(self.peek_event().start_mark)  # type: ignore[no-untyped-call]
        node: yaml.Node | None = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def _too_deep(self, mark: yaml.Mark) -> DocumentError:
        text = f"nested too deeply: more than {MAX_DEPTH} levels"
        return DocumentError([Problem(self._file, mark.line + 1, mark.column + 1, text)])


def compose_own(text: str, file: str) -> Node:
    """Parse YAML that comes with the package and is known to be in order, in a tenth of the time of `compose`."""
    loader = getattr(yaml, "CSafeLoader", None)  # PyYAML may come without libyaml
    try:
        raw = loader(_NamedText(text, file)).get_single_node() if loader else None
    except yaml.YAMLError:
        raw = None
    if raw is None:
        return compose(text, file)
    _merge(raw, file, set())
    return Node(file, raw)


class _NamedText(io.StringIO):
    """A text with the name of its file, which libyaml gives to the places of nodes."""

    def __init__(self, text: str, name: str) -> None:
        super().__init__(text)
        self.name = name


def compose(text: str, file: str, max_characters: int = MAX_CHARACTERS) -> Node:
    """Parse YAML.

    Args:
        text: the document; an empty one is read as an empty mapping.
        file: the name of its file, for the places of mistakes.
        max_characters: a longer text is refused.

    Raises:
        DocumentError: the text is not YAML, or is refused as the module says.
    """
    text = text.removeprefix("\ufeff")
    if len(text) > max_characters:
        raise DocumentError([Problem(file, 1, 1, f"too long: more than {max_characters:,} characters")])
    try:
        loader = _Loader(text, file)
    except yaml.reader.ReaderError as error:
        raise _not_yaml(file, text, error.position, f"the character #x{error.character:04x} is not allowed") from error
    try:
        raw = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        reason = str(error.problem or error.context)
        if isinstance(error, yaml.composer.ComposerError) and error.context:
            reason = f"{error.context}: {error.problem}"
        if "double-quoted" in (error.context or "") and "escape" in reason:
            reason += f": in double quotes {BACKSLASH}"
        raise _not_yaml(file, text, mark.index if mark else 0, reason) from error
    except (ValueError, OverflowError) as error:  # an escape such as "\UFFFFFFFF"
        raise _not_yaml(file, text, loader.get_mark().index, f"not a character: {error}") from error
    if raw is None or raw.tag == f"{_TAGS}null":
        return Node(file, yaml.MappingNode(f"{_TAGS}map", [], *(_mark(file),) * 2))
    _count_nodes(raw, file, {})
    _merge(raw, file, set())
    return Node(file, raw)


def _not_yaml(file: str, text: str, index: int, reason: str) -> DocumentError:
    line, column = text.count("\n", 0, index) + 1, index - text.rfind("\n", 0, index)
    return DocumentError([Problem(file, line, column, f"not YAML: {reason}")])


def _count_nodes(node: yaml.Node, file: str, counts: dict[int, int]) -> int:
    """How many nodes there are from here on, aliases expanded. Raises DocumentError for what no document may have.

    counts: by the id of a node; 0 while it is being counted.
    """
    known = counts.get(id(node))
    if known:
        return known
    if known == 0:
        raise _refused(node, file, "an alias must not be inside the value that it repeats")
    if not node.tag.startswith(_TAGS) or ":python/" in node.tag:
        raise _refused(node, file, f"the tag {node.tag!r:.80} is not allowed")
    if isinstance(node, yaml.ScalarNode):
        if any("\ud800" <= character <= "\udfff" for character in node.value):
            node.value = _join_surrogates(node, file)
        if node.tag == f"{_TAGS}int" and len(node.value) > MAX_INT_CHARACTERS:
            node.tag = f"{_TAGS}str"
    counts[id(node)] = 0
    count = 1 + sum(_count_nodes(child, file, counts) for child in _children(node, file))
    if count > MAX_NODES:
        raise _refused(node, file, f"aliases expand this to more than {MAX_NODES:,} values")
    counts[id(node)] = count
    return count


def _join_surrogates(node: yaml.ScalarNode, file: str) -> str:
    r"""The text with surrogate pairs joined: JSON, which is YAML too, writes one character as "\ud83d\ude00"."""
    try:
        return str(node.value).encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError as error:
        raise _refused(node, file, "half of a surrogate pair is not a character") from error


def _children(node: yaml.Node, file: str) -> Iterator[yaml.Node]:
    if isinstance(node, yaml.SequenceNode):
        yield from node.value
    elif isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise _refused(key, file, "a key must be plain text, not a list or a mapping")
            yield from (key, value)


def _merge(node: yaml.Node, file: str, done: set[int]) -> None:
    """Replace every merge key << by the keys that it brings (https://yaml.org/type/merge.html).

    A key of the mapping itself wins over one that is merged, and an earlier mapping of a list over a later one.
    """
    if id(node) in done:
        return
    done.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for child in node.value:
            _merge(child, file, done)
    elif isinstance(node, yaml.MappingNode):
        for _, value in node.value:
            _merge(value, file, done)
        is_merge = [key.tag == f"{_TAGS}merge" for key, _ in node.value]
        if any(is_merge):
            own = [pair for pair, merged in zip(node.value, is_merge, strict=True) if not merged]
            names = {key.value for key, _ in own}
            for (key, value), merged in zip(node.value, is_merge, strict=True):
                for source in _merged_mappings(key, value, file) if merged else ():
                    own += [pair for pair in source.value if pair[0].value not in names]
                    names |= {inner.value for inner, _ in source.value}
            node.value = own


def _merged_mappings(key: yaml.Node, value: yaml.Node, file: str) -> list[yaml.MappingNode]:
    sources = value.value if isinstance(value, yaml.SequenceNode) else [value]
    if not all(isinstance(source, yaml.MappingNode) for source in sources):
        raise _refused(key, file, "the merge key << takes a mapping or a list of mappings, such as <<: *name")
    return list(sources)


def _refused(node: yaml.Node, file: str, text: str) -> DocumentError:
    return DocumentError([Node(file, node).problem(text)])


def override(root: Node, path: str, text: str, where: str) -> None:
    """Set a value in a document, and make the mappings that lead to it.

    Args:
        root: the document.
        path: keys joined by dots; a number counts the items of a list from 0.
        text: the value, as YAML; text that is not YAML is text.
        where: what the places of mistakes name instead of a file, such as "--set output.fps".

    Raises:
        DocumentError: the path leads nowhere, or the text is nested too deeply.
    """
    *way, last = path.split(".")
    here = root.raw
    for step in way:
        here = _child(here, step, where)
    _put(here, last, _typed_node(text, where), where)


def _typed_node(text: str, where: str) -> yaml.Node:
    """The node of an override, which also remembers its text."""
    if not text.strip():
        return _text_node("", where)
    try:
        node = compose(text, where).raw
    except DocumentError as error:
        if "not YAML" not in str(error):
            raise
        node = _text_node(text, where)
    is_quoted = isinstance(node, yaml.ScalarNode) and node.style in ("'", '"')
    setattr(node, _TYPED, str(node.value) if is_quoted else text)
    return node


def _child(node: yaml.Node, step: str, where: str) -> yaml.Node:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == step and value.tag != f"{_TAGS}null":
                found: yaml.Node = value
                return found
        made = yaml.MappingNode(f"{_TAGS}map", [], *(_mark(where),) * 2)
        _put(node, step, made, where)
        return made
    item: yaml.Node = node.value[_place(node, step, where)]
    return item


def _put(node: yaml.Node, step: str, value: yaml.Node, where: str) -> None:
    if isinstance(node, yaml.MappingNode):
        node.value[:] = [(k, v) for k, v in node.value if k.value != step]
        node.value.append((_text_node(step, where), value))
    else:
        node.value[_place(node, step, where)] = value


def _place(node: yaml.Node, step: str, where: str) -> int:
    """The index of an item of a list."""
    if isinstance(node, yaml.SequenceNode):
        for index in range(len(node.value)):
            if str(index) == step:
                return index
    if isinstance(node, yaml.ScalarNode):
        text = f"the show has {node.value!r:.40} there, which has no key {step!r:.80}"
        raise DocumentError([Problem(where, 1, 1, text)])
    raise DocumentError([Problem(where, 1, 1, f"the show has nothing at {step!r:.80} to set")])


def _text_node(text: str, where: str) -> yaml.ScalarNode:
    return yaml.ScalarNode(f"{_TAGS}str", text, *(_mark(where),) * 2)


def _mark(file: str) -> yaml.Mark:
    return yaml.Mark(file, 0, 0, 0, None, None)  # type: ignore[arg-type]


def read_error(error: OSError | UnicodeDecodeError) -> str:
    """Why a text file cannot be read, as the end of an error line."""
    if isinstance(error, UnicodeDecodeError):
        return "it is not text in UTF-8; save it in that encoding"
    return error.strerror or str(error)


def resolved(path: Path) -> Path:
    """The path without links, as of `Path.resolve`, which raises an error for links that lead to each other."""
    return Path(os.path.realpath(path))


def path_exists(path: Path) -> bool:
    """Whether there is a file or folder; False for what the system does not accept as a path, such as a long name."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False
