"""Cues through a running daemon: OSC bytes in, values in force, status and messages to other programs out."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pythonosc.osc_message import OscMessage

from lcm_daemon.controllers.osc_protocol.encoder import encode
from lcm_daemon.core.parameters import Value
from tests.rigs.daemon import Daemon, wait_for
from tests.rigs.midi import Peer, jack
from tests.rigs.picture_show import PictureShow

STATUS = 0.7  # seconds in which a status is certain to come
CUES: list[dict[str, Any]] = [
    {"name": "dawn", "set": {"master": 0.2, "mix": 1.0}},
    {"name": "10", "set": {"master": 0.4}},
    {"name": "4.1", "set": {"master": 0.6}},
    {"name": "slow", "set": {"master": 1.0, "mix": 0.5}, "fade": 60, "fades": {"mix": 0.3}},
    {"name": "chain", "set": {"master": 0.1}, "fade": 60, "auto_continue": 0.3},
    {"name": "end", "set": {"mix": 0.9}},
]


class Hand:
    """An OSC program that sends to the daemon."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.connect(("127.0.0.1", daemon.osc_port))

    def send(self, address: str, *arguments: Value) -> None:
        self._socket.send(encode(address, arguments))

    def cue(self, address: str, *arguments: Value, name: str, entry: str = "cue") -> None:
        """Send, and wait until the status has this name."""
        self.send(address, *arguments)
        wait_for(lambda: self.daemon.status().get(entry) == name, what=f"{entry} {name}")

    def live(self, name: str) -> float:
        return float(self.daemon.health("live")[name]["value"])

    def becomes(self, name: str, value: float, margin: float = 0.01) -> None:
        wait_for(lambda: abs(self.live(name) - value) <= margin, what=f"{name} at {value}")


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with Daemon(tmp_path_factory.mktemp("cues"), {
        "recipe": "passthrough", "output": {"size": [64, 64], "fps": 30}, "resume": False, "cues": CUES,
        "cue_list": {"loop": True},
    }) as running:
        yield running


@pytest.fixture
def hand(daemon: Daemon) -> Hand:
    hand = Hand(daemon)
    hand.send("/lcm/cue/release")
    hand.cue("/lcm/panic", name="")
    return hand


@pytest.mark.parametrize(("given", "name"), [(10.0, "10"), (10, "10"), (4.1, "4.1"), ("4.1", "4.1"), (4.0, "slow"),
                                             ("6", "end"), (1, "dawn")])
def test_goto_by_number(hand: Hand, given: Value, name: str) -> None:
    hand.cue("/lcm/cue/goto", given, 0.0, name=name)


def test_goto_of_no_cue_is_refused_and_reported(hand: Hand) -> None:
    hand.cue("/lcm/cue/goto", "dawn", name="dawn")
    for given, shown in ((4.9, "4.9"), (0.0, "0.0"), (7, "7"), ("dusk", "dusk")):
        hand.send("/lcm/cue/goto", given)
        line = f"cue/goto: no cue {shown!r}; the list has 6 cues"
        wait_for(lambda line=line: line in hand.daemon.log(), what=line)
    assert hand.daemon.status()["cue"] == "dawn"


def test_a_fade_is_paused_resumed_and_stopped_and_goto_does_not_restart_it(hand: Hand) -> None:
    hand.cue("/lcm/cue/goto", "dawn", name="dawn")
    hand.cue("/lcm/cue/goto", "slow", 4.0, name="slow")
    wait_for(lambda: hand.live("master") > 0.4, what="half of the fade")
    hand.cue("/lcm/cue/pause", name=True, entry="paused")  # type: ignore[arg-type]
    held = hand.live("master")
    assert 0.4 <= held < 0.95
    hand.send("/lcm/cue/goto", "slow", 4.0)
    time.sleep(1.1)  # two statuses
    status = hand.daemon.status()
    assert (hand.live("master"), status["paused"]) == (held, True)
    assert status["fade"] == pytest.approx((held - 0.2) / 0.8, abs=0.01)
    assert status["fade_left"] == pytest.approx(4.0 * (1.0 - status["fade"]), abs=0.1)
    hand.cue("/lcm/cue/resume", name=False, entry="paused")  # type: ignore[arg-type]
    wait_for(lambda: hand.live("master") > held + 0.02, what="the rest of the fade")
    hand.send("/lcm/cue/stop")
    wait_for(lambda: hand.daemon.status()["fade"] == 1.0, what="the end")
    stopped = hand.live("master")
    assert held < stopped < 1.0
    assert hand.daemon.values()["master"] == pytest.approx(stopped)


