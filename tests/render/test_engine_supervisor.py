"""One engine after another: real processes, killed and stopped as they are on a bad night."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest

from lcm_daemon.core.frame import Frame, solid
from lcm_daemon.core.live_values import Parameters
from lcm_daemon.core.metrics import Metrics
from lcm_daemon.pipelines.base import Report
from lcm_daemon.processes.channel import Channel, ChildChannel
from lcm_daemon.processes.progress import RUNNABLE, ProcessState
from lcm_daemon.processes.protocol import Credit, Failed, FrameResult, Ready
from lcm_daemon.processes.starvation import RunTimes
from lcm_daemon.recipes.reader import load_recipe
from lcm_daemon.recipes.recipe import Recipe
from lcm_daemon.render import engine_silence
from lcm_daemon.render.engine_silence import SLOWEST_FRAME
from lcm_daemon.render.engine_supervisor import EngineSupervisor
from lcm_daemon.render.policy import EngineTimeouts, RestartPolicy
from lcm_daemon.render.spare import Spare
from tests.conftest import ManualClock
from tests.rigs import timed_pipeline

SIZE = (64, 48)
THROUGH = load_recipe("passthrough")
ABSENT = Recipe("absent", model="/nowhere/at/all")
VALUES = Parameters().targets()


@pytest.fixture
def supervise() -> Iterator[Callable[..., EngineSupervisor]]:
    made: list[EngineSupervisor] = []

    def make(
        *ladder: Recipe, spare: bool = False, timeouts: EngineTimeouts = EngineTimeouts(frame=1.0),  # noqa: B008
        policy: RestartPolicy = RestartPolicy.ALWAYS, started: bool = True,
    ) -> EngineSupervisor:
        metrics = Metrics()
        made.append(EngineSupervisor(ladder, SIZE, metrics, timeouts, Spare(metrics) if spare else None, policy=policy))
        if started:
            made[-1].start(time.perf_counter())
        return made[-1]

    yield make
    for supervisor in made:
        supervisor.stop()


def play(supervisor: EngineSupervisor, until: Callable[[], object], seconds: float = 30.0) -> list[Frame]:
    """Feed and hear the engine until the condition holds; returns what it rendered."""
    rendered, number, end = [], 0, time.perf_counter() + seconds
    while not until():
        now = time.perf_counter()
        assert now < end, f"still {supervisor.state}: {supervisor.alarm}"
        rendered += [result.frame for result in supervisor.step(now)]
        if supervisor.send_frame(Frame(solid(SIZE, (number % 256, 0, 0, 255)), number, now), VALUES, now):
            number += 1
        time.sleep(0.001)
    return rendered


def renders(supervisor: EngineSupervisor, count: int) -> Callable[[], bool]:
    """True once so many more frames have been rendered."""
    before = supervisor.metrics.total("engine/rendered")
    return lambda: supervisor.metrics.total("engine/rendered") >= before + count


@pytest.mark.slow
def test_frames_come_back_in_order_and_unharmed(supervise: Callable[..., EngineSupervisor]) -> None:
    engine = supervise(THROUGH)
    frames = play(engine, renders(engine, 20))
    assert [f.number for f in frames] == sorted({f.number for f in frames})
    assert all(int(f.pixels[0, 0, 0]) == f.number for f in frames)
    assert engine.report.model == "passthrough"


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_killed_or_hung_engine_is_replaced(supervise: Callable[..., EngineSupervisor], number: int) -> None:
    engine = supervise(THROUGH, THROUGH)
    play(engine, renders(engine, 3))
    first = engine.pid
    os.kill(first, number)
    play(engine, lambda: engine.pid not in (0, first))
    play(engine, renders(engine, 3))
    assert engine.metrics.total("engine/replaced") == 1
    assert engine.alarm == ""


@pytest.mark.slow
def test_the_spare_takes_over(supervise: Callable[..., EngineSupervisor]) -> None:
    engine = supervise(THROUGH, spare=True)
    play(engine, lambda: engine.spare.warm)
    spare = engine.spare.child
    assert spare is not None
    os.kill(engine.pid, signal.SIGKILL)
    play(engine, lambda: engine.pid == spare.pid)
    play(engine, renders(engine, 3))


@pytest.mark.parametrize(("policy", "memory", "replaced"), [
    (RestartPolicy.ALWAYS, True, 1), (RestartPolicy.UNLESS_OUT_OF_MEMORY, False, 1),
    (RestartPolicy.UNLESS_OUT_OF_MEMORY, True, 0), (RestartPolicy.NEVER, False, 0),
])
def test_who_is_replaced(
    supervise: Callable[..., EngineSupervisor], policy: RestartPolicy, memory: bool, replaced: int
) -> None:
    engine = supervise(THROUGH)
    engine.policy = policy
    assert engine.child is not None
    engine.child.channel.receive = lambda: [Failed("it failed", memory=memory)]  # type: ignore[method-assign]
    engine.step(time.perf_counter())
    assert engine.metrics.total("engine/replaced") == replaced
    assert (engine.failure is None, engine.pid != 0) == (bool(replaced), bool(replaced))
    if engine.failure:
        engine.step(time.perf_counter() + 1000.0)
        assert (engine.pid, engine.failure.text) == (0, "it failed"), "whoever put it on trial decides"


@pytest.mark.slow
def test_a_spare_is_given_away_to_an_engine_beside(supervise: Callable[..., EngineSupervisor]) -> None:
    first = supervise(THROUGH, spare=True)
    play(first, lambda: first.spare.warm)
    spare = first.pop_spare()
    assert spare is not None
    first.policy = RestartPolicy.UNLESS_OUT_OF_MEMORY
    play(first, renders(first, 10))
    assert len(first.waitables()) == 1, "no other is started beside two engines at work"
    second = supervise(THROUGH, started=False)
    second.start(time.perf_counter(), spare)
    assert second.pid == spare.pid
    play(second, renders(second, 1))


@pytest.mark.slow
def test_a_dead_spare_is_not_given_away(supervise: Callable[..., EngineSupervisor]) -> None:
    engine = supervise(THROUGH, spare=True)
    play(engine, lambda: len(engine.waitables()) == 2)
    assert engine.spare.child is not None
    engine.spare.warm = True
    engine.spare.child.process.kill()
    engine.spare.child.process.join(10)
    assert engine.pop_spare() is None


@pytest.mark.slow
def test_a_spare_that_still_imports_is_slower_than_a_new_process(supervise: Callable[..., EngineSupervisor]) -> None:
    engine = supervise(THROUGH, spare=True)
    play(engine, lambda: engine.spare.child is not None)
    engine.spare.warm = False
    assert engine.pop_spare() is None
    spare = engine.spare.child
    assert spare is not None
    os.kill(engine.pid, signal.SIGKILL)
    first = engine.pid
    play(engine, lambda: engine.pid not in (0, first))
    assert engine.pid != spare.pid or engine.spare.warm


def test_a_system_without_room_for_two_is_out_of_memory(
    supervise: Callable[..., EngineSupervisor], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("lcm_daemon.render.engine_place.Child", full)
    engine = supervise(THROUGH, policy=RestartPolicy.NEVER)
    assert engine.failure is not None
    assert engine.failure.memory


def test_a_system_without_room_is_asked_again_soon(
    supervise: Callable[..., EngineSupervisor], monkeypatch: pytest.MonkeyPatch, clock: ManualClock,
) -> None:
    engine, tries = supervise(THROUGH, timeouts=EngineTimeouts(alarm=10.0), started=False), list[float]()

    def full(*_: object, **__: object) -> None:
        tries.append(clock.now() - 1000.0)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("lcm_daemon.render.engine_place.Child", full)
    engine.start(clock.now())
    for _ in range(420):
        clock.sleep(0.1)
        engine.step(clock.now())
    assert tries == pytest.approx([0.0, 1.0, 3.0, 7.0, 15.0, 25.0, 35.0], abs=0.7)
    assert "No space left" in engine.alarm
    monkeypatch.setattr(engine, "_spawn", lambda spare: Doomed(clock, 100.0, 0))
    clock.sleep(10.0)
    engine.step(clock.now())
    assert (engine.pid, engine.state) == (1, "loading")
    monkeypatch.setattr(engine, "_spawn", full)
    engine.on_failure("died", clock.now())
    tries.clear()
    for _ in range(25):
        clock.sleep(0.1)
        engine.step(clock.now())
    assert len(tries) == 1, "the pauses are short again"


def let_work(engine: EngineSupervisor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the system say that the engine's process runs, whatever it does."""
    looks = count()
    monkeypatch.setattr(engine_silence, "look", lambda pid: ProcessState(RUNNABLE, 0.0))
    engine._silence._starved._look = lambda pid: RunTimes(float(next(looks)), 0.0)


