"""The engine: what it hands its pipeline, and what it says when that fails."""

from __future__ import annotations

import errno
import threading
import time
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any

import pytest

from lcm_daemon.core.errors import BrokenPictures, EngineError, RecipeError
from lcm_daemon.core.frame import Frame, Pixels, solid
from lcm_daemon.core.parameters import Values
from lcm_daemon.pipelines.base import Pending, Pipeline, Progress, Report
from lcm_daemon.processes.channel import Channel, ChildChannel
from lcm_daemon.processes.protocol import EndSession, Failed, FrameResult
from lcm_daemon.recipes.recipe import Recipe
from lcm_daemon.render.engine import _frames_in_flight, _render_frames, failure_of, is_out_of_memory
from tests.measure import in_flight
from tests.render.test_between_frames import Middle

SIZE = (32, 16)


class Adding(Pipeline):
    """Adds the guide to the input, if there is one."""

    def _load(self, progress: Progress) -> Report:
        return Report("adding", "cpu", "uint8", self.size)

    def _render(self, frame: Pixels, values: Values, out: Pixels, guide: Pixels | None) -> dict[str, float]:
        out[:] = frame if guide is None else frame + guide
        return {"denoise": 0.1}


class Slow(Adding):
    """Frames under way end when the test says so. It notes what happens to it."""

    def __init__(self, in_flight: int) -> None:
        super().__init__(Recipe("slow"), SIZE)
        self.frames_in_flight = in_flight
        self.finishing: SimpleQueue[Exception | None] = SimpleQueue()  # one entry ends one frame
        self.refusal: Exception | None = None  # what the next frame is refused with
        self.closed = threading.Event()
        self.load(lambda text: None)

    def _submit(self, frame: Pixels, values: Values, out: Pixels, guide: Pixels | None) -> Pending:
        if self.refusal:
            raise self.refusal
        return Unfinished(self.finishing, frame, out)

    def close(self) -> None:
        self.closed.set()


@dataclass
class Unfinished:
    finishing: SimpleQueue[Exception | None]
    frame: Pixels
    out: Pixels

    def wait(self) -> dict[str, float]:
        if error := self.finishing.get():
            raise error
        self.out[:] = self.frame
        return {}


class Remembering(Slow):
    """Notes which sessions it is told of, in order."""

    def __init__(self, in_flight: int) -> None:
        self.told: list[str] = []
        super().__init__(in_flight)

    def end_session(self, session: str) -> None:
        self.told.append(f"end {session}")

    def _enter(self, session: str) -> None:
        self.told.append(session)


class Interpolating(Slow):
    """Puts the mean of two results between them."""

    def interpolator(self) -> Any:
        return Middle()


class Rig:
    """The stage's end of an engine that renders in this process."""

    def __init__(self, pipeline: Pipeline, guided: bool = False, slots: int = 5) -> None:
        self.stage = Channel(SIZE, guided, slots)
        self.channel = ChildChannel(self.stage.child_endpoint())
        self.messages: list[Any] = []
        self.error: Exception | None = None
        self._thread = threading.Thread(target=self._run, args=(pipeline,), daemon=True)
        self._thread.start()

    def _run(self, pipeline: Pipeline) -> None:
        try:
            _render_frames(pipeline, self.channel)
        except EngineError as error:
            self.error = error

    def hear(self, seconds: float = 20.0) -> None:
        """Wait for the next message of the engine."""
        assert self.stage.pipe.poll(seconds)
        self.messages += self.stage.receive()

    def send(self, number: int, guide: Frame | None = None, session: str = "", between: int = 0) -> None:
        """Send a frame once the engine has asked for one."""
        while not self.stage.accepts_frame:
            self.hear()
        frame = Frame(solid(SIZE, (number, 2, 2, 2)), number, 0.0)
        assert self.stage.send_frame(frame, {}, float(number), guide, session, between)

    def result(self) -> FrameResult:
        """The next result."""
        while not (found := [each for each in self.messages if isinstance(each, FrameResult)]):
            self.hear()
        self.messages.remove(found[0])
        return found[0]

    def take(self) -> tuple[int, int]:
        """Number and red of the next result."""
        frame = self.stage.read_result(self.result())
        return frame.number, int(frame.pixels[0, 0, 0])

    def end(self) -> bool:
        """Take the stage away; return whether the engine has ended."""
        self.stage.pipe.close()
        self._thread.join(20)
        self.channel.close()
        self.stage.close()
        return not self._thread.is_alive()


