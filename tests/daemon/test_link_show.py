"""A show that leads an Ableton Link session, and one that follows it, with another program on the same network."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pythonosc.udp_client import SimpleUDPClient

from tests.conftest import need_module
from tests.rigs import link_peer
from tests.rigs.daemon import Daemon, wait_for
from tests.rigs.link_peer import PATIENCE
from tests.rigs.network import Child, namespace


@contextmanager
def session(folder: Path, **tempo: Any) -> Iterator[tuple[Daemon, Child]]:
    """A daemon with this `tempo` section, and another program, in a network of their own."""
    need_module("aalink")
    show = {"recipe": "passthrough", "output": {"size": [64, 64]}, "resume": False, "tempo": tempo,
            "parameters": {"bpm": 150.0}}
    with namespace(discovery=False) as net:
        peer = net.start(link_peer.play)
        peer.receive(PATIENCE)
        with net.inside(), Daemon(folder, show) as daemon:
            yield daemon, peer


def hears(peer: Child, *tempos: float) -> None:
    """Wait until the other program has had these tempos, one after another; none is missed."""
    end = time.perf_counter() + PATIENCE
    for bpm in tempos:
        while abs(peer.receive(PATIENCE)[2] - bpm) > 0.01:
            assert time.perf_counter() < end, f"the tempo {bpm} does not come"


def test_a_show_leads_a_link_session(tmp_path: Path) -> None:
    with session(tmp_path, source="show") as (daemon, peer):
        hears(peer, 128.0, 150.0)
        SimpleUDPClient("127.0.0.1", daemon.osc_port).send_message("/lcm/bpm", 90.0)
        hears(peer, 90.0)
        peer.pipe.send({"tempo": 100.0})
        hears(peer, 100.0, 90.0)
        assert daemon.values()["bpm"] == 90.0


def test_a_show_follows_a_link_session(tmp_path: Path) -> None:
    with session(tmp_path, source="link") as (daemon, peer):
        wait_for(lambda: abs(daemon.values().get("bpm", 0.0) - 128.0) < 0.01, what="the session's tempo in the show")
        SimpleUDPClient("127.0.0.1", daemon.osc_port).send_message("/lcm/bpm", 90.0)
        hears(peer, 90.0)
