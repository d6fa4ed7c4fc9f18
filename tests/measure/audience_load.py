"""Load of an audience: browsers, some with a camera, and many more WebSocket clients wait for their turn at a daemon.

    python -m tests.measure.audience_load --contexts 40 --cameras 4 --clients 500 --places 4

Engines are timed stand-ins (50 ms a frame, no processor). First a control run: the browsers have the page open, and
those with a camera encode its frames, but none joins. Then all join: those with a camera play for --hold seconds while
all others wait; then every visitor has a turn and leaves after --turn seconds. The report has the output's cadence in
both runs, the time of answers (of all clients, and of one in a process of its own), whether each visitor had one turn
in its order, and memory, files and threads of the visitors' server before the load and after its end.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import multiprocessing
import tempfile
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from lcm_daemon.core.metrics import quantile_of
from tests.measure.soak import Watch
from tests.rigs.audience import Phone, ask
from tests.rigs.browser import Tab, context, running
from tests.rigs.daemon import Daemon, free_port, wait_for

SERVICE = 0.05  # seconds that a stand-in takes for a frame
ASK_SECONDS = 2.0  # between two questions of a client
JOINS_A_SECOND = 40
SETTLED = 15.0  # seconds until connections that browsers keep are closed
ENCODE = """(async () => { const video = document.createElement('video');
  const canvas = document.createElement('canvas');
  video.srcObject = await navigator.mediaDevices.getUserMedia({video: true}); await video.play();
  canvas.width = canvas.height = 256;
  setInterval(() => { canvas.getContext('2d').drawImage(video, 0, 0, 256, 256);
    canvas.toBlob(() => null, 'image/jpeg', 0.8) }, 200) })()"""


def phase(name: str) -> str:
    return f"document.querySelector('[data-phase={name}]') !== null"


@dataclass
class Client(Phone):
    """A visitor on a WebSocket: asks from time to time, and leaves after a while of its turn."""

    port: int
    turn: float
    asked: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)  # that answers took
    called: list[float] = field(default_factory=list)  # when its turn began

    def __post_init__(self) -> None:
        super().__init__(self.port)
        self.begins = asyncio.Event()

    async def _receive(self, data: str | bytes, socket: Any) -> None:
        before = self.phase
        if isinstance(data, str) and data.startswith(('{"error"', '{"values"')) and self.asked:
            self.seconds.append(time.perf_counter() - self.asked.pop(0))
        await super()._receive(data, socket)
        self.pictures[:] = self.pictures[-1:]
        if self.phase == "turn" and before != "turn":
            self.called.append(time.perf_counter())
            self.begins.set()

    async def visit(self, pause: float) -> None:
        """Join, wait, play, leave."""
        await asyncio.sleep(pause)
        await self.arrive()
        while not self.called:
            await self._ask()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(ASK_SECONDS):
                    await self.begins.wait()
        await self._ask()
        await asyncio.sleep(max(self.called[0] + self.turn - time.perf_counter(), 0.0))
        await self.send(leave=True)
        while not self.code:
            await asyncio.sleep(0.05)

    async def _ask(self) -> None:
        self.asked.append(time.perf_counter())
        await self.send(set={"strength": 0.5})


def observe(port: int, pipe: Any) -> None:
    """A process of its own: the cadence of the output, and one visitor who asks 20 times a second until its turn."""
    with Watch("memory", "audience") as watch:
        for _ in range(2):
            seconds = pipe.recv()  # of the control run; 0 for the load
            begun = len(watch.times)
            if seconds:
                time.sleep(seconds)
            answers = [] if seconds else asyncio.run(_ask_on(port))
            pipe.send(([b - a for a, b in itertools.pairwise(watch.times[begun:])], answers))


async def _ask_on(port: int) -> list[float]:
    client = Client(port, 0.0)
    await client.arrive()
    with contextlib.suppress(Exception):
        while not client.called and not client.code:
            await client._ask()
            await asyncio.sleep(0.05)
        await client.send(leave=True)
        await client.until(lambda each: each.code)
    return client.seconds


@dataclass(frozen=True)
class Resources:
    """What a process holds."""

    memory: float  # MiB
    files: int
    threads: int

    @staticmethod
    def of(process: psutil.Process) -> Resources:
        return Resources(process.memory_info().rss / 2**20, process.num_fds(), process.num_threads())


async def play(page: Tab, turn: float) -> int:
    """Have a turn in a browser; returns the number of the session."""
    while not await page.js(phase("turn")):
        await asyncio.sleep(0.5)
    await asyncio.sleep(turn)
    number = int(await page.js("document.querySelector('main').dataset.session"))
    await page.js("document.querySelector('[data-leave]').click()")
    await page.until("document.querySelector('[data-ended=left]') !== null")
    return number


async def join(page: Tab) -> None:
    await page.until("document.querySelector('[data-join]')?.disabled === false")
    await page.js("document.querySelector('[data-join]').click()")
    await page.until(f"{phase('waiting')} || {phase('turn')}")


async def start_camera(page: Tab) -> None:
    await page.until(phase("turn"))
    await page.js("document.querySelector('[data-camera=start]').click()")
    await page.until("document.querySelector('.preview video')?.videoWidth > 0")


async def measure(daemon: Daemon, devtools: str, port: int, options: argparse.Namespace, pipe: Any) -> None:
    url = f"http://127.0.0.1:{port}/join"
    async with AsyncExitStack() as stack:
        pages = [await stack.enter_async_context(context(devtools)) for _ in range(options.contexts)]
        for page in pages:
            await page.open(url, 390, 780)
        cameras, others = pages[:options.cameras], pages[options.cameras:]
        for page in cameras:
            await page.js(ENCODE)
        pipe.send(options.control)
        control, _ = await asyncio.to_thread(pipe.recv)
        for page in cameras:
            await page.open(f"{url}?", 390, 780)
        server = psutil.Process(int(daemon.status()["audience_pid"]))
        before, begun = Resources.of(server), time.perf_counter()

        for page in cameras:
            await join(page)
        await asyncio.gather(*map(start_camera, cameras))
        for page in others:
            await join(page)
        clients = [Client(port, options.turn) for _ in range(options.clients)]
        visits = [asyncio.create_task(each.visit(n / JOINS_A_SECOND)) for n, each in enumerate(clients)]
        await asyncio.sleep(options.clients / JOINS_A_SECOND + 3.0)
        pipe.send(0.0)
        await asyncio.sleep(1.0)
        held = time.perf_counter()
        print(f"{(await ask(port, '/join/state')).json()['waiting']} wait after {held - begun:.0f} s")
        await asyncio.sleep(options.hold)
        numbers = await asyncio.gather(*(play(page, options.turn if page in others else 0.0) for page in pages))
        await asyncio.gather(*visits)
        loaded, answers = await asyncio.to_thread(pipe.recv)
        print(f"all gone after {time.perf_counter() - begun:.0f} s")
        report_order(clients, numbers)
    await asyncio.sleep(SETTLED)
    state = (await ask(port, "/join/state")).json()
    after = Resources.of(server)
    print(f"left in the queue {state['waiting']}; the server's memory {before.memory:.0f} -> {after.memory:.0f} MiB, "
          f"files {before.files} -> {after.files}, threads {before.threads} -> {after.threads}")
    report("answers of all clients", [each for client in clients for each in client.seconds])
    report("answers in a process of its own", answers)
    report("gaps of the output, control", control)
    report("gaps of the output, load", loaded)


def report(what: str, seconds: Sequence[float]) -> None:
    found = sorted(seconds)
    parts = ", ".join(f"{name} {1000 * quantile_of(found, share):.1f}" for name, share in (
        ("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("p99.9", 0.999), ("longest", 1.0)))
    print(f"{what}: {len(found)}; {parts} ms")


def report_order(clients: Sequence[Client], numbers: Sequence[int]) -> None:
    """Whether each had one turn, in the order of the sessions' numbers."""
    turns = sorted((client.called[0], client.number) for client in clients)
    order = [number for _, number in turns]
    away = max((abs(place - sorted(order).index(number)) for place, number in enumerate(order)), default=0)
    lost = [client.number for client in clients if len(client.called) != 1 or client.ended != "left"]
    print(f"turns: {len(clients)} clients, {len(numbers)} browsers; lost or doubled {lost}; "
          f"all numbers differ {len({*order, *numbers}) == len(order) + len(numbers)}; "
          f"furthest from its place in the order as clients saw it: {away}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--contexts", type=int, default=40)
    parser.add_argument("--cameras", type=int, default=4)
    parser.add_argument("--clients", type=int, default=500)
    parser.add_argument("--places", type=int, default=4)
    parser.add_argument("--engines", type=int, default=4)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--control", type=float, default=20.0, help="seconds of the control run")
    parser.add_argument("--hold", type=float, default=20.0, help="seconds that those with a camera play")
    parser.add_argument("--turn", type=float, default=1.0, help="seconds that all others play")
    options = parser.parse_args()
    port = free_port()
    show = {
        "name": "audience",
        "recipe": {"base": "passthrough", "pipeline": "timed_copy", "schedule": {"service": SERVICE}},
        "source": {"transport": "testcard"}, "output": {"size": [options.size, options.size], "fps": 30},
        "sinks": [{"transport": "memory", "name": "audience"}], "engine": {"spare": False},
        "engines": [{"device": "cpu"}] * options.engines,
        "audience": {"places": options.places, "queue": options.contexts + options.clients + 1, "seconds": 600,
                     "parameters": ["prompt", "strength"], "port": port},
    }
    spawn = multiprocessing.get_context("spawn")
    pipe, end = spawn.Pipe()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "browser").mkdir()
        with Daemon(folder, show) as daemon, running(folder / "browser") as devtools:
            daemon.wait_rendering()
            wait_for(lambda: "serving visitors" in daemon.log(), 30, "the visitors' server")
            observer = spawn.Process(target=observe, args=(port, end), daemon=True)
            observer.start()
            asyncio.run(measure(daemon, devtools, port, options, pipe))
            print(json.dumps({key: daemon.status().get(key) for key in ("fps", "output_fps", "late", "dropped")}))
            print("\n".join(line for line in daemon.log().splitlines() if " W " in line or " E " in line))
            observer.kill()


if __name__ == "__main__":
    main()
