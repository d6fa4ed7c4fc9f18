"""Opening hours of a stage without its processes: what shows, whether engines run, and when cues and recycling come."""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from lcm_daemon.audience.audience import NoAudience
from lcm_daemon.automation.look import Look, read_look
from lcm_daemon.core.frame import Frame, solid
from lcm_daemon.core.requests import CommandRequest
from lcm_daemon.processes.program import ProgramFailed
from lcm_daemon.processes.protocol import Failed
from lcm_daemon.render.policy import RestartPolicy
from lcm_daemon.shows.opening_hours import OpeningHours
from lcm_daemon.shows.reader import load_show
from lcm_daemon.stage.hours_attendants import hours_attendants
from lcm_daemon.stage.hours_commands import HoursCommands
from lcm_daemon.stage.opening_hours import HoursKeeper
from lcm_daemon.stage.stage import Stage
from tests.conftest import ManualClock
from tests.rigs.daemon import wait_for
from tests.stage.test_stage import PatientEngine

BERLIN = ZoneInfo("Europe/Berlin")
CUES = """[
  {name: dawn, set: {strength: 0.2}}, {name: tide, set: {strength: 0.3}, delay: 1},
  {name: night, set: {strength: 0.9, prompt: stars}, fade: 2}]"""
WEEK = "zone: Europe/Berlin, open: [{days: mon-fri, from: 10:00, to: 18:00}]"


def berlin(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN).timestamp()


class Engine(PatientEngine):
    """Stands where an EngineSupervisor does, and loads when the test says so."""

    policy = RestartPolicy.ALWAYS

    def stop(self, seconds: float) -> None:
        self.ready, self.report = False, None  # type: ignore[assignment]

    def hold(self, reason: str) -> None:
        self.failure, self.state = Failed(reason), reason  # type: ignore[assignment]

    def start(self, now: float, spare: object, beside: bool) -> None:
        self.failure, self.state = None, "loading"

    def pop_spare(self) -> None:
        """None waits."""


class Hall:
    """A show with opening hours, whose clocks move together."""

    def __init__(self, folder: Path, clock: ManualClock, hours: str, at: str, look: str | Look = "") -> None:
        file = folder / "show.yaml"
        file.write_text(f"{{recipe: passthrough, output: {{size: [64, 64]}}, osc: false, panel: false, cues: {CUES},\n"
                        f" parameters: {{strength: 0.5}}, opening_hours: {hours}}}")
        show = load_show(file, environment={})
        hours_of_show = show.unattended.opening_hours
        assert hours_of_show is not None
        object.__setattr__(show.unattended, "opening_hours", None)  # the test makes the attendants, with its clock
        self.clock, self.offset = clock, berlin(at) - clock.time
        self.stage = Stage(show, clock)
        self.engine = Engine()
        self.engine.ready = False
        self.stage.transition.current.engines = [self.engine]  # type: ignore[list-item]
        if isinstance(look, Look):
            self.stage.automation.restore(look, clock.time)
        elif look:
            self.stage.automation.cue_list.restore(look, clock.time)
        self.parts = hours_attendants(self.stage, hours_of_show, lambda: self.clock.time + self.offset)
        self.stage.transition.start(clock.time)
        self.recycled: list[str] = []
        self.stage.engines.recycle = lambda now: self.recycled.append("engines")  # type: ignore[method-assign]
        self.stage.desk.recycle = lambda now: self.recycled.append("desk")  # type: ignore[method-assign]

    def look(self) -> Look:
        """What a run keeps, as the next one reads it."""
        look = self.stage.automation.current_look(self.stage.recipes.playing.recipe)
        return read_look(json.loads(json.dumps(look.flat())))

    def load(self) -> None:
        """The engine has loaded and renders white."""
        self.engine.ready, self.engine.state = True, "rendering"
        self.engine.coming.append(Frame(solid((64, 64), (255, 255, 255, 255)), 0, self.clock.time))

    def pass_time(self, seconds: float, step: float = 0.25) -> None:
        end = self.clock.time + seconds
        while self.clock.time < end:
            self.clock.time += min(step, end - self.clock.time)
            self.tick()

    def tick(self) -> None:
        stage, now = self.stage, self.clock.time
        for change in stage.automation.update(now, now + self.offset):
            assert change.name
        stage.transition.step(now, False)
        stage.values = stage.automation.evaluate(now)
        stage._choose_picture(now)
        for part in self.parts:
            part.step(now)

    @property
    def light(self) -> float:
        """Mean of the output, 0 to 255."""
        assert self.stage.output is not None
        return float(np.mean(self.stage.output.pixels[..., :3]))

    @property
    def status(self) -> dict[str, Any]:
        return {name: value for part in self.parts for name, value in part.status().items()}

    @property
    def cue(self) -> str:
        current = self.stage.automation.cue_list.current
        return current.name if current else ""

    def value(self, name: str) -> Any:
        return self.stage.parameters.targets()[name]


