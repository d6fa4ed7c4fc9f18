"""The limits of the output and of what controllers may ask for, through a running daemon."""

from __future__ import annotations

import json
import os
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest

from lcm_daemon.transports.shared_memory import MemorySource
from tests.daemon.test_osc_show import Peer
from tests.rigs.daemon import Daemon, free_port, wait_for

SMALL = (64, 36)


class Output:
    """The output of a daemon on the memory bus."""

    def __init__(self) -> None:
        self.name = f"limits{os.getpid()}"
        self._source = MemorySource({"name": self.name})

    def __enter__(self) -> Output:
        self._source.open()
        return self

    def __exit__(self, *_: object) -> None:
        self._source.close()

    def picture(self) -> np.ndarray:
        frame = wait_for(lambda: self._source.read(0.2), 30, "a frame")
        return np.asarray(frame.pixels)

    def rate(self, seconds: float = 1.0) -> float:
        """Ticks a second, from the numbers of the frames."""
        first = wait_for(lambda: self._source.read(0.2), 30, "a frame")
        begun, last = time.perf_counter(), first
        while time.perf_counter() < begun + seconds:
            last = self._source.read(0.2) or last
        return float((last.number - first.number) / max(last.time - first.time, 1e-3))


@pytest.mark.parametrize("fps", [500, 1000])
def test_an_output_rate_above_that_of_screens_on_the_memory_bus(tmp_path: Path, fps: int) -> None:
    """What the computer cannot reach is in the status; the rate is never above what the show says."""
    with Output() as output, Daemon(tmp_path, {
        "recipe": "passthrough", "resume": False, "output": {"size": list(SMALL), "fps": fps},
        "source": {"transport": "testcard", "size": list(SMALL), "fps": fps}, "engine": {"spare": False},
        "sinks": [{"transport": "memory", "name": output.name}],
    }) as daemon:
        daemon.wait_rendering()
        reached = wait_for(lambda: (rate := output.rate()) > 240 and rate, 60, "a rate above the former limit")
        print(f"{reached:.0f} of {fps} frames a second")
        assert 240 < reached < 1.02 * fps
        assert 0 <= daemon.status()["output_fps"] <= fps
        assert daemon.status()["fps"] > 30, "the engine renders beside it"


def test_the_sizes_that_a_controller_may_ask_for(tmp_path: Path) -> None:
    query = free_port()
    with Daemon(tmp_path, {
        "recipe": "passthrough", "resume": False, "output": {"size": list(SMALL), "fps": 30}, "source": False,
        "network": {"max_size": [256, 128]}, "engine": {"spare": False}, "oscquery": {"port": query},
        "recipes": {"mine": {"base": "passthrough", "size": [640, 320]}}, "cues": [{"name": "big", "recipe": "mine"}],
        "parameters": {"mode": "text"},
    }) as daemon:
        peer = Peer(daemon.osc_port)
        peer.send("/lcm/size", 512, 128)
        assert peer.errors() == ["size: width may be 64 to 256 px in steps of 8, not 512: the show's network.max_size "
                                 "sets the limit; the nearest possible is 256 x 128"]
        peer.send("/lcm/recipe", "sd-turbo")
        reason = "it renders 512x512, more than the show's network.max_size allows; the recipe stays as it is"
        wait_for(lambda: peer.errors() == [f"recipe sd-turbo: {reason}"], 10, "the refusal")
        with urllib.request.urlopen(f"http://127.0.0.1:{query}/lcm/size?RANGE", timeout=10) as answer:
            assert json.load(answer)["RANGE"] == [{"MIN": 64, "MAX": 256}, {"MIN": 64, "MAX": 128}]
        peer.send("/lcm/size", 256, 128)
        wait_for(lambda: daemon.status()["size"] == "256x128" and not daemon.status()["change"], 60, "the allowed size")
        peer.send("/lcm/cue/go")
        wait_for(lambda: daemon.status()["size"] == "640x320", 60, "the size of the show's own recipe")


def test_an_output_of_4k_from_a_small_recipe(tmp_path: Path) -> None:
    with Output() as output, Daemon(tmp_path, {
        "recipe": {"base": "passthrough", "size": [64, 64]}, "resume": False, "engine": {"spare": False},
        "output": {"size": [3840, 2160], "fps": 10}, "source": {"transport": "testcard", "size": [640, 360], "fps": 10},
        "sinks": [{"transport": "memory", "name": output.name}],
    }) as daemon:
        daemon.wait_rendering()
        assert output.picture().shape == (2160, 3840, 4)
        assert daemon.status()["size"] == "64x64"
