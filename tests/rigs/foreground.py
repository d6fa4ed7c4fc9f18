"""An engine or a desk in this process, for a debugger or a profiler.

    python -m tests.rigs.foreground engine RECIPE [--frames N]
    python -m tests.rigs.foreground desk SHOW [--seconds N]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Sequence

from lcm_daemon.core.frame import Frame
from lcm_daemon.core.live_values import Parameters
from lcm_daemon.desk.desk import Desk, DeskConfig, DeskRequests
from lcm_daemon.pipelines import build
from lcm_daemon.processes.bootstrap import LogLevels, set_up_logging
from lcm_daemon.processes.channel import CLOSED, Channel, ChildChannel
from lcm_daemon.processes.protocol import FrameResult
from lcm_daemon.recipes.reader import load_recipe
from lcm_daemon.recipes.recipe import Recipe
from lcm_daemon.render import engine
from lcm_daemon.shows.reader import load_show
from lcm_daemon.shows.show import Show
from lcm_daemon.transports.testcard import TestcardSource

SIZE = (512, 512)


def run_engine(recipe: Recipe, frames: int) -> list[float]:
    """Render `frames` test cards on this thread, as the engine does; return the seconds that each took."""
    parent = Channel(SIZE)
    child = ChildChannel(parent.child_endpoint())
    seconds: list[float] = []
    feeding = threading.Thread(target=_feed, args=(parent, recipe, frames, seconds), daemon=True)
    feeding.start()
    try:
        engine.serve(build(recipe, child.size), engine.LoadRecipe(recipe), child)
    finally:
        child.close()
        feeding.join(10)
        parent.close()
    return seconds


def _feed(parent: Channel, recipe: Recipe, frames: int, seconds: list[float]) -> None:
    """The stage's end of the channel: a test card for each credit, then a message that ends the engine's loop."""
    card = TestcardSource({"size": SIZE, "fps": 240})
    card.open()
    values = Parameters(recipe.table(), recipe.start_values()).targets()
    with contextlib.suppress(*CLOSED):
        while len(seconds) < frames:
            for message in parent.receive():
                if isinstance(message, FrameResult):
                    parent.free_slot(message)
                    seconds.append(message.seconds["render"])
            frame = card.read(0.1)
            if frame is not None and len(seconds) < frames:
                parent.send_frame(Frame(frame.pixels, frame.number, frame.time), values, time.perf_counter())
        parent.send_without_credit(None)
    card.close()


def run_desk(show: Show, seconds: float) -> list[DeskRequests]:
    """Open the show's controllers on this thread; return what they requested."""
    parent = Channel((64, 64))
    child = ChildChannel(parent.child_endpoint())
    table = show.table(show.recipe)
    config = DeskConfig(show.name, table, show.start_values(show.recipe), show.desk_options, tuple(show.catalogue()))
    requests: list[DeskRequests] = []

    async def play() -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(Desk(child, config).run(), seconds)

    try:
        asyncio.run(play())
        for message in parent.receive():
            if isinstance(message, DeskRequests) and message.queue:
                logging.info("requests: %s", list(message.queue))
                requests.append(message)
    finally:
        parent.pipe.close()
        parent.close()
        child.close()
    return requests


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.rigs.foreground", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parts = parser.add_subparsers(dest="part", required=True)
    engine_parser = parts.add_parser("engine", help="render test cards")
    engine_parser.add_argument("recipe", nargs="?", default="builtin")
    engine_parser.add_argument("--frames", type=int, default=60)
    desk_parser = parts.add_parser("desk", help="open a show's controllers")
    desk_parser.add_argument("show", nargs="?", default="demo")
    desk_parser.add_argument("--seconds", type=float, default=3600.0)
    options = parser.parse_args(arguments)
    set_up_logging(LogLevels(logging.DEBUG))
    if options.part == "engine":
        times = sorted(run_engine(load_recipe(options.recipe), options.frames))
        print(f"{len(times)} frames, median {1000 * times[len(times) // 2]:.1f} ms")
    else:
        run_desk(load_show(options.show), options.seconds)


if __name__ == "__main__":
    main()
