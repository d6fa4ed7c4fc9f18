"""Source probe: a program that opens the sources of a show, one after another, and tells what they send.

    python -m lcm_daemon.transports.source_probe '{"source": {"transport": "ndi", "options": {"name": "CAM 1"}}}'

It is a process of its own because native libraries connect here. Standard output has one JSON object for each source:

    {"name": "source", "frames": 58, "seconds": 2.0, "size": [1920, 1080], "error": "", "in_sight": []}

`frames` are those that came within `seconds` after the first one. If none came, `in_sight` has the names that the
transport finds.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.transports import load
from lcm_daemon.transports.base import Source

FIRST_SECONDS = 5.0  # for the first frame
COUNT_SECONDS = 2.0  # for which frames are counted after it
SEARCH_SECONDS = 3.0  # for the names in sight, if none came
READ_SECONDS = 0.2


def probe(transport: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Open a source and count its frames. Returns what the program prints, without the name."""
    source_type = load(transport).source
    found: dict[str, Any] = {"frames": 0, "seconds": COUNT_SECONDS, "size": None, "error": "", "in_sight": []}
    if source_type is None:
        return {**found, "error": f"{transport} has no source"}
    try:
        found |= _count(source_type(options))
    except LcmDaemonError as error:
        found["error"] = str(error)
    if not found["frames"] and source_type.is_listed:
        found["in_sight"] = _in_sight(source_type)
    return found


def _count(source: Source) -> dict[str, Any]:
    """Open a source and count its frames. Raises LcmDaemonError."""
    frames, size = 0, None
    source.open()
    try:
        end = time.monotonic() + FIRST_SECONDS
        while time.monotonic() < end:
            source.pump()
            frame = source.read(READ_SECONDS)
            if frame is not None:
                end = end if frames else time.monotonic() + COUNT_SECONDS
                frames, size = frames + 1, frame.size
    finally:
        source.close()
    return {"frames": frames, "size": size}


def _in_sight(source_type: type[Source]) -> list[str]:
    try:
        return source_type.discover(SEARCH_SECONDS)
    except LcmDaemonError:
        return []


def main(arguments: Sequence[str]) -> int:
    sources: Mapping[str, Mapping[str, Any]] = json.loads(arguments[0])
    for name, each in sources.items():
        print(json.dumps({"name": name, **probe(each["transport"], each["options"])}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
