"""Engine: the child process that owns the device and renders. Disposable: it is replaced, never repaired."""

from __future__ import annotations

import logging
import re
import time
from dataclasses import dataclass

from lcm_daemon.core.errors import RecipeError
from lcm_daemon.pipelines import build, warm_imports
from lcm_daemon.pipelines.base import Pipeline
from lcm_daemon.processes.bootstrap import begin_child, run_gently
from lcm_daemon.processes.channel import ChildChannel, ChildEndpoint
from lcm_daemon.processes.protocol import Credit, Failed, FrameRequest, FrameResult, Progress, Ready
from lcm_daemon.recipes.recipe import Recipe

log = logging.getLogger(__name__)

# CUDA and MPS say "out of memory", torch's CPU allocator "can't allocate memory".
_NO_MEMORY = re.compile(r"out of memory|can't allocate memory|not enough memory", re.IGNORECASE)


@dataclass(frozen=True)
class LoadRecipe:
    """Stage to engine, once: become this recipe. Until it comes, the engine is a spare with its libraries imported."""

    recipe: Recipe


def run(arguments: ChildEndpoint, pipeline: str, spare: bool, level: int) -> None:
    """The process: import, wait for the recipe, load, render until the stage is gone."""
    begin_child(level)
    port = ChildChannel(arguments)
    try:
        run_gently(lambda: warm_imports(pipeline)) if spare else warm_imports(pipeline)
        if spare:
            port.say(Progress("warm"))
        order = port.receive()
        if isinstance(order, LoadRecipe):
            _render(_load(order.recipe, port), port)
    except RecipeError as error:
        port.say(Failed(str(error), retry=False, memory=lacks_memory(error)))
    except Exception as error:  # the top of the engine's loop: say it, and let a fresh engine take over
        log.exception("the engine failed")
        port.say(Failed(f"{type(error).__name__}: {error}".splitlines()[0], memory=lacks_memory(error)))
    finally:
        port.close()


def lacks_memory(error: BaseException | None) -> bool:
    """Whether an error, or one that it came from, says that the device has no memory left.

    By name, since torch is not imported here: torch.OutOfMemoryError, or "CUDA out of memory" in a RuntimeError.
    """
    while error is not None:
        if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
            return True
        if isinstance(error, RuntimeError) and _NO_MEMORY.search(str(error)):
            return True
        error = error.__cause__ or error.__context__
    return False


def _load(recipe: Recipe, port: ChildChannel) -> Pipeline:
    pipeline = build(recipe, port.size)
    port.say(Ready(pipeline.load(lambda text: port.say(Progress(text)))))
    return pipeline


def _render(pipeline: Pipeline, port: ChildChannel) -> None:
    port.say(Credit())
    while isinstance(job := port.receive(), FrameRequest):
        begun = time.perf_counter()
        taken, given = port.slots.taken[job.slot], port.slots.given[job.slot]
        guide = {"guide": port.slots.guides[job.slot]} if job.guided else {}
        parts = pipeline.render(taken, job.values, given, **guide)
        seconds = {"render": time.perf_counter() - begun, **parts}
        port.say(FrameResult(job.slot, job.number, job.time, seconds))
        port.say(Credit())
