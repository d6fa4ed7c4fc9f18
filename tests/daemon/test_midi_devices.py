"""MIDI devices on real ports, through a real daemon: two of one name, 14 bits, fades, motor faders, clocks."""

from __future__ import annotations

import itertools
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from lcm_daemon.commands.panel_answer import read_health
from tests.rigs.daemon import Daemon, wait_for
from tests.rigs.midi import Peer, jack

SHOW = {
    "recipe": "passthrough", "output": {"size": [64, 64], "fps": 30}, "resume": False,
    "parameters": {"strength": 0.2, "mix": 0.5}, "prompts": ["ocean", "lava", "ice"],
    "cues": [{"name": "slow", "set": {"strength": 1.0}, "fade": 20}, {"name": "storm", "set": {"feedback": 0.25}},
             {"name": "calm", "set": {"feedback": 0.75}}],
    "midi": {
        "backend": "jack", "report": "live",
        "devices": [{"name": "twin", "number": 1}, {"name": "twin", "number": 2}, {"name": "motors"}],
        "clock": {"device": "drums"}, "send_clock": [{"name": "synth*"}],
        "map": [
            {"device": "twin", "note": 1, "to": "freeze", "button": "toggle"},
            {"device": "twin 1", "cc": 1, "to": "mix"},
            {"device": "twin 2", "cc": 1, "to": "blend"},
            {"device": "twin 1", "cc14": 2, "to": "master", "takeover": "jump"},
            {"device": "twin 1", "nrpn": 300, "to": "master", "takeover": "jump"},
            {"device": "twin 1", "pitchbend": None, "to": "master"},
            {"device": "twin", "note": [40, 41, 42], "command": "cue/goto", "values": ["slow", "storm", "calm"]},
            {"device": "twin", "cc": 50, "command": "cue/go"},
            {"device": "twin", "note": [44, 45, 46], "command": "prompts/play"},
            {"device": "twin 1", "cc": 7, "to": "strength", "feedback": False},
            {"device": "motors", "pitchbend": None, "channel": 1, "to": "strength", "touch": 104},
        ],
    },
}


