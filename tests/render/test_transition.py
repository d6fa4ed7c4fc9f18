"""One recipe takes over from another, with engines that do what the test says, on a clock that it moves."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import Any

import pytest

from lcm_daemon.core.frame import Frame, solid
from lcm_daemon.core.metrics import Metrics
from lcm_daemon.processes.protocol import Failed
from lcm_daemon.recipes.recipe import Recipe
from lcm_daemon.recipes.state import ChangeEnd, Outcome, RecipeState, RecipeVariant
from lcm_daemon.render.engine_place import EnginePlace
from lcm_daemon.render.engine_supervisor import Rendered
from lcm_daemon.render.player import Player
from lcm_daemon.render.policy import RestartPolicy
from lcm_daemon.render.return_pauses import LONGEST_PAUSE
from lcm_daemon.render.transition import LONGEST_EXIT, START_PAUSE, Phase, RecipeTransition
from tests.conftest import ManualClock

SIZE = (16, 16)
OLD, NEW, OTHER = (RecipeVariant(Recipe(name, pipeline="passthrough")) for name in ("old", "new", "other"))
FULL = Failed("OutOfMemoryError: CUDA out of memory", memory=True)


def resized(variant: RecipeVariant, size: tuple[int, int]) -> RecipeVariant:
    return RecipeVariant(replace(variant.recipe, size=size))


class FakeEngine:
    """An EngineSupervisor's face."""

    def __init__(
        self, variant: RecipeVariant, policy: RestartPolicy, place: EnginePlace = EnginePlace(),  # noqa: B008 - frozen
    ) -> None:
        self.variant, self.policy = variant, policy
        self.state, self.alarm, self.pid = "starting", "", 1
        self.ready = self.accepts_frame = self.fallen = self.running = self.substitutes = False
        self.gone, self.place, self.frames_under_way = True, place, 0
        self.service = self.latency = self.last_result_at = 0.0
        self.failure: Failed | None = None
        self.spare: Any = None
        self.given: Any = None
        self.coming: list[Frame] = []

    def start(self, now: float, spare: Any = None, beside: bool = False) -> None:
        self.running, self.gone, self.failure, self.given, self.state = True, False, None, spare, "loading"

    def stop(self, seconds: float = 1.0) -> None:
        self.running, self.failure = False, Failed("stopped")

    def hold(self, reason: str) -> None:
        self.failure = Failed(reason)

    def resume(self) -> None:
        if self.failure is not None:
            self.start(0.0)

    def climb(self, now: float) -> None:
        self.fallen = self.ready = False
        self.start(now)

    def pop_spare(self) -> Any:
        spare, self.spare = self.spare, None
        return spare

    def waitables(self) -> list[Any]:
        return []

    def step(self, now: float) -> list[Rendered]:
        return [Rendered("", self.coming.pop(0))] if self.coming else []

    # what a test does to it

    def deliver(self, value: int) -> None:
        number = len(self.coming) + int(self.pid * 1000)
        self.pid += 1
        self.coming.append(Frame(solid(SIZE, (value, value, value, 255)), number, 0.0))

    def fail(self, failure: Failed) -> None:
        self.running, self.failure = False, failure


class Rig:
    """A RecipeTransition whose engines are all kept in `made`, the newest last."""

    def __init__(self, clock: ManualClock, engines: int = 1) -> None:
        self.clock, self.engines = clock, engines
        self.made: list[Any] = []
        self.metrics = Metrics()
        self.state = RecipeState(OLD)
        self.ends: list[ChangeEnd] = []
        self.state.on_end.append(self.ends.append)
        self.change = RecipeTransition(self.state, self._build, self.metrics, seconds=1.0, pause=60.0)
        self.change.start(clock.now())

    def _build(self, variant: RecipeVariant, policy: RestartPolicy) -> Player:
        engines: list[Any] = [FakeEngine(variant, policy, EnginePlace(number=n)) for n in range(self.engines)]
        self.made += engines
        return Player(variant, engines, {}, self.metrics)

    @property
    def outcomes(self) -> list[tuple[str, Outcome]]:
        """The changes that have ended, in order."""
        self.state.announce()
        return [(end.variant.name, end.outcome) for end in self.ends]

    def step(self, seconds: float = 0.0, starved: bool = False) -> int | None:
        """Let time pass; returns the grey that shows."""
        self.clock.sleep(seconds)
        self.change.step(self.clock.now(), starved)
        self.state.announce()
        pixels = self.change.output(self.clock.now())
        return None if pixels is None else int(pixels[0, 0, 0])

    @property
    def running(self) -> list[str]:
        return [engine.variant.name for engine in self.made if engine.running]