@pytest.fixture
def hall(tmp_path: Path, clock: ManualClock) -> Callable[..., Hall]:
    return lambda hours, at, look="": Hall(tmp_path, clock, hours, at, look)


def set_value(show: Hall, name: str, value: Any, origin: str = "panel") -> None:
    show.stage.parameters.set(name, value, show.clock.time, origin)


def test_a_show_fades_to_black_then_no_engine_runs_and_it_loads_before_the_opening(hall: Callable[..., Hall]) -> None:
    show = hall(f"{{{WEEK}, closed: {{fade: 2, warm_up: 60}}}}", "2026-11-27 17:59:58")  # a Friday
    show.load()
    show.pass_time(1.5)
    assert (show.light, show.status) == (255.0, {"hours": "open until Fri 27 Nov 18:00", "hours_open": True})
    show.pass_time(1.75)
    assert 0.0 < show.light < 255.0
    assert show.stage.picture.is_closed
    assert show.engine.ready
    show.pass_time(2.0)
    assert (show.light, show.engine.state, show.stage.transition.unloaded) == (0.0, "unloaded", True)
    assert show.status == {"hours": "closed until Mon 30 Nov 10:00", "hours_open": False}
    assert show.stage.picture.shown_age == 0.0, "the failsafe is not what shows"
    show.offset += berlin("2026-11-30 09:59:00") - berlin("2026-11-27 18:00:05")
    show.pass_time(5.0)
    assert (show.light, show.engine.state, show.status["hours_open"]) == (0.0, "loading", False)
    show.load()
    show.pass_time(53.0)
    assert show.light == 0.0
    show.pass_time(10.0)
    assert (show.light, show.stage.picture.is_closed) == (255.0, False)


def test_an_opening_waits_for_the_engine_and_not_for_ever(hall: Callable[..., Hall]) -> None:
    show = hall(f"{{{WEEK}, closed: {{fade: 0, warm_up: 0}}}}", "2026-11-27 09:59:59")
    show.pass_time(2.5)
    assert (show.engine.state, show.light, show.status["hours_open"]) == ("loading", 0.0, True)
    show.pass_time(30.0)
    assert show.light == 0.0
    show.engine.alarm = "it cannot load"
    show.pass_time(0.5)
    assert show.light > 0.0, "the failsafe shows its slate"


def test_a_show_that_is_started_while_it_is_closed_loads_nothing(hall: Callable[..., Hall]) -> None:
    show = hall(f"{{{WEEK}}}", "2026-11-28 12:00")
    assert show.stage.loading == ""
    show.tick()
    assert (show.light, show.engine.state) == (0.0, "unloaded")
    show.stage.engines.execute(CommandRequest("engine/start", "osc", ("engine",)), show.clock.time)
    assert show.engine.state == "unloaded"