class Stage:
    """A daemon and its MIDI devices."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon

    def live(self, name: str) -> dict[str, Any]:
        return read_health("127.0.0.1", self.daemon.panel_port)["live"].get(name, {})

    def base(self, name: str) -> Any:
        """The value that a parameter was set to; `live` is only as new as the last status."""
        return self.daemon.values().get(name)

    def becomes(self, name: str, value: Any, peer: Peer, *messages: tuple[int, ...]) -> None:
        """Send messages until a parameter has a value. A JACK server without real-time rights loses some of them."""
        def send() -> None:
            for message in messages:
                peer.send(*message)
        insist(send, lambda: self.base(name) == (
            value if isinstance(value, str) else pytest.approx(value, abs=1e-6)), f"{name}, {value}")


@contextmanager
def stage(folder: Path, *names: str) -> Iterator[tuple[Stage, list[Peer]]]:
    with ExitStack() as stack:
        stack.enter_context(jack(period=512))
        peers = [stack.enter_context(Peer(name)) for name in names]
        daemon = stack.enter_context(Daemon(folder, SHOW))
        for device in ("twin 1", "twin 2", "motors"):
            wait_for(lambda device=device: f"device {device} connected" in daemon.log(), what=device)
        yield Stage(daemon), peers


@contextmanager
def ticking(pad: Peer, bpm: float) -> Iterator[None]:
    """A drum machine: start, pulses until the end, stop."""
    stop = threading.Event()

    def play() -> None:
        begun = time.perf_counter()
        for number in itertools.count(1):
            pad.send(0xF8)
            if stop.wait(max(0.0, begun + number * 60.0 / bpm / 24 - time.perf_counter())):
                return

    pad.send(0xFA)
    thread = threading.Thread(target=play, daemon=True)
    thread.start()
    yield
    stop.set()
    thread.join(5)
    pad.send(0xFC)


def settled(motors: Peer) -> list[int]:
    """The positions that the fader was sent, if none comes for a while; else nothing."""
    before = positions(motors)
    time.sleep(0.2)
    return before if positions(motors) == before else []


def positions(peer: Peer) -> list[int]:
    """The pitch bends that a motor fader was sent."""
    return [message[1] | message[2] << 7 for message in peer.received if message[0] == 0xE0]


def insist(send: Callable[[], None], condition: Callable[[], object], what: str) -> None:
    """Send again and again until the condition holds."""
    end = time.perf_counter() + 30
    while not condition():
        assert time.perf_counter() < end, what
        send()
        until = time.perf_counter() + 0.6
        while time.perf_counter() < until and not condition():
            time.sleep(0.02)


def take_over(show: Stage, peer: Peer) -> float:
    """Move a fader past the place where the fade of `strength` is. Return the value once it follows, else 0."""
    here = round(show.live("strength")["value"] * 127)
    for position in range(here - 8, here + 16):
        peer.send(0xB0, 7, position)
        time.sleep(0.01)
    last, end = position / 127, time.perf_counter() + 0.5
    while time.perf_counter() < end:
        if show.base("strength") == pytest.approx(last, abs=1.1 / 127):  # the last message may be lost
            return last
    return 0.0


def hold(peer: Peer, *message: int) -> None:
    """Send a message 60 times a second for 0.7 s. Again after a stall: a gap of 0.1 s ends a press."""
    while True:
        longest, last = 0.0, time.perf_counter()
        for _ in range(42):
            peer.send(*message)
            time.sleep(1 / 60)
            now = time.perf_counter()
            longest, last = max(longest, now - last), now
        if longest < 0.05:
            return
        time.sleep(0.2)


def test_two_devices_of_one_name_and_every_kind_of_control(tmp_path: Path) -> None:
    with stage(tmp_path, "twin", "twin", "motors", "drums", "synth") as (show, (first, second, motors, drums, synth)):
        # A press toggles once; each device has a fader of its own, and another position of it.
        show.becomes("freeze", True, first, (0x90, 1, 9))
        show.becomes("freeze", False, second, (0x90, 1, 9))
        show.becomes("mix", 64 / 127, first, (0xB0, 1, 64))
        second.send(0xB0, 1, 10)  # blend is elsewhere
        show.becomes("freeze", True, second, (0x90, 1, 9))
        assert show.base("blend") != pytest.approx(10 / 127)

        # Fourteen bits
        show.becomes("master", (64 << 7 | 5) / 16383, first, (0xB0, 2, 64), (0xB0, 34, 5))
        show.becomes("master", (80 << 7) / 16383, first, (0xB0, 2, 80))
        number = (0xB0, 99, 2), (0xB0, 98, 44)
        show.becomes("master", (64 << 7 | 9) / 16383, first, *number, (0xB0, 38, 9), (0xB0, 6, 64))  # fine first
        show.becomes("master", 1.0, first, (0xE0, 0x7C, 0x7F))

        # Pads play the prompts of the bank by number.
        show.becomes("prompt", "lava", second, (0x90, 45, 9))
        show.becomes("prompt", "ice", first, (0x90, 46, 9))

        # A pad starts the cue of its number; the motor fader goes with the fade; a fader takes over where it is.
        insist(lambda: second.send(0x90, 40, 9), lambda: show.daemon.status().get("cue") == "slow", "the cue")
        wait_for(lambda: len(set(positions(motors))) > 6, what="the motor fader")
        taken = wait_for(lambda: take_over(show, first), what="the fader that takes over")
        assert 0.2 < taken < 0.95

        # While the motor fader is touched, it is not moved; then it is.
        show.becomes("strength", 4096 / 16383, motors, (0x90, 104, 127), (0xE0, 0, 32))
        sent = wait_for(lambda: settled(motors), what="the last position that was under way")
        show.becomes("strength", 60 / 127, first, *((0xB0, 7, position) for position in range(20, 61)))
        assert positions(motors) == sent
        insist(lambda: motors.send(0x90, 104, 0), lambda: positions(motors) != sent, "the motor fader")
        assert positions(motors)[-1] == round(60 / 127 * 16383)

        hold(first, 0xB0, 50, 127)  # one GO, not one for each message
        wait_for(lambda: show.daemon.status().get("cue") == "storm", 5, "the cue after the slow one")
        time.sleep(0.7)
        assert show.daemon.status()["cue"] == "storm"

        # The clock: of the drums, not of another device; and sent on.
        wait_for(lambda: (0xF8,) in synth.received, what="pulses")
        starts = synth.received.count((0xFA,))
        with ticking(drums, 150.0):
            wait_for(lambda: 147.0 < (show.base("bpm") or 0) < 153.0, what="the tempo of the drums")
            wait_for(lambda: synth.received.count((0xFA,)) > starts, what="start")
            stops = synth.received.count((0xFC,))
        wait_for(lambda: synth.received.count((0xFC,)) > stops, what="stop")  # pulses go on after it

        command = [sys.executable, "-m", "lcm_daemon", "midi", "list", "--backend", "jack"]
        listed = subprocess.run(command, capture_output=True, text=True, timeout=30).stdout.splitlines()
        assert sum("twin" in line and "(number 2)" in line for line in listed) == 2
        unplug_either(show, first, second)
        assert "Traceback" not in show.daemon.log()


def unplug_either(show: Stage, first: Peer, second: Peer) -> None:
    """Unplug one of the two devices and then the other: the one that is there works on, under its number."""
    first.unplug()
    wait_for(lambda: "device twin 1 disconnected" in show.daemon.log(), what="the first one is gone")
    show.becomes("blend", 1.0, second, (0xB0, 1, 0), (0xB0, 1, 127))  # passing its value
    with Peer("twin") as again:
        wait_for(lambda: show.daemon.log().count("device twin 1 connected") == 2, what="the first one is back")
        show.becomes("master", 0.0, again, (0xB0, 2, 0))
        second.unplug()
        wait_for(lambda: "device twin 2 disconnected" in show.daemon.log(), what="the second one is gone")
        show.becomes("master", 1.0, again, (0xB0, 2, 127))
    clients = subprocess.run(["jack_lsp"], capture_output=True, text=True, timeout=10).stdout
    assert "twin" not in clients