@pytest.fixture
def rig(clock: ManualClock) -> Rig:
    """The old recipe plays, and shows 0."""
    rig = Rig(clock)
    rig.made[0].ready = True
    rig.made[0].deliver(0)
    rig.step()
    return rig


def test_the_new_one_loads_aside_with_the_spare_and_is_faded_in(rig: Rig) -> None:
    rig.made[0].spare = "spare"
    rig.change.ask(NEW)
    assert rig.step() == 0
    assert rig.running == ["old", "new"]
    assert rig.made[1].given == "spare"
    assert rig.made[0].policy is RestartPolicy.UNLESS_OUT_OF_MEMORY
    assert rig.state.playing is OLD
    assert "loading new: loading" in rig.change.describe()
    rig.made[1].deliver(200)
    assert rig.step(30.0) == 0
    assert (rig.change.phase, rig.state.playing) == (Phase.FADING, NEW)
    assert [rig.step(0.25) for _ in range(3)] == [50, 100, 150]
    rig.made[0].deliver(100)  # both go on painting while they fade
    rig.made[1].deliver(240)
    assert rig.step(0.1) == 219
    assert rig.step(0.2) == 240
    assert rig.step() == 240
    assert rig.running == ["new"]
    assert rig.made[1].policy is RestartPolicy.ALWAYS
    assert rig.change.describe() == ""
    assert rig.metrics.counts("change/") == {"change/begun": 1, "change/done": 1}


def test_the_same_recipe_is_loaded_again_beside_itself_if_asked(rig: Rig) -> None:
    rig.change.ask(OLD)
    rig.step(START_PAUSE)
    assert rig.running == ["old"], "it plays already"
    rig.change.ask(OLD, reload=True)
    rig.step(START_PAUSE)
    assert rig.running == ["old", "old"]
    rig.made[1].deliver(200)
    rig.step()
    assert [rig.step(0.5), rig.step(0.6)] == [100, 200]
    assert (rig.running, [engine.running for engine in rig.made]) == (["old"], [False, True])
    rig.change.ask(OLD)
    rig.step(START_PAUSE)
    assert rig.running == ["old"], "only the request that said so"


def test_one_that_fails_to_load_leaves_the_old_one_playing(rig: Rig) -> None:
    rig.change.ask(NEW)
    rig.step()
    rig.made[1].fail(Failed("no weights", retry=False))
    assert rig.step() == 0
    assert rig.running == ["old"]
    assert rig.made[0].policy is RestartPolicy.ALWAYS
    assert rig.state.error == "new: no weights"
    assert rig.state.wanted is OLD
    rig.change.ask(OTHER)
    assert rig.state.error == ""


def test_one_that_dies_in_the_fade_is_faded_out_again(rig: Rig) -> None:
    rig.change.ask(NEW)
    rig.step()
    rig.made[1].deliver(200)
    rig.step()
    assert rig.step(0.5) == 100
    rig.made[1].fail(Failed("died"))
    assert rig.step() == 100
    assert rig.state.playing is OLD
    assert [rig.step(0.25), rig.step(0.25), rig.step(0.1)] == [50, 0, 0]
    assert (rig.running, rig.change.phase) == (["old"], Phase.PLAYING)
    assert rig.state.error == "new: died"


def test_without_memory_for_two_the_picture_is_held_while_they_are_swapped(rig: Rig) -> None:
    rig.change.ask(NEW)
    rig.step()
    rig.made[1].fail(FULL)
    rig.step()
    assert rig.running == []
    rig.step(START_PAUSE)
    assert rig.running == [], "the old one's memory is not free before its process has gone"
    for engine in rig.made:
        engine.gone = True
    rig.step()
    assert rig.running == ["new"]
    assert rig.step(100.0) == 0
    assert rig.change.age(rig.clock.now()) == 0.0, "held, not aged"
    rig.made[2].deliver(200)
    rig.step()
    assert rig.step(0.5) == 100
    assert (rig.step(0.6), rig.running, rig.state.error) == (200, ["new"], "")


