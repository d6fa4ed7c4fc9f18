"""Pictures over NDI through the whole daemon: colours, shapes, fields, and a name that is not UTF-8."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from pythonosc.udp_client import SimpleUDPClient

from lcm_daemon.transports.ndi import NdiSource
from lcm_daemon.transports.ndi_library import INTERLEAVED
from tests.rigs.daemon import wait_for
from tests.rigs.ndi_children import middles
from tests.rigs.ndi_raw import COLOURS, RawSender, send_raw
from tests.rigs.network import namespace
from tests.rigs.picture_show import PictureShow

SIZE = (640, 360)
FLAT = 3  # steps of 255 for flat areas, after one hop and after two


def play(pipe: Connection, folder: str, sources: dict[str, dict[str, Any]], output: str) -> None:
    """A child: a daemon. Answers the name of a source with its worst error, after one hop and after two.

    One hop lies between the sender and the memory sink, two between it and a receiver of the NDI sink. The picture must
    have as many columns of black on the left as the question says.
    """
    first, sinks = {"transport": "testcard"}, [{"transport": "ndi", "name": output}]
    with PictureShow(Path(folder), first, SIZE, sources=sources, sinks=sinks, output={"crossfade": 0}) as show:
        receiver = NdiSource({"name": output})
        receiver.open()
        wait_for(lambda: receiver.read(1.0), 60, "the daemon's first frame")
        pipe.send("playing")
        while True:
            name, bars = pipe.recv()
            SimpleUDPClient("127.0.0.1", show.daemon.osc_port).send_message("/lcm/source", name)
            wait_for(lambda name=name: f"source {name}: playing" in show.daemon.log(), 20, name)
            one = show.frame(lambda pixels, bars=bars: abs(bars_of(pixels) - bars) <= 3)
            receiver.read(0.0)  # it may still be of the source before
            two = wait_for(lambda: receiver.read(0.5), 20, "the daemon's sink")
            pipe.send((worst(one), worst(two.pixels)))


def bars_of(pixels: Any) -> int:
    """Columns of black on the left."""
    return int((pixels[SIZE[1] // 4, : SIZE[0] // 2, 0] < 100).sum())


def worst(pixels: Any) -> int:
    """The largest error of the quarters' middles."""
    return int(max(np.abs(got[:3] - colour).max() for got, colour in zip(middles(pixels), COLOURS, strict=True)))


def test_colours_shapes_and_fields(tmp_path: Path) -> None:
    end = f"-{os.getpid()}"
    cases = {  # and the columns of bars that "contain" leaves at 16:9
        "hd": (RawSender(b"hd", (1280, 720)), 0),
        "wide": (RawSender(b"wide", (720, 576), "bt601", aspect=16 / 9), 0),
        "narrow": (RawSender(b"narrow", (720, 576), "bt601", aspect=4 / 3), 80),
        "fields": (RawSender(b"fields", (720, 576), "bt601", frame_format=INTERLEAVED, aspect=16 / 9), 0),
        "odd": (RawSender(b"odd", (251, 142), "rgba", padding=24), 0),
    }
    with namespace() as net:
        senders = [replace(sender, name=sender.name + end.encode()) for sender, _ in cases.values()]
        net.start(send_raw, senders).receive(60.0)
        sources = {name: {"transport": "ndi", "name": f"{name}{end}", "fit": "contain"} for name in cases}
        daemon = net.start(play, str(tmp_path), sources, f"out{end}")
        daemon.receive(120.0)
        for name, (_, bars) in cases.items():
            daemon.pipe.send((name, bars))
            assert max(daemon.receive(60.0)) <= FLAT, name
        daemon.stop()


def test_a_name_that_is_not_utf8(tmp_path: Path) -> None:
    """Beside a good one, in one list: both are shown and both are received."""
    (tmp_path / "ndi-config.v1.json").write_text(json.dumps({"ndi": {"networks": {"ips": "127.0.0.1"}}}))
    with namespace(discovery=False) as net:
        net.start(send_raw, [RawSender(b"good", SIZE), RawSender(b"caf\xe9 \xff", SIZE)]).receive(60.0)
        listing = net.popen(
            [sys.executable, "-m", "lcm_daemon", "list", "sources"], stdout=subprocess.PIPE,
            env={**os.environ, "NDI_CONFIG_DIR": str(tmp_path), "PYTHONIOENCODING": "utf-8"},
        )
        children = [net.start(receive_once, wanted) for wanted in ("caf\ufffd \ufffd", "caf", "good")]
        assert [child.receive(60.0) <= FLAT for child in children] == [True] * 3
        lines = [line for line in listing.communicate(timeout=60)[0].decode().splitlines() if line.startswith("ndi: ")]
        assert [line.endswith("(caf\ufffd \ufffd)") for line in lines] == [True, False], lines
        assert listing.returncode == 0


def receive_once(pipe: Connection, name: str) -> None:
    """A child: sends the worst error of one frame of the sender."""
    source = NdiSource({"name": name, "address": "127.0.0.1"})
    source.open()
    frame = wait_for(lambda: source.read(1.0), 30, "a frame")
    pipe.send(worst(frame.pixels))
