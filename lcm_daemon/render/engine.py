"""The engine process: owns the device and renders. It is replaced after an error, never repaired."""

from __future__ import annotations

import logging
import re
import time
from dataclasses import dataclass

from lcm_daemon.core.errors import RecipeError
from lcm_daemon.pipelines import build, warm_imports
from lcm_daemon.pipelines.base import Pipeline
from lcm_daemon.processes.bootstrap import LogLevels, run_at_low_priority, set_up_child
from lcm_daemon.processes.channel import ChildChannel, ChildEndpoint
from lcm_daemon.processes.protocol import Credit, Failed, FrameRequest, FrameResult, Progress, Ready
from lcm_daemon.recipes.recipe import Recipe

log = logging.getLogger(__name__)

# CUDA and MPS say "out of memory", torch's CPU allocator says "can't allocate memory".
_OUT_OF_MEMORY = re.compile(r"out of memory|can't allocate memory|not enough memory", re.IGNORECASE)


@dataclass(frozen=True)
class LoadRecipe:
    """Stage to engine, once: load this recipe. Until then the engine is a spare with its libraries imported."""

    recipe: Recipe


def run(endpoint: ChildEndpoint, pipeline: str, spare: bool, log_levels: LogLevels) -> None:
    """Run the process: import, wait for the recipe, load it, render until the stage is gone.

    Args:
        endpoint: The child's end of the channel.
        pipeline: Name of the pipeline whose libraries to import.
        spare: Import at low priority, and report when that is done.
        log_levels: Log levels of the stage.
    """
    set_up_child(log_levels)
    channel = ChildChannel(endpoint)
    try:
        if spare:
            run_at_low_priority(lambda: warm_imports(pipeline))
            channel.send(Progress("warm"))
        else:
            warm_imports(pipeline)
        message = channel.receive()
        if isinstance(message, LoadRecipe):
            _render_frames(_load(message.recipe, channel), channel)
    except RecipeError as error:
        channel.send(Failed(str(error), retry=False, memory=is_out_of_memory(error)))
    except Exception as error:  # the top of the engine's loop: report it, and let a new engine replace this one
        log.exception("engine failed")
        channel.send(Failed(f"{type(error).__name__}: {error}".splitlines()[0], memory=is_out_of_memory(error)))
    finally:
        channel.close()


def is_out_of_memory(error: BaseException | None) -> bool:
    """Whether an error, or one that caused it, says that the device is out of memory.

    Compared by name, since torch is not imported here: torch.OutOfMemoryError, or "CUDA out of memory" in a
    RuntimeError.
    """
    while error is not None:
        if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
            return True
        if isinstance(error, RuntimeError) and _OUT_OF_MEMORY.search(str(error)):
            return True
        error = error.__cause__ or error.__context__
    return False


def _load(recipe: Recipe, channel: ChildChannel) -> Pipeline:
    pipeline = build(recipe, channel.size)
    channel.send(Ready(pipeline.load(lambda text: channel.send(Progress(text)))))
    return pipeline


def _render_frames(pipeline: Pipeline, channel: ChildChannel) -> None:
    """Render one frame a request, until a message comes that is not one."""
    slots = channel.slots
    channel.send(Credit())
    while isinstance(request := channel.receive(), FrameRequest):
        started = time.perf_counter()
        guide = {"guide": slots.guides[request.slot]} if request.guided else {}
        parts = pipeline.render(slots.inputs[request.slot], request.values, slots.outputs[request.slot], **guide)
        seconds = {"render": time.perf_counter() - started, **parts}
        channel.send(FrameResult(request.slot, request.number, request.time, seconds))
        channel.send(Credit())