def test_one_fade_time_for_each_parameter(hand: Hand) -> None:
    hand.cue("/lcm/cue/goto", "dawn", name="dawn")
    hand.cue("/lcm/cue/goto", "slow", name="slow")
    hand.becomes("mix", 0.5)
    assert hand.live("master") < 0.4, "this one takes a minute"


def test_load_go_with_a_fade_auto_continue_and_loop(hand: Hand) -> None:
    hand.cue("/lcm/cue/load", "chain", name="chain", entry="upcoming_cue")
    assert hand.daemon.status()["cue"] == ""
    hand.send("/lcm/cue/go", 1.0)
    wait_for(lambda: hand.daemon.status()["cue"] == "end", what="the automatic GO")
    assert hand.live("master") > 0.9, "and the fade of a minute goes on"
    hand.becomes("mix", 0.9)
    hand.cue("/lcm/cue/go", 50, name="dawn")
    assert hand.live("mix") < 0.95


def test_the_crossfader(hand: Hand) -> None:
    hand.send("/lcm/cue/crossfade", 0.0)
    hand.cue("/lcm/cue/goto", "dawn", name="dawn")
    hand.send("/lcm/cue/crossfade", 0.5)
    hand.becomes("master", 0.3)
    wait_for(lambda: hand.daemon.status()["next_cue"] == "10", what="the cue that it goes to")
    hand.cue("/lcm/cue/crossfade", 1.0, name="10")
    hand.becomes("master", 0.4)
    hand.send("/lcm/cue/crossfade", 0.5)
    hand.becomes("master", 0.5)
    hand.cue("/lcm/cue/crossfade", 0.0, name="4.1")


def test_a_soft_panic_takes_its_time_and_a_plain_one_none(hand: Hand) -> None:
    hand.cue("/lcm/cue/goto", "dawn", name="dawn")
    hand.cue("/lcm/panic", 4.0, name="")
    assert 0.2 <= hand.live("master") < 0.9
    hand.send("/lcm/cue/pause")
    wait_for(lambda: hand.daemon.status()["paused"], what="the pause")
    time.sleep(STATUS)
    assert 0.0 < hand.daemon.status()["fade_left"] < 4.0
    held = hand.live("master")
    time.sleep(STATUS)
    assert hand.live("master") == held
    hand.send("/lcm/panic", 1.0)  # as a button sends it
    hand.becomes("master", 1.0, 0.0)


def test_cues_send_osc_and_wait_for_two_bars(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ear:
        ear.bind(("127.0.0.1", 0))
        ear.settimeout(15)
        send = [{"osc": "/light/go", "args": [3, 0.5, "go", True], "to": f"127.0.0.1:{ear.getsockname()[1]}"}]
        black = {"name": "black", "set": {"master": 0.0}, "send": send}
        with PictureShow(tmp_path, {"transport": "testcard"}, (64, 36), cues=[black],
                         parameters={"quantise": "2 bars", "bpm": 240}) as show:
            show.frame(lambda pixels: pixels[..., :3].max() > 100)
            hand = Hand(show.daemon)
            hand.send("/lcm/tap")
            tapped = time.perf_counter()
            hand.send("/lcm/cue/go")
            show.frame(lambda pixels: pixels[..., :3].max() < 5)
            changed = time.perf_counter() - tapped
            message = OscMessage(ear.recv(4096))
            heard = time.perf_counter() - tapped
    assert (message.address, list(message.params)) == ("/light/go", [3, 0.5, "go", True])
    assert 0.0 < changed < 2.3, "two bars of 240 beats a minute take two seconds"
    assert abs(heard - changed) < 0.3, "light and picture change together"


def test_a_cue_sends_midi(tmp_path: Path) -> None:
    with jack(), Peer("lights") as lights:
        cue = {"name": "go", "send": [{"midi": {"note": 60, "value": 100, "channel": 2}, "to": "lights*"}]}
        show = {"recipe": "passthrough", "output": {"size": [64, 64]}, "resume": False, "cues": [cue],
                "midi": {"devices": [{"name": "none"}], "backend": "jack"}}
        with Daemon(tmp_path, show) as daemon:
            def heard() -> bool:
                Hand(daemon).send("/lcm/cue/goto", "go")
                time.sleep(0.2)
                return (0x91, 60, 100) in lights.received

            wait_for(heard, what="the note")
