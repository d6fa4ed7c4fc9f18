"""A show whose engine runs on a card, through the daemon: an engine that is killed, and a recipe that changes."""

from __future__ import annotations

import itertools
import os
import signal
import threading
import time
from pathlib import Path

import pytest
from pythonosc.udp_client import SimpleUDPClient

from lcm_daemon.transports.shared_memory import MemorySource
from tests.cuda.rig import Place
from tests.rigs.daemon import Daemon, wait_for

pytestmark = pytest.mark.slow

RETURNS_IN = 10.0  # seconds
FPS = 30


class Watcher:
    """When each output frame arrived, in seconds."""

    def __init__(self, name: str) -> None:
        self.arrivals: list[float] = []
        self._source, self._ends = MemorySource({"name": name}), False
        self._source.open()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._ends:
            if self._source.read(0.1) is not None:
                self.arrivals.append(time.perf_counter())

    def longest_gap(self, since: int) -> float:
        """The longest time between two frames, in seconds, from the frame with this number on."""
        times = self.arrivals[since:]
        return max((b - a for a, b in itertools.pairwise(times)), default=0.0)

    def close(self) -> None:
        self._ends = True
        self._thread.join(2)
        self._source.close()


def test_an_engine_is_killed_and_a_recipe_changes(place: Place, tmp_path: Path) -> None:
    bus = f"oncard{os.getpid()}"
    recipe = {"base": "builtin", "device": place.device, "size": list(place.size), "accelerate": "none"}
    watcher = Watcher(bus)
    with Daemon(tmp_path, {
        "recipe": recipe, "recipes": {"other": {**recipe, "parameters": {"steps": 1}}}, "resume": False,
        "output": {"size": [128, 128], "fps": FPS, "crossfade": 0.5}, "sinks": [{"transport": "memory", "name": bus}],
        "source": {"transport": "testcard", "size": [128, 128], "fps": FPS}, "engine": {"spare": place.is_card},
    }) as daemon:
        first = daemon.wait_rendering(120)
        before, seen = daemon.status()["missed"], len(watcher.arrivals)
        SimpleUDPClient("127.0.0.1", daemon.osc_port).send_message("/lcm/recipe", "other")
        wait_for(lambda: (status := daemon.status())["recipe"] == "other" and not status["change"], 120, "the change")
        missed, gap = daemon.status()["missed"] - before, watcher.longest_gap(seen)
        print(f"recipe change: {missed} ticks missed, longest gap {1000 * gap:.0f} ms")
        if place.is_card:  # on two cores the new engine's load takes time from everything
            assert missed == 0
            assert gap < 2.5 / FPS
        begun, seen = time.perf_counter(), len(watcher.arrivals)
        killed = daemon.signal_engine(signal.SIGKILL)
        daemon.wait_rendering(120, not_by=killed)
        back, gap = time.perf_counter() - begun, watcher.longest_gap(seen)
        print(f"engine killed: renders again after {back:.1f} s, longest gap {1000 * gap:.0f} ms")
        assert first["engine_pid"] != daemon.status()["engine_pid"]
        assert daemon.status()["alarm"] == ""
        if place.is_card:
            assert back < RETURNS_IN
            assert gap < 2.5 / FPS, "the last frame is held at the output's rate"
    watcher.close()
