"""A picture becomes the image prompt of a model that plays: a small checkpoint with an IP-Adapter, a whole daemon."""

from __future__ import annotations

import io
import json
import os
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lcm_daemon.controllers.osc.sender import send
from lcm_daemon.core.frame import Pixels
from lcm_daemon.transports.shared_memory import MemorySource
from tests.rigs.daemon import Daemon, wait_for
from tests.rigs.lazy_imports import lazy_imports

with lazy_imports(globals()):
    from tests.rigs import tiny

pytestmark = pytest.mark.slow
OUT = f"prompt{os.getpid()}"


def show(folder: Path) -> dict[str, Any]:
    """Rendered from the prompt alone, so that only the image prompt changes the picture."""
    model = tiny.write_checkpoint(folder / "model", tiny.SCALED, None, None)
    Image.new("RGB", (32, 32), (200, 30, 30)).save(folder / "own.png")
    return {
        "recipe": {
            "model": str(model), "size": [64, 64], "device": "cpu", "dtype": "float32", "guidance": "none",
            "accelerate": "none",
            "image_prompt": {
                "model": str(tiny.write_ip_adapter(folder / "ip.safetensors", model)), "weight": 1.5,
                "encoder": str(tiny.write_image_encoder(folder / "encoder")), "image": str(folder / "own.png")}},
        "source": {"transport": "testcard"}, "output": {"size": [64, 64], "crossfade": 0.1}, "engine": {"spare": False},
        "parameters": {"mode": "text", "steps": 1, "seed": 3, "prompt": "lava"},
        "sinks": [{"transport": "memory", "name": OUT}],
    }


def upload(daemon: Daemon, colour: tuple[int, int, int]) -> str:
    """Send a picture as a page does; returns its name."""
    file = io.BytesIO()
    pixels = np.random.default_rng(1).integers(0, 255, (32, 32, 3), np.uint8) // 2 + np.array(colour, np.uint8) // 2
    Image.fromarray(pixels).save(file, "PNG")
    request = urllib.request.Request(
        f"http://127.0.0.1:{daemon.panel_port}/pictures", file.getvalue(), {"Content-Type": "image/png"}, method="POST")
    with urllib.request.urlopen(request, timeout=20) as answer:
        return str(json.load(answer)["source"])


def differs(found: Pixels, other: Pixels) -> bool:
    """By more than rounding."""
    return int(np.abs(found.astype(int) - other.astype(int)).max()) > 2


def test_a_picture_is_the_image_prompt_until_the_recipes_own_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LCM_DAEMON_STATE", str(tmp_path / "state"))
    out = MemorySource({"name": OUT})

    def wait_picture(good: Callable[[Pixels], bool], seconds: float = 60.0) -> Pixels:
        """A picture that stays for ten frames."""
        end, same = time.perf_counter() + seconds, list[Pixels]()
        while len(same) < 10:
            assert time.perf_counter() < end, "the picture did not come"
            frame = out.read(0.1)
            if frame is not None:
                same = [*same, frame.pixels] if good(frame.pixels) and (not same or not differs(
                    same[-1], frame.pixels)) else []
        return same[-1]

    with Daemon(tmp_path, show(tmp_path)) as daemon:
        daemon.wait_rendering()
        out.open()
        own = wait_picture(lambda pixels: True)
        name = upload(daemon, (20, 40, 220))
        send("/lcm/prompt_picture", [name], "127.0.0.1", daemon.osc_port)
        with_picture = wait_picture(lambda pixels: differs(pixels, own))
        send("/lcm/prompt_picture", ["picture 9"], "127.0.0.1", daemon.osc_port)
        wait_for(lambda: "prompt_picture: picture 9 does not exist" in daemon.log(), 20, "the refusal")
        assert not differs(wait_picture(lambda pixels: True), with_picture)
        send("/lcm/prompt_picture", ["recipe"], "127.0.0.1", daemon.osc_port)
        assert not differs(wait_picture(lambda pixels: not differs(pixels, own)), own)
    out.close()
    assert "Traceback" not in daemon.log()
