"""The stage with visitors, beat by beat, without processes: whose frames are sent, what the output shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lcm_daemon.audience.audience import Audience
from lcm_daemon.audience.messages import SeatLeft, SeatTaken, SeatValues
from lcm_daemon.audience.supervisor import CameraFrame
from lcm_daemon.core.frame import Frame, solid
from lcm_daemon.render.engine_supervisor import Rendered
from lcm_daemon.shows.reader import load_show
from lcm_daemon.stage.stage import Stage
from tests.conftest import ManualClock
from tests.stage.test_stage import PatientEngine, Still

SIZE = (64, 64)


class Engine(PatientEngine):
    """Takes one frame at a time, and gives back what a test says."""

    def __init__(self) -> None:
        super().__init__()
        self.accepts_frame = True
        self.under_way: list[tuple[str, Frame, dict[str, Any]]] = []
        self.ended: list[str] = []
        self.end_session = self.ended.append
        self.done: list[Rendered] = []

    def send_frame(
        self, frame: Frame, values: dict[str, Any], now: float, guide: Frame | None = None, session: str = "",
        between: int = 0,
    ) -> bool:
        self.under_way.append((session, frame, values))
        self.accepts_frame = False
        return True

    def render(self) -> str:
        """Finish the frame that is under way: its input, half as bright. Returns whose it is."""
        session, frame, _ = self.under_way.pop()
        self.done.append(Rendered(session, Frame(frame.pixels // 2, frame.number, frame.time)))
        self.accepts_frame = True
        return session

    def step(self, now: float) -> list[Rendered]:
        done, self.done = self.done, []
        return done


class Rig:
    """A stage whose server and engine a test plays."""

    def __init__(self, folder: Path, clock: ManualClock, section: str) -> None:
        file = folder / "show.yaml"
        output = "{size: [64, 64], crossfade: 0, hold_seconds: 2, failsafe: slate}"
        file.write_text(f"{{recipe: passthrough, osc: false, panel: false, output: {output}, audience: {section}}}")
        self.clock, self.stage, self.engine = clock, Stage(load_show(file, environment={}), clock), Engine()
        self.stage.transition.current.engines = [self.engine]  # type: ignore[list-item]
        self.stage.source = Still(100)  # type: ignore[assignment]
        assert isinstance(self.stage.audience, Audience)
        self.audience = self.stage.audience

    def say(self, *messages: Any) -> None:
        for message in messages:
            self.audience._handle(message, self.clock.now())

    def serve(self) -> str:
        """Send the next frame and let it be rendered; return whose it was, "-" for none."""
        stage, now = self.stage, self.clock.now()
        stage.feeder.feed(stage.source, None, stage.switcher.govern_values(stage.automation.values), stage.ticks, now)
        session = self.engine.render() if self.engine.under_way else "-"
        stage.transition.step(now, False)
        for name, picture in stage.transition.current.pop_session_results().items():
            self.audience._take(name, picture, True, now)
        return session

    def tick(self, seconds: float = 0.04) -> int:
        """Let the stage tick; return the red of its output."""
        self.clock.time += seconds
        self.stage._tick()
        assert self.stage.output is not None
        return int(self.stage.output.pixels[0, 0, 0])

    def set(self, name: str, value: Any) -> None:
        self.stage.parameters.set(name, value, self.clock.now())


def camera(seat: int, session: int, level: int) -> CameraFrame:
    return CameraFrame(seat, session, Frame(solid(SIZE, (level, 0, 0, 255)), level, 0.0))


@pytest.fixture
def rig(tmp_path: Path, clock: ManualClock) -> Rig:
    return Rig(tmp_path, clock, "{places: 2, wall: one, parameters: [prompt]}")


def test_the_output_shows_a_session_and_its_failsafe_master_freeze_and_blackout_work(rig: Rig) -> None:
    assert rig.serve() == ""
    assert rig.tick() == 50
    rig.say(SeatTaken(0, 3, True), camera(0, 3, 200))
    assert rig.serve() == "3"
    assert rig.tick() == 100
    rig.set("master", 0.5)
    assert rig.tick() == 50
    rig.set("blackout", True)
    assert rig.tick() == 0
    rig.set("blackout", False)
    rig.set("master", 1.0)
    rig.set("freeze", True)
    rig.say(camera(0, 3, 40))
    assert {rig.serve(), rig.serve()} == {"", "3"}  # the values of the show's own picture have changed too
    assert rig.tick() == 100
    rig.set("freeze", False)
    assert rig.tick() == 20
    rig.say(SeatLeft(0, 3))
    assert rig.engine.ended == ["3"]
    assert rig.tick() == 50


def test_an_input_that_stands_still_makes_no_picture_old_but_an_engine_that_is_gone_does(rig: Rig) -> None:
    rig.say(SeatTaken(0, 3, True), camera(0, 3, 200))
    assert {rig.serve(), rig.serve()} == {"", "3"}
    for _ in range(100):  # 4 s without a new frame of the camera
        assert rig.serve() == "-"
        assert rig.tick() == 100
    rig.say(camera(0, 3, 60))
    rig.engine.accepts_frame = False
    shown = [rig.tick() for _ in range(100)]
    assert shown[0] == 100
    slate = rig.stage.picture.slate.pixels[0, 0, 0]
    assert shown[-1] == int(slate)


def test_two_sessions_and_the_stage_take_turns(rig: Rig) -> None:
    rig.say(SeatTaken(0, 3, True), SeatTaken(1, 4, True), SeatValues(0, 3, {"prompt": "ink"}))
    served = []
    for number in range(40):
        rig.say(camera(0, 3, 10 + number), camera(1, 4, 90 + number))
        rig.stage.source.newest = Frame(solid(SIZE, (number, 0, 0, 255)), number, 0.0)
        served.append(rig.serve())
        rig.tick()
    assert (served.count(""), served.count("3"), served.count("4")) == (20, 10, 10)


def test_without_a_share_nothing_of_a_session_stays_on_the_output(tmp_path: Path, clock: ManualClock) -> None:
    rig = Rig(tmp_path, clock, "{share: 0, wall: mosaic}")
    assert rig.serve() == "-"
    assert rig.tick() == 100  # the input, for want of a picture
    rig.say(SeatTaken(0, 3, True), camera(0, 3, 240))
    assert rig.serve() == "3"
    assert rig.tick() == 120
    rig.say(SeatLeft(0, 3))
    assert rig.tick() == 100


def test_the_code_of_the_address_is_dimmed_with_the_output(tmp_path: Path, clock: ManualClock) -> None:
    rig = Rig(tmp_path, clock, "{qr: top_left}")
    overlay = rig.audience._address._overlay
    assert overlay is not None
    overlay._code = solid((8, 8), (255, 255, 255, 255))
    rig.serve()
    rig.tick()
    assert rig.stage.output is not None
    assert int(rig.stage.output.pixels[3, 3, 0]) == 255
    assert rig.stage.picture.undimmed is not None
    assert int(rig.stage.picture.undimmed[3, 3, 0]) == 50  # thumbnails of looks have no code
    rig.set("blackout", True)
    rig.tick()
    assert int(rig.stage.output.pixels[3, 3, 0]) == 0
