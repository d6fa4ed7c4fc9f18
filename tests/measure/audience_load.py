"""Load of an audience: browsers, some with a camera, and many more WebSocket clients wait for their turn at a daemon.

    python -m tests.measure.audience_load --contexts 40 --cameras 4 --clients 500 --places 4

Engines are timed stand-ins (50 ms a frame, no processor). First a control run: the browsers have the page open, and
those with a camera encode its frames, but none joins. Then all join: those with a camera play for --hold seconds while
all others wait; then every visitor has a turn and leaves after --turn seconds. With --contexts 0 there is no browser,
and the first clients play for --hold seconds.

The report has the output's cadence in both runs, the time of answers (as clients see them, with the delays of their own
process beside, and by the server's time stamps), whether each visitor had one turn in its order, and memory, files and
threads of the visitors' server before the load and after its end. Look at the load average: where other programs want
the processors, the server waits for one, and its answers with it.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import multiprocessing
import os
import shutil
import tempfile
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from lcm_daemon.audience.lobby import ENDED
from lcm_daemon.core.metrics import quantile_of
from tests.measure.output_watch import Watch
from tests.rigs.audience import ask
from tests.rigs.browser import Tab, context, running
from tests.rigs.daemon import Daemon, free_port, wait_for
from tests.rigs.lean_phone import LeanPhone

SERVICE = 0.05  # seconds that a stand-in takes for a frame
ASK_SECONDS = 2.0  # between two questions of a client
JOINS_A_SECOND = 40
LOOK_SECONDS, SAMPLE_SECONDS = 0.02, 2.0
# Visitors' devices take no processor of the daemon's machine. Linux shares its processors evenly between sessions of
# processes (sched_autogroup), so that in a session of its own the daemon does not compete with each of the browsers.
OWN_SESSION = ("setsid",) if shutil.which("setsid") else ()
SETTLED = 15.0  # seconds until connections that browsers keep are closed
ENCODE = """(async () => { const video = document.createElement('video');
  const canvas = document.createElement('canvas');
  video.srcObject = await navigator.mediaDevices.getUserMedia({video: true}); await video.play();
  canvas.width = canvas.height = 256;
  setInterval(() => { canvas.getContext('2d').drawImage(video, 0, 0, 256, 256);
    canvas.toBlob(() => null, 'image/jpeg', 0.8) }, 200) })()"""


def phase(name: str) -> str:
    return f"document.querySelector('[data-phase={name}]') !== null"


@dataclass(frozen=True)
class Visit:
    """What a client has seen."""

    number: int
    called: Sequence[float]
    ended: str
    code: int
    answers: Sequence[tuple[float, float]]  # when a question was sent, and the seconds until its answer


def crowd(port: int, turns: Sequence[float], pipe: Any) -> None:
    """A process of its own: all clients. turns: seconds that each plays. Sends their visits, and its own delays."""
    pipe.recv()
    pipe.send(asyncio.run(_visit_all(port, turns)))


async def _visit_all(port: int, turns: Sequence[float]) -> tuple[list[Visit], list[float]]:
    delays: list[float] = []
    watching = asyncio.create_task(_watch_loop(delays))
    phones = [LeanPhone(port, turn, ASK_SECONDS) for turn in turns]
    await asyncio.gather(*(phone.visit(n / JOINS_A_SECOND) for n, phone in enumerate(phones)))
    watching.cancel()
    return [Visit(p.number, p.called, p.ended, p.code, p.answers) for p in phones], delays


async def _watch_loop(delays: list[float]) -> None:
    while True:
        due = time.perf_counter() + LOOK_SECONDS
        await asyncio.sleep(LOOK_SECONDS)
        delays.append(time.perf_counter() - due)


def observe(pipe: Any) -> None:
    """A process of its own: the cadence of the output. Sends the gaps since the last request at each request."""
    with Watch("memory", "audience") as watch:
        while True:
            begun = len(watch.times)
            pipe.recv()
            pipe.send([b - a for a, b in itertools.pairwise(watch.times[begun:])])


def gaps(pipe: Any) -> list[float]:
    pipe.send(None)
    found: list[float] = pipe.recv()
    return found


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


async def sample(daemon: Daemon, found: list[tuple[int, int, float]]) -> None:
    """By time stamps of the server: 99 % of its answers, and of its event loop's delays, in ms; and the load."""
    while True:
        await asyncio.sleep(SAMPLE_SECONDS)
        counts = await asyncio.to_thread(daemon.health, "audience")
        if counts:
            found.append((counts["time/answer p99 ms"], counts["time/late p99 ms"], os.getloadavg()[0]))


