"""Undo in a running daemon, over OSC, up to the picture; and prompts that outlive the daemon."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from websockets.sync.client import connect

from lcm_daemon.core.frame import Pixels
from tests.rigs.daemon import Daemon, wait_for
from tests.rigs.osc_peers import Peer
from tests.rigs.picture_show import PictureShow


def is_grey(level: float) -> Callable[[Pixels], bool]:
    return lambda pixels: bool(abs(float(pixels[..., :3].mean()) - level) < 3)


def test_an_undone_panic_brings_the_picture_back(tmp_path: Path) -> None:
    Image.fromarray(np.full((72, 128, 3), 200, np.uint8)).save(tmp_path / "grey.png")
    source = {"transport": "file", "path": str(tmp_path / "grey.png")}
    with PictureShow(tmp_path, source, cues=[{"name": "dim", "set": {"master": 0.5}}]) as show:
        show.frame(is_grey(200))
        with Peer(show.daemon.osc_port) as peer:
            peer.send("/lcm/cue/go")
            show.frame(is_grey(100))
            for step in range(50, 24, -1):  # a ramp is one move
                peer.send("/lcm/master", step / 100)
            show.frame(is_grey(50))
            peer.send("/lcm/panic")
            show.frame(is_grey(200))
            peer.send("/lcm/undo_panic")
            show.frame(is_grey(50))
            wait_for(lambda: show.daemon.status().get("cue") == "dim", what="the cue that was current")
            with connect(f"ws://127.0.0.1:{show.daemon.panel_port}/ws", proxy=None) as page:
                lists = json.loads(page.recv())["hello"]["lists"]
            assert [(row["what"], row["by"], row["value"]) for row in lists["undo"]] == [
                ("master", "osc 127.0.0.1", "0.5"), ("look dim", "", "")]
            peer.send("/lcm/undo", 1)  # the same button within 0.1 s would be held: numbers tell the presses apart
            show.frame(is_grey(100))
            peer.send("/lcm/undo", 2)
            show.frame(is_grey(200))
            peer.send("/lcm/redo")
            show.frame(is_grey(100))
            peer.send("/lcm/undo", 3)
            peer.send("/lcm/undo", 4)
            wait_for(lambda: "undo: there is nothing to undo; the last 50 moves are kept" in show.daemon.log())


def test_a_prompt_that_was_stored_is_there_after_a_restart(tmp_path: Path) -> None:
    show = {"recipe": "passthrough", "resume": False, "prompts": ["ocean", "lava"],
            "output": {"size": [64, 64], "fps": 30}, "source": {"transport": "testcard"}}
    with Daemon(tmp_path, show) as daemon, Peer(daemon.osc_port) as peer:
        peer.send("/lcm/prompts/store", 0, "neon grid")
        peer.send("/lcm/prompts/clear", 2)
        wait_for(lambda: (tmp_path / "show.prompts.yaml").exists() and "2: ''" in
                 (tmp_path / "show.prompts.yaml").read_text(), what="the file")
    with Daemon(tmp_path, show) as daemon, Peer(daemon.osc_port) as peer:
        peer.send("/lcm/prompts/play", 3)
        wait_for(lambda: daemon.values().get("prompt") == "neon grid", what="the stored prompt")
        peer.send("/lcm/prompts/play", 2)
        wait_for(lambda: "prompts/play: no prompt 2; the show has 1, 3" in daemon.log())
