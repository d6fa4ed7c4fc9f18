"""The engine process: owns the device and renders. It is replaced after an error, never repaired."""

from __future__ import annotations

import errno
import logging
import re
import threading
import time
from dataclasses import dataclass
from queue import SimpleQueue

from lcm_daemon.core.errors import BrokenPictures, EngineError, RecipeError
from lcm_daemon.pipelines import build, warm_imports
from lcm_daemon.pipelines.base import DeviceMemory, Pending, Pipeline
from lcm_daemon.processes.bootstrap import LogLevels, run_at_low_priority, set_up_child
from lcm_daemon.processes.channel import ChildChannel, ChildEndpoint
from lcm_daemon.processes.log_output import flush_log
from lcm_daemon.processes.protocol import Credit, EndSession, Failed, FrameRequest, FrameResult, Progress, Ready
from lcm_daemon.recipes.recipe import Recipe
from lcm_daemon.render.between_frames import BetweenFrames

log = logging.getLogger(__name__)

MEMORY_SECONDS = 5.0  # between two reports of the device's memory
ENDING_SECONDS = 1.0  # how long an ending engine waits for the frames under way

NO_ROOM = (errno.ENOSPC, errno.ENOMEM)  # errors of a system that has no room for another process

# CUDA and MPS say "out of memory", torch's CPU allocator says "can't allocate memory".
_OUT_OF_MEMORY = re.compile(r"out of memory|can't allocate memory|not enough memory", re.IGNORECASE)


@dataclass(frozen=True)
class LoadRecipe:
    """Stage to engine, once: load this recipe. Until then the engine is a spare with its libraries imported.

    beside: Another engine renders while this one loads.
    returns: This engine takes the place of one that died.
    """

    recipe: Recipe
    beside: bool = False
    returns: bool = False


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
        while isinstance(message := channel.receive(), EndSession):
            pass  # it has no memory yet
        if isinstance(message, LoadRecipe):
            serve(build(message.recipe, channel.size), message, channel)
    except Exception as error:  # noqa: BLE001 - the top of the engine's loop: report it; a new engine replaces this one
        channel.send(failure_of(error))
    finally:
        channel.close()


class EngineFailed(EngineError):
    """An engine elsewhere has reported its end."""

    def __init__(self, failed: Failed) -> None:
        super().__init__(failed.text)
        self.failed = failed


def failure_of(error: Exception) -> Failed:
    """The message that ends the engine after an error; logs the error if a user cannot have caused it."""
    if isinstance(error, EngineFailed):
        return error.failed
    if isinstance(error, BrokenPictures):
        return Failed(str(error), retry=error.retry)
    if isinstance(error, RecipeError):
        return Failed(str(error), retry=False, memory=is_out_of_memory(error))
    log.error("engine failed", exc_info=error)
    flush_log()
    return Failed(f"{type(error).__name__}: {error}".splitlines()[0], memory=is_out_of_memory(error))


def is_out_of_memory(error: BaseException | None) -> bool:
    """Whether an error, or one that caused it, says that the device or the computer is out of memory.

    Compared by name, since torch is not imported here: torch.OutOfMemoryError, or "CUDA out of memory" in a
    RuntimeError.
    """
    while error is not None:
        if isinstance(error, OSError) and error.errno in NO_ROOM:
            return True
        if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
            return True
        if isinstance(error, RuntimeError) and _OUT_OF_MEMORY.search(str(error)):
            return True
        error = error.__cause__ or error.__context__
    return False


def serve(pipeline: Pipeline, message: LoadRecipe, channel: ChildChannel) -> None:
    """Load a pipeline of the message's recipe, and render until the stage is gone. Raises what the pipeline raises."""
    pipeline.loads_beside, pipeline.returns = message.beside, message.returns
    report = pipeline.load(lambda text: channel.send(Progress(text)))
    channel.slots.reserve()
    pipeline.use_memory(channel.slots.memory())
    channel.send(Ready(report, _frames_in_flight(pipeline, channel), pipeline.node))
    if memory := pipeline.memory():
        channel.send(memory)
        threading.Thread(target=_report_memory, args=(pipeline, channel, memory), name="memory", daemon=True).start()
    _render_frames(pipeline, channel)


