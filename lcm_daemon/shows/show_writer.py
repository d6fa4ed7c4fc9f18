"""Writes changes into the text of a show file, and keeps its comments, its order and what it does not change.

ruamel.yaml writes, in the YAML 1.1 that PyYAML reads. Numbers, switches and dates that do not change stay as they are
written: 007 stays 007. The result is read again and compared with what was meant; where the two differ, it is refused.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import yaml
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.constructor import RoundTripConstructor
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import ScalarNode
from ruamel.yaml.representer import RoundTripRepresenter
from ruamel.yaml.scalarstring import DoubleQuotedScalarString, PlainScalarString

from lcm_daemon.core.bindings import BindingEdit, Line
from lcm_daemon.core.document import compose
from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.core.frame import Size
from lcm_daemon.shows.show_edits import ShowEdits

_TAGS = "tag:yaml.org,2002:"
_KEPT = ("int", "float", "bool", "null", "timestamp")  # plain values that stay as they are written
_HEAD = "%YAML 1.1\n---\n"  # ruamel.yaml writes it where the version is set
BUILTIN = "builtin"  # the recipe of a show that names none
_WIDTH = 1_000_000  # long lines are not folded


def edit_show(text: str, file: str, edits: ShowEdits) -> str:
    """Return the text of a show with the changes.

    Args:
        text: The text of the show file.
        file: Its name, for errors.
        edits: What to change.

    Raises:
        LcmDaemonError: The text is not YAML, or its layout allows no safe change.
    """
    bom, body = ("\ufeff", text[1:]) if text.startswith("\ufeff") else ("", text)
    newline = "\r\n" if "\r\n" in body else "\n"
    body = body.replace("\r\n", "\n")
    before = compose(body, file).value or {}
    edits = _with_copies(before, edits, file)
    intended = _plain_edited(before, edits)
    writer = _writer(body)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about values that YAML 1.2 reads otherwise; PyYAML does not
            document = writer.load(body)
        lead = body if document is None else ""  # nothing but comments
        result = lead + _written(writer, _edited(CommentedMap() if document is None else document, edits), body)
    except (YAMLError, ValueError, TypeError, AttributeError, LookupError) as error:
        raise _unsafe(file, str(error).splitlines()[0]) from error
    if not _has_value(result, file, intended) or not _has_comments(result, body):
        raise _unsafe(file, "its layout is too unusual")
    return bom + result.replace("\n", newline)


def _unsafe(file: str, reason: str) -> LcmDaemonError:
    return LcmDaemonError(f"{file}: the changes cannot be written safely: {reason}; save them under another name, or "
                          "write them by hand")


def _has_value(text: str, file: str, intended: Any) -> bool:
    try:
        return bool(compose(text, file).value == intended)
    except LcmDaemonError:
        return False


def _has_comments(result: str, before: str) -> bool:
    """Whether every line that is a comment is still there."""
    lines = [line.strip() for line in result.splitlines()]
    return all(lines.count(line) >= 1 for line in map(str.strip, before.splitlines()) if line.startswith("#"))


# --- ruamel.yaml ---


class _Written(PlainScalarString):
    """A plain value as it is written, such as 007 or 1:30. tag: what YAML 1.1 reads it as."""

    tag = ""


class _Constructor(RoundTripConstructor):
    """Keeps plain values as they are written."""


class _Representer(RoundTripRepresenter):
    """Writes plain values as they were written."""


def _construct_written(constructor: RoundTripConstructor, node: ScalarNode) -> Any:
    if not node.value:
        return None
    found = _Written(node.value, anchor=node.anchor)
    found.tag = str(node.tag)
    return found


def _represent_written(representer: RoundTripRepresenter, value: _Written) -> Any:
    anchor = value.yaml_anchor(any=True)
    return representer.represent_scalar(value.tag, str(value), style="", anchor=anchor)


for _kind in _KEPT:
    _Constructor.add_constructor(f"{_TAGS}{_kind}", _construct_written)
_Representer.add_representer(_Written, _represent_written)


def _writer(text: str) -> YAML:
    """A reader and writer that keeps the indentation of a text."""
    writer = YAML()
    writer.version = (1, 1)
    writer.Constructor, writer.Representer = _Constructor, _Representer
    writer.preserve_quotes, writer.width, writer.allow_unicode = True, _WIDTH, True
    mapping, dash = _indentation(compose(text, "").raw)
    writer.indent(mapping=mapping, sequence=dash + 2, offset=dash)
    return writer


def _indentation(root: yaml.Node) -> tuple[int, int]:
    """Spaces before the keys of a mapping inside another one, and before the dashes of a list; else 2."""
    mappings, dashes = [], []
    for _, value in root.value if isinstance(root, yaml.MappingNode) else ():
        if isinstance(value, yaml.MappingNode) and not value.flow_style and value.value:
            mappings.append(value.start_mark.column)
        elif isinstance(value, yaml.SequenceNode) and not value.flow_style and value.value:
            dashes.append(value.start_mark.column)
    return max((mappings or [2])[0], 1), (dashes or [2])[0]


def _written(writer: YAML, document: Any, before: str) -> str:
    stream = io.StringIO()
    writer.dump(document, stream)
    text = stream.getvalue().removeprefix(_HEAD)
    return text if before.endswith("\n") or not before else text.removesuffix("\n")


# --- the changes ---


def _with_copies(before: Mapping[str, Any], edits: ShowEdits, file: str) -> ShowEdits:
    """The changes with the entries of `sources` that are to be copied."""
    sources = before.get("sources") or {}
    if missing := [name for name in edits.copies.values() if name not in sources]:
        raise _unsafe(file, f"it has no source {missing[0]!r:.80}")
    return replace(edits, copies={}, sections={**edits.sections, **{k: sources[n] for k, n in edits.copies.items()}})


def _edited(document: Any, edits: ShowEdits) -> Any:
    """The document of ruamel.yaml with the changes."""
    for name, value in edits.parameters.items():
        _child(document, "parameters", CommentedMap)[name] = _new(value)
    for key, value in edits.sections.items():
        if value is None:
            document.pop(key, None)
        else:
            document[key] = _new(value)
    if edits.size is not None:
        _set_size(document, edits.size)
    for edit in edits.bindings:
        section = _child(document, edit.section, CommentedMap)
        _edit_line(_child(section, "map", CommentedSeq), edit)
    return document


def _set_size(document: Any, size: Size) -> None:
    """Set the size of the recipe. One that is a name or a file becomes a mapping that is based on it."""
    recipe: Any = document.get("recipe")
    if isinstance(recipe, CommentedMap):
        recipe["size"] = _flow(list(size))
    else:
        document["recipe"] = _flow(_sized(recipe, size))


def _sized(recipe: Any, size: Size) -> dict[str, Any]:
    """A recipe of a show file with a size. recipe: a name, a file, or a mapping; None is the built-in one."""
    of = recipe if isinstance(recipe, Mapping) else {"base": recipe or BUILTIN}
    return {**of, "size": list(size)}


def _child(parent: Any, key: str, kind: type[Any]) -> Any:
    """The mapping or list below a key; a new one in place of nothing, `false` or null."""
    if not isinstance(parent.get(key), kind):
        parent[key] = kind()
    return parent[key]


def _edit_line(lines: Any, edit: BindingEdit) -> None:
    plain = [_plain_line(line) for line in lines]
    place = edit.place(plain)
    if place is None:
        if not edit.removed:
            lines.append(_flow(edit.changed(None)))
    elif edit.removed:
        _remove(lines, place)
    else:
        _change_line(lines[place], plain[place], edit.changed(plain[place]))


def _change_line(line: Any, before: Line, after: Line) -> None:
    """Change the keys that differ; new ones come in the order of `after`."""
    for key in before.keys() - after.keys():
        del line[key]
    for place, (key, value) in enumerate(after.items()):
        if key not in line:
            line.insert(place, key, _flow(value))
        elif before[key] != value:
            line[key] = _flow(value)


def _plain_line(line: Any) -> dict[str, Any]:
    """A line's values as Python has them: values that are kept as written are read."""
    return {str(key): _read(value) for key, value in line.items()}


