"""A show whose names contain what the formats of other programs take for something else."""

from __future__ import annotations

from dataclasses import replace

from lcm_daemon.exports.surface import Surface
from lcm_daemon.shows.reader import load_show
from lcm_daemon.shows.surface import surface_of

CUES = ('Act "One" & <two>', "5", "@{prompt}", "a]]>b", "été ☀", "#/cue/selected/number#", "$(internal:time)",
        "true", "back\\slash", "one, two; $1", "\u201cquoted\u201d")


def hostile_surface() -> Surface:
    """The demo with these cues, OSCQuery, and a prompt with quotes."""
    demo = surface_of(load_show("demo", ["oscquery.port=9080"], environment={}))
    return replace(demo, show='a "b" <c>', cues=CUES, prompts=('say "hello"', "", "JS{alert(1)}"))


def heard(messages: list[tuple[str, list[object]]]) -> set[str]:
    """The cues that messages to /lcm/cue/goto start: by name, or by their place in the list, counted from 1."""
    found = set()
    for address, arguments in messages:
        if address == "/lcm/cue/goto":
            (name,) = arguments
            place = str(name).removesuffix(".0")
            is_place = not (isinstance(name, str) and name in CUES) and place.isdigit()
            found.add(CUES[int(place) - 1] if is_place else str(name))
    return found
