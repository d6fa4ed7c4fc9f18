"""Engines on a real Ray cluster of three nodes on this machine: the relay, and a show that loses actors, nodes, a head.

One cluster serves every test here.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from lcm_daemon.core.frame import Frame, solid
from lcm_daemon.processes.child import Child
from lcm_daemon.processes.protocol import EndSession, Failed, FrameResult, Progress, Ready
from lcm_daemon.recipes.recipe import Recipe
from lcm_daemon.render.engine import LoadRecipe
from lcm_daemon.render.engine_place import JPEG, RAW, EnginePlace, start_engine
from lcm_daemon.render.ray_cluster import RayCluster
from lcm_daemon.render.ray_token import ClusterRefusal, check_token
from tests.commands.test_pull import TINY_VAE, model_files, write_recipe
from tests.conftest import need_module
from tests.rigs.daemon import Daemon, wait_for
from tests.rigs.ray_cluster import HEAD, TOKEN, RayNodes
from tests.rigs.standin_hub import Repo, StandinHub

pytestmark = pytest.mark.daemon
SIZE = (256, 192)
NODES = ("b", "c")
SERVICE = 0.02
RECIPE = Recipe("timed", pipeline="timed_copy", schedule={"service": SERVICE}, device="cpu")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayNodes]:
    need_module("ray")
    repos = {"some/model": Repo(model_files()), "some/tiny-vae": Repo(TINY_VAE)}
    with pytest.MonkeyPatch.context() as patch, StandinHub(repos) as hub, \
            RayNodes(tmp_path_factory.mktemp("homes"), {"HF_ENDPOINT": hub.url}) as cluster:
        patch.setenv("RAY_AUTH_TOKEN", TOKEN)
        cluster.add_all({"b": 1, "c": 2})
        yield cluster


class Relay:
    """The stage's end of one relay."""

    def __init__(self, place: EnginePlace, recipe: Recipe = RECIPE) -> None:
        self.child: Child = start_engine(place, SIZE, recipe.pipeline, False)
        self.child.channel.send_without_credit(LoadRecipe(recipe))
        self.messages: list[Any] = []

    def wait_for(self, kind: type[Any], seconds: float = 60.0) -> Any:
        """The next message of a kind. Results are read as they arrive."""
        wait_for(lambda: any(isinstance(message, kind) for message in self._hear()), seconds, f"a {kind.__name__}")
        found = next(message for message in self.messages if isinstance(message, kind))
        self.messages.remove(found)
        return found

    def _hear(self) -> list[Any]:
        """All messages so far that nothing has waited for."""
        with contextlib.suppress(EOFError, OSError):
            for message in self.child.channel.receive():
                is_result = isinstance(message, FrameResult)
                self.messages.append(self.child.channel.read_result(message) if is_result else message)
        return self.messages

    def render(self, frame: Frame, session: str = "") -> None:
        """Send a frame as soon as the engine accepts one."""
        wait_for(lambda: self._hear() is not None and self.child.channel.accepts_frame, 10, "a credit")
        assert self.child.channel.send_frame(frame, RECIPE.start_values(), time.monotonic(), session=session)

    def end(self) -> None:
        with contextlib.suppress(OSError):
            self.child.kill()
        self.child.wait(10)


def test_frames_cross_to_other_nodes_and_back(cluster: RayNodes) -> None:
    """Raw and JPEG at once, each with two frames under way, and a third one whose weights are on no node.

    Then a relay that is killed takes its actor along, and an actor that is killed its relay.
    """
    places = [EnginePlace(ray=cluster.address, number=i, wire=wire) for i, wire in enumerate((RAW, JPEG))]
    raw, jpeg, lacking = relays = [*map(Relay, places),
                                   Relay(EnginePlace(ray=cluster.address), Recipe("far", model="some/model"))]
    try:
        failed = lacking.wait_for(Failed)
        assert re.match("node [bc]: .*some/model", failed.text)
        assert (failed.retry, failed.text.count("\n")) == (False, 0)
        ready = [relay.wait_for(Ready) for relay in (raw, jpeg)]
        assert {each.node for each in ready} <= set(NODES)
        assert [(each.report.model, each.in_flight) for each in ready] == [("timed copy", 2)] * 2
        assert all(isinstance(message, Progress) for message in raw.messages)
        for relay, tolerance in ((raw, 0), (jpeg, 3)):
            for number in range(8):
                relay.render(Frame(solid(SIZE, (10 * number, 60, 90, 20 + number)), number, 5.0), f"{number % 2}")
            relay.child.channel.send_without_credit(EndSession("1"))
            frames = [relay.wait_for(Frame) for _ in range(8)]
            assert [(frame.number, frame.time) for frame in frames] == [(number, 5.0) for number in range(8)]
            for number, frame in enumerate(frames):
                wanted = solid(SIZE, (10 * number, 60, 90, 20 + number)).astype(int)
                assert np.abs(frame.pixels - wanted).max() <= tolerance
                assert (frame.pixels[..., 3] == 20 + number).all()
        jpeg.end()
        wait_for(lambda: len(cluster.actors()) == 1, 10, "the end of the killed relay's actor")
        os.kill(cluster.actors()[0], signal.SIGKILL)
        raw.render(Frame(solid(SIZE, (0, 0, 0, 0)), 9, 0.0))
        failed = raw.wait_for(Failed, 10)
        assert failed.retry
        assert f"node {ready[0].node}: the engine's process ended" in failed.text
    finally:
        for relay in relays:
            relay.end()


