"""Other paths in the text of a show or a recipe; everything else stays as it is written."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import yaml

from lcm_daemon.core.document import Reference
from lcm_daemon.core.errors import DocumentError

_BOM = "\ufeff"
_MARKS = re.compile(r"(?:[&!]\S*\s+)*")  # an anchor or a tag before a value


def leads_to(written: str, folder: PurePosixPath, target: str) -> bool:
    """Whether a path in a document of this folder of the bundle leads to a place in the bundle."""
    path = PurePosixPath(written.replace(os.sep, "/"))
    return not path.is_absolute() and os.path.normpath(folder / path).replace(os.sep, "/") == target


def with_paths(document: Path, paths: Sequence[tuple[Reference, str]]) -> str:
    """The text of a document with other paths in it. Raises DocumentError where one cannot be replaced."""
    whole = document.read_bytes().decode("utf-8")
    newline = "\r\n" if "\r\n" in whole else "\n"
    text = whole.removeprefix(_BOM).replace("\r\n", "\n")  # as it was read: places count from there
    places = {reference.node.raw.start_mark.index: (reference, path) for reference, path in paths}
    for start, (reference, path) in sorted(places.items(), reverse=True):  # an alias has the place of its anchor
        end = reference.node.raw.end_mark.index
        marks = _MARKS.match(text, start, end)
        first = marks.end() if marks else start
        if _scalar(text[first:end]) != reference.name:
            raise DocumentError([reference.node.problem(
                f"the path {reference.name!r:.80} cannot be rewritten here: put the file into the folder of the show")])
        end = first + len(text[first:end].rstrip())  # a block scalar (`>-`) ends where the next key begins
        text = text[:first] + json.dumps(path, ensure_ascii=False) + text[end:]
    return (_BOM if whole.startswith(_BOM) else "") + text.replace("\n", newline)


def _scalar(text: str) -> str:
    """The value of a scalar of YAML as it is written; "" for anything else."""
    try:
        node = yaml.compose(text, yaml.SafeLoader)
    except yaml.YAMLError:
        return ""
    return str(node.value) if isinstance(node, yaml.ScalarNode) else ""
