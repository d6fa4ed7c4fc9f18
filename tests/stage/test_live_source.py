"""A source is changed while the show plays: opened beside, faded in, or given up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from lcm_daemon.core.errors import MissingIntegration
from lcm_daemon.core.frame import Frame, solid
from lcm_daemon.core.parameters import Refused
from lcm_daemon.stage.live_source import FAIL_SECONDS, MAX_STUCK, OPEN_SECONDS, LiveSource
from lcm_daemon.transports.endpoint import EndpointConfig
from lcm_daemon.transports.source_table import OWN, SourceTable
from tests.conftest import ManualClock
from tests.rigs.daemon import wait_for

SIZE = (64, 36)
NAMED = {name: EndpointConfig("memory", {"name": name}) for name in ("a", "b", "c", "broken", "missing")}


FIRST = EndpointConfig("memory", {"name": "own"})


class FakeRunner:
    """Stands where a SourceRunner does."""

    def __init__(self, label: str) -> None:
        self.label, self.state, self.failure = label, "running", ""
        self.newest: Frame | None = None
        self.seconds_old = 0.0
        self.started = self.stopped = self.is_stuck = False

    def start(self) -> None:
        self.started = True

    def stop(self) -> None:
        self.stopped = True

    def join(self, seconds: float) -> bool:
        return self.stopped and not self.is_stuck

    def age(self, now: float) -> float | None:
        return self.seconds_old if self.newest else None

    def show(self, value: int) -> None:
        self.newest = Frame(solid(SIZE, (value, value, value, 255)), 0, 0.0)


class Rig:
    def __init__(self, own: EndpointConfig | None = FIRST, **options: Any) -> None:
        self.clock, self.built = ManualClock(), dict[str, Any]()
        self.live = LiveSource("source", SourceTable(own, NAMED), self._build, **options)

    def _build(self, config: EndpointConfig) -> Any:
        name = config.options["name"]
        if name == "missing":
            raise MissingIntegration("memory", "not installed", "pip install memory")
        if name == "broken":
            raise ValueError("a library's own")
        self.built[name] = FakeRunner(config.label)
        return self.built[name]

    def ask(self, name: str) -> None:
        """Change, and wait until the other thread has built the runner."""
        self.live.change(name, self.clock.now())
        opening: Any = self.live._opening
        if opening is not None:
            wait_for(lambda: opening.runner is not None or opening._problem)

    def step(self, seconds: float = 0.0) -> str:
        self.clock.sleep(seconds)
        return self.live.step(self.clock.now())

    def value(self) -> int | None:
        return int(self.live.newest.pixels[0, 0, 0]) if self.live.newest else None


@pytest.fixture
def rig() -> Rig:
    rig = Rig()
    rig.built["own"].show(40)
    return rig


def test_a_new_source_opens_beside_and_is_faded_in_with_its_first_frame(rig: Rig) -> None:
    rig.ask("a")
    assert rig.built["a"].started
    assert rig.step(0.5) == ""
    assert (rig.value(), rig.live.name, rig.live.wanted) == (40, OWN, "a")
    assert rig.live.describe() == "memory own: running; opening a"
    rig.built["a"].show(240)
    values = []
    for _ in range(6):
        rig.step(0.25)
        values.append(rig.value())
    assert values == [40, 90, 140, 190, 240, 240]
    assert rig.built["own"].stopped
    assert not rig.built["a"].stopped
    assert (rig.live.name, rig.live.describe(), rig.live.error) == ("a", "a (memory a): running", "")
    assert rig.live.runners() == [rig.built["a"]]


def test_a_mixed_frame_is_one_frame_for_a_whole_tick(rig: Rig) -> None:
    """The feeder compares frames by identity: a frame made at every look would be rendered at every look."""
    rig.ask("a")
    rig.built["a"].show(240)
    rig.step()
    rig.step(0.5)
    first = rig.live.newest
    assert rig.live.newest is first
    rig.step(0.1)
    assert rig.live.newest is not first


@pytest.mark.parametrize(("name", "failure", "after", "reason"), [
    ("a", "it does not exist", FAIL_SECONDS, "source a: it does not exist"),
    ("a", "", OPEN_SECONDS, "source a: no frame within 10 s"),
    ("missing", "", 0.0, "source missing: memory: not installed; install it with: pip install memory"),
    ("broken", "", 0.0, "source broken: ValueError: a library's own"),
])
def test_a_source_that_does_not_open_leaves_the_old_one(
    rig: Rig, name: str, failure: str, after: float, reason: str
) -> None:
    rig.ask(name)
    if name == "a":
        rig.built["a"].failure = failure
        assert rig.step(after - 0.1) == ""
    assert rig.step(0.2) == rig.live.error == reason
    assert (rig.value(), rig.live.wanted, rig.built["own"].stopped) == (40, OWN, False)
    assert name != "a" or rig.built["a"].stopped
    assert rig.step(20.0) == "", "reported once"
    rig.ask("b")
    assert rig.live.error == ""


def test_one_that_fails_once_and_then_opens_is_taken(rig: Rig) -> None:
    """A camera may need a moment until the program before has let it go."""
    rig.ask("a")
    rig.built["a"].failure = "busy"
    rig.step(1.0)
    rig.built["a"].failure = ""
    rig.built["a"].show(240)
    rig.step(5.0)
    assert rig.live.name == "a"


@pytest.mark.parametrize("name", ["/etc/passwd", "file /etc/passwd", "nothing", ""])
def test_an_unknown_name_is_refused_and_disturbs_no_change(rig: Rig, name: str) -> None:
    rig.ask("a")
    with pytest.raises(Refused, match="source"):
        rig.live.change(name, rig.clock.now())
    assert rig.live.wanted == "a"
    assert rig.live.error.startswith("source: ")


def test_a_name_is_found_as_controllers_give_it() -> None:
    name = "Cam\u00e9ra\u00a01 👩\u200d🚀"
    live = LiveSource("source", SourceTable(FIRST, {name: NAMED["a"]}), lambda _: FakeRunner(name))
    live.change("Cam\u00e9ra 1 👩 🚀", 0.0)
    assert live.wanted == name


def test_the_newest_request_wins_and_the_present_source_ends_a_change(rig: Rig) -> None:
    rig.ask("a")
    rig.ask("b")
    assert (rig.built["a"].stopped, rig.live.wanted) == (True, "b")
    rig.ask(OWN)
    assert (rig.built["b"].stopped, rig.live.wanted) == (True, OWN)
    rig.ask(OWN)
    rig.step()
    assert rig.live.runners() == [rig.built["own"]]


def test_one_asked_for_during_a_fade_comes_after_it(rig: Rig) -> None:
    rig.ask("a")
    rig.built["a"].show(240)
    rig.step()
    rig.step(0.5)
    rig.ask("b")
    rig.built["b"].show(40)
    rig.step(0.4)
    assert rig.live.name == "a"
    for _ in range(3):
        rig.step(0.2)
    assert rig.live.name == "b"
    rig.step(2.0)
    assert (rig.value(), rig.built["a"].stopped) == (40, True)


def test_without_a_frame_to_fade_from_it_is_a_cut() -> None:
    rig = Rig(own=None)
    assert (rig.value(), rig.live.describe(), rig.live.age(0.0)) == (None, "none", None)
    rig.ask("a")
    rig.built["a"].show(240)
    rig.step()
    assert rig.value() == 240
    rig.ask(OWN)
    assert (rig.value(), rig.live.name, rig.built["a"].stopped) == (None, OWN, True)


@pytest.mark.parametrize(("seconds_old", "value"), [(4.9, 40), (5.0, 240)])
def test_a_lost_source_that_the_failsafe_has_replaced_does_not_show_again(seconds_old, value) -> None:
    rig = Rig(lost_after=5.0)
    rig.built["own"].show(40)
    rig.built["own"].seconds_old = seconds_old
    rig.ask("a")
    rig.built["a"].show(240)
    rig.step()
    assert rig.value() == value
    assert rig.built["own"].stopped == (value == 240)


def test_no_crossfade_is_a_cut() -> None:
    rig = Rig(seconds=0.0)
    rig.built["own"].show(40)
    rig.ask("a")
    rig.built["a"].show(240)
    rig.step()
    assert (rig.value(), rig.built["own"].stopped) == (240, True)


def test_a_run_may_begin_with_another_source() -> None:
    rig = Rig(name="b")
    assert (rig.live.name, rig.live.describe(), list(rig.built)) == ("b", "b (memory b): running", ["b"])


def test_given_up_while_it_is_built_it_is_never_started(rig: Rig) -> None:
    waiting: list[Callable[[], Any]] = []
    rig.live._build = lambda config: wait_for(lambda: waiting)[0]()
    rig.live.change("a", rig.clock.now())
    opening: Any = rig.live._opening
    rig.live.cancel()
    runner = FakeRunner("late")
    waiting.append(lambda: runner)
    wait_for(lambda: runner.label.startswith("a ("))
    with opening._lock:
        assert not runner.started
    assert rig.live.runners() == [rig.built["own"]]


def built_again(rig: Rig) -> Any:
    """Step, and return the runner that is opened beside the stuck one; None if none is."""
    rig.step(0.1)
    opening: Any = rig.live._opening
    return opening and wait_for(lambda: opening.runner)


def test_a_source_whose_driver_hangs_is_opened_once_more(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    hung = rig.built["own"]
    assert built_again(rig) is None
    hung.is_stuck = True
    new = built_again(rig)
    assert new.started
    assert caplog.messages == ["source memory own: it does not answer; it is opened once more"]
    assert rig.value() == 40, "the last picture stays"
    new.show(200)
    rig.step()
    rig.step(2.0)
    assert (rig.value(), hung.stopped, rig.live.name) == (200, True, OWN)


def test_a_driver_that_hangs_for_ever_holds_few_threads(rig: Rig) -> None:
    rig.built["own"].is_stuck = True
    for _ in range(100):
        if (runner := built_again(rig)) is not None:
            runner.is_stuck = True  # the new one hangs too
            rig.step(OPEN_SECONDS)
        rig.clock.sleep(20.0)
    assert len(rig.live._stopping) == MAX_STUCK