def _read(value: Any) -> Any:
    if isinstance(value, _Written):
        return yaml.safe_load(str(value))
    return [_read(one) for one in value] if isinstance(value, list) else value


def _remove(lines: Any, place: int) -> None:
    """Remove an item. The comment lines below it, which belong to the next one, stay."""
    comment = lines.ca.items.get(place)
    text = comment[0].value if comment and comment[0] is not None else ""
    below = [line.strip() for line in text.split("\n")[1:] if line.strip()]
    del lines[place]
    if below and place < len(lines):
        indent = lines.lc.col or 0
        lines.yaml_set_comment_before_after_key(
            place, before="\n".join(line.removeprefix("#").removeprefix(" ") for line in below), indent=indent)


def _new(value: Any) -> Any:
    """A value that is new in the document; lists and mappings are blocks, and what is inside of them is on one line."""
    if isinstance(value, Mapping):
        return CommentedMap({key: _flow(one) for key, one in value.items()})
    if isinstance(value, list | tuple):
        return CommentedSeq([_flow(one) for one in value])
    return _scalar(value)


def _flow(value: Any) -> Any:
    if isinstance(value, Mapping):
        made: Any = CommentedMap({key: _flow(one) for key, one in value.items()})
    elif isinstance(value, list | tuple):
        made = CommentedSeq([_flow(one) for one in value])
    else:
        return _scalar(value)
    made.fa.set_flow_style()
    return made


def _scalar(value: Any) -> Any:
    """A number as PyYAML writes it, which reads 1e-05 as text; a text with the quotes that it needs."""
    if isinstance(value, float):
        written = _Written(yaml.representer.SafeRepresenter().represent_float(value).value)
        written.tag = f"{_TAGS}float"
        return written
    if isinstance(value, str):  # ruamel.yaml leaves out the quotes of nothing, and gives others those of the old value
        return PlainScalarString(value) if value and value.isprintable() else DoubleQuotedScalarString(value)
    return value


def _plain_edited(value: dict[str, Any], edits: ShowEdits) -> dict[str, Any]:
    """The value that PyYAML must read from the result."""
    found = dict(value)
    if edits.parameters:
        found["parameters"] = {**(found.get("parameters") or {}), **edits.parameters}
    for key, new in edits.sections.items():
        found.pop(key, None)
        if new is not None:
            found[key] = _as_read(new)
    if edits.size is not None:
        found["recipe"] = _sized(found.get("recipe"), edits.size)
    for edit in edits.bindings:
        section = dict(found.get(edit.section) or {})
        section["map"] = [_as_read(line) for line in edit.apply(section.get("map") or ())]
        found[edit.section] = section
    return found


def _as_read(value: Any) -> Any:
    """A value with lists and mappings as PyYAML makes them."""
    if isinstance(value, Mapping):
        return {key: _as_read(one) for key, one in value.items()}
    return [_as_read(one) for one in value] if isinstance(value, list | tuple) else value
