"""Plays a copy of a show for ten seconds, without its sinks and without the internet, and looks at its output."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lcm_daemon import transports
from lcm_daemon.commands.readiness.finding import FAULT, NOTE, OK, Finding
from lcm_daemon.commands.readiness.offline import attempts, without_internet
from lcm_daemon.commands.running_engines import describe_engine
from lcm_daemon.commands.show_copy import ShowCopy
from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.core.frame import Frame
from lcm_daemon.shows.show import Show

SECONDS = 10.0  # for which it is measured
LOAD_SECONDS = 600.0  # for a large model on a cold disk
POLL_SECONDS = 0.25
SETTLE_SECONDS = 5.0  # between two looks at the rate: a compiled form that is loaded beside it makes it higher
SETTLE_TIMES = 6
STILL_RISING = 1.1  # times the rate before
ENOUGH = 0.95  # of the output's rate
BLACK = 4  # brightest value of a black picture, of 255

Health = Mapping[str, Any]


@dataclass
class Output:
    """What came out of the copy.

    Attributes:
        frames: How many frames.
        gap: The longest time between two of them, in seconds.
        changes: How many differed from the one before.
        brightest: The brightest value of all, from 0 to 255.
    """

    frames: int = 0
    gap: float = 0.0
    changes: int = 0
    brightest: int = 0


def dry_run(
    show: Show, overrides: Sequence[str] = (), seconds: float = SECONDS,
    on_load: Callable[[str], None] = lambda text: None,
) -> Iterator[Finding]:
    """Play a copy and yield what was found. on_load: Receives what the engine does while it loads."""
    with without_internet() as (variables, refused):
        with ShowCopy(show, overrides, environment=variables) as copy:
            try:
                found = list(_play(show, copy, seconds, on_load))
            except LcmDaemonError as error:
                found = [Finding("dry run", str(error), FAULT)]
        yield from found
        yield offline(attempts(refused), plays=all(one.grade != FAULT for one in found))


def _play(show: Show, copy: ShowCopy, seconds: float, on_load: Callable[[str], None]) -> Iterator[Finding]:
    started = time.monotonic()
    _wait_until_it_renders(show, copy, on_load)
    yield Finding("start", f"the engine renders after {time.monotonic() - started:.1f} s")
    _settle(copy)
    output = measure(copy.bus, seconds)
    yield from grade(show, output, copy.health(), seconds)


def _wait_until_it_renders(show: Show, copy: ShowCopy, on_load: Callable[[str], None]) -> None:
    """Wait for the first picture, or until the engine waits for an input. Raises LcmDaemonError if it fails."""
    end, said = time.monotonic() + LOAD_SECONDS, ""
    while time.monotonic() < end:
        if not copy.is_running:
            raise LcmDaemonError(f"the copy has ended: {_last_line(copy)}")
        try:
            status = copy.health()["status"]
        except LcmDaemonError:
            status = {}  # its page is not there yet
        if status.get("engine") == "rendering" and (status.get("fps") or status.get("no_input")):
            return
        if status and status.get("recipe") != show.recipe.name:
            raise LcmDaemonError(f"{show.recipe.name} does not load, and {status.get('recipe')} plays in its place: "
                                 f"{status.get('alarm') or _last_line(copy)}")
        if (text := str(status.get("engine") or "starting")) != said:
            said = text
            on_load(text)
        time.sleep(POLL_SECONDS)
    raise LcmDaemonError(f"no picture was rendered within {LOAD_SECONDS:.0f} s: the engine is {said}; "
                         f"{_last_line(copy)}")


def _last_line(copy: ShowCopy) -> str:
    return next((line for line in reversed(copy.log()) if line.strip()), "it has logged nothing")


def _settle(copy: ShowCopy) -> None:
    """Wait until the rate of rendered frames rises no more."""
    before = 0.0
    for _ in range(SETTLE_TIMES):
        time.sleep(SETTLE_SECONDS)
        rate = float(copy.health()["status"].get("fps") or 0.0)
        if rate < before * STILL_RISING:
            return
        before = rate


def measure(bus: str, seconds: float) -> Output:
    """Read the output of a copy. bus: The shared memory that it is in."""
    source_type = transports.load("memory").source
    assert source_type is not None
    source, output = source_type({"name": bus}), Output()
    times: list[float] = []
    before: Frame | None = None
    source.open()
    try:
        end = time.perf_counter() + seconds
        while (now := time.perf_counter()) < end:
            frame = source.read(min(0.5, end - now))
            if frame is not None:
                times.append(time.perf_counter())
                colours = frame.pixels[::8, ::8, :3]  # enough to tell black and still pictures
                output.brightest = max(output.brightest, int(colours.max()))
                output.changes += before is None or not np.array_equal(colours, before.pixels[::8, ::8, :3])
                before = frame
    finally:
        source.close()
    output.frames = len(times)
    output.gap = max((b - a for a, b in itertools.pairwise(times)), default=seconds)
    return output


def grade(show: Show, output: Output, health: Health, seconds: float) -> Iterator[Finding]:
    """What the figures mean. health: As of `ShowCopy.health` at the end."""
    status = health["status"]
    rate = output.frames / seconds
    text = f"{rate:.1f} of {show.fps:g} frames a second, longest gap {1000 * output.gap:.0f} ms"
    yield Finding("output", text, OK if rate >= ENOUGH * show.fps else FAULT)
    if status.get("no_input"):
        yield Finding("input", f"the mode needs one, and none comes: {status.get('source')}", FAULT)
    else:
        yield from _rendered(show, status, output)
    yield from (Finding(str(row.get("name") or "engine"), describe_engine(row)) for row in health.get("engines", ()))
    if status.get("recipe") != show.recipe.name:
        yield Finding("recipe", f"{status.get('recipe')} plays in place of {show.recipe.name}: "
                      f"{status.get('error') or status.get('alarm') or 'the log of a run says why'}", FAULT)
    if status.get("replaced"):
        yield Finding("processes", f"{status['replaced']} were replaced after an error", FAULT)
    for name, bad in (("alarm", FAULT), ("error", FAULT), ("governor", NOTE)):
        if status.get(name):
            yield Finding(name, str(status[name]), bad)


def _rendered(show: Show, status: Mapping[str, Any], output: Output) -> Iterator[Finding]:
    fps, latency = float(status.get("fps") or 0.0), status.get("latency") or status.get("engine_latency") or 0.0
    wanted = f"; the show asks for {show.target_fps:g}" if show.target_fps else ""
    slow = fps < ENOUGH * show.target_fps
    yield Finding("rendered", f"{fps:.1f} pictures a second, {float(latency):.0f} ms from input to picture{wanted}",
                  FAULT if not fps else NOTE if slow else OK)
    if output.brightest <= BLACK:
        yield Finding("picture", "every picture was black", NOTE)
    elif output.changes <= 1:
        yield Finding("picture", "every picture was the same; so is the input, or it is one picture", NOTE)


def offline(hosts: Sequence[str], plays: bool) -> Finding:
    """Whether the show needs the internet. hosts: What it asked for, and was refused."""
    if not hosts:
        return Finding("offline", "nothing asked for the internet")
    text = f"asked for {', '.join(hosts[:5])}, which was refused"
    return Finding("offline", f"{text}; the show played without it" if plays else text, NOTE if plays else FAULT)
