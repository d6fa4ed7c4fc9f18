"""A running show changes its recipe: the audience sees a crossfade and no gap. The whole daemon, on real engines."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lcm_daemon
from lcm_daemon.controllers.osc.sender import send
from lcm_daemon.core.frame import Frame
from lcm_daemon.transports import load
from tests.rigs.daemon import Daemon
from tests.rigs.tiny import write_xl

BUS = f"change{os.getpid()}"
SIZE = (128, 128)
FPS = 20.0
PATIENCE = 240.0  # seconds in which an engine must load, on a machine that does much else


class Wires:
    """The input, a picture that stands still, and the output."""

    def __init__(self) -> None:
        memory = load("memory")
        assert memory.sink is not None
        assert memory.source is not None
        self._sink, self._source = memory.sink({"name": f"{BUS}in"}), memory.source({"name": f"{BUS}out"})
        self._sink.open(SIZE, FPS)
        self._source.open()
        ramp = np.linspace(20, 230, SIZE[0], dtype=np.uint8)
        picture = np.full((SIZE[1], SIZE[0], 4), 255, np.uint8)
        picture[..., :3] = ramp[None, :, None]
        self._input = Frame(picture, 0, time.perf_counter())
        self.starved = 0  # beats that the machine itself lost during the last watch

    def watch(self, until: Callable[[], object]) -> list[np.ndarray]:
        """What the audience sees until the condition holds; fails if no picture comes for a second."""
        seen: list[np.ndarray] = []
        last = looked = begun = time.perf_counter()
        self.starved = 0
        with ThreadPoolExecutor(1) as pool:  # asking takes its time, and the watch goes on meanwhile
            asking = pool.submit(until)
            while not (asking.done() and asking.result()):
                now = time.perf_counter()
                asking = pool.submit(until) if asking.done() else asking
                assert now - begun < PATIENCE, "it takes for ever"
                self.starved += int((now - looked) * FPS)  # this loop does next to nothing: the machine kept it waiting
                looked = now
                assert now - last < 5.0 or not seen, "the picture stopped"
                self._sink.write(self._input)
                if (frame := self._source.read(0.02)) is not None:
                    seen.append(frame.pixels[..., :3].astype(np.float64))
                    last = now
        return seen

    def close(self) -> None:
        self._sink.close()
        self._source.close()


@pytest.fixture
def wires() -> Iterator[Wires]:
    wires = Wires()
    yield wires
    wires.close()


def shares(seen: list[np.ndarray]) -> np.ndarray:
    """How much of the last picture is in each one, the first picture being the rest; a stray picture is NaN."""
    way = seen[-1] - seen[0]
    share = np.array([((picture - seen[0]) * way).sum() for picture in seen]) / (way * way).sum()
    stray = [np.abs(picture - seen[0] - p * way).mean() for picture, p in zip(seen, share, strict=True)]
    return np.where(np.array(stray) < 3.0, share, np.nan)


def damaged(folder: Path) -> Path:
    """The built-in model with weights that are not numbers, which only an engine finds."""
    shutil.copytree(Path(lcm_daemon.__file__).parent / "models" / "builtin", folder)
    file = folder / "unet" / "diffusion_pytorch_model.safetensors"
    file.write_bytes(file.read_bytes()[:-4096] + b"\xff" * 4096)
    return folder


def show(xl: Path, **more: Any) -> dict[str, Any]:
    """Recipes to change to: a small SDXL with random weights, one that is broken, and one for its name alone."""
    small = {"base": "builtin", "size": [64, 64], "parameters": {"strength": 0.7}}
    return {
        "recipe": "passthrough", "recipes": {
            "small": small, "xl": {"model": str(xl), "guidance": "none", "size": [64, 64], "dtype": "float32"},
            "broken": {"base": "builtin", "model": str(damaged(xl.parent / "damaged"))},
        },
        "output": {"size": list(SIZE), "fps": FPS, "crossfade": 1.5},
        "engine": {"deadline": 60, "loading_deadline": PATIENCE},
        "source": {"transport": "memory", "name": f"{BUS}in"}, "sinks": [{"transport": "memory", "name": f"{BUS}out"}],
        **more,
    }


def test_a_recipe_is_changed_live_without_a_gap(tmp_path: Path, wires: Wires) -> None:
    with Daemon(tmp_path, show(write_xl(tmp_path / "xl"))) as daemon:
        def plays(recipe: str) -> Callable[[], bool]:
            return lambda: (now := daemon.status()).get("recipe") == recipe and now["change"] == ""

        wires.watch(lambda: daemon.status().get("engine") == "rendering")
        for recipe in ("xl", "passthrough"):
            missed = daemon.status()["missed"]
            send("/lcm/recipe", [recipe], "127.0.0.1", daemon.osc_port)
            share = shares(wires.watch(plays(recipe)))
            assert not np.isnan(share).any(), "every picture is the old one, the new one or a mixture"
            assert (np.diff(share) > -0.01).all(), "it goes one way"
            mixed, missed = int(((share > 0.05) & (share < 0.95)).sum()), daemon.status()["missed"] - missed
            print(f"{recipe}: {len(share)} pictures, {mixed} mixed; missed {missed}, the machine {wires.starved}")
            assert mixed >= 5
            if wires.starved == 0:  # else the machine has no time for anybody, and this says nothing of the daemon
                assert missed <= len(share) / 20, "hardly a beat is missed: another test may compute beside this one"
                assert mixed >= 0.8 * 1.5 * FPS, "the fade has them all"

        send("/lcm/recipe", ["broken"], "127.0.0.1", daemon.osc_port)
        seen = wires.watch(lambda: daemon.status().get("error"))
        assert all(np.array_equal(picture, seen[0]) for picture in seen), "the old one stays"
        assert daemon.status()["error"].startswith("broken: ")
        assert (daemon.status()["recipe"], daemon.status()["engine"]) == ("passthrough", "rendering")
        send("/lcm/recipe", ["smal"], "127.0.0.1", daemon.osc_port)
        wires.watch(lambda: "'smal' is not known; did you mean 'small'?" in daemon.log())
        assert "E lcm_daemon.render.transition: recipe broken: " in daemon.log()
