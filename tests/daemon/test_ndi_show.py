"""The whole daemon between a real NDI sender and a real NDI receiver, each in a process of its own."""

from __future__ import annotations

import os
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from pythonosc.udp_client import SimpleUDPClient

from lcm_daemon.transports.ndi import NdiSource
from tests.rigs.daemon import Daemon, wait_for
from tests.rigs.ndi_children import middles, send
from tests.rigs.network import Child, namespace


def show(sender: str, output: str) -> dict[str, Any]:
    return {
        "recipe": "passthrough",
        "source": {"transport": "ndi", "name": sender, "fit": "stretch"},
        "output": {"size": [320, 240], "fps": 30, "hold_seconds": 1, "failsafe": "slate"},
        "sinks": [{"transport": "ndi", "name": output}],
    }


def watch(pipe: Connection, folder: str, sender: str, output: str) -> None:
    """A child: runs the daemon, and answers each message with the frames of a second and the last frame's quarters."""
    with Daemon(Path(folder), show(sender, output)):
        source = NdiSource({"name": output})
        source.open()
        wait_for(lambda: source.read(1.0), 60, "the daemon's first frame")
        pipe.send("playing")
        while True:
            pipe.recv()
            frames, quarters, end = 0, None, time.perf_counter() + 1.0
            while time.perf_counter() < end:
                if frame := source.read(0.2):
                    frames, quarters = frames + 1, middles(frame.pixels)
            pipe.send((frames, quarters))


def shows_corners(child: Child) -> bool:
    """Whether the output is red, green, blue and ochre, as the sender's quarters; fails if frames stop."""
    child.pipe.send("report")
    frames, quarters = child.receive(30.0)
    assert frames > 5, "the output stopped"
    return [int(quarter[:3].argmax()) for quarter in quarters] == [0, 1, 2, 0] and quarters[0][1] < 60


def test_sender_comes_late_is_killed_and_returns_in_another_size(tmp_path: Path) -> None:
    # Unique names: a test run beside this one, on the same network, must not meet these senders.
    camera, output = f"camera-{os.getpid()}", f"lcm-{os.getpid()}"
    with namespace() as net:
        watcher = net.start(watch, str(tmp_path), camera, output)
        watcher.receive(120.0)
        assert not shows_corners(watcher), "the daemon has output before its sender starts"
        for size in ((320, 240), (640, 360)):
            sender = net.start(send, {"name": camera}, "corners", size, 30.0)
            sender.receive(60.0)
            wait_for(lambda: shows_corners(watcher), 60, f"the sender's frames at {size}")
            sender.kill()
            wait_for(lambda: not shows_corners(watcher), 30, "the slate")
        watcher.stop()


def play_live(pipe: Connection, folder: str, sender: str, output: str) -> None:
    """A child: runs the daemon. Answers ("osc", address, argument), ("status", key) and ("picture",)."""
    live = show(sender, output)
    live["source"] = {**live["source"], "after": 2}
    with Daemon(Path(folder), live) as daemon:
        source = NdiSource({"name": output})
        source.open()
        wait_for(lambda: source.read(1.0), 60, "the daemon's first frame")
        pipe.send("playing")
        while True:
            what, *arguments = pipe.recv()
            if what == "osc":
                SimpleUDPClient("127.0.0.1", daemon.osc_port).send_message(*arguments)
                pipe.send(None)
            elif what == "status":
                pipe.send(daemon.status().get(arguments[0]))
            else:
                frame = source.read(1.0)
                quarters = middles(frame.pixels) if frame else []
                strongest = [int(quarter[:3].argmax()) for quarter in quarters]
                pipe.send({(0, 1, 2, 0): "corners", (2, 2, 2, 2): "blue"}.get(tuple(strongest)))


def ask(child: Child, *question: str) -> Any:
    child.pipe.send(question)
    return child.receive(30.0)


def test_a_sender_that_sends_only_changes_is_held_and_another_one_is_faded_in(tmp_path: Path) -> None:
    first, second, output = (f"{word}-{os.getpid()}" for word in ("still", "other", "live"))
    with namespace() as net:
        still = net.start(send, {"name": first}, "corners", (320, 240), 30.0)
        still.receive(60.0)
        daemon = net.start(play_live, str(tmp_path), first, output)
        daemon.receive(120.0)
        wait_for(lambda: ask(daemon, "picture") == "corners", 60, "the sender's frames")
        still.pipe.send("pause")
        wait_for(lambda: "unchanged for" in ask(daemon, "status", "source"), 30, "silence in the status")
        assert ask(daemon, "picture") == "corners"
        assert ask(daemon, "status", "failsafe") is False, "hold_seconds is 1"
        other = net.start(send, {"name": second}, "blue", (320, 240), 30.0)
        other.receive(60.0)
        ask(daemon, "osc", "/lcm/source", f"ndi {second}")
        wait_for(lambda: ask(daemon, "picture") == "blue", 30, "the other sender")
        assert ask(daemon, "status", "source") == f"ndi {second}: running"
        ask(daemon, "osc", "/lcm/source", "show")
        other.kill()
        still.kill()
        wait_for(lambda: ask(daemon, "status", "failsafe") is True, 30, "the failsafe once the sender is gone")
        daemon.stop()
