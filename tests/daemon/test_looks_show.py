"""Looks through a running daemon: OSC, page and file change them; a restart and a power cut keep them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import threading
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from lcm_daemon.controllers.osc_protocol.encoder import encode
from lcm_daemon.core.parameters import Value
from tests.rigs.daemon import Daemon, wait_for

SHOW: dict[str, Any] = {
    "recipe": "passthrough", "output": {"size": [64, 64], "fps": 30},
    "cues": [{"name": "dawn", "set": {"mix": 0.5}}, {"name": "storm", "set": {"mix": 0.9}, "fade": 1}],
}
REREAD = 2.0  # seconds within which an edited file is read again


class Page:
    """A page's connection: what it shows as its looks."""

    def __init__(self, daemon: Daemon) -> None:
        address = f"ws://127.0.0.1:{daemon.panel_port}/ws"
        self._socket = connect(address, max_size=None, proxy=None, ping_interval=None, legacy=True)
        self.looks: Sequence[dict[str, Any]] = ()
        threading.Thread(target=self._read, daemon=True).start()

    def command(self, name: str, *arguments: Value) -> None:
        self._socket.send(json.dumps({"command": {"name": name, "arguments": arguments}}))

    def _read(self) -> None:
        with contextlib.suppress(ConnectionClosed):
            for message in self._socket:
                content = json.loads(message) if isinstance(message, str) else {}
                content = content.get("hello", content)
                self.looks = content.get("lists", {}).get("looks", self.looks)

    def names(self) -> list[str]:
        return [look["name"] for look in self.looks]

    def look(self, name: str) -> dict[str, Any]:
        return next((look for look in self.looks if look["name"] == name), {})

    def close(self) -> None:
        self._socket.close()


class Hand:
    """An OSC program that sends to the daemon and hears its errors."""

    def __init__(self, daemon: Daemon) -> None:
        self._heard = b""
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.connect(("127.0.0.1", daemon.osc_port))
        self._socket.setblocking(False)
        self.send("/lcm/subscribe", self._socket.getsockname()[1])

    def send(self, address: str, *arguments: Value) -> None:
        self._socket.send(encode(address, arguments))

    def has_heard(self, text: str) -> bool:
        try:
            while True:
                self._heard += self._socket.recv(65536)
        except BlockingIOError:
            return b"/lcm/error" in self._heard and text.encode() in self._heard


def thumbnail(daemon: Daemon, name: str) -> bytes:
    address = f"http://127.0.0.1:{daemon.panel_port}/thumbnails/looks/{name}"
    with urllib.request.urlopen(address, timeout=5) as answer:
        return bytes(answer.read())


def test_two_pages_osc_and_the_file_agree_and_a_restart_keeps_everything(tmp_path: Path) -> None:
    cues = tmp_path / "show.cues.yaml"
    with Daemon(tmp_path, SHOW) as daemon:
        one, two, hand = Page(daemon), Page(daemon), Hand(daemon)
        daemon.wait_rendering()
        one.command("cue/record", "found")
        wait_for(lambda: two.look("found").get("thumbnail"), what="the thumbnail")
        assert thumbnail(daemon, two.look("found")["thumbnail"]).startswith(b"\xff\xd8")
        hand.send("/lcm/cue/rename", "found", "näme/'x'")
        hand.send("/lcm/cue/fade", "näme/'x'", 2.5)
        hand.send("/lcm/cue/follow", 1, 60.0)
        hand.send("/lcm/cue/move", "näme/'x'", 1)
        hand.send("/lcm/cue/duplicate", "storm", "storm too")
        for page in (one, two):
            wait_for(lambda page=page: page.names() == ["näme/'x'", "dawn", "storm", "storm too"], what="one list")
        wait_for(lambda: daemon.status()["cues"].splitlines() == one.names(), what="the status")
        hand.send("/lcm/cue/delete", "storm")
        wait_for(lambda: hand.has_heard("cue/delete: 'storm' is a cue of the show file"), what="the refusal")
        hand.send("/lcm/cue/goto", 1)
        wait_for(lambda: daemon.status()["cue"] == "näme/'x'", what="the look")
        begun = time.perf_counter()
        cues.write_text(cues.read_text("utf-8").replace("fade: 2.5", "fade: 7") + "- {name: by hand}\n", "utf-8")
        wait_for(lambda: two.look("by hand") and two.look("näme/'x'")["fade"] == 7.0, what="the edited file")
        assert time.perf_counter() - begun < REREAD
        text = cues.read_text("utf-8")
        cues.write_text(text.replace("fade: 7", "fade: long"), "utf-8")
        wait_for(lambda: hand.has_heard("'long' is not a number from 0 to 86400"), what="the mistake")
        wait_for(lambda: "show.cues.yaml:" in daemon.status()["cue_file"], what="the mistake in the status")
        assert two.look("näme/'x'")["fade"] == 7.0
        cues.write_text(text, "utf-8")
        wait_for(lambda: daemon.status()["cue_file"] == "", what="the end of it")
        before, values = [dict(look) for look in two.looks], daemon.values()
        for page in (one, two):
            page.close()
    daemon = Daemon(tmp_path, SHOW)
    written = daemon.show.read_text()
    with daemon:
        page = Page(daemon)
        wait_for(lambda: page.looks, what="the looks")
        assert list(page.looks) == before
        assert thumbnail(daemon, page.looks[0]["thumbnail"]).startswith(b"\xff\xd8")
        page.command("cue/goto", "näme/'x'", 0.0)
        wait_for(lambda: daemon.values()["mix"] == values["mix"], what="its values")
        page.close()
    assert daemon.show.read_text() == written, "the show is as it was"


def test_a_look_that_cannot_be_written_plays_and_says_so_and_the_tick_does_not_wait(tmp_path: Path) -> None:
    with Daemon(tmp_path, SHOW) as daemon:
        page, hand = Page(daemon), Hand(daemon)
        (tmp_path / "show.cues.yaml.new").mkdir()
        (tmp_path / "show.looks").write_text("in the way")
        hand.send("/lcm/cue/record", "kept")
        wait_for(lambda: hand.has_heard("recorded cues cannot be saved"), what="/lcm/error")
        wait_for(lambda: page.look("kept").get("saved") is False, what="the page")
        hand.send("/lcm/cue/goto", "kept")
        wait_for(lambda: daemon.status()["cue"] == "kept", what="the look")
        assert "cannot be saved" in daemon.status()["cue_file"]
        page.close()


def test_kill_while_looks_are_written_leaves_a_whole_file_and_no_lost_picture(tmp_path: Path) -> None:
    cues, folder = tmp_path / "show.cues.yaml", tmp_path / "show.looks"
    for run in range(2):
        with Daemon(tmp_path, SHOW) as daemon:
            hand = Hand(daemon)
            wait_for(lambda daemon=daemon: daemon.status()["cues"], what="the first status")
            for number in range(40):
                hand.send("/lcm/cue/record", f"run {run} look {number}")
                time.sleep(0.01)
            os.kill(daemon.process.pid, signal.SIGKILL)
            daemon.process.wait()
        rows = yaml.safe_load(cues.read_text())
        assert rows, "something was written"
    with Daemon(tmp_path, SHOW) as daemon:
        wait_for(lambda: daemon.status()["cues"], what="the first status")
        assert daemon.status()["cues"].splitlines() == ["dawn", "storm", *(row["name"] for row in rows)]
        assert daemon.status()["cue_file"] == ""
        used = {f"{row['thumbnail']}.jpg" for row in rows if "thumbnail" in row}
        wait_for(lambda: {path.name for path in folder.iterdir()} <= used, what="only pictures of looks")
