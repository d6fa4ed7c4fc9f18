"""The stage without its processes, beat by beat: what an engine is handed, and what commands and the governor do."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mido import Message

from lcm_daemon.automation.cue_list import Cue
from lcm_daemon.controllers.midi.clock import PULSES_PER_BEAT, MidiClock
from lcm_daemon.core.frame import Frame, solid
from lcm_daemon.core.requests import Change, CommandRequest
from lcm_daemon.core.tempo import ExternalTempo
from lcm_daemon.pipelines.base import DeviceMemory, Report
from lcm_daemon.recipes.parts import Lora
from lcm_daemon.recipes.prepared import PreparedForm, digest_of, installed_torch
from lcm_daemon.recipes.reader import load_recipe
from lcm_daemon.recipes.recipe import Recipe
from lcm_daemon.recipes.state import Outcome, RecipeVariant
from lcm_daemon.render.engine_place import EnginePlace
from lcm_daemon.render.engine_supervisor import Rendered
from lcm_daemon.render.failsafe import blend
from lcm_daemon.render.governor import Governor, Level
from lcm_daemon.render.player import Player
from lcm_daemon.render.policy import RestartPolicy
from lcm_daemon.render.transition import Phase
from lcm_daemon.shows.reader import load_show
from lcm_daemon.stage.handover import Handover
from lcm_daemon.stage.players import Players
from lcm_daemon.stage.stage import Stage
from tests.conftest import ManualClock


class PatientEngine:
    """Stands where an EngineSupervisor does; takes a frame whenever the test says that it wants one."""

    def __init__(self) -> None:
        self.accepts_frame, self.pid = False, 1
        self.requests: list[tuple[Frame, dict[str, Any]]] = []
        self.guides: list[Frame | None] = []
        self.coming: list[Frame] = []
        self.costs: list[float] = []
        self.fallen, self.failure, self.in_flight, self.frames_under_way = False, None, 1, 0
        self.memory: DeviceMemory | None = None
        self.downgraded = self.substitutes = False
        self.rendered, self.latency, self.last_result_at = 0, 0.0, 0.0
        self.service, self.place, self.node, self.spare = 0.0, EnginePlace(), "", None
        self.recipe, self.state, self.alarm = load_recipe("passthrough"), "rendering", ""
        self.ready, self.report = True, Report("passthrough", "cpu", "uint8", (64, 64))

    def send_frame(
        self, frame: Frame, values: dict[str, Any], now: float, guide: Frame | None = None, session: str = "",
        between: int = 0,
    ) -> bool:
        self.requests.append((frame, values))
        self.guides.append(guide)
        self.accepts_frame = False
        return True

    def pop_costs(self) -> list[float]:
        costs, self.costs = self.costs, []
        return costs

    def step(self, now: float) -> list[Rendered]:
        return [Rendered("", self.coming.pop(0))] if self.coming else []


class Still:
    """Stands where a LiveSource does."""

    def __init__(self, value: int) -> None:
        self.newest: Frame | None = Frame(solid((64, 64), (value, 0, 0, 255)), 0, 999.0)
        self.seconds: float | None = 0.0  # its age

    def age(self, now: float) -> float | None:
        return self.seconds


@pytest.fixture
def stage(tmp_path: Path, clock: ManualClock) -> Stage:
    file = tmp_path / "show.yaml"
    file.write_text("{recipe: passthrough, output: {size: [64, 64]}, osc: false, panel: false}")
    stage = Stage(load_show(file, environment={}), clock)
    stage.transition.current.engines = [PatientEngine()]  # type: ignore[list-item]
    stage.source = Still(10)  # type: ignore[assignment]
    return stage


def engines(stage: Stage) -> list[Any]:
    return stage.transition.current.engines


def feed(stage: Stage) -> list[tuple[Frame, dict[str, Any]]]:
    """Let the engine want a frame, and return what it got this time."""
    engine = engines(stage)[0]
    before = len(engine.requests)
    engine.accepts_frame = True
    send(stage)
    return list(engine.requests[before:])


def send(stage: Stage) -> None:
    """Send the engines what they accept, as the stage does between two ticks."""
    values = stage.switcher.govern_values(stage.automation.values)
    stage.feeder.feed(stage.source, stage.guide, values, stage.ticks, stage.clock.now())


def execute(stage: Stage, *requests: Change | CommandRequest) -> None:
    for request in requests:
        stage.dispatch.execute(request, stage.clock.now())


def variant_of(stage: Stage, recipe: Recipe) -> tuple[RecipeVariant, Player]:
    """A player of another recipe, on the engine that plays."""
    variant = RecipeVariant(recipe)
    return variant, Player(variant, engines(stage), stage.show.start_values(recipe), stage.metrics)


def play(stage: Stage, player: Player) -> None:
    """Let a player take over, as at the end of a recipe change."""
    stage.transition.current = player
    stage.recipes.play(player.variant)
    stage.recipes.announce()


@pytest.mark.slow
def test_the_newest_value_rides_with_the_next_frame(stage: Stage, clock: ManualClock) -> None:
    feed(stage)
    for value in (0.1, 0.9, 0.3):  # a flood: what counts is the moment of handing over
        execute(stage, Change("strength", value, "osc"))
    ((frame, values),) = feed(stage)
    assert values["strength"] == 0.3
    assert frame.time == clock.now(), "the same input again: its age does not count as latency"


def test_nothing_is_rendered_twice_from_the_same_input_and_values(stage: Stage, clock: ManualClock) -> None:
    assert len(feed(stage)) == 1
    assert feed(stage) == []
    stage.source.newest = Frame(solid((64, 64)), 1, 1000.0)  # type: ignore[misc]
    ((frame, _),) = feed(stage)
    assert (frame.number, frame.time) == (1, 1000.0)


def test_a_new_engine_gets_what_the_old_one_had(stage: Stage) -> None:
    feed(stage)
    assert feed(stage) == []
    engines(stage)[0].pid = 2
    assert len(feed(stage)) == 1


def test_two_engines_never_paint_the_same_picture_twice(stage: Stage) -> None:
    second: Any = PatientEngine()
    second.pid = 2
    engines(stage).append(second)
    assert len(feed(stage)) == 1
    second.accepts_frame = True
    assert feed(stage) == []
    assert second.requests == []
    stage.source.newest = Frame(solid((64, 64)), 1, 1000.0)  # type: ignore[misc]
    send(stage)  # both want it by now; the first one gets it
    assert [len(engine.requests) for engine in engines(stage)] == [2, 0]


def test_two_players_are_fed_each_with_its_own_newest(stage: Stage) -> None:
    """As in a crossfade: what the one has had is news to the other."""
    coming: Any = Player(stage.recipes.playing, [PatientEngine()], stage.parameters.targets(), stage.metrics)  # type: ignore[list-item]
    coming.engines[0].pid = 2
    stage.transition.next = coming
    for _ in range(2):
        coming.engines[0].accepts_frame = True
        feed(stage)
    assert [len(engines(stage)[0].requests), len(coming.engines[0].requests)] == [1, 1]


@pytest.mark.slow
def test_while_two_play_each_has_its_own_start_values(stage: Stage, clock: ManualClock) -> None:
    slow = Recipe("slow", parameters={"steps": 4, "strength": 0.9})
    coming: Any = Player(RecipeVariant(slow), [PatientEngine()], stage.show.start_values(slow), stage.metrics)  # type: ignore[list-item]
    stage.transition.next = coming
    execute(stage, Change("strength", 0.2, "osc"))
    coming.engines[0].accepts_frame = True
    feed(stage)
    old, new = engines(stage)[0].requests[-1][1], coming.engines[0].requests[-1][1]
    assert (old["steps"], old["strength"]) == (2, 0.2)
    assert (new["steps"], new["strength"]) == (4, 0.2)


def test_the_guide_rides_along_and_a_new_one_is_a_new_picture(stage: Stage) -> None:
    guide = Still(0)
    stage.guide = guide  # type: ignore[assignment]
    first = guide.newest
    feed(stage)
    assert feed(stage) == []
    guide.newest = Frame(solid((64, 64), (9, 9, 9, 255)), 1, 1000.0)
    assert len(feed(stage)) == 1
    assert engines(stage)[0].guides == [first, guide.newest]


def test_text_to_image_needs_no_input_and_paints_once_a_beat(stage: Stage, clock: ManualClock) -> None:
    stage.source.newest = None  # type: ignore[misc]
    assert feed(stage) == []
    execute(stage, Change("mode", "text", "osc"))
    assert len(feed(stage)) == 1
    assert feed(stage) == []
    stage._tick()
    assert len(feed(stage)) == 1


@pytest.mark.slow
@pytest.mark.parametrize(("name", "value"), [
    ("noise", "walking"), ("feedback", 0.5), ("smooth", 0.5), ("steady", 0.5)])
def test_what_moves_by_itself_is_painted_once_a_beat(stage: Stage, name: str, value: float | str) -> None:
    execute(stage, Change(name, value, "osc"))
    assert len(feed(stage)) == 1
    assert feed(stage) == []
    stage._tick()
    assert len(feed(stage)) == 1


@pytest.mark.slow
def test_a_recipes_parameters_come_and_go_and_keep_their_values(stage: Stage, clock: ManualClock) -> None:
    ink = Recipe("ink", loras=(Lora("a/b", name="ink"),), parameters={"lora/ink": 0.5, "steps": 4, "guidance": 2.0})
    first, (_, second) = stage.transition.current, variant_of(stage, ink)
    execute(stage, Change("steps", 1, "osc"))
    play(stage, second)
    now = stage.parameters.targets()
    assert (now["lora/ink"], now["steps"], now["guidance"]) == (0.5, 1, 2.0), "what nobody has moved follows the recipe"
    execute(stage, Change("lora/ink", 1.5, "osc"))
    assert feed(stage)[-1][1]["lora/ink"] == 1.5
    play(stage, first)
    execute(stage, Change("lora/ink", 0.1, "osc"))
    assert "lora/ink" not in stage.parameters.targets()
    play(stage, second)
    assert stage.parameters.targets()["lora/ink"] == 1.5


@pytest.mark.slow
def test_a_cue_with_a_recipe_sets_what_comes_with_it_and_keeps_what_it_says(stage: Stage, clock: ManualClock) -> None:
    ink = Recipe("ink", loras=(Lora("a/b", name="ink"),), parameters={"lora/ink": 0.5, "steps": 4, "guidance": 2.0})
    asked: list[RecipeVariant] = []
    variant, player = variant_of(stage, ink)
    stage.switcher.recipes["ink"] = ink
    stage.transition.ask = keep_in(asked)  # type: ignore[method-assign]
    stage.automation.cue_list.record(Cue("storm", {"steps": 2, "lora/ink": 0.9}, recipe="ink"))
    execute(stage, CommandRequest("cue/goto", "osc", ("storm",)))
    stage._serve()
    assert asked == [variant]
    play(stage, player)
    now = stage.parameters.targets()
    assert (now["lora/ink"], now["steps"], now["guidance"]) == (0.9, 2, 2.0)
    rows = stage._report.parameter_states()
    assert [rows[name].by for name in ("lora/ink", "steps", "guidance")] == ['cue "storm"', 'cue "storm"', "recipe"]


def test_what_is_requested_after_a_cue_moves_the_values_of_the_cue(stage: Stage) -> None:
    """Also within one bundle; undo takes back the move first."""
    stage.automation.cue_list.record(Cue("storm", {"strength": 0.9, "prompt": "storm"}))
    execute(stage, CommandRequest("cue/goto", "osc", ("storm",)), Change("strength", 0.3, "osc"))
    stage._serve()
    assert [stage.parameters.targets()[name] for name in ("strength", "prompt")] == [0.3, "storm"]
    execute(stage, CommandRequest("undo", "osc"))
    assert [stage.parameters.targets()[name] for name in ("strength", "prompt")] == [0.9, "storm"]


def test_values_of_a_cue_belong_to_the_recipe_change_of_the_cue(stage: Stage) -> None:
    """Another size while the recipe loads keeps them; another recipe drops them, also if the first one comes later."""
    ink = Recipe("ink", loras=(Lora("a/b", name="ink"),), parameters={"lora/ink": 0.5})
    stage.switcher.recipes["ink"] = ink
    stage.automation.cue_list.record(Cue("storm", {"lora/ink": 0.9}, recipe="ink"))
    for size_first, expected in ((True, 0.9), (False, 0.5)):
        execute(stage, CommandRequest("cue/goto", "osc", ("storm",)))
        stage._serve()
        assert stage.recipes.wanted.name == "ink"
        execute(stage, CommandRequest("size", "osc", (256, 256)))
        if not size_first:
            execute(stage, CommandRequest("recipe", "osc", ("sd-turbo",)))
            execute(stage, CommandRequest("recipe", "osc", ("ink",)))
        stage.recipes.play(stage.recipes.wanted)
        stage.recipes.announce()
        assert stage.parameters.targets()["lora/ink"] == expected
        stage.recipes.play(RecipeVariant(stage.show.recipe))
        stage.recipes.announce()
        stage.parameters.reset()
        stage.parameters._targets.pop("lora/ink")


def test_values_of_a_cue_survive_that_the_recipe_before_fails_in_its_fade(stage: Stage) -> None:
    ink, first = Recipe("ink", loras=(Lora("a/b", name="ink"),), parameters={"lora/ink": 0.5}), Recipe("first")
    old = stage.recipes.playing
    stage.switcher.recipes |= {"ink": ink, "first": first}
    stage.automation.cue_list.record(Cue("storm", {"lora/ink": 0.9}, recipe="ink"))
    stage.recipes.begin(RecipeVariant(first))
    stage.recipes.play(RecipeVariant(first))  # it fades in
    stage.recipes.announce()
    execute(stage, CommandRequest("cue/goto", "osc", ("storm",)))
    stage.automation.update(stage.clock.now(), None)
    assert stage.recipes.asked == RecipeVariant(ink)
    stage.automation.update(stage.clock.now(), None)
    stage.recipes.end(Outcome.FAILED, "died")
    stage.recipes.announce()
    stage.recipes.play(old)
    stage.recipes.announce()
    stage.recipes.begin(RecipeVariant(ink))
    stage.recipes.play(RecipeVariant(ink))
    stage.recipes.announce()
    assert stage.parameters.targets()["lora/ink"] == 0.9


@pytest.mark.slow
def test_commands_change_recipe_and_size(stage: Stage, clock: ManualClock) -> None:
    execute(stage, CommandRequest("size", "osc", (387, 64)))
    assert (stage.recipes.wanted.name, stage.recipes.wanted.recipe.size) == ("passthrough", (384, 64))
    execute(stage, CommandRequest("recipe", "osc", ("sd-turbo",)))
    assert (stage.recipes.wanted.name, stage.recipes.wanted.recipe.size) == ("sd-turbo", (512, 512))
    execute(stage, CommandRequest("size", "osc", (256, 256)))
    assert (stage.recipes.wanted.name, stage.recipes.wanted.recipe.size) == ("sd-turbo", (256, 256))


def governed(stage: Stage) -> Any:
    """The stage with a governor, and an engine that takes 0.1 s a frame where 0.05 are allowed."""
    stage.switcher.governor = Governor(20.0, stage.metrics)
    stage.switcher._governed = RecipeVariant(Recipe("", ""))
    engine = engines(stage)[0]
    engine.costs = []
    return engine


def keep_in(asked: list[RecipeVariant]) -> Callable[..., None]:
    """In place of RecipeTransition.ask."""
    return lambda variant, automatic=False, alone=False: asked.append(variant)


def run_hot(stage: Stage, clock: ManualClock, seconds: float, cost: float = 0.1) -> None:
    for _ in range(round(seconds / 0.1)):
        clock.sleep(0.1)
        engines(stage)[0].costs.append(cost)
        stage._serve()


@pytest.mark.slow
def test_the_governor_moves_what_rides_along_and_never_the_truth(stage: Stage, clock: ManualClock) -> None:
    governed(stage)
    run_hot(stage, clock, 1.5)
    assert feed(stage)[-1][1]["steps"] == 1
    assert stage.parameters.targets()["steps"] == 2
    assert stage._report.status(clock.now(), stage.inputs, [], 0, None)["governor"] == "steps -1"


@pytest.mark.slow
def test_the_governor_changes_size_by_a_change_of_recipe(stage: Stage, clock: ManualClock) -> None:
    governed(stage)
    full = stage.recipes.playing
    assert full.recipe.size == (512, 512)
    asked: list[RecipeVariant] = []
    stage.transition.ask = keep_in(asked)  # type: ignore[method-assign]
    run_hot(stage, clock, 4.0)
    assert [(variant.name, variant.rendered.size) for variant in asked] == [("passthrough", (384, 384))]
    stage.transition.current.variant = asked[-1]
    execute(stage, CommandRequest("size", "osc", (640, 64)))
    assert asked[-1] == RecipeVariant(replace(full.recipe, size=(640, 64))), "of the recipe as it was asked for"
    run_hot(stage, clock, 60.0, 0.001)
    assert asked[-1] == full


def test_a_size_that_a_person_asks_for_lets_the_governor_start_again(stage: Stage, clock: ManualClock) -> None:
    """Also if it is the size that the recipe has, from which the governor has stepped down."""
    governed(stage)
    asked: list[RecipeVariant] = []
    stage.transition.ask = keep_in(asked)  # type: ignore[method-assign]
    run_hot(stage, clock, 4.0)
    stage.transition.current.variant = asked[-1]
    run_hot(stage, clock, 1.0, 0.04)
    assert asked[-1].scale == 0.75
    execute(stage, CommandRequest("size", "osc", (512, 512)))
    assert asked[-1].scale == 1.0
    stage.transition.current.variant = asked[-1]
    run_hot(stage, clock, 6.0)
    assert asked[-1].scale == 0.75


@pytest.mark.parametrize("prepared", [True, False])
def test_the_governor_keeps_the_accelerator_and_chooses_no_size_that_is_not_compiled(
    stage: Stage, clock: ManualClock, prepared: bool
) -> None:
    governed(stage)
    asked: list[RecipeVariant] = []
    stage.transition.ask = keep_in(asked)  # type: ignore[method-assign]
    playing = replace(stage.recipes.playing, accelerator="compile")
    stage.transition.current.variant = playing
    smaller = replace(playing, scale=0.75)
    form = PreparedForm(digest_of(smaller.rendered), "own", "384x384", "compile", installed_torch(), "card", True, 5.0)
    stage.switcher._prepared.forms = [form] if prepared else []
    run_hot(stage, clock, 4.0)
    assert asked == ([smaller] if prepared else [])


@pytest.mark.slow
def test_a_size_that_fails_is_not_asked_for_again(stage: Stage, clock: ManualClock) -> None:
    governed(stage)
    asked: list[RecipeVariant] = []
    stage.transition.ask = keep_in(asked)  # type: ignore[method-assign]
    run_hot(stage, clock, 120.0)  # nothing comes of it
    assert [variant.rendered.size for variant in asked] == [(384, 384)]
    assert stage.switcher.governor is not None
    assert stage.switcher.governor.level == Level(steps=1)


@pytest.mark.slow
def test_a_late_frame_of_another_engine_is_dropped_and_counted(stage: Stage, clock: ManualClock) -> None:
    newer, older = Frame(solid((64, 64)), 5, 1000.0), Frame(solid((64, 64)), 4, 1000.0)
    engines(stage)[0].coming = [newer, older]
    stage._serve()
    stage._serve()
    assert stage.transition.current.result is newer
    assert stage.metrics.total("dropped/rendered") == 1


@pytest.mark.slow
def test_the_master_dims_whatever_is_out_and_panic_brings_the_light_back(stage: Stage, clock: ManualClock) -> None:
    def shown() -> int:
        clock.sleep(0.1)
        stage._tick()
        assert stage.output is not None
        return int(stage.output.pixels[0, 0, 0])

    stage.transition.current.result = Frame(solid((64, 64), (200, 0, 0, 255)), 1, clock.now())
    stage.transition.current.result_at = clock.now()
    assert shown() == 200
    stage.parameters.set("freeze", True, clock.now())
    for master, red in ((0.5, 100), (0.0, 0), (0.25, 50)):
        stage.parameters.set("master", master, clock.now())
        assert shown() == red, "of the picture, not of what was dimmed before"
    execute(stage, Change("blackout", True, "osc"))
    assert (shown(), stage.parameters.targets()["master"]) == (0, 0.25)
    execute(stage, CommandRequest("panic", "osc"))
    assert shown() == 200


@pytest.mark.slow
def test_panic_returns_to_the_shows_values(stage: Stage, clock: ManualClock) -> None:
    moves = Change("strength", 1.0, "osc"), Change("freeze", True, "osc")
    execute(stage, *moves)
    execute(stage, CommandRequest("panic", "osc"))
    assert stage.parameters.targets() == stage.parameters.evaluate(clock.now())
    assert stage.parameters.targets()["strength"] == 0.6
    assert stage.parameters.targets()["freeze"] is False


@pytest.mark.slow
def test_a_fault_in_every_tick_stops_nothing_and_fills_no_log(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    stage.picture.failsafe.choose = None  # type: ignore[assignment, method-assign]
    for _ in range(1000):
        stage._tick()
    assert stage.metrics.total("tick/failed") == 1000
    assert len(caplog.records) == 10


@pytest.mark.parametrize("broken", ["_reports.tell_status", "automation.update", "show_file.step", "resume_file.write",
                                    "picture.choose", "shelf.step", "_reports.tell"])
def test_no_part_of_a_tick_starves_another(
    stage: Stage, clock: ManualClock, broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Feeding, the output and the status go on; the sign of life does not, and the status says which part fails."""
    alive, posted, statuses = list[float](), list[Frame](), list[Any]()
    engine = engines(stage)[0]
    monkeypatch.setattr(stage._notifier, "alive", alive.append)
    monkeypatch.setattr(stage.outputs, "post", posted.append)
    monkeypatch.setattr(stage._reports, "tell_status", lambda now, collect: statuses.append(collect()["alarm"]))
    stage._tick()
    assert (len(alive), statuses) == (1, [""])
    owner, name = broken.split(".")
    monkeypatch.setattr(getattr(stage, owner), name, None)
    for number in range(3):
        clock.sleep(1.0)
        execute(stage, Change("strength", 0.1 * number, "osc"))
        engine.accepts_frame, before = True, len(engine.requests)
        stage._serve()
        assert len(engine.requests) > before, "a request to the engine"
        stage._tick()
    assert (len(alive), len(posted)) == (1, 4)
    if "status" not in broken:
        assert "fails: TypeError" in statuses[-1]