def test_if_it_fails_alone_too_the_old_recipe_comes_back(rig: Rig) -> None:
    rig.change.ask(NEW)
    rig.step()
    rig.made[1].fail(FULL)
    rig.step()
    rig.made[0].gone = rig.made[1].gone = True
    rig.step(START_PAUSE)
    rig.made[2].fail(FULL)
    assert rig.step() == 0
    assert rig.running == ["old"]
    assert rig.made[3].policy is RestartPolicy.ALWAYS
    assert rig.state.error.startswith("new: OutOfMemoryError")
    rig.made[3].deliver(10)
    assert rig.step() == 10


def test_an_old_one_that_runs_out_of_memory_meanwhile_makes_room(rig: Rig) -> None:
    rig.change.ask(NEW)
    rig.step()
    rig.made[0].fail(FULL)
    assert rig.step(20.0) == 0
    assert (rig.running, rig.change.phase) == (["new"], Phase.SWAPPING)
    rig.made[1].deliver(200)
    rig.step()
    assert (rig.step(1.0), rig.running) == (200, ["new"])


def test_a_new_one_that_dies_in_the_fade_after_a_swap_brings_the_old_recipe_back(rig: Rig) -> None:
    rig.change.ask(NEW)
    rig.step()
    rig.made[0].fail(FULL)
    rig.step()
    rig.made[1].deliver(200)
    rig.step()
    rig.made[1].fail(Failed("died"))
    rig.step()
    assert (rig.running, rig.change.phase, rig.state.error) == (["old"], Phase.PLAYING, "new: died")


def test_a_second_change_replaces_the_first(rig: Rig) -> None:
    rig.change.ask(NEW)
    rig.step()
    rig.change.ask(OTHER)
    rig.step()
    assert rig.running == ["old"]
    rig.step(START_PAUSE)
    assert rig.running == ["old", "other"]
    rig.change.ask(OLD)  # what plays already: the change is called off
    rig.step()
    rig.step(START_PAUSE)
    assert (rig.running, rig.change.phase) == (["old"], Phase.PLAYING)
    assert rig.made[0].policy is RestartPolicy.ALWAYS


def test_a_change_asked_for_in_a_fade_follows_it(rig: Rig) -> None:
    rig.change.ask(NEW)
    rig.step()
    rig.made[1].deliver(200)
    rig.step()
    rig.change.ask(OTHER)
    assert rig.state.wanted is OTHER
    assert rig.step(0.5) == 100
    assert rig.step(0.5) == 200
    rig.step()
    assert rig.running == ["new", "other"]


def test_a_change_asked_for_in_a_swap_replaces_what_is_loading(rig: Rig) -> None:
    rig.change.ask(NEW)
    rig.step()
    rig.made[0].fail(FULL)
    rig.step()
    rig.change.ask(OTHER)
    rig.step()
    assert rig.running == []
    rig.made[0].gone = rig.made[1].gone = True
    rig.step(START_PAUSE)
    assert rig.running == ["other"]


def test_a_flood_of_changes_starts_a_few_engines(rig: Rig) -> None:
    for number in range(1000):
        rig.change.ask(resized(NEW, (64 + 8 * (number % 100), 64)))
        rig.step(0.002)
    assert len(rig.made) <= 2 + 2.0 / START_PAUSE
    assert len(rig.running) <= 2


def test_without_an_input_there_is_nothing_to_fade_to(rig: Rig) -> None:
    rig.change.ask(NEW)
    rig.step(starved=True)
    rig.made[1].ready = True
    assert rig.step(starved=True) == 0, "the last picture stays"
    assert rig.running == ["new"]
    rig.made[1].deliver(200)
    assert rig.step() == 200


def test_before_the_first_picture_there_is_nothing_to_fade_from(clock: ManualClock) -> None:
    rig = Rig(clock)
    rig.change.ask(NEW)
    rig.step()
    rig.made[1].deliver(200)
    assert (rig.step(), rig.running) == (200, ["new"])


def test_a_crossfade_of_no_time_is_a_cut(rig: Rig) -> None:
    rig.change.seconds = 0.0
    rig.change.ask(NEW)
    rig.step()
    rig.made[1].deliver(200)
    assert (rig.step(), rig.running) == (200, ["new"])


