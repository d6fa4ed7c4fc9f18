"""What of a show needs its audio input, and what else may not set the tempo then."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from lcm_daemon.automation.modulation import AUDIO, Modulator
from lcm_daemon.core.audio_names import SECTION
from lcm_daemon.core.document import Node, Problems


def check_audio(node: Node, found: Mapping[str, Any], modulators: Sequence[Modulator], problems: Problems) -> None:
    """Find keys that are right one by one, but not together.

    Args:
        node: The show.
        found: The values of all of its keys.
        modulators: Those of the show.
        problems: Receives what is wrong.
    """
    if all(key.raw.value != SECTION for key, _ in node.items()):  # `audio: false` switches it off on purpose
        waves = {modulator.wave for modulator in modulators}
        for place in _places(found["modulation"] or (), "wave", AUDIO) if AUDIO in waves else ():
            problems.add(place, "the wave audio needs the key audio of the show, which opens an audio device: `audio: "
                                "{}` opens the system's usual one")
        if any(sink and sink.transport == "record" and sink.options.get("sound") for sink in found["sinks"] or ()):
            problems.add(node, "sinks: a recording with sound needs the key audio of the show")
        return
    if found[SECTION] and found[SECTION]["tempo"]:
        others = {"tempo.source": found["tempo"] and found["tempo"]["source"] == "link",
                  "midi.clock": found["midi"] and found["midi"]["clock"]}
        for name in (name for name, sets in others.items() if sets):
            problems.add(node, f"audio.tempo and {name} cannot both set the tempo: remove one of them")


def _places(nodes: Sequence[Node], key: str, value: str) -> Iterator[Node]:
    """Where a key of these mappings has this value."""
    for node in nodes:
        if isinstance(node.raw, yaml.MappingNode):
            yield from (given for name, given in node.items() if (name.raw.value, given.raw.value) == (key, value))
