"""A show whose names contain what the formats of other programs take for something else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from lcm_daemon.automation.cue_names import find_cue
from lcm_daemon.exports.surface import Surface
from lcm_daemon.shows.reader import load_show
from lcm_daemon.shows.surface import surface_of

CUES = ('Act "One" & <two>', "5", "@{prompt}", "a]]>b", "été ☀", "#/cue/selected/number#", "$(internal:time)",
        "true", "👩\u200d🚀 5\u00a0h", "bell\x07", "back\\slash", "one, two; $1", "\u201cquoted\u201d")


def hostile_surface() -> Surface:
    """The demo with these cues, OSCQuery, and a prompt with quotes."""
    demo = surface_of(load_show("demo", ["oscquery.port=9080"], environment={}))
    return replace(demo, show='a "b" <c>', cues=CUES, prompts=('say "hello"', "", "JS{alert(1)}"))


def heard(messages: list[tuple[str, list[object]]], cues: Sequence[str] = CUES) -> set[str]:
    """The cues that messages to /lcm/cue/goto start, as the daemon finds them."""
    found = set()
    for address, arguments in messages:
        if address == "/lcm/cue/goto":
            place = find_cue(cues, str(arguments[0]))
            found.add(cues[place] if place >= 0 else str(arguments[0]))
    return found
