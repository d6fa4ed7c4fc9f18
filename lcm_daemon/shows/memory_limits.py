"""The show's section `memory`: how much each process may use before it is replaced."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lcm_daemon.core.document import Node, Problems
from lcm_daemon.core.schema import Custom, Field, Fields, OrFalse, Section, Text

SMALLEST = 50_000_000  # bytes; a process with its libraries alone uses more
LARGEST = 10**15
_UNITS: Mapping[str, int] = {"mb": 10**6, "gb": 10**9, "mib": 2**20, "gib": 2**30}
_SIZE = re.compile(r"(\d{1,9}(?:\.\d{1,9})?) ?(MB|GB|MiB|GiB)", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True)
class MemoryLimits:
    """Bytes of resident memory that each process may use. None sets no limit.

    Attributes:
        engine: Each engine of this machine. One that uses more is replaced, while it renders on.
        desk: The process of OSC, MIDI and the page. One that uses more makes way for the next one.
        visitors: The visitors' server. One that uses more is an alarm.
        stage: The process that shows the picture. It cannot be replaced: more is an alarm.
    """

    engine: int | None = None
    desk: int | None = None
    visitors: int | None = None
    stage: int | None = None


def _read_size(node: Node, problems: Problems) -> int | None:
    text = Text().read(node, problems)
    if text is None:
        return None
    found = _SIZE.fullmatch(text.strip())
    size = round(float(found[1]) * _UNITS[found[2].lower()]) if found else 0
    if found is None:
        problems.add(node, f"{text!r:.80} is not {SIZE.describe()}")
    elif not SMALLEST <= size <= LARGEST:
        problems.add(node, f"{text!r:.80} is not between {SMALLEST // 10**6} MB and {LARGEST // 10**9} GB")
    else:
        return size
    return None


SIZE = Custom(_read_size, "a size with its unit, such as 800 MB or 12 GB", Text())

_FIELDS: Fields = {
    "engine": Field(SIZE, None, "each engine of this machine; a new one is loaded beside it, and takes over"),
    "desk": Field(SIZE, None, "the process of OSC, MIDI and the page; the next one takes over"),
    "visitors": Field(SIZE, None, "the visitors' server; more is an alarm"),
    "stage": Field(SIZE, None, "the process that shows the picture; more is an alarm"),
}


def _read_section(node: Node, problems: Problems) -> MemoryLimits | None:
    before = len(problems)
    found: Mapping[str, Any] | None = Section(_FIELDS).read(node, problems)
    return None if found is None or len(problems) > before else MemoryLimits(**found)


MEMORY = Field(
    OrFalse(Custom(_read_section, f"a mapping with the keys {', '.join(_FIELDS)}", Section(_FIELDS))), None,
    "how much memory each process may use before it is replaced, as top shows it (RES)")
