"""A whole daemon whose source is a page: what the page sends comes out of the sink."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg
from websockets.sync.client import connect

from lcm_daemon.core.frame import solid
from lcm_daemon.shows.reader import load_show
from lcm_daemon.transports.shared_memory import MemorySource
from tests.rigs.daemon import Daemon, wait_for

NAME = f"page{os.getpid()}"
ORANGE, BLUE = (250, 120, 30, 255), (20, 40, 220, 255)
SHOW: dict[str, Any] = {
    "recipe": "passthrough", "output": {"size": [128, 128], "fps": 30}, "engine": {"spare": False},
    "source": {"transport": "browser", "name": NAME}, "sinks": [{"transport": "memory", "name": f"{NAME}out"}],
}


def jpeg(colour: tuple[int, int, int, int], size: tuple[int, int]) -> bytes:
    return simplejpeg.encode_jpeg(solid(size, colour), 90, "RGBA", "420")


def test_a_pages_pictures_come_out_of_the_sink_also_after_the_desk_has_died(tmp_path: Path) -> None:
    out = MemorySource({"name": f"{NAME}out"})
    out.open()

    def shows(colour: tuple[int, int, int, int]) -> bool:
        frame = out.read(0.1)
        return frame is not None and bool(np.abs(frame.pixels[64, 64].astype(int) - colour).max() <= 6)

    with Daemon(tmp_path, SHOW) as daemon:
        wait_for(lambda: daemon.status()["source"] == f"browser {NAME}: waiting", what="a source without a page")
        for colour, size in ((ORANGE, (640, 480)), (BLUE, (320, 568))):
            with connect(f"ws://127.0.0.1:{daemon.panel_port}/ws", proxy=None) as page:
                assert json.loads(page.recv())["hello"]["camera"] is True
                page.send(json.dumps({"camera": "start"}))
                page.send(jpeg(colour, size))
                wait_for(lambda colour=colour: shows(colour), what="the page's picture")  # type: ignore[misc]
            daemon.kill_desk()
            wait_for(lambda: daemon.status().get("desk_pid"), what="another desk")
    out.close()


def test_the_webcam_show_is_in_order() -> None:
    show = load_show("webcam", environment={})
    assert show.source is not None
    assert (show.source.transport, show.source.options["name"]) == ("browser", "page")
