"""MIDI clock on real ports, through a real daemon: its tempo, its beat, its stop; and what a key can do meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lcm_daemon.commands.panel_answer import read_health
from tests.rigs.daemon import Daemon, wait_for
from tests.rigs.midi import Peer, jack

SHOW = {
    "recipe": "passthrough", "output": {"size": [64, 64], "fps": 60}, "parameters": {"quantise": "bar"},
    "cues": [{"name": "storm", "set": {"mix": 0.25}}],
    "modulation": [{"name": "bar", "to": "strength", "wave": "saw", "beats": 4, "depth": 0.5}],
    "midi": {"devices": [{"name": "*"}], "clock": True, "backend": "jack", "map": [
        {"note": 1, "command": "cue/go"}, {"note": 2, "command": "next", "with": ["prompt", "lava"]}]},
}


@contextmanager
def ticking(pad: Peer, bpm: float) -> Iterator[None]:
    """A drum machine: start, ticks until the end, stop."""
    stop = threading.Event()

    def play() -> None:
        begun, number = time.perf_counter(), 0
        while not stop.is_set():
            pad.send(0xF8)
            number += 1
            time.sleep(max(0.0, begun + number * 60.0 / bpm / 24 - time.perf_counter()))

    pad.send(0xFA)
    thread = threading.Thread(target=play, daemon=True)
    thread.start()
    yield
    stop.set()
    thread.join(5)
    pad.send(0xFC)


def test_a_drum_machine_leads_the_show(tmp_path: Path) -> None:
    with jack(), Peer("drums") as pad, Daemon(tmp_path, SHOW) as daemon:
        def live(name: str) -> dict[str, Any]:
            return read_health("127.0.0.1", daemon.panel_port)["live"].get(name, {})

        wait_for(lambda: "MIDI: device drums connected" in daemon.log(), what="the device")
        with ticking(pad, 100.0):
            wait_for(lambda: 98.0 < live("bpm").get("base", 0.0) < 102.0, what="the tempo")
            assert live("bpm")["by"] == "midi clock"
            seen = {wait_for(lambda: live("strength"))["value"] for _ in range(5) if not time.sleep(0.5)}
            assert len(seen) > 2, "the wave goes by the beat"
            pad.send(0x90, 2, 100)
            wait_for(lambda: live("prompt").get("base") == "lava", what="NEXT, on the bar")
            assert str(live("prompt")["by"]).startswith("midi drums")
            pad.send(0x90, 1, 100)
            wait_for(lambda: daemon.status().get("cue") == "storm", what="GO, on the bar")
        time.sleep(1.2)  # two statuses
        held = live("strength")["value"]
        time.sleep(1.2)
        assert live("strength")["value"] == held, "stop holds it"
