"""The whole daemon between a real NDI sender and a real NDI receiver, each in a process of its own."""

from __future__ import annotations

import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from lcm_daemon.transports.ndi import NdiSource
from tests.rigs.daemon import Daemon, wait_for
from tests.rigs.ndi_children import middles, send
from tests.rigs.network import Child, namespace

SHOW: dict[str, Any] = {
    "recipe": "passthrough",
    "source": {"transport": "ndi", "name": "camera", "fit": "stretch"},
    "output": {"size": [320, 240], "fps": 30, "hold_seconds": 1, "failsafe": "slate"},
    "sinks": [{"transport": "ndi", "name": "lcm"}],
}


def audience(pipe: Connection, folder: str) -> None:
    """A child: the daemon and who watches it; answers each word with what came in a second: pictures, last quarters."""
    with Daemon(Path(folder), SHOW):
        source = NdiSource({"name": "lcm"})
        source.open()
        wait_for(lambda: source.read(1.0), 60, "the daemon's first picture")
        pipe.send("playing")
        while True:
            pipe.recv()
            pictures, quarters, end = 0, None, time.perf_counter() + 1.0
            while time.perf_counter() < end:
                if frame := source.read(0.2):
                    pictures, quarters = pictures + 1, middles(frame.pixels)
            pipe.send((pictures, quarters))


def look(child: Child) -> tuple[int, Any]:
    child.pipe.send("look")
    pictures, quarters = child.receive(30.0)
    assert pictures > 5, "the picture stopped"
    return pictures, quarters


def shows_corners(child: Child) -> bool:
    """Red, green, blue and ochre, as the sender paints its quarters."""
    _, quarters = look(child)
    return [int(quarter[:3].argmax()) for quarter in quarters] == [0, 1, 2, 0] and quarters[0][1] < 60


def test_a_sender_comes_late_is_killed_and_comes_back_in_another_size(tmp_path: Path) -> None:
    with namespace() as net:
        watcher = net.start(audience, str(tmp_path))
        watcher.receive(120.0)
        assert not shows_corners(watcher), "there is no sender yet, and a picture all the same"
        for size in ((320, 240), (640, 360)):
            sender = net.start(send, {"name": "camera"}, "corners", size, 30.0)
            sender.receive(60.0)
            wait_for(lambda: shows_corners(watcher), 60, f"the sender's picture at {size}")
            sender.kill()
            wait_for(lambda: not shows_corners(watcher), 30, "the slate")
        watcher.stop()
