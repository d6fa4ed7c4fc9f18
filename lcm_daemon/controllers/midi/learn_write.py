"""Adds lines to the `midi.map` in the text of a show file, and changes nothing else in it.

Every edit inserts or replaces text at the position of a YAML node, so comments, order and layout stay. The result is
parsed and compared with the intended content; if the two differ, nothing is written.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from lcm_daemon.controllers.midi.port_names import matches_name
from lcm_daemon.core.document import compose
from lcm_daemon.core.errors import LcmDaemonError

KEPT_KEYS = ("range", "curve", "takeover", "step")  # kept when a line gets another control

MapLine = Mapping[str, Any]
TextEdit = tuple[int, int, str]  # start and end (character offsets) of the old text, and the new text


def add_map_lines(text: str, file: str, lines: Sequence[MapLine]) -> str:
    """Return the show's text with the lines added. A line for a parameter that has a line already replaces it.

    Args:
        text: The text of the show file.
        file: Its name, for errors.
        lines: The lines as mappings.

    Raises:
        LcmDaemonError: The layout of the file does not allow a safe edit.
    """
    if not lines:
        return text
    root = compose(text, file).raw
    section = _child(root, "midi")
    known = _child(section, "map")
    replaced, added, edits = [], [], []
    for line in lines:
        old = _line_with_target(known, line)
        if old is None:
            added.append(line)
            continue
        line = {**line, **{key: value for key, value in _value(old).items() if key in KEPT_KEYS}}
        replaced.append((known.value.index(old), line))  # type: ignore[union-attr]
        edits.append((old.start_mark.index, old.end_mark.index, _flow(line)))
    newline = "\r\n" if "\r\n" in text else "\n"
    if added:
        edits.append(_insertion(text, root, section, known, [_flow(line) for line in added], newline))
    result = text
    for begin, end, new in sorted(edits, reverse=True):
        result = result[:begin] + new + result[end:]
    if not _has_value(result, file, _intended_value(root, replaced, added)):
        shown = "\n".join(f"  - {_flow(line)}" for line in lines)
        raise LcmDaemonError(f"{file}: its layout allows no safe edit; add these lines under midi, map:\n{shown}")
    return result


def _insertion(text: str, root: yaml.Node, section: yaml.Node | None, known: yaml.Node | None,
               lines: Sequence[str], newline: str) -> TextEdit:
    """The edit that inserts new lines."""
    flow = ", ".join(lines)
    if isinstance(known, yaml.SequenceNode):
        if known.flow_style:
            at = known.end_mark.index - 1
            return at, at, f", {flow}" if known.value else flow
        return _insert_below(text, known, _items(lines, known.start_mark.column), newline)
    if isinstance(section, yaml.MappingNode) and section.flow_style:
        if known is not None:  # `map:` without a value
            return known.start_mark.index, known.end_mark.index, f" [{flow}]"
        at = section.end_mark.index - 1
        return at, at, f"{', ' if section.value else ''}map: [{flow}]"
    if isinstance(section, yaml.MappingNode):
        column = section.start_mark.column
        if known is not None:
            return _replace_scalar(text, known, _items(lines, column + 2), newline)
        return _insert_below(text, section, [" " * column + "map:", *_items(lines, column + 2)], newline)
    block = ["  map:", *_items(lines, 4)]
    if section is not None:
        return _replace_scalar(text, section, block, newline)
    lead = "" if not text or text.endswith("\n") else newline
    return len(text), len(text), lead + newline.join(["midi:", *block]) + newline


def _items(lines: Sequence[str], column: int) -> list[str]:
    return [f"{' ' * column}- {line}" for line in lines]


def _insert_below(text: str, node: yaml.Node, block: Sequence[str], newline: str) -> TextEdit:
    """Insert below the last line of a node and its comment."""
    end = text.find("\n", _end(text, node))
    if end < 0:
        return len(text), len(text), newline + newline.join(block)
    return end + 1, end + 1, newline.join(block) + newline


def _replace_scalar(text: str, scalar: yaml.Node, block: Sequence[str], newline: str) -> TextEdit:
    """Replace a value without content (`false`, or none)."""
    begin = len(text[:scalar.start_mark.index].rstrip(" "))
    return begin, scalar.end_mark.index, newline + newline.join(block)


def _end(text: str, node: yaml.Node) -> int:
    """Where a node's own text ends. PyYAML ends a block only where the next node starts."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _end(text, last[1] if isinstance(last, tuple) else last)
    end: int = node.end_mark.index
    while end > 0 and text[end - 1] in "\r\n" and getattr(node, "style", None) in ("|", ">"):
        end -= 1
    return end


def _line_with_target(known: yaml.Node | None, line: MapLine) -> yaml.Node | None:
    """The present line with the same target and device, if it is a mapping in braces on one line of text."""
    for item in known.value if isinstance(known, yaml.SequenceNode) else ():
        if isinstance(item, yaml.MappingNode) and item.flow_style and item.start_mark.line == item.end_mark.line:
            value = _value(item)
            same_device = matches_name(str(value.get("device", "*")), str(line.get("device", "*")))
            if value.get("to") == line.get("to") and same_device:
                return item
    return None


def _intended_value(root: yaml.Node, replaced: Sequence[tuple[int, MapLine]], added: Sequence[MapLine]) -> Any:
    value = copy.deepcopy(_value(root)) or {}
    section = value["midi"] = value.get("midi") or {}
    lines = section["map"] = list(section.get("map") or ())
    for place, line in replaced:
        lines[place] = dict(line)
    lines.extend(dict(line) for line in added)
    return value


def _has_value(text: str, file: str, intended: Any) -> bool:
    try:
        return bool(compose(text, file).value == intended)
    except LcmDaemonError:
        return False


def _child(node: yaml.Node | None, name: str) -> yaml.Node | None:
    pairs = node.value if isinstance(node, yaml.MappingNode) else ()
    return next((value for key, value in pairs if key.value == name), None)


def _value(node: yaml.Node) -> Any:
    return yaml.constructor.SafeConstructor().construct_document(node)


def _flow(line: MapLine) -> str:
    text = yaml.safe_dump(dict(line), default_flow_style=True, sort_keys=False, width=10_000, allow_unicode=True)
    return str(text).strip()