def test_a_recipe_that_is_asked_for_while_it_is_closed_is_what_loads(hall: Callable[..., Hall]) -> None:
    show = hall(f"{{{WEEK}, closed: {{warm_up: 0}}}}", "2026-11-30 09:59:50")
    show.tick()
    show.stage.switcher.change("builtin")
    show.pass_time(8.0)
    assert show.stage.transition.next is None
    built = []
    show.stage.transition._build = lambda variant, policy: built.append(variant.name) or (  # type: ignore[func-returns-value]
        type("Built", (), {"start": lambda *rest, **more: None, "step": lambda self, now: None, "failure": None,
                           "result": None, "ready": False, "variant": variant, "picture": lambda self, now: None})())
    show.pass_time(4.0)
    assert (built, show.engine.state) == (["builtin"], "unloaded")


def test_the_slate_and_the_blackout(hall: Callable[..., Hall]) -> None:
    show = hall(f"{{{WEEK}, closed: {{show: slate}}}}", "2026-11-28 12:00")
    show.tick()
    assert show.stage.output is not None
    assert np.array_equal(show.stage.output.pixels, show.stage.picture.slate.pixels)
    show.stage.parameters.set("blackout", True, show.clock.time, "panel")
    show.pass_time(1.0)
    assert show.light == 0.0


def test_engines_run_on_where_the_show_says_so(hall: Callable[..., Hall]) -> None:
    show = hall(f"{{{WEEK}, closed: {{unload: false, fade: 1}}}}", "2026-11-27 17:59:59")
    show.load()
    show.pass_time(10.0)
    assert (show.light, show.engine.ready, show.stage.transition.unloaded) == (0.0, True, False)


@pytest.mark.parametrize(("before", "after"), [("dawn", ("dawn", 0.2)), ("", ("", 0.7))])
def test_a_closing_cue_is_held_without_an_engine_and_what_was_before_comes_back(
    hall: Callable[..., Hall], before: str, after: tuple[str, float],
) -> None:
    show = hall(f"{{{WEEK}, closed: {{show: cue, cue: night, fade: 0}}}}", "2026-11-27 17:59:55")
    show.load()
    show.stage.parameters.set("strength", 0.7, show.clock.time, "panel")
    if before:
        show.stage.automation.execute(CommandRequest("cue/goto", "osc", (before,)), show.clock.time)
    show.pass_time(7.0)
    assert (show.cue, show.value("strength"), show.engine.ready) == ("night", 0.9, True)
    show.pass_time(10.0)
    assert (show.engine.state, show.light) == ("unloaded", 255.0), "its last picture is held"
    show.offset += berlin("2026-11-30 10:00:05") - berlin("2026-11-27 18:00:12")
    show.pass_time(3.0)
    show.load()
    show.pass_time(3.0)
    assert (show.cue, show.value("strength")) == after
    assert (show.engine.ready, show.stage.picture.is_closed) == (True, False)


def test_after_a_restart_at_night_the_opening_brings_the_values_of_the_file(hall: Callable[..., Hall]) -> None:
    show = hall(f"{{{WEEK}, closed: {{show: cue, cue: night}}}}", "2026-11-30 09:50:00", "night")
    show.stage.parameters.set("strength", 0.9, show.clock.time, "resume")
    show.pass_time(10.0)
    show.load()
    show.pass_time(4.0)
    assert show.engine.ready, "its picture is not taken at once"
    show.pass_time(2.0)
    assert show.engine.state == "unloaded"
    show.offset += 700.0
    show.pass_time(4.0)
    show.load()
    show.pass_time(4.0)
    assert (show.cue, show.value("strength"), show.value("prompt")) == ("", 0.5, show.stage.parameters.start["prompt"])


CLOSING_CUE = f"{{{WEEK}, closed: {{show: cue, cue: night, fade: 0, warm_up: 0}}}}"


