"""Cues that start at a timecode need one that arrives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from lcm_daemon.automation.timecode_schedule import is_timecode
from lcm_daemon.core.document import Node, Problems

WAYS = "midi: {timecode: true}, audio: {ltc: 1} or dmx: {timecode: true}"


def refuse_unheard_timecode(found: Mapping[str, Any], problems: Problems) -> None:
    """Find cues with a timecode in a show that follows none. found: The values of all keys of the show."""
    sections = {name: found.get(name) or {} for name in ("midi", "audio", "dmx")}
    if sections["midi"].get("timecode") or sections["audio"].get("ltc") or sections["dmx"].get("timecode"):
        return
    for cue in found["cues"] or ():
        for key, value in cue.items() if isinstance(cue.raw, yaml.MappingNode) else ():
            if key.raw.value == "at" and _is_timecode(value):
                problems.add(value, f"the show follows no timecode: add {WAYS}")


def _is_timecode(node: Node) -> bool:
    return isinstance(node.raw, yaml.ScalarNode) and is_timecode(str(node.raw.value))
