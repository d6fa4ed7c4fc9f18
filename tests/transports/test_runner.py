"""Runners: the newest frame wins, a failed endpoint is reopened, a blocked one delays no other."""

from __future__ import annotations

import threading
from itertools import islice
from typing import Any

import pytest

from lcm_daemon.core.errors import TransportError
from lcm_daemon.core.frame import Frame, Size, solid
from lcm_daemon.core.metrics import Metrics
from lcm_daemon.core.schema import Fields
from lcm_daemon.transports.base import Sink, Source
from lcm_daemon.transports.runner import OFF, WAITING, SinkRunner, SourceRunner, retry_delays
from lcm_daemon.transports.silence import SilencePolicy
from tests.conftest import ManualClock
from tests.rigs.daemon import wait_for

SIZE = (32, 16)


class Script(Source):
    """A source that follows a script: frames, None, or errors to raise."""

    fields: Fields = {}

    def __init__(self, *lines: Any) -> None:
        super().__init__({})
        self.lines = list(lines)
        self.opened = 0
        self.connected: bool | None = None

    @property
    def is_connected(self) -> bool | None:
        return self.connected

    def _open_source(self) -> None:
        self.opened += 1

    def _read(self, timeout: float) -> Frame | None:
        line = self.lines.pop(0) if self.lines else None
        if isinstance(line, Exception):
            raise line
        return line

    def _close(self) -> None:
        pass


class Gate(Sink):
    """Blocks in every write until the test lets it pass."""

    fields: Fields = {}

    def __init__(self, fail_at: int = -1) -> None:
        super().__init__({})
        self.entered, self.passed = threading.Semaphore(0), threading.Semaphore(0)
        self.written: list[int] = []
        self.opened, self._fail_at = 0, fail_at

    def _open_sink(self, size: Size, fps: float) -> None:
        self.opened += 1

    def _write(self, frame: Frame) -> None:
        self.entered.release()
        self.passed.acquire()
        if frame.number == self._fail_at:
            raise TransportError("the wire was cut")
        self.written.append(frame.number)

    def _close(self) -> None:
        pass


def frame(number: int, size: Size = SIZE, value: int = 9) -> Frame:
    return Frame(solid(size, (value, value, value, 255)), number, float(number))


def source_runner(script: Script, metrics: Metrics, on_frame: Any = lambda: None) -> SourceRunner:
    runner = SourceRunner("script", script, SIZE, "stretch", metrics, on_frame)
    runner.start()
    return runner


def test_newest_frame_is_kept_and_fitted_and_gaps_are_counted() -> None:
    metrics, arrivals = Metrics(), threading.Semaphore(0)
    runner = source_runner(Script(frame(0), frame(1, (64, 64), 5), frame(5)), metrics, arrivals.release)
    wait_for(lambda: runner.newest is not None and runner.newest.number == 5)
    assert [arrivals.acquire(timeout=5) for _ in range(3)] == [True] * 3
    assert runner.newest is not None
    assert runner.newest.size == SIZE
    assert metrics.counts()["dropped/source"] == 3
    runner.stop()
    assert runner.join(5)


def test_pixels_that_come_again_are_scaled_once() -> None:
    still, other = frame(0, (64, 32)).pixels, frame(0, (64, 32), 70).pixels
    script = Script(*(Frame(pixels, number, 0.0) for number, pixels in enumerate([still] * 3 + [other])))
    runner = SourceRunner("script", script, SIZE, "stretch", Metrics(), lambda: None)
    runner._open()
    shown = []
    for number in range(4):
        runner._step()
        assert runner.newest is not None
        assert runner.newest.number == number
        shown.append(runner.newest.pixels)
    assert shown[0] is shown[1] is shown[2]
    assert shown[3].shape == (SIZE[1], SIZE[0], 4)
    assert (shown[3][..., :3] == 70).all()


@pytest.mark.slow
def test_source_without_frames_is_waiting() -> None:
    script = Script(frame(0))
    runner = source_runner(script, Metrics())
    wait_for(lambda: runner.newest is not None)
    assert runner.state == "running"
    wait_for(lambda: runner.state == WAITING)
    script.lines.append(frame(1))
    wait_for(lambda: runner.state == "running")
    assert script.opened == 1
    runner.stop()
    assert runner.join(5)