@pytest.mark.parametrize("again", ["2026-11-28 09:00:00", "2026-11-30 12:00:00"])
def test_the_look_of_the_day_comes_back_after_a_restart_at_night_and_what_was_set_at_night_stays(
    hall: Callable[..., Hall], again: str,
) -> None:
    """A machine that is switched off each night. The look of the day is one that was tuned after its cue."""
    show = hall(CLOSING_CUE, "2026-11-27 17:59:55")
    show.load()
    show.stage.automation.execute(CommandRequest("cue/goto", "osc", ("dawn",)), show.clock.time)
    show.pass_time(1.0)
    set_value(show, "strength", 0.35)
    set_value(show, "prompt", "a lake")
    show.pass_time(20.0)
    assert (show.cue, show.value("prompt"), show.engine.state) == ("night", "stars", "unloaded")
    set_value(show, "prompt", "a lake in snow")  # for tomorrow
    show = hall(CLOSING_CUE, again, show.look())
    show.pass_time(1.0)
    if again < "2026-11-30":
        assert show.cue == "night"
        show = hall(CLOSING_CUE, "2026-11-30 09:59:59", show.look())
        show.pass_time(3.0)
    show.load()
    show.pass_time(3.0)
    assert (show.cue, show.value("strength"), show.value("prompt")) == ("dawn", 0.35, "a lake in snow")
    assert "before" not in show.stage.automation.hours


def test_a_cue_that_was_put_on_while_it_is_closed_stays_at_the_opening(hall: Callable[..., Hall]) -> None:
    show = hall(CLOSING_CUE, "2026-11-27 17:59:55")
    show.load()
    set_value(show, "prompt", "a lake")
    show.pass_time(20.0)
    show.stage.automation.execute(CommandRequest("cue/goto", "osc", ("dawn",)), show.clock.time)
    show.offset += berlin("2026-11-30 10:00:05") - berlin("2026-11-27 18:00:15")
    show.pass_time(3.0)
    show.load()
    show.pass_time(3.0)
    assert (show.cue, show.value("strength"), show.value("prompt")) == ("dawn", 0.2, "a lake")


def test_undo_does_not_bring_back_the_closing_cue(hall: Callable[..., Hall]) -> None:
    show = hall(CLOSING_CUE, "2026-11-27 17:59:50")
    show.load()

    def prompt_after(name: str, *arguments: str) -> Any:
        show.stage.dispatch.execute(CommandRequest(name, "osc", arguments), show.clock.time)
        show.stage.dispatch.observe_automation([], show.clock.time)
        show.pass_time(2.0)
        return show.value("prompt")

    set_value(show, "prompt", "one", "osc")
    prompt_after("hours/auto")
    set_value(show, "prompt", "a lake", "osc")
    prompt_after("hours/auto")
    show.pass_time(20.0)
    prompt_after("hours/auto")
    show.offset += berlin("2026-11-30 10:00:05") - (show.clock.time + show.offset)
    show.pass_time(3.0)
    assert prompt_after("hours/auto") == "a lake"
    assert [prompt_after("undo") for _ in range(2)] == ["a lake", "one"]


class Door(NoAudience):
    """Stands where the visitors' server does."""

    is_open = True  # type: ignore[assignment]

    def execute(self, request: CommandRequest) -> None:
        self.is_open = request.name == "audience/open"


@pytest.mark.parametrize("by_hand", [False, True])
def test_visitors_join_again_at_the_opening_unless_the_performer_has_closed_it_to_them(
    hall: Callable[..., Hall], by_hand: bool,
) -> None:
    def visitors(show: Hall, is_open: bool) -> Hall:
        object.__setattr__(show.stage.show, "audience", object())
        show.stage.audience = Door(show.stage.metrics)
        show.stage.audience.is_open = is_open  # type: ignore[misc]
        return show

    show = visitors(hall(f"{{{WEEK}}}", "2026-11-27 17:59:58"), not by_hand)
    show.load()
    show.pass_time(5.0)
    assert not show.stage.audience.is_open
    again = visitors(hall(f"{{{WEEK}}}", "2026-11-30 10:00:05", show.look()), False)  # a reload keeps the door
    again.load()
    again.pass_time(2.0)
    assert again.stage.audience.is_open is not by_hand


