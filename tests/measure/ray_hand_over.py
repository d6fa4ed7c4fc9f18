"""What handing a frame to an engine and back costs: an engine of this machine beside engines on a Ray cluster.

    python -m tests.measure.ray_hand_over [--seconds 5] [--client] [--json FILE]

One frame at a time, so nothing waits behind another frame. The engine waits 50 ms for each, without a processor, and
copies it. Prints a table in Markdown.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import psutil

from lcm_daemon.core.frame import Frame, Pixels, Size
from lcm_daemon.core.metrics import quantile_of
from lcm_daemon.processes.channel import Channel
from lcm_daemon.processes.child import Child
from lcm_daemon.processes.protocol import Failed, FrameResult, Ready
from lcm_daemon.recipes.recipe import Recipe
from lcm_daemon.render.engine import LoadRecipe
from lcm_daemon.render.engine_place import JPEG, RAW, EnginePlace, start_engine
from tests.rigs.ray_cluster import TOKEN, RayNodes

SIZES = ((512, 512), (1920, 1080))
SERVICE = 0.05
RECIPE = Recipe("timed", pipeline="timed_copy", schedule={"service": SERVICE}, device="cpu")
WARM_UP = 50  # frames that do not count: Ray is done with the start of the engine then
TIMEOUT = 120.0


@dataclass(frozen=True)
class HandOver:
    """Figures of one way.

    Attributes:
        frames: How many were measured.
        median, p95: Seconds from the request to the result in the stage's memory, without the rendering.
        relay_cpu: Processor seconds a frame of the process that the stage starts: relay, or the engine itself.
        node_cpu: The same of the actor's process.
        cluster_cpu: The same of Ray's own processes on all nodes.
    """

    way: str
    frames: int
    median: float
    p95: float
    relay_cpu: float
    node_cpu: float
    cluster_cpu: float

    def __str__(self) -> str:
        cells = (self.median, self.p95, self.relay_cpu, self.node_cpu, self.cluster_cpu)
        return f"| {self.way} | " + " | ".join(f"{1000 * cell:.1f}" for cell in cells) + " |"


COLUMNS = ("one frame at a time", "hand-over, median, ms", "p95, ms", "CPU of relay or engine, ms",
           "of the node's process, ms", "of Ray itself, ms")


def picture(size: Size) -> Pixels:
    """A picture that JPEG does not make small: soft shapes with noise. size: (width, height) in pixels."""
    width, height = size
    x, y = np.meshgrid(np.linspace(0, 9, width), np.linspace(0, 7, height))
    noise = np.random.default_rng(1).normal(0, 6, (height, width, 4))
    waves = np.stack([np.sin(x + y), np.sin(x - y), np.cos(2 * x), np.ones_like(x)], axis=2)
    return np.clip(128 + 100 * waves + noise, 0, 255).astype(np.uint8)


@contextmanager
def _engine(place: EnginePlace, size: Size) -> Iterator[Child]:
    """An engine that has loaded."""
    child = start_engine(place, size, RECIPE.pipeline, False)
    try:
        child.channel.send_without_credit(LoadRecipe(RECIPE))
        _receive(child.channel, Ready)
        yield child
    finally:
        child.kill()
        child.wait(10)


def _receive(channel: Channel, kind: type[Any]) -> Any:
    """Wait for a message of a kind. Others are forgotten."""
    end = time.perf_counter() + TIMEOUT
    while time.perf_counter() < end:
        for message in channel.receive():
            if isinstance(message, kind):
                return message
            if isinstance(message, Failed):
                raise RuntimeError(message.text)
        time.sleep(0.0005)
    raise RuntimeError(f"no {kind.__name__} within {TIMEOUT:.0f} s")


def _render(channel: Channel, frame: Frame) -> float:
    """Render a frame; return the seconds that it took beside the rendering."""
    while not channel.accepts_frame:
        channel.receive()
        time.sleep(0.0005)
    begun = time.perf_counter()
    channel.send_frame(frame, RECIPE.start_values(), begun)
    result = _receive(channel, FrameResult)
    channel.read_result(result)
    return time.perf_counter() - begun - SERVICE


def measure(way: str, place: EnginePlace, size: Size, seconds: float, cluster: RayNodes) -> HandOver:
    """Measure one way for some seconds."""
    frame = Frame(picture(size), 0, 0.0)
    with _engine(place, size) as child:
        for _ in range(WARM_UP):
            _render(child.channel, frame)
        before, begun, spent = _cpu(child, cluster), time.perf_counter(), []
        while time.perf_counter() < begun + seconds:
            spent.append(_render(child.channel, frame))
        used = [(after - earlier) / len(spent) for after, earlier in zip(_cpu(child, cluster), before, strict=True)]
    spent.sort()
    return HandOver(way, len(spent), quantile_of(spent, 0.5), quantile_of(spent, 0.95), *used)


def _cpu(child: Child, cluster: RayNodes) -> tuple[float, float, float]:
    """Processor seconds so far: of the engine's process here, of actors, of all else of the cluster."""
    actors = set(cluster.actors())
    ray = cluster.processes()
    return (_spent(psutil.Process(child.pid)), sum(_spent(each) for each in ray if each.pid in actors),
            sum(_spent(each) for each in ray if each.pid not in actors))


def _spent(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system)


def measure_all(seconds: float, client: bool) -> Iterator[HandOver]:
    """Measure every way at every size."""
    os.environ["RAY_AUTH_TOKEN"] = TOKEN
    with TemporaryDirectory() as homes, RayNodes(Path(homes), client=client) as cluster:
        cluster.add_all({"b": 1, "c": 1})
        places = {"local": EnginePlace(device="cpu")}
        places |= {f"Ray, {wire}": EnginePlace(ray=cluster.address, wire=wire) for wire in (RAW, JPEG)}
        if client:
            places |= {f"Ray's client port, {wire}": EnginePlace(ray=cluster.client_address, wire=wire)
                       for wire in (RAW, JPEG)}
        for size in SIZES:
            for name, place in places.items():
                yield measure(f"{name}, {size[0]}x{size[1]}", place, size, seconds, cluster)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--client", action="store_true", help="also through the port of Ray's client")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    print(f"| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|")
    found = []
    for row in measure_all(options.seconds, options.client):
        print(row, flush=True)
        found.append(asdict(row))
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n")
