"""Writes the exports of the demo into examples/exports: `python -m tests.exports.write [NAME ...]`."""

from __future__ import annotations

import sys
from pathlib import Path

from lcm_daemon.exports.formats import FORMATS
from lcm_daemon.shows.reader import load_show
from lcm_daemon.shows.surface import surface_of

FOLDER = Path(__file__).parents[2] / "examples" / "exports"


def fresh(name: str) -> bytes:
    """An export of the demo as it is now, on any machine."""
    kind = FORMATS[name]
    overrides = ["oscquery.port=9080"] if "oscquery" in kind.needs else []  # the demo has it off
    return kind.build(surface_of(load_show("demo", overrides, environment={})))


def example(name: str) -> Path:
    """The committed file of an export."""
    return FOLDER / FORMATS[name].file_name("demo")


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for each in sys.argv[1:] or FORMATS:
        example(each).write_bytes(fresh(each))
        print(example(each))