@pytest.mark.parametrize(("upgrade", "accelerate", "compiled"), [
    ("compile", "auto", True), ("compile", "none", False), ("", "auto", False), ("", "compile", True),
])
def test_where_the_device_has_a_compiler_the_compiled_recipe_is_loaded_aside_once(
    stage: Stage, upgrade: str, accelerate: str, compiled: bool, monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[RecipeVariant] = []
    monkeypatch.setattr(stage.transition, "ask", keep_in(asked))
    variant = RecipeVariant(replace(stage.show.recipe, accelerate=accelerate))
    stage.transition.current.variant = variant
    engines(stage)[0].report = replace(engines(stage)[0].report, upgrade=upgrade)
    engines(stage)[0].ready = False
    stage.switcher.upgrade(0.0, lambda: False)
    assert asked == [], "it does not play yet"
    engines(stage)[0].ready = True
    for _ in range(3):
        stage.switcher.upgrade(0.0, lambda: False)
    assert asked == ([replace(variant, accelerator="compile")] if compiled else [])


BARS = """
{recipe: passthrough, output: {size: [64, 64]}, osc: false, panel: false, parameters: {strength: 0.5},
 modulation: [{name: bar, to: strength, wave: saw, beats: 4, depth: 0.5}]}
"""


@pytest.mark.slow
def test_a_wave_in_the_picture_keeps_a_midi_clocks_bar(tmp_path: Path, clock: ManualClock) -> None:
    """Ticks that come up to 4 ms late, what the desk makes of them, and the value that rides with each frame."""
    (tmp_path / "show.yaml").write_text(BARS)
    stage = Stage(load_show(tmp_path / "show.yaml", environment={}), clock)
    stage.transition.current.engines = [PatientEngine()]  # type: ignore[list-item]
    stage.source = Still(10)  # type: ignore[assignment]
    music, chance, begun, tick = MidiClock(), random.Random(5), clock.now(), 60.0 / 132.0 / PULSES_PER_BEAT
    off = []

    def say(message: str) -> None:
        if music.receive(Message(message), clock.now()):
            stage.desk.kept = {"tempo": ExternalTempo(music.tempo, "midi/clock")}
        stage._serve()

    say("start")
    for number in range(24 * PULSES_PER_BEAT):
        clock.time = begun + number * tick + chance.uniform(0.0, 0.004)
        say("clock")
        clock.time = begun + (number + 0.9) * tick
        bar = (clock.now() - begun - 0.002) * 132.0 / 60.0 / 4.0 % 1.0  # 2 ms late are all ticks, on average
        stage._tick()
        if number > 4 * PULSES_PER_BEAT and 0.05 < bar < 0.95:
            off.append((feed(stage)[-1][1]["strength"] - bar) * 4.0 * 60.0 / 132.0)
    assert len(off) > 300
    assert max(map(abs, off)) < 0.003, "seconds"
    assert stage.parameters.targets()["bpm"] == pytest.approx(132.0, abs=0.5)
    assert stage._report.parameter_states()["bpm"].by == "midi clock"
    say("stop")
    held = stage._report.parameter_states()["strength"].value
    clock.sleep(10.0)
    stage._serve()
    assert stage._report.parameter_states()["strength"].value == held


def test_a_crossfade_is_blended_once_a_tick_and_not_for_the_status(
    stage: Stage, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, player = variant_of(stage, Recipe("ink"))
    for one, value in ((stage.transition.current, 0), (player, 200)):
        one.result, one.result_at = Frame(solid((64, 64), (value, 0, 0, 255)), 1, clock.now()), clock.now()
    stage.transition.next, stage.transition.phase = player, Phase.FADING
    blends: list[float] = []

    def counted(a: Any, b: Any, amount: float) -> Any:
        blends.append(amount)
        return blend(a, b, amount)

    monkeypatch.setattr("lcm_daemon.render.transition.blend", counted)
    reports = stage.metrics.total("tick/failed")
    for _ in range(4):
        clock.sleep(1.0)  # the status is due in each of these ticks
        assert stage._report.is_due(clock.now())
        stage._tick()
    assert len(blends) == 4
    assert stage.metrics.total("tick/failed") == reports


def test_no_recipe_is_read_from_a_file_while_a_show_plays(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parsing YAML takes longer than a tick."""
    def refuse(*_: object) -> None:
        raise AssertionError("a recipe was read")

    players = Players(stage.show, stage.metrics, Handover())
    monkeypatch.setattr("lcm_daemon.shows.show.load_recipe", refuse)
    player = players.build(RecipeVariant(Recipe("ink")), RestartPolicy.NEVER)
    assert player.engines[0].ladder[-1].name == "builtin (safe)"


def rendered_each_tick(stage: Stage, clock: ManualClock, seconds: float) -> bool:
    """Let the engine answer every request at once for a while; whether the failsafe is active then."""
    engine = engines(stage)[0]
    for _ in range(round(seconds / 0.1)):
        clock.sleep(0.1)
        engine.accepts_frame = True
        before = len(engine.requests)
        stage._serve()
        engine.coming += [Frame(solid((64, 64), (90, 0, 0, 255)), frame.number, frame.time)
                          for frame, _ in engine.requests[before:]]
        stage._serve()
        stage._tick()
    return bool(stage.picture.failsafe.is_active(stage.picture.age(stage.source, stage.values, clock.now())))


@pytest.mark.slow
@pytest.mark.parametrize(("values", "has_guide", "needs_input"), [
    ({}, False, True), ({}, True, True), ({"feedback": 0.5}, False, True), ({"noise": "walking"}, False, True),
    ({"mode": "control"}, True, True), ({"mode": "text"}, False, False),
    ({"mode": "text", "feedback": 0.5}, True, False),
])
def test_the_failsafe_follows_the_age_of_the_input_in_each_mode_that_needs_one(
    stage: Stage, clock: ManualClock, values: dict[str, Any], has_guide: bool, needs_input: bool
) -> None:
    execute(stage, *(Change(name, value, "osc") for name, value in values.items()))
    source: Any = stage.source
    if has_guide:
        stage.guide = Still(0)  # type: ignore[assignment]
    assert not rendered_each_tick(stage, clock, 7.0), "an input that only does not change"
    if has_guide:
        stage.guide.newest = Frame(solid((64, 64)), 1, clock.now())  # type: ignore[misc]
    source.seconds = 5.1  # lost, and hold_seconds is 5
    assert rendered_each_tick(stage, clock, 1.0) is needs_input
    source.seconds = 0.1
    assert not rendered_each_tick(stage, clock, 1.0)


def test_the_failsafe_comes_while_an_engine_owes_a_result(stage: Stage, clock: ManualClock) -> None:
    assert not rendered_each_tick(stage, clock, 1.0)
    execute(stage, Change("strength", 0.2, "osc"))
    feed(stage)
    clock.sleep(5.1)
    assert stage.picture.failsafe.is_active(stage.picture.age(stage.source, stage.values, clock.now()))


def test_a_show_without_a_source_has_no_input_that_could_be_lost(tmp_path: Path, clock: ManualClock) -> None:
    file = tmp_path / "show.yaml"
    file.write_text("{recipe: passthrough, output: {size: [64, 64]}, osc: false, panel: false, source: false,"
                    " parameters: {mode: text}}")
    stage = Stage(load_show(file, environment={}), clock)
    stage.transition.current.engines = [PatientEngine()]  # type: ignore[list-item]
    assert not rendered_each_tick(stage, clock, 7.0)
    execute(stage, Change("mode", "image", "osc"))
    assert stage.source.age(clock.now()) is None