async def open_pages(stack: AsyncExitStack, devtools: str, url: str, count: int) -> list[Tab]:
    pages = [await stack.enter_async_context(context(devtools)) for _ in range(count)]
    for page in pages:
        await page.open(url, 390, 780)
    return pages


async def measure(
    daemon: Daemon, devtools: str, port: int, options: argparse.Namespace, observer: Any, clients: Any,
) -> None:
    url, samples = f"http://127.0.0.1:{port}/join", list[tuple[int, int, float]]()
    async with AsyncExitStack() as stack:
        pages = await open_pages(stack, devtools, url, options.contexts)
        cameras, others = pages[:options.cameras], pages[options.cameras:]
        for page in cameras:
            await page.js(ENCODE)
        gaps(observer)
        await asyncio.sleep(options.control)
        control = gaps(observer)
        for page in cameras:
            await page.open(f"{url}?", 390, 780)
        server = psutil.Process(int(daemon.status()["audience_pid"]))
        before, begun = Resources.of(server), time.perf_counter()
        sampling = asyncio.create_task(sample(daemon, samples))
        for page in cameras:
            await join(page)
        await asyncio.gather(*map(start_camera, cameras))
        for page in others:
            await join(page)
        clients.send(None)
        await asyncio.sleep(options.clients / JOINS_A_SECOND + 3.0)
        print(f"{(await ask(port, '/join/state')).json()['waiting']} wait after {time.perf_counter() - begun:.0f} s")
        await asyncio.sleep(options.hold)
        numbers = await asyncio.gather(*(play(page, options.turn if page in others else 0.0) for page in pages))
        visits, delays = await asyncio.to_thread(clients.recv)
        loaded = gaps(observer)
        sampling.cancel()
        print(f"all gone after {time.perf_counter() - begun:.0f} s")
        report_order(visits, numbers)
    await asyncio.sleep(SETTLED)
    state, after = (await ask(port, "/join/state")).json(), Resources.of(server)
    print(f"left in the queue {state['waiting']}; the server's memory {before.memory:.0f} -> {after.memory:.0f} MiB, "
          f"files {before.files} -> {after.files}, threads {before.threads} -> {after.threads}")
    report("answers, as clients see them", [seconds for visit in visits for _, seconds in visit.answers])
    report("delays of the clients' own event loop", delays)
    answers, late, load = (sorted(each) for each in zip(*samples, strict=True))
    print(f"the server's own: p99 of answers {quantile_of(answers, 0.5)}, at most {answers[-1]} ms; p99 of the event "
          f"loop's delay {quantile_of(late, 0.5)}, at most {late[-1]} ms; load average {load[0]:.1f} to {load[-1]:.1f}")
    report("gaps of the output, control", control)
    report("gaps of the output, load", loaded)


def report(what: str, seconds: Sequence[float]) -> None:
    found = sorted(seconds)
    parts = ", ".join(f"{name} {1000 * quantile_of(found, share):.1f}" for name, share in (
        ("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("p99.9", 0.999), ("longest", 1.0)))
    print(f"{what}: {len(found)}; {parts} ms")


def report_order(clients: Sequence[Visit], numbers: Sequence[int]) -> None:
    """Whether each had one turn, in the order of the sessions' numbers."""
    turns = sorted((client.called[0], client.number) for client in clients)
    order = [number for _, number in turns]
    away = max((abs(place - sorted(order).index(number)) for place, number in enumerate(order)), default=0)
    lost = [client.number for client in clients
            if len(client.called) != 1 or (client.ended, client.code) != ("left", ENDED)]
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
    (observer, observed), (clients, started) = spawn.Pipe(), spawn.Pipe()
    held = 0 if options.contexts else options.places  # without browsers, the first clients play while all others wait
    turns = [options.hold + options.clients / JOINS_A_SECOND + 3.0] * held
    turns += [options.turn] * (options.clients - held)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (folder / "browser").mkdir()
        daemon = stack.enter_context(Daemon(folder, show, OWN_SESSION))
        devtools = stack.enter_context(running(folder / "browser")) if options.contexts else ""
        daemon.wait_rendering()
        wait_for(lambda: "serving visitors" in daemon.log(), 30, "the visitors' server")
        processes = [spawn.Process(target=observe, args=(observed,), daemon=True),
                     spawn.Process(target=crowd, args=(port, turns, started), daemon=True)]
        for process in processes:
            process.start()
        asyncio.run(measure(daemon, devtools, port, options, observer, clients))
        print(json.dumps({key: daemon.status().get(key) for key in ("fps", "output_fps", "late", "dropped")}))
        print("\n".join(line for line in daemon.log().splitlines() if " W " in line or " E " in line))
        for process in processes:
            process.kill()


if __name__ == "__main__":
    main()
