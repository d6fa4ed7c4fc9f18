"""Shows while the daemon runs: reloaded, opened, saved; the picture stays, and what is wrong changes nothing."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from lcm_daemon.controllers.osc_protocol.encoder import encode
from lcm_daemon.transports.shared_memory import MemorySource
from tests.rigs.daemon import Daemon, wait_for

pytestmark = [pytest.mark.daemon, pytest.mark.slow]
NAME = f"reload-{os.getpid()}"
SHOW: dict[str, Any] = {
    "recipe": "passthrough", "source": {"transport": "testcard"}, "output": {"size": [64, 64], "fps": 30},
    "sinks": [{"transport": "memory", "name": NAME}], "engine": {"spare": False}, "midi": False,
    "parameters": {"strength": 0.5, "mix": 1.0},
}


class Peer:
    """Gives commands over the page's connection, and reads its lists."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon

    def command(self, name: str, *arguments: Any) -> None:
        with connect(f"ws://127.0.0.1:{self._daemon.panel_port}/ws", max_size=None) as page:
            page.recv()
            page.send(json.dumps({"command": {"name": name, "arguments": list(arguments)}}))
            time.sleep(0.1)  # the daemon reads it before the connection ends

    def show(self) -> dict[str, Any]:
        return dict(self.list("show")[0])

    def list(self, name: str) -> list[dict[str, Any]]:
        try:
            with connect(f"ws://127.0.0.1:{self._daemon.panel_port}/ws", max_size=None) as page:
                found: list[dict[str, Any]] = json.loads(page.recv())["hello"]["lists"].get(name, [])
                return found or [{}]
        except (OSError, WebSocketException):
            return [{}]


class Watcher:
    """Receives the memory sink on a thread, and notes the longest time without a new frame, and dark frames."""

    def __init__(self) -> None:
        self.longest, self.dark = 0.0, 0
        self._source, self._stop = MemorySource({"name": NAME}), threading.Event()
        self._source.open()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        before = time.perf_counter()
        while not self._stop.is_set():
            frame = self._source.read(0.02)
            if frame is not None:
                self.longest, before = max(self.longest, time.perf_counter() - before), time.perf_counter()
                self.dark += not frame.pixels[..., :3].any()

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self._source.close()