@pytest.mark.parametrize("kept", [7, {"closing": "night"}, {
    "closing": "night", "cue": "", "values": {}, "fade": 1, "curve": "no such", "fades": {}, "recipe": "", "source": "",
    "guide": ""}])
def test_what_was_kept_and_is_damaged_counts_as_nothing(hall: Callable[..., Hall], kept: Any) -> None:
    state = Look("passthrough", (64, 64), "night", hours={"before": kept, "by_hand": [1, "x", {}], "slot": "no"})
    show = hall(f"{CLOSING_CUE[:-1]}, playlist: {{cues: [dawn], every: 60}}}}", "2026-11-27 12:00:00", state)
    show.load()
    show.pass_time(2.0)
    assert (show.cue, show.status["hours"]) == ("dawn", "open until Fri 27 Nov 18:00")


def test_after_a_restart_by_day_the_closing_cue_of_the_last_night_is_taken_off(hall: Callable[..., Hall]) -> None:
    show = hall(f"{{{WEEK}, closed: {{show: cue, cue: night}}}}", "2026-11-30 12:00:00", "night")
    show.stage.parameters.set("strength", 0.9, show.clock.time, "resume")
    show.load()
    show.pass_time(2.0)
    assert (show.cue, show.value("strength")) == ("", 0.5)


@pytest.mark.parametrize(("at", "cue"), [
    ("2026-11-27 10:00:00", "dawn"), ("2026-11-27 10:19:50", "dawn"), ("2026-11-27 10:20:00", "tide"),
    ("2026-11-27 12:45:00", "dawn"),
])
def test_a_playlist_is_right_from_the_start(hall: Callable[..., Hall], at: str, cue: str) -> None:
    show = hall(f"{{{WEEK}, playlist: {{cues: [dawn, tide], every: 1200}}}}", at)
    show.load()
    show.pass_time(2.0)
    assert show.cue == cue


def test_a_playlist_leaves_a_performer_alone_until_its_next_cue(hall: Callable[..., Hall]) -> None:
    show = hall(f"{{{WEEK}, playlist: {{cues: [dawn, tide], every: 60}}}}", "2026-11-27 10:00:30", "dawn")
    show.stage.parameters.set("strength", 0.8, show.clock.time, "resume")
    show.load()
    show.pass_time(10.0)
    assert (show.cue, show.value("strength")) == ("dawn", 0.8), "the last run has started it"
    show.stage.automation.execute(CommandRequest("cue/goto", "osc", ("night",)), show.clock.time)
    show.pass_time(15.0)
    assert show.cue == "night"
    show.pass_time(10.0)
    assert show.cue == "tide"
    show.offset -= 20.0  # NTP: nothing is repeated
    show.pass_time(3.0)
    assert show.cue == "tide"
    show.offset += 3600.0
    show.pass_time(3.0)
    assert show.cue == "dawn"
    show.offset += 60.0
    show.pass_time(3.0)
    assert show.cue == "tide"


def test_the_first_cue_of_the_next_day_is_put_on_before_it_shows(hall: Callable[..., Hall]) -> None:
    show = hall(f"{{{WEEK}, closed: {{warm_up: 60}}, playlist: {{cues: [tide, dawn], every: 600}}}}",
                "2026-11-27 09:58:55", "dawn")
    show.pass_time(4.0)
    assert (show.cue, show.engine.state) == ("dawn", "unloaded")
    show.pass_time(4.0)
    assert (show.cue, show.engine.state) == ("tide", "loading")
    show.load()
    show.stage.automation.execute(CommandRequest("cue/goto", "osc", ("dawn",)), show.clock.time)
    show.pass_time(70.0)
    assert show.cue == "dawn", "the opening does not start it a second time"