@pytest.mark.slow
def test_a_fallen_player_climbs_back_with_growing_pauses(rig: Rig) -> None:
    rig.made[0].fallen = True
    rig.step()
    starts: list[float] = []
    while len(starts) < 10:
        before = len(rig.made)
        rig.step(1.0)
        if len(rig.made) > before:
            starts.append(rig.clock.now())
            rig.made[-1].fail(FULL)  # nothing is swapped for a mere try
            assert rig.step() == 0
            assert rig.running == ["old"]
    gaps = [round(later - earlier) for earlier, later in zip([1000.0, *starts], starts, strict=False)]
    assert gaps[:4] == [60, 120, 240, 480]
    assert gaps[-1] == LONGEST_PAUSE
    while rig.change.phase is not Phase.LOADING:
        rig.step(10.0)
    rig.made[-1].deliver(200)
    rig.step()
    assert rig.step(1.0) == 200
    assert (rig.running, rig.state.playing) == (["old"], OLD)
    assert rig.change.current.engines == rig.made[-1:]


def test_the_pauses_are_short_again_once_a_recipe_has_played_well(rig: Rig) -> None:
    def falls_and_climbs() -> float:
        """Seconds until it is tried again; the try succeeds."""
        rig.made[-1].fallen = True
        begun = rig.clock.now()
        while rig.change.phase is not Phase.LOADING:
            rig.step(1.0)
        waited = rig.clock.now() - begun
        rig.made[-1].deliver(200)
        rig.step()
        rig.step(1.0)
        assert rig.running == ["old"]
        return waited

    assert falls_and_climbs() == pytest.approx(60, abs=2)
    rig.step(100.0)
    assert falls_and_climbs() == pytest.approx(120, abs=2), "it failed soon again"
    rig.step(1000.0)
    assert falls_and_climbs() == pytest.approx(60, abs=2)


def test_asking_for_the_recipe_of_a_fallen_player_tries_it_at_once(rig: Rig) -> None:
    rig.made[0].fallen = True
    rig.change.ask(OLD)
    rig.step()
    assert rig.running == ["old", "old"]


def test_while_nothing_renders_a_fallen_player_loads_its_recipe_alone(rig: Rig) -> None:
    rig.made[0].fallen, rig.made[0].ready = True, False  # what it fell back to has failed too, and loads again
    rig.change.ask(OLD)
    rig.step()
    assert (rig.running, rig.made[0].fallen, rig.change.phase) == (["old"], False, Phase.PLAYING)
    assert rig.outcomes == [("old", Outcome.DONE)]


def test_what_a_fallen_player_renders_is_not_loaded_again_beside_its_recipe(rig: Rig) -> None:
    rig.made[0].fallen = rig.made[0].ready = True
    rig.change.ask(OLD)
    rig.step()
    assert rig.made[0].policy is RestartPolicy.NEVER
    rig.made[0].fail(Failed("killed"))
    rig.step()
    assert (rig.running, rig.change.phase) == (["old"], Phase.SWAPPING)
    rig.made[1].deliver(9)
    rig.step()
    assert rig.step(1.0) == 9
    assert (rig.change.phase, rig.outcomes) == (Phase.PLAYING, [("old", Outcome.DONE)])


def test_a_recipe_that_fails_while_nothing_else_renders_is_started_again(rig: Rig) -> None:
    rig.made[0].fallen = rig.made[0].ready = True
    rig.change.ask(OLD)
    rig.step()
    rig.made[0].fail(Failed("killed"))
    rig.step()
    rig.made[1].fail(Failed("killed too"))
    rig.step()
    assert (rig.running, rig.change.phase, rig.made[2].policy) == (["old"], Phase.PLAYING, RestartPolicy.ALWAYS)


def test_what_is_only_to_be_better_never_costs_the_picture(rig: Rig) -> None:
    """A compiled form, or the governor's size: nobody has asked for it, so nothing is ended to make room for it."""
    rig.change.ask(NEW, automatic=True)
    rig.step()
    rig.made[1].fail(FULL)
    rig.step()
    assert (rig.running, rig.change.phase, rig.state.playing) == (["old"], Phase.PLAYING, OLD)
    assert rig.state.error.startswith("new: OutOfMemoryError")
    rig.change.ask(NEW)  # the same by hand
    rig.step(START_PAUSE)
    rig.made[2].fail(FULL)
    rig.step()
    assert rig.change.phase is Phase.SWAPPING


def test_an_old_one_that_makes_room_for_what_is_only_to_be_better_comes_back(rig: Rig) -> None:
    rig.change.ask(NEW, automatic=True)
    rig.step()
    rig.made[0].fail(FULL)
    assert rig.step(1.0) == 0
    assert (rig.running, rig.change.phase, rig.state.playing) == (["old"], Phase.PLAYING, OLD)
    rig.made[2].deliver(10)
    assert rig.step() == 10


