"""A whole daemon: modulators that are added live and survive a power cut, a new engine, refusals that a page sees."""

from __future__ import annotations

import contextlib
import json
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect

from lcm_daemon.controllers.osc.sender import send
from lcm_daemon.core.status_table import STATUS
from tests.rigs.daemon import Daemon, wait_for

SHOW: dict[str, Any] = {
    "recipe": "passthrough", "output": {"size": [64, 64], "fps": 30}, "sinks": [], "engine": {"spare": False},
    "source": {"transport": "testcard", "size": [64, 64], "fps": 30},
    "modulation": [{"name": "slow", "to": "strength", "wave": "square", "rate": 0, "depth": 0.1}],
    "network": {"max_size": [512, 512]},
}


class PageLists:
    """A page that watches: the newest lists that the daemon has sent it."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self.lists: dict[str, list[dict[str, Any]]] = json.loads(self._socket.recv())["hello"]["lists"]

    def until(self, condition: Callable[[dict[str, list[dict[str, Any]]]], bool]) -> None:
        end = time.perf_counter() + 20
        while not condition(self.lists):
            message = self._socket.recv(timeout=max(end - time.perf_counter(), 0))
            if isinstance(message, str):
                self.lists |= json.loads(message).get("lists", {})


@contextlib.contextmanager
def watching(daemon: Daemon) -> Iterator[PageLists]:
    with connect(f"ws://127.0.0.1:{daemon.panel_port}/ws", max_size=None, proxy=None) as socket:
        yield PageLists(socket)


def names(lists: dict[str, list[dict[str, Any]]]) -> list[object]:
    return [row["name"] for row in lists.get("modulators", [])]


def health(daemon: Daemon) -> dict[str, Any]:
    with urllib.request.urlopen(f"http://127.0.0.1:{daemon.panel_port}/health", timeout=5) as answer:
        found: dict[str, Any] = json.load(answer)
        return found


@pytest.mark.slow
def test_modulators_engine_and_refusals_of_a_running_show(tmp_path: Path) -> None:
    with Daemon(tmp_path, SHOW) as daemon, watching(daemon) as page:
        def osc(address: str, *arguments: str) -> None:
            send(f"/lcm/{address}", list(arguments), "127.0.0.1", daemon.osc_port)

        osc("modulator/add", "fast", "mix", "square", "-0.5", "0")
        osc("modulator/remove", "slow")
        page.until(lambda lists: names(lists) == ["fast"])
        wait_for(lambda: daemon.values().get("mod/fast/depth") == -0.5, what="the modulator's parameters")
        assert "mod/slow/depth" not in daemon.values()
        wait_for(lambda: health(daemon)["live"]["mix"]["value"] == 0.5, what="the modulated value")
        assert health(daemon)["live"]["mix"]["by"].endswith("lfo fast")

        osc("modulator/add", "other", "mixx")
        osc("size", "1000", "100")
        osc("nonsense")
        wanted = {"modulator/add: no parameter 'mixx' with a number; did you mean 'mix'?",
                  "size: width may be 64 to 512 px in steps of 8, not 1000: the show's network.max_size sets "
                  "the limit; the nearest possible is 512 x 104",
                  "unknown address /lcm/nonsense; did you mean '/lcm/noise'?"}
        page.until(lambda lists: wanted <= {str(row["text"]) for row in lists.get("refusals", [])})
        assert {row["by"] for row in page.lists["refusals"]} == {"osc 127.0.0.1"}

        before = daemon.wait_rendering()["engine_pid"]
        osc("engine/restart")
        after = daemon.wait_rendering(not_by=before)
        assert daemon.status()["failsafe"] is False
        assert after["replaced"] == 0, "the old engine was not lost, it was replaced by another beside it"
        assert set(daemon.status()) <= set(STATUS), "each entry of the status is explained"

        wait_for(lambda: '"value/mod/fast/depth":-0.5' in daemon.kept(), what="the resume file")
        daemon.process.kill()
        daemon.process.wait()
    with Daemon(tmp_path, SHOW) as daemon, watching(daemon) as page:
        assert daemon.values()["mod/fast/depth"] == -0.5
        page.until(lambda lists: names(lists) == ["fast"])
        send("/lcm/panic", [], "127.0.0.1", daemon.osc_port)
        wait_for(lambda: daemon.values().get("mod/fast/depth") == 0.0, what="the panic")
        wait_for(lambda: health(daemon)["live"]["mix"]["value"] == 1.0, what="the value without modulation")