def _report_memory(pipeline: Pipeline, channel: ChildChannel, last: DeviceMemory) -> None:
    """Tell the stage every few seconds how much of the device's memory is in use, if that has changed."""
    while True:
        time.sleep(MEMORY_SECONDS)
        memory = pipeline.memory()
        if memory is not None and memory != last:
            channel.send(memory)
            last = memory


def _frames_in_flight(pipeline: Pipeline, channel: ChildChannel) -> int:
    """How many frames may be under way: what the pipeline can, while one slot is left for the stage to read."""
    return max(1, min(pipeline.frames_in_flight, channel.slots.count - 1))


def _render_frames(pipeline: Pipeline, channel: ChildChannel) -> None:
    """Render one frame a request, until `_next_request` returns none."""
    limit = _frames_in_flight(pipeline, channel)
    if limit > 1:
        _FramesInFlight(pipeline, channel, limit).run()
        return
    between = BetweenFrames(pipeline, channel.slots)
    try:
        channel.send(Credit())
        while request := _next_request(pipeline, channel):
            started = time.perf_counter()
            parts = _submit(request, pipeline, channel).wait()
            filled = between.fill(request)
            _send_result(request, channel, time.perf_counter() - started, parts, filled)
            channel.send(Credit())
    finally:
        pipeline.close()


def _next_request(pipeline: Pipeline, channel: ChildChannel) -> FrameRequest | None:
    """Wait for the next request, and end sessions until it comes; None for any other message: the engine shall end."""
    while isinstance(message := channel.receive(), EndSession):
        pipeline.end_session(message.session)
    return message if isinstance(message, FrameRequest) else None


def _submit(request: FrameRequest, pipeline: Pipeline, channel: ChildChannel) -> Pending:
    slots, slot = channel.slots, request.slot
    guide = slots.guides[slot] if request.guided else None
    return pipeline.submit(slots.inputs[slot], request.values, slots.outputs[slot], guide, request.session)


def _send_result(request: FrameRequest, channel: ChildChannel, seconds: float, parts: dict[str, float],
                 filled: float) -> None:
    """Answer a request.

    Args:
        seconds: What the frame cost: at full rate, the time from one frame to the next.
        parts: As `Pending.wait` returns them.
        filled: As `BetweenFrames.fill` returns it.
    """
    spent = {"render": seconds, **parts, **({"interpolate": filled} if filled else {})}
    channel.send(FrameResult(request.slot, request.number, request.time, spent, bool(filled)))


class _FramesInFlight:
    """Renders up to `limit` frames at once. `run` submits them; a thread waits for each, in order, and answers.

    A credit is granted while fewer than `limit` frames are under way, one at a time: a frame that is asked for earlier
    would only wait here, and show an older input.
    """

    def __init__(self, pipeline: Pipeline, channel: ChildChannel, limit: int) -> None:
        self._pipeline, self._channel = pipeline, channel
        self._room = threading.Semaphore(limit)
        self._submitted: SimpleQueue[tuple[FrameRequest, float, Pending] | None] = SimpleQueue()
        self._collector = threading.Thread(target=self._collect, name="collect", daemon=True)
        self._between = BetweenFrames(pipeline, channel.slots)
        self._failed = False

    def run(self) -> None:
        """Submit frames until `_next_request` returns none, or a frame fails."""
        self._collector.start()
        try:
            while self._room.acquire() and not self._failed:
                self._channel.send(Credit())
                request = _next_request(self._pipeline, self._channel)
                if self._failed or request is None:
                    break
                started = time.perf_counter()
                self._submitted.put((request, started, _submit(request, self._pipeline, self._channel)))
        finally:
            self._submitted.put(None)
            self._collector.join(ENDING_SECONDS)
            if self._collector.is_alive():  # a frame hangs, and its memory is still in use
                self._channel.slots.keep_mapped()
            else:
                self._pipeline.close()

    def _collect(self) -> None:
        """Wait for the frames and answer, until `run` ends or a frame fails."""
        try:
            ended = 0.0  # when the last frame ended
            while (submitted := self._submitted.get()) is not None:
                request, started, pending = submitted
                parts = pending.wait()
                filled = self._between.fill(request)
                now = time.perf_counter()
                _send_result(request, self._channel, now - max(started, ended), parts, filled)
                ended = now
                self._room.release()
        except Exception as error:  # noqa: BLE001 - the top of the thread: end the engine, as an error of `run` does
            self._failed = True
            self._channel.send(failure_of(error))
            self._room.release()