def test_a_show_is_reloaded_saved_and_another_one_opened_while_the_picture_stays(tmp_path: Path) -> None:
    with Daemon(tmp_path, SHOW) as daemon:
        peer, before = Peer(daemon), daemon.wait_rendering()
        text = daemon.show.read_text()
        wait_for(lambda: peer.show().get("own"), 20, "the show's row")
        assert peer.show() == {"name": "show", "file": "show.yaml", "own": True, "changed": False, "unsaved": 0,
                               "doing": "", "note": ""}
        assert {"name": "show", "packaged": False, "current": True} in wait_for(
            lambda: [row for row in peer.list("shows") if row], 20, "the list of shows")
        daemon_set(daemon, "mix", 0.25)
        wait_for(lambda: peer.show()["unsaved"] == 1, 20, "an unsaved change")
        watcher = Watcher()

        # a wrong file changes nothing, and says where
        daemon.show.write_text(text.replace("fps: 30", "fps: 3000"))
        wait_for(lambda: peer.show()["changed"], 20, "the change on disk")
        peer.command("show/reload")
        wait_for(lambda: "show.yaml:" in peer.show()["note"], 20, "the mistake")
        assert "is not a number from 1 to 1000" in peer.show()["note"]
        assert daemon.status()["desk_pid"] == before["desk_pid"]
        peer.command("show/save")
        wait_for(lambda: "has changed on disk" in peer.show()["note"], 20, "the refusal to overwrite")

        # a changed file: its values count, what was played stays, the engine and the sink stay
        daemon.show.write_text("# by hand\n" + text.replace("strength: 0.5", "strength: 0.7") + "name: changed\n")
        peer.command("show/reload")
        wait_for(lambda: daemon.status().get("desk_pid") not in (None, before["desk_pid"]), 40, "another desk")
        wait_for(lambda: daemon.status().get("fps", 0) > 0, 40, "frames")
        after = daemon.status()
        assert (after["show"], after["engine_pid"]) == ("changed", before["engine_pid"])
        assert (daemon.values()["strength"], daemon.values()["mix"]) == (0.7, 0.25)
        assert watcher.longest < 0.5
        assert watcher.dark == 0

        # saved: comments stay, PyYAML reads what is played
        peer.command("show/save")
        wait_for(lambda: peer.show()["note"] == "saved in show.yaml", 20, "the save")
        saved = daemon.show.read_text()
        assert saved.startswith("# by hand\n")
        assert yaml.safe_load(saved)["parameters"] == {"strength": 0.7, "mix": 0.25}
        assert (peer.show()["unsaved"], peer.show()["changed"]) == (0, False)

        # learned by OSC: it acts, and is in the file
        daemon_send(daemon, "/lcm/learn/start", "smooth")
        wait_for(lambda: peer.list("learning")[0].get("to") == "smooth", 20, "learning")
        daemon_send(daemon, "/1/fader1", 0.4)
        wait_for(lambda: "/1/fader1" in daemon.show.read_text(), 20, "the learned line")
        assert yaml.safe_load(daemon.show.read_text())["osc"]["map"] == [
            {"from": "/1/fader1", "to": "smooth", "range": [0.0, 0.95]}]
        daemon_send(daemon, "/1/fader1", 1.0)
        wait_for(lambda: daemon.values()["smooth"] == 0.95, 20, "the learned fader")
        daemon_send(daemon, "/lcm/learn/start", "cue/goto Act One")
        wait_for(lambda: peer.list("learning")[0].get("to") == "cue/goto Act One", 20, "learning a command")
        daemon_send(daemon, "/1/push1", 1)
        wait_for(lambda: "/1/push1" in daemon.show.read_text(), 20, "the learned command")
        assert yaml.safe_load(daemon.show.read_text())["osc"]["map"][1] == {
            "from": "/1/push1", "to": "cue/goto", "with": ["Act One"]}

        # saved as another show, which plays then; names never are paths
        for name, reason in (("../up", "is not a name"), ("show", "there is a show.yaml already")):
            peer.command("show/save_as", name)
            wait_for(lambda reason=reason: reason in peer.show()["note"], 20, reason)
        peer.command("show/save_as", "second one")
        wait_for(lambda: peer.show().get("file") == "second one.yaml", 40, "the new show")
        assert yaml.safe_load((tmp_path / "second one.yaml").read_text())["osc"]["map"][0]["to"] == "smooth"
        peer.command("show/open", "/etc/passwd")
        wait_for(lambda: "no show '/etc/passwd'" in peer.show()["note"], 20, "the refusal")

        # opened: as its file says. A show that cannot open gives way to the one before
        (tmp_path / "third.yaml").write_text(daemon.show.read_text() + "prompts: [a]\n")
        (tmp_path / "broken.yaml").write_text(text + f"oscquery: {{port: {daemon.panel_port}}}\n")  # the page has it
        peer.command("show/open", "broken")
        wait_for(lambda: "cannot be opened" in str(peer.show().get("note")), 60, "the show before")
        assert peer.show()["file"] == "second one.yaml"
        peer.command("show/open", "third")
        wait_for(lambda: peer.show().get("file") == "third.yaml", 40, "the third show")
        wait_for(lambda: daemon.values().get("mix") == 0.25, 20, "the values of the file")
        watcher.close()
        assert watcher.dark == 0


def test_watch_reloads_by_itself(tmp_path: Path) -> None:
    with Daemon(tmp_path, {**SHOW, "sinks": []}) as daemon:
        daemon.process.terminate()
        daemon.process.wait(20)
    daemon._command.append("--watch")
    with daemon:
        first = daemon.wait_rendering()
        daemon.show.write_text(daemon.show.read_text().replace("strength: 0.5", "strength: 0.8"))
        wait_for(lambda: daemon.values().get("strength") == 0.8, 30, "the reload")
        wait_for(lambda: daemon.status().get("engine_pid") == first["engine_pid"], 20, "the same engine")


def daemon_set(daemon: Daemon, name: str, value: float) -> None:
    daemon_send(daemon, f"/lcm/{name}", value)
    wait_for(lambda: daemon.values()[name] == value, 20, name)


def daemon_send(daemon: Daemon, address: str, *values: Any) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.sendto(encode(address, values), ("127.0.0.1", daemon.osc_port))
