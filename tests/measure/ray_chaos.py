"""A show with the built-in model on a Ray cluster of three nodes on this machine, while parts of it go and come.

    python -m tests.measure.ray_chaos [--size 256]

A gap is the time between two newly rendered pictures. It is compared with 3 x service / (engines - 1).
"""

from __future__ import annotations

import argparse
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

from lcm_daemon.commands.bench_task import show_of
from lcm_daemon.core.frame import Frame
from lcm_daemon.core.metrics import quantile_of
from lcm_daemon.stage.stage import Stage
from tests.rigs.ray_cluster import HEAD, TOKEN, RayNodes

NODES = ("b", "c", "d")
LONGEST = 60.0  # seconds until all engines render
DURATION = 400.0  # seconds at most; on two idle cores everything takes about 150
SECONDS = 6.0  # that the effect of one thing is watched


class Watch:
    """When pictures came, and when the output ticked."""

    def __init__(self, stage: Stage) -> None:
        self.stage, self.times = stage, [time.perf_counter()]

    def on_result(self, frame: Frame, now: float) -> None:
        self.times.append(time.perf_counter())

    def ready(self) -> int:
        return sum(engine.ready for engine in self.stage.transition.current.engines)

    def wait(self, name: str, condition: Callable[[], bool], since: float | None = None) -> None:
        """Wait for something, and print how many seconds it took. since: From when, else from now."""
        begun = time.perf_counter()
        while not condition():
            if time.perf_counter() - begun > LONGEST:
                print(f"{name:34} not within {LONGEST:.0f} s", flush=True)
                return
            time.sleep(0.02)
        print(f"{name:34} {time.perf_counter() - (since or begun):.1f} s", flush=True)

    def report(self, name: str, since: float) -> None:
        gaps = sorted(after - before for before, after in pairwise(t for t in self.times if t > since - 1.0))
        if not gaps:
            print(f"{name:34} no picture", flush=True)
            return
        service = self.stage.metrics.timing("engine/render")
        limit = 3 * service / (len(NODES) - 1)
        print(f"{name:34} {len(gaps) / sum(gaps):5.1f} pictures/s, median gap {1000 * quantile_of(gaps, 0.5):4.0f} ms, "
              f"longest {1000 * gaps[-1]:5.0f} ms (limit {1000 * limit:.0f}), {self.ready()} engines, service "
              f"{1000 * service:.0f} ms, tick late p99 "
              f"{1000 * self.stage.metrics.timing('tick/late', 0.99):.0f} ms", flush=True)


def play(watch: Watch, cluster: RayNodes) -> None:
    """Do one thing after another to the cluster."""
    def are_all_ready() -> bool:
        return watch.ready() == len(NODES)

    def act(name: str, change: Callable[[], None], seconds: float = SECONDS) -> float:
        since = time.perf_counter()
        change()
        time.sleep(seconds)
        watch.report(name, since)
        return since

    watch.wait("all engines", are_all_ready)
    act("undisturbed", lambda: None)
    since = act("one actor killed", lambda: os.kill(cluster.actors()[0], signal.SIGKILL))
    watch.wait("its engine is back after", are_all_ready, since)
    act("all back", lambda: None)
    act("one node stopped", lambda: cluster.stop("d"))
    since = time.perf_counter()
    cluster.add("e")
    watch.wait("a node added: its engine after", are_all_ready, since)
    watch.report("while it joined", since)
    act("all back", lambda: None)
    act("head node stopped", lambda: cluster.stop(HEAD), 10)
    for name in ("b", "c", "e"):
        cluster.stop(name)
    cluster.add(HEAD, 0)
    cluster.add_all(dict.fromkeys(NODES, 1))
    returned, count = time.perf_counter(), len(watch.times)
    watch.wait("cluster returned: first picture", lambda: len(watch.times) > count)
    watch.wait("all engines", are_all_ready, returned)
    act("all back", lambda: None)


def main(size: int) -> None:
    os.environ["RAY_AUTH_TOKEN"] = TOKEN
    with TemporaryDirectory() as homes, RayNodes(Path(homes)) as cluster:
        cluster.add_all(dict.fromkeys(NODES, 1))
        watch: Watch
        show = show_of({
            "recipe": {"base": "builtin", "size": [size, size], "accelerate": "none"},
            "source": {"transport": "testcard"},
            "engines": {"ray": cluster.address, "engines": len(NODES), "device": "cpu"}, "osc": False, "panel": False,
            "midi": False, "resume": False, "output": {"size": [size, size], "fps": 30}})
        stage = Stage(replace(show, sinks=()), on_result=lambda frame, now: watch.on_result(frame, now))
        watch = Watch(stage)

        def act() -> None:
            try:
                play(watch, cluster)
            finally:
                stage.stop()
        threading.Thread(target=act, daemon=True).start()
        stage.run(DURATION)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=256, help="of the pictures, in pixels")
    main(parser.parse_args().size)
