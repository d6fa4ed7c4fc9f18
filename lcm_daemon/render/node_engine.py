"""NodeEngine: an engine in the process of a Ray actor. It knows nothing of Ray and nothing of this machine's clock."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np

from lcm_daemon.core.frame import Size
from lcm_daemon.core.live_values import Blend
from lcm_daemon.core.parameters import Value
from lcm_daemon.pipelines import build, warm_imports
from lcm_daemon.pipelines.base import DeviceMemory, Pending, Pipeline, Report
from lcm_daemon.processes.protocol import Failed, Progress
from lcm_daemon.recipes.recipe import MAX_IN_FLIGHT, Recipe
from lcm_daemon.render.engine import MEMORY_SECONDS, failure_of
from lcm_daemon.render.frame_wire import Packed, pack, unpack

SLOTS = MAX_IN_FLIGHT + 1
LOG_LINES = 100  # that wait to be fetched; further ones are dropped


@dataclass(frozen=True)
class LoadOrder:
    """What to load. The fields are those of `LoadRecipe` and of the channel.

    Args:
        size: (width, height) of the frames in pixels.
        wire: How results travel, one of `engine_place.WIRES`.
    """

    recipe: Recipe
    size: Size
    guided: bool
    beside: bool
    returns: bool
    wire: str


@dataclass(frozen=True)
class Loaded:
    """The engine is warm. in_flight: how many frames it renders at once."""

    report: Report
    in_flight: int
    memory: DeviceMemory | None


@dataclass(frozen=True)
class LogLine:
    """A warning or an error of the node."""

    level: int
    logger: str
    text: str


@dataclass(frozen=True)
class NodeRequest:
    """A frame to render. It carries no time: the clocks of two machines differ.

    Args:
        turn: Frames are rendered in this order, from 0. Ray may deliver them in another one.
        ended: Sessions to forget before this frame.
        slot: Which memory of the engine it uses; free once its result has been received.
        frame: The input, as it travels.
        guide: The guide frame, or None.
    """

    turn: int
    slot: int
    frame: Packed
    guide: Packed | None
    values: Mapping[str, Value | Blend]
    session: str
    ended: tuple[str, ...] = ()


@dataclass(frozen=True)
class NodeResult:
    """A rendered frame, as it travels.

    seconds: By part. "render" is the time from one frame to the next, "node" all the time that the frame spent here.
    """

    frame: Packed
    seconds: Mapping[str, float]


class NodeEngine:
    """Loads one recipe and renders its frames, one call of `render` a frame, from several threads.

    One thread submits all frames, and another one waits for them, both in order, as in a local engine.
    """

    def __init__(self, order: LoadOrder) -> None:
        self._order = order
        width, height = order.size
        self._memory = np.zeros((3 if order.guided else 2, SLOTS, height, width, 4), np.uint8)
        self._pipeline: Pipeline
        self._submitter, self._collector = (ThreadPoolExecutor(1, name) for name in ("submit", "collect"))
        self._said: SimpleQueue[Any] = SimpleQueue()
        self._turn, self._turns = 0, threading.Condition()
        self._ended = 0.0  # when the last frame ended, by this machine's clock

    def load(self) -> Loaded | Failed:
        """Load the recipe and warm up."""
        logging.getLogger().addHandler(_LogQueue(self._said))
        return self._submitter.submit(self._load).result()

    def _load(self) -> Loaded | Failed:
        order = self._order
        try:
            warm_imports(order.recipe.pipeline)
            self._pipeline = build(order.recipe, order.size)
            self._pipeline.loads_beside, self._pipeline.returns = order.beside, order.returns
            report = self._pipeline.load(lambda text: self._said.put(Progress(text)))
            self._pipeline.use_memory(self._memory.reshape(-1))
            memory = self._pipeline.memory()
        except Exception as error:  # noqa: BLE001 - the top of this thread: the relay reports it and ends
            return failure_of(error)
        if memory is not None:
            threading.Thread(target=self._watch_memory, args=(memory,), name="memory", daemon=True).start()
        return Loaded(report, min(self._pipeline.frames_in_flight, MAX_IN_FLIGHT), memory)

    def _watch_memory(self, last: DeviceMemory) -> None:
        while True:
            time.sleep(MEMORY_SECONDS)
            memory = self._pipeline.memory()
            if memory is not None and memory != last:
                self._said.put(memory)
                last = memory

    def messages(self, seconds: float = 1.0) -> list[Any]:
        """`Progress`, `DeviceMemory` and `LogLine` since the last call, waiting up to `seconds` for the first."""
        messages: list[Any] = []
        try:
            messages.append(self._said.get(timeout=seconds))
            while True:
                messages.append(self._said.get_nowait())
        except Empty:
            return messages

    def render(self, request: NodeRequest) -> NodeResult | Failed:
        """Render a frame, once those of earlier turns are submitted. Returns when it is rendered."""
        arrived = time.perf_counter()
        try:
            unpack(request.frame, self._memory[0, request.slot])
            if request.guide is not None:
                unpack(request.guide, self._memory[2, request.slot])
            parts = self._take_turn(request).result()
            frame = pack(self._memory[1, request.slot], self._order.wire)
        except Exception as error:  # noqa: BLE001 - the top of this thread: the relay reports it and ends
            return failure_of(error)
        return NodeResult(frame, {**parts, "node": time.perf_counter() - arrived})

    def _take_turn(self, request: NodeRequest) -> Future[dict[str, float]]:
        with self._turns:
            self._turns.wait_for(lambda: self._turn == request.turn)
            self._turn += 1
            self._turns.notify_all()
            submitted = self._submitter.submit(self._submit, request)
            return self._collector.submit(self._collect, submitted)

    def _submit(self, request: NodeRequest) -> tuple[float, Pending]:
        slot, guided = request.slot, request.guide is not None
        for session in request.ended:
            self._pipeline.end_session(session)
        started = time.perf_counter()
        return started, self._pipeline.submit(self._memory[0, slot], request.values, self._memory[1, slot],
                                              self._memory[2, slot] if guided else None, request.session)

    def _collect(self, submitted: Future[tuple[float, Pending]]) -> dict[str, float]:
        started, pending = submitted.result()
        parts = pending.wait()
        now = time.perf_counter()
        seconds, self._ended = now - max(started, self._ended), now
        return {"render": seconds, **parts}


class _LogQueue(logging.Handler):
    """Queues warnings and errors for the relay."""

    def __init__(self, said: SimpleQueue[Any]) -> None:
        super().__init__(logging.WARNING)
        self._said = said

    def emit(self, record: logging.LogRecord) -> None:
        if self._said.qsize() < LOG_LINES:
            self._said.put(LogLine(record.levelno, record.name, record.getMessage().partition("\n")[0][:500]))
