"""The governor under a real load: other programs take the processors for a while, and leave them again.

    python -m tests.measure.governor_load [--file governor-load.html] [--calm 30] [--load 60] [--after 180]

A daemon renders the built-in model. The rate that it reaches is measured; a second one must hold most of that. Then
programs compute without a pause, one for each processor. The report has the rate and what the governor has lowered, by
seconds. The program ends with 1 unless the governor has stepped down under the load, and back up to nothing after it.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from lcm_daemon.commands.bench import machine
from lcm_daemon.commands.html_page import heading, page, table
from lcm_daemon.commands.svg_plot import Mark, Series, line_plot
from tests.rigs.daemon import Daemon

COMPILE_SECONDS = 50.0  # for which OpenVINO compiles the model and compares its forms, before anything is measured
MEASURE_SECONDS = 15.0  # for which the rate without a governor is measured
ASK_SECONDS = 0.5
SHARE = 0.8  # of that rate, which the governor must hold
STEPS = 4  # of each picture: the governor may take three of them away


@dataclass(frozen=True)
class Moment:
    """What the status said. at: seconds since the start of the measurement; lowered: by the governor, in words."""

    at: float
    fps: float
    lowered: str


def show_of(target: float) -> dict[str, Any]:
    """The show that is measured. target: Rendered frames a second; 0 without a governor."""
    return {"name": "governor", "recipe": "builtin", "source": {"transport": "testcard"},
            "parameters": {"steps": STEPS, "prompt": "ocean, blue"},
            "output": {"size": [256, 256], "fps": 30, "target_fps": target},
            "sinks": [{"transport": "memory", "name": f"governor{os.getpid()}"}]}


def compute() -> None:
    """Take a processor."""
    while True:
        sum(range(100_000))


@contextlib.contextmanager
def busy(number: int) -> Iterator[None]:
    """Programs that compute without a pause."""
    context = multiprocessing.get_context("spawn")
    programs = [context.Process(target=compute, daemon=True) for _ in range(number)]
    for each in programs:
        each.start()
    try:
        yield
    finally:
        for each in programs:
            each.kill()
            each.join()


def watch(daemon: Daemon, seconds: float, begun: float, until: Callable[[Moment], bool] = lambda moment: False
          ) -> list[Moment]:
    """Ask for the status for some seconds, or until a moment is what is waited for."""
    found, end = list[Moment](), time.perf_counter() + seconds
    while time.perf_counter() < end and not (found and until(found[-1])):
        if status := daemon.status():
            found.append(Moment(time.perf_counter() - begun, float(status["fps"]), str(status["governor"])))
        time.sleep(ASK_SECONDS)
    return found


def usual_rate() -> float:
    """Frames a second without a governor."""
    with tempfile.TemporaryDirectory() as folder, Daemon(Path(folder), show_of(0.0)) as daemon:
        daemon.wait_rendering(120)
        time.sleep(COMPILE_SECONDS)
        return median(each.fps for each in watch(daemon, MEASURE_SECONDS, 0.0))


def measure(options: argparse.Namespace) -> int:
    usual = usual_rate()
    target = round(SHARE * usual, 1)
    print(f"{usual:.1f} fps without a load; the governor holds {target:g}", flush=True)
    with tempfile.TemporaryDirectory() as folder, Daemon(Path(folder), show_of(target)) as daemon:
        daemon.wait_rendering(120)
        time.sleep(COMPILE_SECONDS)
        begun = time.perf_counter()
        calm = watch(daemon, options.calm, begun)
        with busy(options.programs):
            loaded = watch(daemon, options.load, begun)
        after = watch(daemon, options.after, begun, lambda moment: not moment.lowered)
        after += watch(daemon, 10.0, begun)
        log = [line for line in daemon.log().splitlines() if "governor" in line]
    checks = judge(loaded, after)
    Path(options.file).write_text(report(usual, target, [calm, loaded, after], checks, log), "utf-8")
    for what, found, _ in checks:
        print(f"{what}: {found}")
    print(f"the report is {options.file}")
    return 0 if all(good for _, _, good in checks) else 1


def judge(loaded: list[Moment], after: list[Moment]) -> list[tuple[str, str, bool]]:
    """What was expected, what was found, and whether that is as expected."""
    down = next((each for each in loaded if each.lowered), None)
    back = next((each for each in after if not each.lowered), None)
    return [
        ("steps down", f"after {down.at - loaded[0].at:.1f} s of the load: {down.lowered}" if down else "never",
         down is not None),
        ("most that was lowered", loaded[-1].lowered or "nothing", True),
        ("back up", f"{back.at - after[0].at:.1f} s after the load" if back else "not to the end", back is not None),
    ]


def report(
    usual: float, target: float, phases: list[list[Moment]], checks: list[tuple[str, str, bool]], log: list[str]
) -> str:
    """The report as HTML."""
    moments = [each for phase in phases for each in phase]
    loaded, seconds = phases[1], moments[-1].at
    mark = Mark(loaded[0].at, loaded[-1].at, "other programs compute")
    lines = [Series("rendered", [(each.at, each.fps) for each in moments]),
             Series("to be held", [(0.0, target), (seconds, target)])]
    changes = [each for before, each in zip([Moment(0.0, 0.0, ""), *moments], moments, strict=False)
               if each.lowered != before.lowered]
    found = machine()
    about = [("recipe", f"builtin, {STEPS} steps"), ("without a load and a governor", f"{usual:.1f} fps"),
             ("machine", f"{found['cores']:.0f} cores, {found['system']}")]
    body = [table(("", ""), about),
            table(("expected", "found"), [(what, text) for what, text, _ in checks],
                  ["" if good else "bad" for _, _, good in checks]),
            heading("Rate", "Rendered frames a second. Shaded: other programs compute without a pause."),
            line_plot(lines, "fps", seconds, [mark]),
            heading("Lowered by the governor"),
            table(("at", "lowered"), [(f"{each.at:.1f} s", each.lowered or "nothing") for each in changes]),
            heading("Log"), table(("",), [(line,) for line in log])]
    return page("Governor under a load", body, {
        "usual": usual, "target": target, "machine": found, "ok": all(good for _, _, good in checks),
        "moments": [each.__dict__ for each in moments], "load": [mark.start, mark.end]})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--file", default="governor-load.html")
    parser.add_argument("--calm", type=float, default=30.0)
    parser.add_argument("--load", type=float, default=60.0)
    parser.add_argument("--after", type=float, default=180.0)
    parser.add_argument("--programs", type=int, default=os.cpu_count() or 2)
    raise SystemExit(measure(parser.parse_args()))


if __name__ == "__main__":
    main()