@pytest.mark.slow
def test_a_slow_recipe_is_not_measured_by_a_fast_one(
    supervise: Callable[..., EngineSupervisor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its first frames may take long, whatever the engines beside it and before it took."""
    engine = supervise(THROUGH, timeouts=EngineTimeouts(frame=1.0))
    engine.metrics.time("engine/render", 0.001)
    play(engine, renders(engine, 1))
    engine.frame_times.clear()
    engine.frame_times.append(4.0)
    let_work(engine, monkeypatch)
    while not engine.accepts_frame:
        engine.step(time.perf_counter())
    os.kill(engine.pid, signal.SIGSTOP)
    now, first = time.perf_counter(), engine.pid
    assert engine.send_frame(Frame(solid(SIZE), 999, now), VALUES, now)
    for second in range(int(4.0 * SLOWEST_FRAME - 5.0)):
        engine.step(now + second)
    assert engine.pid == first
    for second in range(10):
        engine.step(now + 4.0 * SLOWEST_FRAME - 5.0 + second)
    assert engine.pid != first


@pytest.mark.slow
def test_a_dead_spare_is_replaced_and_nobody_notices(
    supervise: Callable[..., EngineSupervisor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lcm_daemon.render.spare.PAUSE", 0.5)
    engine = supervise(THROUGH, spare=True)
    play(engine, lambda: len(engine.waitables()) == 2)
    spare = engine.spare.child
    assert spare is not None
    os.kill(spare.pid or 0, signal.SIGKILL)
    play(engine, lambda: engine.spare.child not in (None, spare))
    assert engine.metrics.total("engine/replaced") == 0


@pytest.mark.slow
def test_a_system_without_room_for_a_spare_renders_on(
    supervise: Callable[..., EngineSupervisor], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    engine = supervise(THROUGH, spare=True)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("lcm_daemon.render.engine_place.Child", full)
    play(engine, renders(engine, 50))
    assert caplog.text.count("no spare can be started") == 1
    os.kill(engine.pid, signal.SIGKILL)
    play(engine, lambda: engine.state == "alarm")
    assert "No space left" in engine.alarm


@pytest.mark.slow
def test_a_recipe_that_cannot_load_gives_way_to_the_next(supervise: Callable[..., EngineSupervisor]) -> None:
    engine = supervise(ABSENT, THROUGH, timeouts=EngineTimeouts(frame=5.0))
    play(engine, renders(engine, 1), 90)
    assert engine.recipe is THROUGH
    assert engine.alarm.startswith("absent: ")
    assert engine.metrics.total("engine/replaced") == 1, "trying again would not have helped"


@pytest.mark.slow
def test_three_deaths_in_a_minute_step_down(supervise: Callable[..., EngineSupervisor]) -> None:
    second = load_recipe("passthrough")
    engine = supervise(THROUGH, second)
    for _ in range(3):
        play(engine, renders(engine, 1))
        os.kill(engine.pid, signal.SIGKILL)
        before = engine.pid
        play(engine, lambda before=before: engine.pid not in (0, before))
    play(engine, renders(engine, 1))
    assert engine.recipe is second
    assert "died" in engine.alarm


@pytest.mark.slow
def test_below_the_last_rung_the_alarm_is_raised_and_it_tries_again(
    supervise: Callable[..., EngineSupervisor],
) -> None:
    engine = supervise(THROUGH, timeouts=EngineTimeouts(alarm=0.5))
    for _ in range(3):
        play(engine, renders(engine, 1))
        before = engine.pid
        os.kill(before, signal.SIGKILL)
        play(engine, lambda before=before: engine.pid != before)
    assert (engine.state, engine.pid) == ("alarm", 0)
    play(engine, renders(engine, 1))
    assert engine.alarm == "", "all is well again"


@pytest.mark.slow
def test_a_starved_engine_is_slow_and_no_hang(
    supervise: Callable[..., EngineSupervisor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its frame is late, and it still burns processor time."""
    engine = supervise(THROUGH, timeouts=EngineTimeouts(frame=3.0))
    play(engine, renders(engine, 1))
    let_work(engine, monkeypatch)
    while not engine.accepts_frame:
        engine.step(time.perf_counter())
    os.kill(engine.pid, signal.SIGSTOP)
    now = time.perf_counter()
    assert engine.send_frame(Frame(solid(SIZE), 999, now), VALUES, now)
    first, burned = engine.pid, iter(range(1, 10_000))

    class Busy:
        def __init__(self, pid: int) -> None:
            self.user, self.system = float(next(burned)), 0.0

        def cpu_times(self) -> Busy:
            return self

    with monkeypatch.context() as busy:
        busy.setattr("lcm_daemon.render.cpu_watch.psutil.Process", Busy)
        for second in range(1, 29):
            engine.step(now + second)
        assert engine.pid == first
    for second in (29.0, 30.1, 31.2, 32.3):  # now it burns nothing
        engine.step(now + second)
    assert engine.pid != first


class Doomed:
    """A child and its link: it loads for so long, paints so many frames, one a second, and dies."""

    def __init__(self, clock: ManualClock, loading: float, frames: int) -> None:
        self.channel = self.process = self
        self.accepts_frame, self.unanswered, self.pipe, self.pid = False, dict[int, float](), None, 1
        self.requested, self.sessions = {0: 0.0}, {0: ""}
        self._clock, self._ready, self._left, self._said = clock, clock.now() + loading, frames, False

    def receive(self) -> list[Any]:
        if self._clock.now() < self._ready:
            return []
        if not self._said:
            self._said = True
            return [Ready(Report("doomed", "cpu", "float32", SIZE))]
        self._left -= 1
        if self._left < 0:
            raise EOFError
        return [FrameResult(0, 0, 0.0, {"render": 0.1})]

    def send_without_credit(self, message: object) -> None:
        pass

    free_slot = send_without_credit

    def read_result(self, result: FrameResult) -> Frame:
        return Frame(solid(SIZE), result.number, result.time)

    def kill(self) -> None:
        pass

    def wait(self, seconds: float) -> bool:
        return True


@pytest.mark.parametrize("loading", [1.0, 25.0, 31.0, 300.0])
def test_one_that_dies_at_its_first_frame_steps_down_however_long_it_loads(
    supervise: Callable[..., EngineSupervisor], loading: float, clock: ManualClock, monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine = supervise(ABSENT, THROUGH, started=False)
    monkeypatch.setattr(engine, "_spawn", lambda spare: Doomed(clock, loading, 0))
    engine.start(clock.now())
    alarms = []
    while engine.recipe is ABSENT:
        clock.sleep(1.0)
        engine.step(clock.now())
        alarms.append(engine.alarm)
        assert len(alarms) < 3 * (loading + 5.0)
    assert engine.metrics.total("engine/replaced") == 3
    assert alarms.index("absent: died") < len(alarms) / 1.4, "the second failure is an alarm already"


@pytest.mark.slow
def test_one_that_dies_now_and_then_is_replaced_for_ever(
    supervise: Callable[..., EngineSupervisor], clock: ManualClock, monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine = supervise(ABSENT, THROUGH, started=False)
    monkeypatch.setattr(engine, "_spawn", lambda spare: Doomed(clock, 10.0, 45))
    engine.start(clock.now())
    for _ in range(3600):
        clock.sleep(1.0)
        engine.step(clock.now())
    assert engine.recipe is ABSENT
    assert engine.metrics.total("engine/replaced") > 50


@pytest.mark.parametrize("step", [0.07, 0.2, 0.4])
@pytest.mark.parametrize(("steps", "later", "passes"), [(1, 8, 1), (4, 8, 1), (4, 4, 2), (1, 8, 2)])
def test_more_work_than_usual_is_no_hang(
    supervise: Callable[..., EngineSupervisor], steps: int, later: int, passes: int, step: float,
) -> None:
    """A fader that goes from one step to eight, and guidance above 1: the first such frame takes twice as long."""
    engine = supervise(THROUGH, started=False)
    engine.report = Report("own", "cuda:0", "float16", SIZE)
    engine.child = Doomed(ManualClock(), 0.0, 0)  # type: ignore[assignment]
    engine.frame_times.extend([steps * step] * 63)
    engine.child.channel.unanswered[0] = 0.0  # type: ignore[union-attr]
    hung_at = next(tenth / 10 for tenth in range(1000) if engine.is_hung(engine.child, tenth / 10))
    assert hung_at >= 2 * later * passes * step
    assert hung_at == pytest.approx(max(engine.timeouts.frame, 32 * steps * step), abs=0.2), "and a hang is one"


@pytest.mark.parametrize("stall", [3.5, 60.0])
def test_a_result_that_waited_for_a_stalled_stage_is_no_hang(
    supervise: Callable[..., EngineSupervisor], stall: float, clock: ManualClock, monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The stage was stopped for longer than the timeout; the engine answered in time."""
    engine = supervise(THROUGH, timeouts=EngineTimeouts(frame=3.0), started=False)
    child = InProcess()
    monkeypatch.setattr(engine, "_spawn", lambda spare: child)
    engine.start(clock.now())
    child.engine.send(Ready(Report("own", "cuda:0", "float16", SIZE)))
    child.engine.send(Credit())
    engine.step(clock.now())
    assert engine.send_frame(Frame(solid(SIZE), 7, clock.now()), VALUES, clock.now())
    child.engine.receive()  # LoadRecipe
    request = child.engine.receive()
    child.engine.send(FrameResult(request.slot, request.number, request.time, {"render": 0.03}))
    clock.sleep(stall)
    (result,) = engine.step(clock.now())
    assert result.frame.number == 7
    assert engine.metrics.total("engine/replaced") == 0
    assert engine.child is child  # type: ignore[comparison-overlap]


def test_a_stage_that_was_stopped_itself_gives_the_engine_its_time(
    supervise: Callable[..., EngineSupervisor], clock: ManualClock, monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As with Ctrl-Z, or on a computer that is suspended: the engine was stopped too, and has not answered yet."""
    engine, child = supervise(THROUGH, timeouts=EngineTimeouts(frame=3.0), started=False), InProcess()
    monkeypatch.setattr(engine, "_spawn", lambda spare: child)
    engine.start(clock.now())
    child.engine.send(Ready(Report("own", "cuda:0", "float16", SIZE)))
    child.engine.send(Credit())
    engine.step(clock.now())
    engine.frame_times.append(0.01)
    assert engine.send_frame(Frame(solid(SIZE), 7, clock.now()), VALUES, clock.now())
    clock.sleep(1000.0)
    for _ in range(6):
        engine.step(clock.now())
        clock.sleep(0.5)
    assert engine.child is child  # type: ignore[comparison-overlap]
    for _ in range(2):
        engine.step(clock.now())
        clock.sleep(0.5)
    assert engine.metrics.total("engine/replaced") == 1


def test_a_frame_behind_another_has_waited_for_it(
    supervise: Callable[..., EngineSupervisor], clock: ManualClock, monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Three are under way, each takes 2 of the 3 seconds: none hangs. The last one does."""
    engine, child = supervise(THROUGH, timeouts=EngineTimeouts(frame=3.0), started=False), InProcess()
    monkeypatch.setattr(engine, "_spawn", lambda spare: child)
    engine.start(clock.now())
    child.engine.send(Ready(Report("own", "cuda:0", "float16", SIZE), 3))
    child.engine.send(Credit(3))
    engine.step(clock.now())
    assert engine.in_flight == 3
    for number in range(3):
        assert engine.send_frame(Frame(solid(SIZE), number, clock.now()), VALUES, clock.now())
    child.engine.receive()  # LoadRecipe
    for expected in range(2):
        request = child.engine.receive()
        clock.sleep(2.0)
        assert engine.step(clock.now()) == []
        child.engine.send(FrameResult(request.slot, request.number, request.time, {"render": 0.01}))
        (result,) = engine.step(clock.now())
        assert result.frame.number == expected
    assert engine.metrics.total("engine/replaced") == 0
    assert engine.metrics.timing("engine/latency", 0.0) == 2.0
    assert engine.metrics.timing("engine/latency", 1.0) == 4.0
    for _ in range(2):
        clock.sleep(1.55)
        engine.step(clock.now())
    assert engine.metrics.total("engine/replaced") == 1


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_two_results_of_one_moment_come_both_with_their_sessions(
    supervise: Callable[..., EngineSupervisor], clock: ManualClock, monkeypatch: pytest.MonkeyPatch,
    order: tuple[int, int],
) -> None:
    engine, child = supervise(THROUGH, started=False), InProcess()
    monkeypatch.setattr(engine, "_spawn", lambda spare: child)
    engine.start(clock.now())
    child.engine.send(Ready(Report("own", "cuda:0", "float16", SIZE), 2))
    child.engine.send(Credit(2))
    engine.step(clock.now())
    for number in range(2):
        frame = Frame(solid(SIZE), number, clock.now())
        assert engine.send_frame(frame, VALUES, clock.now(), session=str(number or ""))
    child.engine.receive()  # LoadRecipe
    requests = [child.engine.receive() for _ in range(2)]
    for number in order:
        child.engine.send(FrameResult(requests[number].slot, number, 0.0, {"render": 0.01}))
    assert [request.session for request in requests] == ["", "1"]
    results = engine.step(clock.now())
    assert sorted((result.session, result.frame.number) for result in results) == [("", 0), ("1", 1)]
    child.engine.send(Credit(3))
    engine.step(clock.now())
    assert [engine.send_frame(Frame(solid(SIZE), n, 0.0), VALUES, 0.0) for n in range(2, 5)] == [True] * 3, "both slots"


@pytest.mark.slow
def test_an_engine_killed_with_three_frames_under_way_loses_those_only(
    supervise: Callable[..., EngineSupervisor], monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("lcm_daemon.render.engine.run", timed_pipeline.run)
    engine = supervise(timed_pipeline.timed_recipe(3, service=0.05), timeouts=EngineTimeouts(frame=20.0))
    sent: list[int] = []
    results: list[int] = []

    def serve(until: Callable[[], bool], send: bool = True) -> None:
        end = time.perf_counter() + 60.0
        while not until():
            now = time.perf_counter()
            assert now < end, f"still {engine.state}: {engine.alarm}"
            results.extend(result.frame.number for result in engine.step(now))
            if send and engine.send_frame(Frame(solid(SIZE), len(sent), now), VALUES, now):
                sent.append(len(sent))
            time.sleep(0.001)

    def under_way() -> int:
        return len(engine.child.channel.unanswered) if engine.child else 0

    serve(lambda: len(results) >= 8)
    serve(lambda: under_way() == 3)
    first = engine.pid
    os.kill(first, signal.SIGSTOP)
    heard, end = len(results), time.perf_counter() + 0.3
    serve(lambda: time.perf_counter() > end, send=False)  # what it had sent already
    lost = sent[len(sent) - under_way():]
    assert len(results) - heard == 3 - len(lost)
    os.kill(first, signal.SIGKILL)
    serve(lambda: len(results) >= heard + 8)
    serve(lambda: under_way() == 0, send=False)
    assert engine.pid not in (0, first)
    assert results == sorted(set(results))
    assert set(lost) <= set(sent) - set(results)
    assert len(set(sent) - set(results)) == len(lost)


class InProcess:
    """A child whose end of the channel the test holds."""

    def __init__(self) -> None:
        self.channel, self.process, self.pid = Channel(SIZE, slots=4), self, 1
        self.engine = ChildChannel(self.channel.child_endpoint())

    def is_alive(self) -> bool:
        return True

    def kill(self) -> None:
        self.engine.close()
        self.channel.close()

    def wait(self, seconds: float) -> bool:
        return True