@pytest.mark.parametrize("ending", ["the new one dies", "another is asked for", "panic"])
def test_an_old_one_that_made_room_in_vain_is_started_again(rig: Rig, ending: str) -> None:
    rig.change.ask(NEW)
    rig.step()
    rig.made[0].fail(FULL)
    if ending == "the new one dies":
        rig.made[1].fail(Failed("died"))
    elif ending == "another is asked for":
        rig.change.ask(OLD)
    else:
        rig.change.cancel(rig.clock.now())
    rig.step(1.0)
    rig.step(1.0)
    assert rig.running == ["old"]
    assert rig.change.current.failure is None
    rig.made[-1].deliver(10)
    assert rig.step() == 10


def test_a_process_that_never_goes_does_not_keep_the_stage_empty(rig: Rig) -> None:
    """A card that fell off the bus leaves processes that no signal ends."""
    rig.change.ask(NEW)
    rig.step()
    rig.made[1].fail(FULL)
    rig.step()
    rig.step(LONGEST_EXIT - 1.0)
    assert rig.running == []
    rig.step(2.0)
    assert rig.running == ["new"]


def test_panic_keeps_another_recipe_from_coming_and_lets_the_same_one_come(rig: Rig) -> None:
    rig.change.ask(NEW)
    rig.step()
    rig.change.cancel(rig.clock.now())
    rig.step(10.0)
    assert (rig.running, rig.change.phase) == (["old"], Phase.PLAYING)
    rig.change.ask(NEW)
    rig.change.cancel(rig.clock.now())
    rig.step(10.0)
    assert rig.running == ["old"], "it was asked for and had not begun"
    rig.change.ask(resized(OLD, (64, 64)))
    rig.step()
    rig.change.cancel(rig.clock.now())
    rig.step()
    assert rig.running == ["old", "old"]


def test_every_change_ends_once_and_says_how(rig: Rig) -> None:
    rig.change.ask(NEW)
    rig.change.ask(OTHER)  # NEW has not begun
    assert rig.outcomes == [("new", Outcome.GIVEN_UP)]
    rig.step()
    rig.made[-1].fail(Failed("no weights", retry=False))
    rig.step()
    assert rig.ends[-1] == ChangeEnd(OTHER, Outcome.FAILED, OLD, "no weights")
    rig.change.ask(NEW)
    rig.step(START_PAUSE)
    rig.made[-1].deliver(200)
    rig.step()
    assert len(rig.ends) == 2, "it fades in: not yet the end"
    rig.step(1.0)
    rig.change.ask(NEW)  # it plays already
    rig.step(START_PAUSE)
    rig.change.ask(OTHER)
    rig.step(START_PAUSE)
    rig.change.cancel(rig.clock.now())
    assert rig.outcomes[2:] == [("new", Outcome.DONE), ("new", Outcome.DONE), ("other", Outcome.GIVEN_UP)]
    assert not rig.state.changing


def test_a_recipe_that_fails_in_its_fade_plays_and_then_the_old_one_does(rig: Rig) -> None:
    playing: list[str] = []
    rig.state.on_playing.append(lambda variant: playing.append(variant.name))
    rig.change.ask(NEW)
    rig.step()
    rig.made[1].deliver(200)
    rig.step()
    rig.made[1].fail(Failed("died"))
    rig.step(0.5)
    rig.step(1.0)
    assert playing == ["new", "old"]
    assert rig.outcomes == [("new", Outcome.FAILED)]


def fail_to_listen(_: object) -> None:
    raise RuntimeError("a listener failed")


def step_past_errors(rig: Rig, seconds: float = 0.0) -> None:
    """As the stage does: an error of a listener ends this turn, the next one continues."""
    rig.clock.sleep(seconds)
    rig.change.step(rig.clock.now(), False)
    with contextlib.suppress(RuntimeError):
        rig.state.announce()


