"""The stage's side of visitors: seats, values, pictures, the performer's commands. Tests play the server."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lcm_daemon.audience.audience import Audience, NoAudience
from lcm_daemon.audience.messages import (
    AudienceReport,
    Performer,
    SeatLeft,
    SeatTaken,
    SeatValues,
    SessionList,
    SessionRow,
    SharedTable,
)
from lcm_daemon.audience.supervisor import CameraFrame
from lcm_daemon.core.frame import Frame, solid
from lcm_daemon.core.live_values import Blend, Parameters
from lcm_daemon.core.metrics import Metrics
from lcm_daemon.core.requests import CommandRequest, commands
from lcm_daemon.recipes.recipe import Recipe
from lcm_daemon.render.transition import Phase
from lcm_daemon.shows.reader import load_show

SIZE = (16, 16)
OWN = solid(SIZE)


def frame(level: int) -> Frame:
    return Frame(solid(SIZE, (level, level, level, 255)), level, float(level))


class Server:
    """Stands for the supervisor: it hands out messages and notes what it is given."""

    def __init__(self) -> None:
        self.coming: list[Any] = []
        self.tables: list[SharedTable] = []
        self.asked: list[Performer] = []
        self.shown: list[tuple[int, int, Frame]] = []
        self.forgotten: list[int] = []
        self.pid, self.verdict = 77, True
        self.address, self.kept = "http://10.0.0.5:8001/join", None
        self.share, self.perform, self.forget = self.tables.append, self.asked.append, self.forgotten.append

    def begin(self, now: float) -> None: ...

    def show(self, seat: int, session: int, picture: Frame, verdict: bool) -> None:
        self.shown.append((seat, session, picture))
        self.verdict = verdict

    def step(self, now: float) -> list[Any]:
        coming, self.coming = self.coming, []
        return coming


class Player:
    """Stands for a player: results come when a test says so."""

    def __init__(self) -> None:
        self.variant = SimpleNamespace(recipe=Recipe("own", pipeline="passthrough"))
        self.results: dict[str, Frame] = {}
        self.ended: list[str] = []
        self.end_session = self.ended.append

    def pop_session_results(self) -> dict[str, Frame]:
        results, self.results = self.results, {}
        return results

    def current_at(self, session: str) -> float:
        return 5.0


class Rig:
    """An audience of two places."""

    def __init__(self, folder: Path, wall: str = "one", **options: Any) -> None:
        file = folder / "show.yaml"
        file.write_text("{recipe: passthrough, output: {size: [16, 16], crossfade: 0}, audience: {parameters: [prompt, "
                        "strength]}, parameters: {prompt: sea}}")
        show = load_show(file, environment={})
        assert show.audience is not None
        config = replace(show.audience, wall=wall, **options)
        self.stage = Parameters(show.table(show.recipe), show.start_values(show.recipe), show.glides)
        self.server, self.player, self.metrics = Server(), Player(), Metrics()
        transition: Any = SimpleNamespace(players=[self.player], leading=self.player, phase=Phase.PLAYING)
        server: Any = self.server
        self.audience = Audience(config, show, self.stage, transition, self.metrics, server)
        self.audience.begin(0.0)

    def say(self, *messages: Any, now: float = 10.0) -> None:
        self.server.coming += messages
        self.audience.step(now)

    def render(self, now: float = 10.0, **levels: int) -> None:
        self.player.results = {name.removeprefix("s"): frame(level) for name, level in levels.items()}
        self.audience.step(now)

    def inputs(self, now: float = 10.0) -> dict[str, Any]:
        values = self.stage.evaluate(now)
        return {one.session: one for one in self.audience.inputs(frame(1), values, now)}

    def command(self, name: str, *arguments: Any) -> list[str]:
        """Execute a command; return the refusals."""
        coerced = commands()[f"audience/{name}"].coerce(arguments)
        self.audience.execute(CommandRequest(f"audience/{name}", "osc/1.2.3.4", coerced))
        return [refusal.text for refusal in self.audience.refusals.pop()]


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


def rows(*sessions: int) -> SessionList:
    """These sessions have seats, in this order."""
    return SessionList(tuple(SessionRow(number, "active", seat, 60.0) for seat, number in enumerate(sessions)))


@pytest.mark.parametrize(("recipe", "verdict"), [
    ({"pipeline": "passthrough"}, True), ({"safety": True}, True), ({"pipeline": "passthrough", "safety": True}, False),
])
def test_a_picture_that_was_not_judged_is_seen_nowhere(rig: Rig, recipe: dict[str, Any], verdict: bool) -> None:
    """The performer may change to a recipe without a model, which has no safety checker."""
    rig.say(SeatTaken(0, 3, True), rows(3))
    rig.render(s3=50)
    rig.player.variant.recipe = Recipe("own", **recipe)
    rig.render(s3=200)
    assert rig.server.verdict is verdict
    pixels, _ = rig.audience.compose(OWN, 0.0, 10.0)
    assert pixels is not None
    assert int(pixels[0, 0, 0]) == (200 if verdict else 50)


def test_each_session_has_its_own_input_and_values_and_follows_the_show_in_all_others(rig: Rig) -> None:
    rig.say(SeatTaken(0, 3, True), SeatTaken(1, 4, False))
    rig.say(SeatValues(0, 3, {"prompt": "ink", "freeze": True, "unknown": 1}), SeatValues(1, 4, {"strength": 0.9}),
            CameraFrame(0, 3, frame(77)), CameraFrame(1, 4, frame(88)))
    rig.stage.set("seed", 12, 10.0)
    rig.stage.set("prompt", "fire", 10.0)
    found = rig.inputs()
    three, four = found["3"], found["4"]
    assert (three.values["prompt"], three.values["seed"], three.values["freeze"]) == ("ink", 12, False)
    assert (four.values["prompt"], four.values["strength"]) == ("sea", 0.9)  # as it was when its turn began
    assert three.frame.pixels[0, 0, 0] == 77
    assert four.frame.pixels[0, 0, 0] == 1  # it sends no camera: the show's source


def test_a_visitors_prompt_glides_as_the_shows(rig: Rig) -> None:
    rig.stage.set("prompt_glide", 4.0, 0.0)
    rig.say(SeatTaken(0, 3, False))
    rig.say(SeatValues(0, 3, {"prompt": "ink"}), now=20.0)
    halfway = rig.inputs(22.0)["3"].values["prompt"]
    assert isinstance(halfway, Blend)
    assert dict(halfway.parts) == pytest.approx({"sea": 0.5, "ink": 0.5})
    assert rig.inputs(24.0)["3"].values["prompt"] == "ink"


def test_pictures_reach_their_own_seat_and_nothing_stays_of_a_session_that_left(rig: Rig) -> None:
    rig.say(SeatTaken(0, 3, False), SeatTaken(1, 4, False), rows(3, 4))
    rig.render(s3=30, s4=40, s9=90)
    assert [(seat, session, int(picture.pixels[0, 0, 0])) for seat, session, picture in rig.server.shown] == [
        (0, 3, 30), (1, 4, 40)]
    rig.say(SeatLeft(0, 3))
    rig.render(s3=31, s4=41)
    assert [(seat, session) for seat, session, _ in rig.server.shown[2:]] == [(1, 4)]
    assert rig.player.ended == ["3"]
    assert rig.server.forgotten == [0]
    assert set(rig.inputs()) == {"4"}


def test_a_seat_that_changes_hands_keeps_nothing_of_the_session_before(rig: Rig) -> None:
    rig.say(SeatTaken(0, 3, True), SeatValues(0, 3, {"prompt": "ink"}), CameraFrame(0, 3, frame(77)))
    rig.say(SeatTaken(0, 5, True), SeatValues(0, 3, {"prompt": "mine"}), CameraFrame(0, 3, frame(78)), SeatLeft(0, 3))
    five = rig.inputs()["5"]
    assert (five.frame, five.values["prompt"]) == (None, "sea")
    assert rig.player.ended == ["3"]


def test_a_new_server_frees_the_seats_that_it_does_not_know(rig: Rig) -> None:
    rig.say(SeatTaken(0, 3, False), SeatTaken(1, 4, False), rows(3, 4))
    rig.say(SessionList((SessionRow(4, "active", 1),)))
    assert set(rig.inputs()) == {"4"}
    assert rig.player.ended == ["3"]


def test_the_server_is_told_what_visitors_may_set_and_its_values_once_a_second(rig: Rig) -> None:
    [first] = rig.server.tables
    assert set(first.parameters) == {"prompt", "strength"}
    assert first.values["prompt"] == "sea"
    rig.stage.set("prompt", "fire", 0.0)
    rig.say(now=0.5)
    assert len(rig.server.tables) == 1
    rig.say(now=1.5)
    rig.say(now=9.0)
    assert [table.values["prompt"] for table in rig.server.tables] == ["sea", "fire"]
    rig.audience.recipe_started(9.0)
    assert len(rig.server.tables) == 3


def test_the_output_shows_a_session_with_the_age_of_its_picture(rig: Rig) -> None:
    assert rig.audience.compose(OWN, 1.0, 10.0) == (OWN, 1.0)
    rig.say(SeatTaken(0, 3, False), rows(3))
    rig.render(s3=30)
    pixels, age = rig.audience.compose(OWN, 1.0, 11.0)
    assert pixels is not None
    assert (int(pixels[0, 0, 0]), age) == (30, 6.0)
    assert rig.audience.lists()["sessions"][0]["shown"]


def test_the_performers_commands_reach_the_server(rig: Rig) -> None:
    rig.say(SeatTaken(0, 3, False), SeatTaken(1, 4, False),
            SessionList((*rows(3, 4).rows, SessionRow(5, "waiting", wait=30.0))))
    rig.render(s3=30, s4=40)
    for name, *arguments in (("skip", 4), ("extend", 3, 60), ("extend", 3), ("block", 5.0), ("close",), ("open",)):
        assert rig.command(str(name), *arguments) == []
    assert rig.server.asked == [
        Performer("skip", 4), Performer("extend", 3, 60.0), Performer("extend", 3, 30.0), Performer("block", 5),
        Performer("close"), Performer("open")]
    assert rig.command("show", 4) == []
    assert rig.audience.compose(OWN, 0.0, 10.0)[0] is not OWN
    assert rig.audience.wall.shown == (4,)
    assert rig.command("skip_shown") == []
    assert rig.server.asked[-1] == Performer("skip", 4)
    assert rig.command("show_next") == []
    rig.audience.compose(OWN, 0.0, 10.0)
    assert rig.audience.wall.shown == (3,)
    assert rig.command("wall", "stage") == []
    assert rig.audience.compose(OWN, 0.0, 10.0)[0] is OWN


def test_a_command_that_names_no_session_is_refused_in_one_line(rig: Rig) -> None:
    assert rig.command("skip_shown") == ["audience/skip_shown: no session plays"]
    assert rig.command("show_next") == ["audience/show_next: no session plays"]
    assert rig.command("skip", 12) == ["audience/skip: no session 12 waits or plays"]
    assert rig.command("show", 12) == ["audience/show: no session 12 plays"]
    rig.say(SeatTaken(0, 3, False), rows(3))
    assert rig.command("skip_shown") == ["audience/skip_shown: the output shows no single visitor"]
    assert rig.server.asked == []
    none = NoAudience(Metrics())
    none.execute(CommandRequest("audience/skip", "panel/1"))
    assert [refusal.text for refusal in none.refusals.pop()] == ["audience/skip: this show has no audience"]


def test_the_status_names_the_address_and_counts_visitors(rig: Rig) -> None:
    rig.say(SeatTaken(0, 3, False), AudienceReport("session 3: the prompt holds a blocked word"),
            SessionList((*rows(3).rows, SessionRow(5, "waiting", wait=29.6, prompt="sea")), is_open=False))
    assert rig.audience.status() == {
        "audience": "1 play, 1 wait; closed", "audience_open": False, "audience_pid": 77,
        "audience_address": "http://10.0.0.5:8001/join", "wall": "one"}
    assert rig.audience.lists()["sessions"][1] == {
        "session": 5, "state": "waiting", "seat": 0, "left": 0, "wait": 30, "prompt": "sea", "shown": False}
    assert [refusal.text for refusal in rig.audience.refusals.pop()] == ["session 3: the prompt holds a blocked word"]
    rig.say(SessionList(rows(3).rows, more=500))
    assert rig.audience.status()["audience"] == "1 play, 500 wait"
    assert rig.command("skip", 300) == []  # its row is not among them: the server knows whether it waits
    assert rig.server.asked == [Performer("skip", 300)]


def test_the_qr_code_of_the_address_is_written_to_a_file(tmp_path: Path) -> None:
    file = tmp_path / "code.svg"
    rig = Rig(tmp_path, qr_file=str(file))
    rig.say()
    for thread in threading.enumerate():
        if thread.name == "qr-file":
            thread.join(10)
    assert "<svg" in file.read_text()