def loaded(pipeline: Pipeline) -> Pipeline:
    pipeline.load(lambda text: None)
    return pipeline


def test_a_pipeline_is_handed_the_guide_where_there_is_one() -> None:
    rig = Rig(loaded(Adding(Recipe("adding"), SIZE)), guided=True)
    found = []
    for guide in (None, Frame(solid(SIZE, (5, 5, 5, 5)), 0, 0.0), None):
        rig.send(2, guide)
        result = rig.result()
        found.append(int(rig.stage.read_result(result).pixels[0, 0, 0]))
    assert rig.end()
    assert found == [2, 7, 2]
    assert result.seconds["denoise"] == 0.1


@pytest.mark.parametrize("limit", [1, 3])
def test_pictures_between_two_results_come_with_the_second(limit: int) -> None:
    pipeline = Interpolating(limit)
    rig = Rig(pipeline)
    found = []
    for number in range(0, 200, 20):
        rig.send(number, between=0 if number == 100 else 2)
        pipeline.finishing.put(None)
        frame = rig.stage.read_result(rig.result())
        found.append(([int(pixels[0, 0, 0]) for pixels in frame.between], int(frame.pixels[0, 0, 0])))
        time.sleep(0.02)  # what makes them is built in the background
    assert rig.end()
    assert found[-3:] == [([number - 10] * 2, number) for number in (140, 160, 180)]
    assert found[5:7] == [([], 100), ([], 120)], "the frame before wanted none"


@pytest.mark.parametrize("limit", [1, 3])
def test_a_session_that_ends_needs_no_credit_and_leaves_the_engine_running(limit: int) -> None:
    pipeline = Remembering(limit)
    rig = Rig(pipeline)
    for number, session in enumerate(["", "1", "2"]):
        rig.send(number, session=session)
        pipeline.finishing.put(None)
        assert rig.take() == (number, number)
    for session in ("1", "2"):
        rig.stage.send_without_credit(EndSession(session))
    rig.send(3)
    pipeline.finishing.put(None)
    assert rig.take() == (3, 3)
    assert pipeline.told == ["", "1", "2", "end 1", "end 2", ""]
    assert rig.end()


@pytest.mark.parametrize("limit", [1, 2, 3, 4])
def test_no_more_frames_are_asked_for_than_may_be_under_way(limit: int) -> None:
    pipeline = Slow(limit)
    rig = Rig(pipeline)
    for number in range(limit):
        rig.send(number)
    assert not rig.stage.pipe.poll(0.05), "nothing is granted before a frame has come back"
    pipeline.finishing.put(None)
    assert rig.take() == (0, 0)
    rig.send(limit)
    assert sorted(rig.stage.unanswered.values()) == [float(number) for number in range(1, limit + 1)]
    for _ in range(limit):
        pipeline.finishing.put(None)
    assert [rig.take() for _ in range(limit)] == [(number, number) for number in range(1, limit + 1)]
    assert rig.end()
    assert pipeline.closed.is_set()


def test_a_channel_with_few_slots_holds_fewer_frames() -> None:
    pipeline = Slow(3)
    rig = Rig(pipeline, slots=2)
    rig.send(0)
    assert not rig.stage.pipe.poll(0.05)
    assert _frames_in_flight(pipeline, rig.channel) == 1
    pipeline.finishing.put(None)
    assert rig.take() == (0, 0)
    assert rig.end()