def test_a_playlist_with_a_cue_that_was_deleted_says_so(hall: Callable[..., Hall]) -> None:
    show = hall(f"{{{WEEK}, playlist: {{cues: [gone, dawn], every: 60}}}}", "2026-11-27 10:00:30")
    show.load()
    show.pass_time(2.0)
    assert show.stage.alarms.describe() == "opening_hours.playlist: the show has no cue 'gone'"
    show.pass_time(60.0)
    assert (show.stage.alarms.describe(), show.cue) == ("", "dawn")


def test_the_playlist_of_a_show_that_never_closes_begins_at_midnight(hall: Callable[..., Hall]) -> None:
    show = hall("{zone: Europe/Berlin, playlist: {cues: [dawn, night, tide], every: 7000}}", "2026-11-27 23:50:00")
    show.load()
    show.pass_time(3.0)
    assert (show.cue, show.status["hours"]) == ("dawn", "open")  # the thirteenth of the day
    show.stage.automation.execute(CommandRequest("cue/goto", "osc", ("tide",)), show.clock.time)
    show.pass_time(595.0, 1.0)
    assert show.cue == "tide"
    show.pass_time(5.0, 1.0)
    assert show.cue == "dawn"


def test_recycling_comes_once_a_day_engines_first_and_never_at_the_start(hall: Callable[..., Hall]) -> None:
    show = hall("{zone: Europe/Berlin, recycle: '04:00'}", "2026-11-28 12:00:00")
    show.load()
    show.pass_time(5.0)
    assert show.recycled == []
    show.offset += berlin("2026-11-29 03:59:55") - berlin("2026-11-28 12:00:05")
    show.pass_time(10.0)
    assert show.recycled == ["engines", "desk"]
    show.offset -= 30.0
    show.pass_time(40.0)
    show.offset += 3600.0
    show.pass_time(5.0)
    assert show.recycled == ["engines", "desk"]
    show.offset += 86400.0
    show.stage.transition.state.asked = show.stage.transition.state.playing  # a change is under way
    show.stage.transition.unloaded = False
    show.stage.transition._started_at = show.clock.time + 5.0
    show.pass_time(3.0)
    assert show.recycled == ["engines", "desk"]
    show.pass_time(10.0)
    assert show.recycled == ["engines", "desk"] * 2


def test_a_closed_show_recycles_its_desk_alone(hall: Callable[..., Hall]) -> None:
    show = hall(f"{{{WEEK}, recycle: '04:00'}}", "2026-11-28 03:59:58")
    show.pass_time(5.0)
    assert show.recycled == ["desk"]


def test_a_clock_that_is_not_set_counts_as_open(hall: Callable[..., Hall]) -> None:
    show = hall(f"{{{WEEK}}}", "1970-01-12 03:00")
    show.load()
    show.pass_time(10.0)
    assert (show.light, show.status["hours_open"]) == (255.0, True)
    assert "the clock of this machine is not set (1970-01-12)" in show.stage.alarms.describe()
    show.offset += berlin("2026-11-28 12:00") - berlin("1970-01-12 03:00")
    show.pass_time(10.0)
    assert (show.light, show.status["hours_open"], show.stage.alarms.describe()) == (0.0, False, "")


@pytest.mark.parametrize(("step", "is_open"), [(-30.0, False), (-300.0, True), (-3600.0, True), (3600.0, False),
                                               (86400.0 * 3, True)])
def test_a_clock_that_is_set_after_closing(hall: Callable[..., Hall], step: float, is_open: bool) -> None:
    """By seconds: nothing is repeated. By more: what should be at that time."""
    show = hall(f"{{{WEEK}}}", "2026-11-27 17:59:58")
    show.load()
    show.pass_time(4.0)
    assert show.status["hours_open"] is False
    show.offset += step - (7200.0 if step > 86400.0 else 0.0)
    show.pass_time(2.0)
    assert show.status["hours_open"] is is_open