@pytest.mark.parametrize("error", [TransportError("gone"), ValueError("a library's own")])
def test_failed_source_is_reopened(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    script, metrics = Script(frame(0), error, frame(7)), Metrics()
    runner = source_runner(script, metrics)
    wait_for(lambda: runner.newest is not None and runner.newest.number == 7)
    assert script.opened == 2
    assert metrics.counts()["failed/script"] == 1
    assert metrics.total("dropped/source") == 0, "numbers start again after opening"
    assert str(error) in caplog.text
    runner.stop()
    assert runner.join(5)


def test_blocked_sink_delays_no_caller_and_gets_the_newest_frame_later() -> None:
    sink, metrics = Gate(), Metrics()
    runner = SinkRunner("gate", sink, SIZE, 30.0, metrics)
    runner.start()
    runner.post(frame(0))
    assert sink.entered.acquire(timeout=5)
    for number in range(1, 100):  # the sink is blocked in the first write; no post waits
        runner.post(frame(number))
    sink.passed.release(2)
    assert sink.entered.acquire(timeout=5)
    wait_for(lambda: sink.written == [0, 99])
    assert metrics.counts()["dropped/sink"] == 98
    runner.stop()
    assert runner.join(5)


def test_failed_sink_is_reopened() -> None:
    sink = Gate(fail_at=0)
    sink.passed.release(100)
    runner = SinkRunner("gate", sink, SIZE, 30.0, Metrics())
    runner.start()
    runner.post(frame(0))
    wait_for(lambda: runner.state == "the wire was cut")
    runner.post(frame(1))
    wait_for(lambda: sink.written == [1])
    assert (sink.opened, runner.state) == (2, "running")
    runner.stop()
    assert runner.join(5)


def test_retry_delays_grow_to_ten_seconds_and_stay() -> None:
    assert list(islice(retry_delays(), 8)) == [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0]


def test_a_source_that_was_gone_for_long_is_tried_every_second(monkeypatch: pytest.MonkeyPatch) -> None:
    runner, pauses = SourceRunner("script", Script(), SIZE, "stretch", Metrics(), lambda: None), []
    monkeypatch.setattr(runner, "_open", lambda: runner._source.read(0.0))  # as a camera that is unplugged

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        runner._stop.set() if len(pauses) == 20 else None

    monkeypatch.setattr(runner, "_pause", pause)
    runner._run()
    assert pauses[-1] == max(pauses) == 1.0


@pytest.mark.parametrize("hangs_in", ["_open_source", "_read"])
def test_an_endpoint_that_does_not_answer_is_stuck(hangs_in: str, monkeypatch: pytest.MonkeyPatch) -> None:
    script, clock, release = Script(), ManualClock(), threading.Event()
    called = threading.Event()

    def hang(*_: object) -> None:
        called.set()
        release.wait(5)

    monkeypatch.setattr(script, hangs_in, hang)
    runner = SourceRunner("script", script, SIZE, "stretch", Metrics(), lambda: None)
    runner._clock = clock  # type: ignore[assignment]
    runner.start()
    assert called.wait(5)
    assert not runner.is_stuck
    clock.time += 10.0
    assert runner.is_stuck
    runner.stop()
    release.set()
    assert runner.join(5)
    assert not runner.is_stuck


def test_a_runner_never_started_can_be_stopped() -> None:
    runner = SinkRunner("gate", Gate(), SIZE, 30.0, Metrics())
    runner.stop()
    assert runner.join(0.1)


def test_repeated_failure_is_logged_more_and_more_rarely(caplog: pytest.LogCaptureFixture) -> None:
    runner = SourceRunner("script", Script(), SIZE, "stretch", Metrics(), lambda: None)
    for _ in range(1000):
        runner._record_failure("stalled")
    assert len(caplog.messages) == 10, "the 1st, 2nd, 4th, ... 512th"
    runner._record_failure("unplugged")
    assert caplog.messages[-1] == "script: unplugged"
    assert runner.metrics.counts()["failed/script"] == 1001
    runner._record_failure("script: no signal")
    assert (caplog.messages[-1], runner.state) == ("script: no signal", "no signal"), "the transport is named once"


def silent_runner(silence: SilencePolicy, connected: bool | None) -> tuple[SourceRunner, Script, ManualClock]:
    """A source that has sent one frame, stepped by the test."""
    script, clock = Script(frame(0)), ManualClock()
    script.connected = connected
    runner = SourceRunner("script", script, SIZE, "stretch", Metrics(), lambda: None, silence=silence)
    runner._clock = clock  # type: ignore[assignment]
    runner._open()
    runner._step()
    return runner, script, clock


@pytest.mark.parametrize(("silence", "connected", "age", "state"), [
    (SilencePolicy(), True, 0.0, "unchanged for 40 s"),
    (SilencePolicy(), None, 40.0, WAITING),
    (SilencePolicy(), False, 40.0, WAITING),
    (SilencePolicy("lost"), True, 40.0, "unchanged for 40 s"),
    (SilencePolicy("lost", 60.0), True, 0.0, "running"),
    (SilencePolicy("ok"), None, 0.0, WAITING),
    (SilencePolicy("ok"), False, 40.0, WAITING),
    (SilencePolicy("ok", 60.0), True, 0.0, "running"),
    (SilencePolicy("", 60.0), None, 0.0, WAITING),
])
def test_what_a_silent_source_is(silence: SilencePolicy, connected: bool | None, age: float, state: str) -> None:
    runner, _, clock = silent_runner(silence, connected)
    for _ in range(40):
        clock.sleep(1.0)
        runner._step()
    assert (runner.age(clock.now()), runner.state) == (age, state)


def test_a_connection_that_is_lost_counts_from_its_end(clock: ManualClock) -> None:
    runner, script, clock = silent_runner(SilencePolicy(), True)
    for connected in (True, False, True):
        script.connected = connected
        for _ in range(10):
            clock.sleep(1.0)
            runner._step()
        assert runner.age(clock.now()) == (0.0 if connected else 10.0)
    script.lines.append(frame(1))
    runner._step()
    assert (runner.age(clock.now()), runner.state) == (0.0, "running")


def test_a_source_without_a_frame_has_no_age() -> None:
    assert SourceRunner("script", Script(), SIZE, "stretch", Metrics(), lambda: None).age(5.0) is None


def test_a_sink_is_switched_off_and_on() -> None:
    sink = Gate()
    sink.passed.release(1000)
    runner = SinkRunner("gate", sink, SIZE, 30.0, Metrics())
    runner.start()
    runner.post(frame(0))
    wait_for(lambda: sink.written == [0])
    runner.switch(False)
    wait_for(lambda: not sink.is_open)
    assert (runner.is_on, runner.state) == (False, OFF)
    runner.post(frame(1))
    runner.switch(True)
    wait_for(lambda: sink.is_open)
    runner.post(frame(2))
    wait_for(lambda: sink.written == [0, 2])
    assert runner.state == "running"
    runner.stop()
    assert runner.join(5)


def test_off_and_on_within_one_write_reopens_the_sink() -> None:
    sink = Gate()
    runner = SinkRunner("gate", sink, SIZE, 30.0, Metrics())
    runner.start()
    runner.post(frame(0))
    assert sink.entered.acquire(timeout=5)
    runner.switch(False)
    runner.switch(True)
    sink.passed.release()
    wait_for(lambda: sink.opened == 2)
    runner.stop()
    assert runner.join(5)


def test_a_sink_that_begins_off_is_not_opened_and_a_failing_one_is_tried_at_once_when_switched() -> None:
    sink = Gate(fail_at=0)
    sink.passed.release(1000)
    runner = SinkRunner("gate", sink, SIZE, 30.0, Metrics())
    runner.switch(False)
    runner.start()
    wait_for(lambda: runner.state == OFF)
    assert sink.opened == 0
    for opened in range(1, 6):  # the pause after the fifth failure would be 4 s
        runner.switch(True)
        wait_for(lambda: runner.state == "running", 2.0)
        runner.post(frame(0))
        wait_for(lambda: runner.failure == "the wire was cut", 2.0)
        assert sink.opened == opened
        runner.switch(False)
    runner.stop()
    assert runner.join(5)