def test_a_frame_costs_the_time_since_the_one_before_it() -> None:
    """Otherwise the governor would count the wait behind other frames as work."""
    pipeline = Slow(2)
    rig = Rig(pipeline)
    rig.send(0)
    rig.send(1)
    time.sleep(0.1)
    pipeline.finishing.put(None)
    pipeline.finishing.put(None)
    first, second = (rig.result().seconds["render"] for _ in range(2))
    assert rig.end()
    assert first > 0.09
    assert second < 0.09


@pytest.mark.parametrize("memory", [True, False])
def test_a_frame_that_fails_while_it_is_under_way_ends_the_engine(memory: bool) -> None:
    pipeline = Slow(3)
    rig = Rig(pipeline)
    for number in range(3):
        rig.send(number)
    pipeline.finishing.put(None)
    pipeline.finishing.put(RuntimeError("CUDA error: " + ("out of memory" if memory else "misaligned address")))
    while not any(isinstance(each, Failed) for each in rig.messages):
        rig.hear()
    failed = rig.messages.pop()
    assert (failed.text.split(":")[0], failed.memory, failed.retry) == ("RuntimeError", memory, True)
    assert rig.take() == (0, 0), "the frame before it has come back"
    assert rig.end()
    assert pipeline.closed.is_set()


def test_a_frame_that_is_refused_ends_the_engine_after_those_under_way() -> None:
    pipeline = Slow(3)
    rig = Rig(pipeline)
    rig.send(0)
    rig.send(1)
    while not rig.stage.accepts_frame:
        rig.hear()
    pipeline.refusal = EngineError("no kernel")
    pipeline.finishing.put(None)
    pipeline.finishing.put(None)
    rig.send(2)
    assert [rig.take(), rig.take()] == [(0, 0), (1, 1)]
    assert rig.end()
    assert str(rig.error) == "no kernel"


@pytest.mark.slow
def test_a_frame_that_hangs_does_not_keep_an_engine_whose_stage_is_gone() -> None:
    pipeline = Slow(2)
    rig = Rig(pipeline)
    rig.send(0)
    assert rig.end()
    assert not pipeline.closed.is_set(), "the memory is still in use"
    pipeline.finishing.put(None)
    for thread in threading.enumerate():
        if thread.name == "collect":
            thread.join(20)


class OutOfMemoryError(RuntimeError):
    """torch.OutOfMemoryError by its name, which is what the engine goes by."""


def because(cause: Exception) -> Exception:
    error = RecipeError("the weights cannot be loaded")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize("error", [
    OutOfMemoryError("Tried to allocate 20 MiB"),
    RuntimeError("CUDA error: out of memory"),
    RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:116] . DefaultCPUAllocator: can't allocate memory"),
    MemoryError(),
    OSError(errno.ENOSPC, "No space left on device"),
    because(OutOfMemoryError("Tried to allocate 20 MiB")),
])
def test_no_memory_left(error: Exception) -> None:
    assert is_out_of_memory(error)


@pytest.mark.parametrize("error", [
    RuntimeError("expected scalar type Half"), ValueError("out of memory"), because(KeyError("unet")),
])
def test_anything_else(error: Exception) -> None:
    assert not is_out_of_memory(error)


@pytest.mark.parametrize("retry", [True, False])
def test_pictures_of_nan_end_the_engine_in_one_line(retry: bool, caplog: pytest.LogCaptureFixture) -> None:
    assert failure_of(BrokenPictures("its first picture is NaN", retry)) == Failed("its first picture is NaN", retry)
    assert caplog.messages == [], "the stage says it"


@pytest.mark.slow
def test_two_frames_in_flight_are_quicker_than_one() -> None:
    """The real engine and stage: 30 ms of computation, 15 ms of copies before and after, one after the other or not.

    `python -m tests.measure.in_flight` measures it on a quiet machine.
    """
    one, two = (in_flight.fly(frames, 40, service=0.03, copy=0.015) for frames in (1, 2))
    assert two.interval < 0.8 * one.interval
    assert one.is_ordered
    assert two.is_ordered
    assert two.latency[0] < 3 * one.latency[0]