def test_cues_with_a_time_of_day_use_the_same_zone(hall: Callable[..., Hall]) -> None:
    show = hall("{zone: Asia/Tokyo}", "2026-11-27 12:00")
    assert show.stage.automation.cue_list.schedule.zone == ZoneInfo("Asia/Tokyo")


def command(show: Hall, name: str, *arguments: float) -> None:
    show.stage.dispatch.execute(CommandRequest(name, "osc 127.0.0.1", arguments), show.clock.time)


def test_a_person_opens_and_closes_until_the_next_change_or_for_hours(hall: Callable[..., Hall]) -> None:
    show = hall(f"{{{WEEK}, closed: {{warm_up: 60, fade: 0}}, playlist: {{cues: [tide, dawn], every: 3600}}}}",
                "2026-11-27 17:59:50")
    show.load()
    show.pass_time(15.0)
    assert show.engine.state == "unloaded"
    command(show, "hours/open", 2.0)
    assert show.status == {"hours": "open by hand until Fri 27 Nov 20:00", "hours_open": True}
    show.pass_time(3.0)
    show.load()
    show.pass_time(3.0)
    assert (show.light, show.cue) == (255.0, "tide")
    show.offset += 7200.0
    show.pass_time(3.0)
    assert show.status == {"hours": "closed until Mon 30 Nov 10:00", "hours_open": False}
    command(show, "hours/open")
    assert show.status["hours"] == "open by hand until Mon 30 Nov 10:00"
    command(show, "hours/auto")
    assert show.status["hours"] == "closed until Mon 30 Nov 10:00"
    show.offset += berlin("2026-11-30 10:00:30") - berlin("2026-11-27 20:00:15")
    show.pass_time(2.0)
    show.load()
    show.pass_time(2.0)
    assert show.light == 255.0
    command(show, "hours/close")
    show.pass_time(2.0)
    assert (show.light, show.status["hours"]) == (0.0, "closed by hand until Mon 30 Nov 18:00")
    command(show, "hours/close", 1.5)
    show.offset += 5350.0
    show.pass_time(3.0)
    assert show.engine.state == "loading", "it opens within a minute"
    show.load()
    show.pass_time(60.0)
    assert (show.light, show.status["hours"]) == (255.0, "open until Mon 30 Nov 18:00")


SUMMER = "zone: Europe/Berlin, open: [{during: 04-01/10-31, from: 10:00, to: 18:00}]"


@pytest.mark.parametrize(("name", "before"), [("hours/open", "open by hand"), ("hours/close", "closed by hand")])
def test_by_hand_in_a_season_without_openings_ends_with_the_next_change(
    hall: Callable[..., Hall], name: str, before: str,
) -> None:
    show = hall(f"{{{SUMMER}}}", "2026-12-01 12:00:00")
    command(show, name)
    show.pass_time(2.0)
    assert show.status["hours"] == before
    for at in ("2027-03-31 12:00:00", "2027-04-01 12:00:00"):
        show.offset += berlin(at) - (show.clock.time + show.offset)
        show.pass_time(2.0)
    assert show.status["hours"] == "open until Thu 01 Apr 18:00"


@pytest.mark.parametrize(("step", "hours"), [
    (60.0, "closed by hand until Fri 27 Nov 18:00"), (-300.0, "closed by hand until Fri 27 Nov 18:00"),
    (-7200.0, "open until Fri 27 Nov 18:00"), (86400.0 * 3, "open until Mon 30 Nov 18:00")])
def test_by_hand_holds_over_a_restart_and_a_small_step_of_the_clock(
    hall: Callable[..., Hall], step: float, hours: str,
) -> None:
    show = hall(f"{{{WEEK}}}", "2026-11-27 12:00:00")
    command(show, "hours/close")
    at = datetime.fromtimestamp(berlin("2026-11-27 12:00:00") + step, BERLIN).replace(tzinfo=None)
    again = hall(f"{{{WEEK}}}", str(at), show.look())
    assert again.status["hours"] == hours
    show.offset += step
    show.pass_time(2.0)
    assert show.status["hours"] == hours


