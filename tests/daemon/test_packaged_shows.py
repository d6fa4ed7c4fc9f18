"""The shows that come with the package, each in a daemon of its own, on a machine without the programs they are for."""

from __future__ import annotations

import socket
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import yaml
from pythonosc.osc_message import OscMessage
from pythonosc.udp_client import SimpleUDPClient

from tests.rigs.daemon import Daemon, free_port, wait_for

ROOT = Path(__file__).parents[2]
STEP = 20.0  # seconds that a step may take on a busy machine

pytestmark = [pytest.mark.daemon, pytest.mark.slow]


def daemon(folder: Path, name: str, feedback: int = 0, **changed: Any) -> Daemon:
    """A daemon that plays the show as it is, but for its ports, and without sinks that other machines see.

    Args:
        folder: Where the show's copy is written.
        name: The show.
        feedback: UDP port in place of that of the show's `osc.feedback`.
        **changed: Other keys of the show.
    """
    show = yaml.safe_load((ROOT / "show_configs" / f"{name}.yaml").read_text("utf-8"))
    osc = show.pop("osc")
    if "feedback" in osc:
        osc["feedback"] = [{**each, "to": f"127.0.0.1:{feedback}"} for each in osc["feedback"]]
    show.pop("panel")
    one = Daemon(folder, {**show, "sinks": [{"transport": "memory", "name": f"packaged-{folder.name}"}], **changed})
    text = yaml.safe_load(one.show.read_text())
    one.show.write_text(yaml.safe_dump({**text, "osc": {**osc, "port": one.osc_port}}))
    return one


def is_in_order(one: Daemon) -> None:
    """The output is the card or a picture, and nothing failed."""
    assert one.status()["output_fps"] > 0
    assert "Traceback" not in one.log()
    assert "ERROR" not in one.log()


def test_touchdesigner_waits_and_takes_another_source(tmp_path: Path) -> None:
    with daemon(tmp_path, "touchdesigner", oscquery={"port": 0}) as one:
        assert "td" in one.status()["source"]
        SimpleUDPClient("127.0.0.1", one.osc_port).send_message("/lcm/source", "test")
        wait_for(lambda: "testcard" in one.status().get("source", ""), STEP, "the test card")
        is_in_order(one)


def test_resolume_plays_it_with_dials_and_columns_and_its_dials_follow(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as dials:
        dials.bind(("127.0.0.1", 0))
        dials.settimeout(STEP)
        with daemon(tmp_path, "resolume", feedback=dials.getsockname()[1]) as one:
            play_with_dials(one)
            SimpleUDPClient("127.0.0.1", one.osc_port).send_message("/lcm/mix", 0.25)
            while (message := OscMessage(dials.recv(4096))).params != [0.25]:
                assert message.address.startswith("/composition/")
            assert message.address == "/composition/dashboard/link2"
            is_in_order(one)


def play_with_dials(one: Daemon) -> None:
    """What Resolume sends when a dial is turned, the tempo is set and a column is started."""
    resolume = SimpleUDPClient("127.0.0.1", one.osc_port)
    resolume.send_message("/composition/dashboard/link5", 1.0)
    resolume.send_message("/composition/tempocontroller/tempo", 100 / 480)
    resolume.send_message("/composition/columns/2/connect", 1)
    wait_for(lambda: one.status().get("cue") == "fire", STEP, "the cue")
    wait_for(lambda: one.values().get("steps") == 8, STEP, "the dial")
    assert one.values()["bpm"] == pytest.approx(120.0, abs=0.01)


def test_a_live_set_starts_its_cues_on_the_bar(tmp_path: Path) -> None:
    with daemon(tmp_path, "live_set") as one:
        SimpleUDPClient("127.0.0.1", one.osc_port).send_message("/lcm/cue/goto", "verse")
        wait_for(lambda: one.status().get("cue") == "verse", STEP, "the cue")
        assert one.values()["mod/pulse/depth"] == pytest.approx(0.1)
        is_in_order(one)


def test_an_installation_renders_without_a_camera(tmp_path: Path) -> None:
    with daemon(tmp_path, "installation") as one:
        one.wait_rendering()
        wait_for(lambda: one.status().get("cue") in ("sea", "wood", "glass"), STEP, "the playlist")
        is_in_order(one)


def test_an_audience_may_join(tmp_path: Path) -> None:
    audience = yaml.safe_load((ROOT / "show_configs/audience.yaml").read_text("utf-8"))["audience"]
    port = free_port()
    with daemon(tmp_path, "audience", audience={**audience, "host": "127.0.0.1", "port": port}) as one:
        def join() -> bool:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/join", timeout=2) as answer:
                    return bool(answer.status == 200)
            except OSError:
                return False
        wait_for(join, STEP, "the page of the visitors")
        is_in_order(one)