def test_a_cluster_refuses_another_token_at_once(cluster: RayNodes, monkeypatch: pytest.MonkeyPatch) -> None:
    check_token(cluster.address, is_client_port=False, required=True)
    monkeypatch.setenv("RAY_AUTH_TOKEN", "0" * 64)
    begun = time.perf_counter()
    with pytest.raises(ClusterRefusal, match="refuses this machine's token"):
        RayCluster(cluster.address).connect_once()
    with pytest.raises(ClusterRefusal, match="asks for a token"):
        RayCluster(cluster.address, token=False).connect_once()
    assert time.perf_counter() - begun < 5


COMMANDS = """
import sys
from lcm_daemon.commands.engine_nodes import examine_nodes, pull_on_engines
for row in examine_nodes(sys.argv[1]):
    print(row)
for offline in (True, False):
    print(pull_on_engines(sys.argv[1], offline))
"""


def test_commands_examine_and_fill_the_nodes(cluster: RayNodes, tmp_path: Path) -> None:
    """Doctor lists every node with its versions; pull tells what each one lacks, and fetches it there."""
    recipe, show = write_recipe(tmp_path / "some.yaml"), tmp_path / "show.yaml"
    show.write_text(yaml.safe_dump({"recipe": str(recipe), "engines": {"ray": cluster.address, "engines": 2}}))
    done = subprocess.run([sys.executable, "-c", COMMANDS, str(show)], capture_output=True, text=True, timeout=120)
    lines = done.stdout.splitlines()
    print(done.stdout)
    assert done.returncode == 0, done.stderr
    assert [line for line in lines if line.startswith("('b', True, '1 CPUs, 0 GPUs, Ray ")]
    for node in NODES:  # the head has no processor for an engine
        assert [line for line in lines if line.startswith(f"node {node}: some: 9 files are missing")]
        assert len([line for line in lines if line == f"node {node}: some: complete"]) == 1
    assert [line for line in lines if line.isdigit()] == ["1", "0"]


def test_a_show_survives_its_cluster(cluster: RayNodes, tmp_path: Path) -> None:
    """An actor is killed, a node stopped and added, the head stopped and started: pictures come again each time."""
    show = {
        "source": {"transport": "testcard"}, "output": {"size": list(SIZE), "fps": 30},
        "recipe": {"base": "passthrough", "pipeline": "timed_copy", "schedule": {"service": SERVICE}},
        "engines": {"ray": cluster.address, "engines": 2, "device": "cpu"}, "resume": False,
        "engine": {"deadline": 3}, "midi": False,
    }
    with Daemon(tmp_path, show) as daemon:
        def nodes() -> list[str]:
            rows = daemon.health("engines")
            return sorted(row["node"] for row in rows if row["state"] == "rendering") if rows else []

        def renders() -> bool:
            return bool(daemon.status().get("fps", 0) > 5)

        wait_for(lambda: len(nodes()) == 2 and renders(), 60, "two engines")
        os.kill(cluster.actors()[0], signal.SIGKILL)
        wait_for(lambda: len(nodes()) == 1, 10, "the loss of one engine")
        wait_for(renders, 5, "the other engine's pictures")
        wait_for(lambda: len(nodes()) == 2, 60, "its return")

        cluster.stop("c")
        wait_for(lambda: nodes() == ["b"], 20, "the loss of a node")
        wait_for(renders, 15, "the other node's pictures")
        cluster.add("d")
        wait_for(lambda: nodes() == ["b", "d"], 60, "an engine on a free node")

        cluster.stop(HEAD)
        for name in ("b", "d"):
            cluster.stop(name)
        wait_for(lambda: not renders(), 15, "the loss of all engines")
        wait_for(lambda: daemon.status()["output_fps"] > 15, 15, "the cadence of the failsafe")
        cluster.add(HEAD, 0)
        cluster.add("b", 2)
        begun = time.perf_counter()
        wait_for(lambda: renders() and nodes() == ["b", "b"], 60, "new pictures")
        print(f"pictures {time.perf_counter() - begun:.1f} s after the cluster's return")
        assert "Traceback" not in daemon.log()