def test_a_performers_cue_plays_until_the_next_one_of_the_playlist_also_over_a_restart(
    hall: Callable[..., Hall],
) -> None:
    hours = f"{{{WEEK}, playlist: {{cues: [dawn, tide], every: 60}}}}"
    show = hall(hours, "2026-11-27 10:00:10")
    show.pass_time(2.0)
    show.stage.automation.execute(CommandRequest("cue/goto", "osc", ("night",)), show.clock.time)
    show.pass_time(1.0)
    show = hall(hours, "2026-11-27 10:00:30", show.look())
    show.pass_time(2.0)
    assert show.cue == "night"
    show.pass_time(30.0)
    assert show.cue == "tide"


def test_a_show_without_hours_refuses_to_open_by_hand(tmp_path: Path, clock: ManualClock) -> None:
    file = tmp_path / "show.yaml"
    file.write_text("{recipe: passthrough, output: {size: [64, 64]}, osc: false, panel: false}")
    stage = Stage(load_show(file, environment={}), clock)
    stage.dispatch.execute(CommandRequest("hours/close", "osc 127.0.0.1"), clock.time)
    assert [refusal.text for refusal in stage.automation.refusals.pop()] == [
        "hours/close: the show has no opening_hours"]


def test_programs_switch_the_displays_as_the_state_says(tmp_path: Path, clock: ManualClock) -> None:
    note = tmp_path / "note"
    append = [sys.executable, "-c", f"import os; open({str(note)!r}, 'a').write(os.environ['LCM_HOURS'] + ' ')"]
    show = Hall(tmp_path, clock, f"{{{WEEK}, closed: {{fade: 1, warm_up: 30}}, commands: {{open: {json.dumps(append)}, "
                                 f"close: {json.dumps(append)}}}}}", "2026-11-27 17:59:58")
    show.load()

    def ran(text: str) -> bool:
        show.tick()
        return note.exists() and note.read_text() == text

    show.tick()
    wait_for(lambda: ran("open "), 20, "the command of the present state")
    show.pass_time(2.5)
    assert note.read_text() == "open ", "the output still fades"
    show.pass_time(2.0)
    wait_for(lambda: ran("open close "), 20, "the command of the closing")
    show.offset += berlin("2026-11-30 09:59:40") - berlin("2026-11-27 18:00:05")
    show.pass_time(1.0)
    wait_for(lambda: ran("open close open "), 20, "the command before the opening")


def test_a_program_that_fails_is_an_alarm_and_is_tried_again(tmp_path: Path, clock: ManualClock) -> None:
    show = Hall(tmp_path, clock, f"{{{WEEK}, commands: {{open: [/no/such/program]}}}}", "2026-11-27 12:00:00")
    tries: list[float] = []

    def run(words: Sequence[str], environment: Mapping[str, str], seconds: float) -> None:
        tries.append(clock.time)
        if len(tries) < 3:
            raise ProgramFailed("exit code 1")

    keeper = next(part for part in show.parts if isinstance(part, HoursKeeper))
    hours = OpeningHours(open_command=("switch", "on"))
    commands = HoursCommands(show.stage, hours, keeper, run)
    for _ in range(400):
        clock.time += 0.5
        commands.step(clock.time)
        if commands._thread is not None:
            commands._thread.join()
            commands.step(clock.time)
            assert show.stage.alarms.describe() == (
                "opening_hours.commands.open: exit code 1" if len(tries) < 3 else "")
    assert [later - earlier for earlier, later in itertools.pairwise(tries)] == [60.0, 60.0]
    show.stage.alarms.set("hours_command", "opening_hours.commands.open: exit code 1")  # and then it closes
    show.offset += 6 * 3600.0
    show.pass_time(10.0)
    commands.step(clock.time)
    assert "hours_command" not in show.stage.alarms.texts