@pytest.mark.parametrize("seconds", [1.0, 0.0])
def test_a_listener_that_fails_does_not_stop_the_change(rig: Rig, seconds: float) -> None:
    playing: list[RecipeVariant] = []
    rig.state.on_playing += [fail_to_listen, playing.append]
    rig.state.on_end.insert(0, fail_to_listen)
    rig.change.seconds = seconds
    rig.change.ask(NEW)
    step_past_errors(rig)
    rig.made[1].deliver(200)
    for _ in range(4):
        step_past_errors(rig, seconds)
    assert (rig.running, rig.change.phase, rig.state.playing) == (["new"], Phase.PLAYING, NEW)
    assert (playing, rig.outcomes) == ([NEW], [("new", Outcome.DONE)])


def test_a_listener_that_fails_does_not_stop_the_way_back(rig: Rig) -> None:
    rig.state.on_end.insert(0, fail_to_listen)
    rig.change.ask(NEW)
    step_past_errors(rig)
    rig.made[1].deliver(200)
    step_past_errors(rig)
    rig.made[1].fail(Failed("died"))
    for seconds in (0.5, 1.0, 0.0):
        step_past_errors(rig, seconds)
    assert (rig.running, rig.change.phase, rig.state.playing) == (["old"], Phase.PLAYING, OLD)
    assert rig.outcomes == [("new", Outcome.FAILED)]


def test_a_request_that_is_withdrawn_does_not_let_an_automatic_change_end_the_old_engine(rig: Rig) -> None:
    rig.change.ask(resized(OLD, (64, 64)), automatic=True)
    rig.step()
    rig.change.ask(NEW)  # by hand, and panic before the next step
    rig.change.cancel(rig.clock.now())
    rig.made[1].fail(FULL)
    rig.step()
    assert (rig.running, rig.change.phase) == (["old"], Phase.PLAYING)


# --- several engines ---


@pytest.fixture
def pair(clock: ManualClock) -> Rig:
    """Two engines render the old recipe, which shows 0."""
    rig = Rig(clock, engines=2)
    for engine in rig.made:
        engine.ready = True
    rig.made[0].deliver(0)
    rig.step()
    return rig


def test_all_engines_load_aside_and_show_together(pair: Rig) -> None:
    pair.change.ask(NEW)
    pair.step()
    assert pair.running == ["old", "old", "new", "new"]
    pair.made[2].ready = True
    pair.made[2].deliver(200)
    assert pair.step(1.0) == 0
    assert pair.change.phase is Phase.LOADING, "the other one is about to be ready"
    pair.made[3].ready = True
    pair.step()
    assert pair.change.phase is Phase.FADING
    assert pair.step(2.0) == 200
    assert pair.running == ["new", "new"]


def test_one_engine_that_cannot_load_does_not_stop_the_others(pair: Rig) -> None:
    pair.change.ask(NEW)
    pair.step()
    pair.made[2].fail(FULL)
    pair.made[3].ready = True
    pair.made[3].deliver(200)
    pair.step()
    pair.step(2.0)
    assert pair.outcomes == [("new", Outcome.DONE)]
    assert pair.made[2].running, "it starts again where the old engine has left"


def test_engines_change_one_after_another_where_memory_is_short(pair: Rig) -> None:
    pair.change.ask(NEW)
    pair.step()
    pair.made[2].fail(FULL)
    pair.made[3].fail(FULL)
    pair.made[0].gone = False
    pair.step()
    assert (pair.change.phase, pair.running) == (Phase.LOADING, ["old"]), "one makes room, the other renders on"
    pair.step(1.0)
    assert pair.running == ["old"], "its process has not ended"
    assert all(engine.failure for engine in pair.made[4:]), "they must not start themselves"
    pair.made[0].gone = True
    pair.step(1.0)
    assert pair.running == ["old", "new"]
    pair.made[4].ready = True
    pair.made[4].deliver(200)
    pair.step()
    pair.step(2.0)
    assert pair.running == ["new", "new"], "the rest follows"
    assert pair.outcomes == [("new", Outcome.DONE)]
    assert pair.metrics.total("change/in_turn") == 1


def test_a_change_in_turn_that_fails_gives_the_old_recipe_both_engines_again(pair: Rig) -> None:
    pair.change.ask(NEW)
    pair.step()
    for engine in pair.made[2:]:
        engine.fail(FULL)
    pair.step()
    pair.made[0].gone = True
    pair.step(1.0)
    assert pair.running == ["old", "new"]
    pair.made[4].fail(Failed("no such file", retry=False))
    pair.made[1].deliver(50)
    pair.step()
    assert pair.change.phase is Phase.PLAYING
    assert pair.running == ["old", "old"]
    assert pair.outcomes == [("new", Outcome.FAILED)]
