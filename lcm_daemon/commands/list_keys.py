"""`lcm-daemon list keys` and `lcm-daemon schema`: what a show may contain, as lines and as JSON Schema."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lcm_daemon.commands.output import format_table
from lcm_daemon.core.schema import REQUIRED, Deferred, Field, FieldKind, Section
from lcm_daemon.core.schema_shapes import keys_of
from lcm_daemon.shows.reader import show_fields

MAX_DEFAULT = 24  # characters; longer defaults are those of whole sections

Row = tuple[str, str, str, str]


def list_keys() -> list[str]:
    """List every key of a show: its path, what its value may be, its default, and its help.

    "[]" is each item of a list and NAME a name of your choice. A key with (ndi) behind it belongs to that transport.
    """
    here = Path()
    rows = list(_rows("", Section(show_fields(here, here)), {}))
    return format_table([("KEY", "VALUE", "DEFAULT", "HELP"), *rows])


def show_schema() -> str:
    """The JSON Schema of a show (draft 2020-12). It may accept more than the daemon does, and never accepts less."""
    here = Path()
    schema = Section(show_fields(here, here)).json_schema()
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "lcm-daemon show"}
    return json.dumps({**head, **schema, "type": ["object", "null"]}, indent=1)


def _rows(path: str, kind: FieldKind, known: dict[int, str]) -> Iterator[Row]:
    """The rows of everything inside a kind.

    known: where each kind with keys was listed first, by its id: it is listed once.
    """
    for suffix, spec in keys_of(kind):
        where = f"{path}{suffix}".removeprefix(".")
        inside = _with_keys(spec.kind)
        if suffix == "[]":
            yield from _rows(where, spec.kind, known)
        elif inside is None:
            yield where, spec.kind.describe(), _default(spec), spec.help
        elif id(inside) in known:
            yield where, f"{_container(spec.kind)}, as {known[id(inside)]}", _default(spec), spec.help
        else:
            known[id(inside)] = where
            yield where, _container(spec.kind), _default(spec), spec.help
            yield from _rows(where, spec.kind, known)


def _with_keys(kind: FieldKind) -> FieldKind | None:
    """The kind that has the keys of a value; None for a value without any."""
    parts = keys_of(kind)
    if not parts:
        return None
    if [suffix for suffix, _ in parts] == ["[]"]:
        return _with_keys(parts[0][1].kind)
    shape = getattr(kind, "shape", None) or getattr(kind, "kind", None)
    return _with_keys(shape) if isinstance(shape, FieldKind) and not isinstance(kind, Deferred) else kind


def _container(kind: FieldKind) -> str:
    """What a value with keys of its own is, in few words: the keys follow."""
    return kind.describe().partition(" with the key")[0]


def _default(spec: Field) -> str:
    if spec.default is REQUIRED:
        return "(needed)"
    text = _plain(spec.default)
    return text if len(text) <= MAX_DEFAULT else ""


def _plain(value: Any) -> str:
    """A default as a show file writes it; "" for what no file can write, such as a recipe that was read."""
    if isinstance(value, tuple):
        value = list(value)
    return json.dumps(value) if isinstance(value, bool | int | float | str | list) and value != "" else ""
