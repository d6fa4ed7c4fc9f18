"""A player: several engines, several frames under way, the newest result."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from lcm_daemon.core.frame import Frame, solid
from lcm_daemon.core.metrics import Metrics
from lcm_daemon.processes.protocol import Failed
from lcm_daemon.recipes.reader import load_recipe
from lcm_daemon.recipes.state import RecipeVariant
from lcm_daemon.render.engine_place import EnginePlace
from lcm_daemon.render.engine_supervisor import Rendered
from lcm_daemon.render.player import LONGEST_WAIT, Player, RenderInput
from lcm_daemon.render.policy import RestartPolicy

SIZE = (8, 8)
START = {"strength": 0.5, "seed": 1}


class Flying:
    """An EngineSupervisor's face: it takes up to `limit` frames, and returns them when the test says so."""

    def __init__(self, pid: int, limit: int, service: float = 0.0) -> None:
        self.pid, self.limit = pid, limit
        self.under_way: list[tuple[int, Any]] = []  # number and values
        self.sessions: dict[int, str] = {}  # by number
        self.coming: list[Rendered] = []
        self.between: list[int] = []  # pictures that each frame was sent with room for
        self.ready, self.substitutes, self.fallen, self.service = True, False, False, service
        self.latency, self.last_result_at = service, -9.0  # seconds
        self.failure: Failed | None = None
        self.alarm, self.policy = "", RestartPolicy.ALWAYS
        self.place, self.spare = EnginePlace("cpu", number=pid), None
        self.given: Any = None  # the process that it was started with
        self.log: list[str] = []  # what the player told it
        self.ended: list[str] = []

    @property
    def accepts_frame(self) -> bool:
        return len(self.under_way) < self.limit

    @property
    def frames_under_way(self) -> int:
        return len(self.under_way)

    def send_frame(self, frame: Frame, values: Any, now: float, guide: Frame | None = None, session: str = "",
                   between: int = 0) -> bool:
        assert self.accepts_frame
        self.between.append(between)
        self.under_way.append((frame.number, values))
        self.sessions[frame.number] = session
        return True

    def finish(self) -> int:
        """Finish the oldest frame; return its number."""
        number, _ = self.under_way.pop(0)
        self.coming.append(Rendered(self.sessions.pop(number), Frame(solid(SIZE), number, 0.0)))
        return number

    def start(self, now: float, spare: Any = None, beside: bool = False) -> None:
        self.failure, self.given = None, spare
        self.log.append("start")

    def stop(self, seconds: float = 1.0) -> None:
        self.ready, self.failure = False, Failed("stopped")

    def hold(self, reason: str) -> None:
        self.failure = Failed(reason)

    def resume(self) -> None:
        self.failure = None
        self.log.append("resume")

    def climb(self, now: float) -> None:
        self.substitutes = self.fallen = self.ready = False

    gone = True

    def end_session(self, session: str) -> None:
        self.ended.append(session)

    def step(self, now: float) -> list[Rendered]:
        return [self.coming.pop(0)] if self.coming else []


def player_of(*engines: Any) -> Player:
    return Player(RecipeVariant(load_recipe("passthrough")), engines, START, Metrics())


def an_input(**values: float) -> RenderInput:
    return RenderInput(Frame(solid(SIZE), 0, 0.0), None, {**START, **values})


def test_an_input_is_sent_once_however_many_frames_may_be_under_way() -> None:
    engine = Flying(1, 3)
    player, still = player_of(engine), an_input()
    for _ in range(5):
        player.send(still, 0.0)
    assert [number for number, _ in engine.under_way] == [0]
    player.send(replace(still, tick=1), 0.0)  # walking noise: another result each tick
    assert [number for number, _ in engine.under_way] == [0, 1]


def test_a_fader_is_a_change_on_the_next_frame_while_others_are_under_way() -> None:
    engine = Flying(1, 3)
    player, first = player_of(engine), an_input()
    for strength in (0.5, 0.6, 0.7):
        player.send(replace(first, values={**START, "strength": strength}), 0.0)
    assert [values["strength"] for _, values in engine.under_way] == [0.5, 0.6, 0.7]
    assert not player.accepts_frame


def test_a_result_ages_until_the_last_frame_under_way_is_back() -> None:
    engine = Flying(1, 2)
    player = player_of(engine)
    player.send(an_input(), 1.0)
    last = an_input(strength=0.9)
    player.send(last, 1.0)
    engine.finish()
    player.step(2.0)
    player.send(last, 3.0)  # nothing new; a frame is still owed
    assert player.result_at == 2.0
    engine.finish()
    player.step(4.0)
    player.send(last, 9.0)
    assert player.result_at == 9.0, "nothing is owed: the result is what the newest input gives"


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_two_engines_share_the_frames_and_the_newest_result_wins(limit: int) -> None:
    first, second = Flying(1, limit), Flying(2, limit)
    player = player_of(first, second)
    for value in range(2 * limit):
        player.send(an_input(strength=value / 10), 0.0)
    assert [number for number, _ in first.under_way] == list(range(0, 2 * limit, 2)), "the one with less work is next"
    assert [number for number, _ in second.under_way] == list(range(1, 2 * limit, 2))
    for _ in range(limit):
        second.finish()
    assert [frame.number for _ in range(limit) if (frame := player.step(1.0))] == list(range(1, 2 * limit, 2))
    for _ in range(limit):
        first.finish()
    assert [player.step(2.0) for _ in range(limit)] == [None] * limit
    assert player.result is not None
    assert player.result.number == 2 * limit - 1
    assert player.metrics.total("dropped/rendered") == limit


def test_the_last_input_is_sent_again_to_the_engine_that_replaces_a_dead_one() -> None:
    engine = Flying(1, 3)
    player, last = player_of(engine), an_input(strength=0.2)
    player.send(an_input(), 0.0)
    player.send(last, 0.0)
    engine.pid, engine.under_way = 2, []
    player.send(last, 1.0)
    assert [(number, values["strength"]) for number, values in engine.under_way] == [(2, 0.2)]


def test_frames_of_engines_that_are_free_at_once_are_handed_out_evenly() -> None:
    first, second = Flying(1, 1, 0.1), Flying(2, 1, 0.1)
    player = player_of(first, second)
    assert player.send(an_input(strength=0.1), 1.0)
    assert not player.send(an_input(strength=0.2), 1.001)
    assert player.accepts_frame, "a frame is wanted"
    assert player.due(1.001) == pytest.approx(1.0475), "but not before half of the time that a frame takes"
    assert player.send(an_input(strength=0.3), 1.048)
    assert (len(first.under_way), len(second.under_way)) == (1, 1)
    assert player.due(1.05) is None, "every engine is busy"


def test_sessions_are_numbered_together_and_ordered_each_by_itself() -> None:
    first, second = Flying(1, 2), Flying(2, 2)
    player = player_of(first, second)
    still = an_input()
    assert player.send(still, 0.0)
    assert player.send(replace(still, session="7"), 0.0), "an input of another session is no repetition"
    assert player.send(replace(an_input(strength=0.9), session="7"), 0.0)
    assert not player.send(replace(player._sessions["7"].sent, session="7"), 0.0)  # type: ignore[type-var, arg-type]
    assert [engine.finish() for engine in (first, second, first)] == [0, 1, 2]
    first.coming.reverse()
    results = [player.step(1.0), player.step(1.0)]
    assert [frame.number for frame in results if frame] == [0], "the stage's own"
    assert {session: frame.number for session, frame in player.pop_session_results().items()} == {"7": 2}
    assert player.pop_session_results() == {}
    assert player.metrics.total("dropped/rendered") == 1, "the visitor's older one came late"


def test_nothing_of_a_session_that_has_ended_is_delivered() -> None:
    engine = Flying(1, 2)
    player = player_of(engine)
    player.send(replace(an_input(), session="7"), 0.0)
    player.end_session("7")
    player.end_session("8")
    assert engine.ended == ["7"]
    engine.finish()
    assert player.step(1.0) is None
    assert player.pop_session_results() == {}


def test_pictures_between_two_results_are_for_the_stages_own_picture_and_keep_it_on_one_engine() -> None:
    first, second = Flying(1, 8), Flying(2, 8)
    player = player_of(first, second)
    player.adopt({**START, "interpolate": 1})
    for now in (-0.2, -0.1):  # results come ten times a second
        player.cadence.note(Frame(solid(SIZE), 0, now), now)
    for number in range(4):
        player.send(an_input(strength=number / 10, interpolate=3), 0.0)
    assert (first.between, second.between) == ([2] * 4, [])
    for number in range(4):
        player.send(replace(an_input(strength=number / 10, interpolate=3), session="1"), 0.0)
    assert sorted(first.between[4:] + second.between) == [0] * 4
    assert second.between, "a visitor's frames need no others"


def test_what_shows_follows_the_result_that_came_with_pictures_before_it() -> None:
    engine = Flying(1, 8)
    player = player_of(engine)
    for number in range(3):
        engine.coming.append(Rendered("", Frame(solid(SIZE), number, 0.0, between=(solid(SIZE, (9, 9, 9, 9)),))))
        player.send(an_input(strength=number / 10), number * 0.1)
        player.step(number * 0.1)
    assert player.picture(0.21)[0, 0, 0] == 9  # type: ignore[index]
    assert player.picture(0.26) is player.result.pixels  # type: ignore[union-attr]


@pytest.mark.parametrize("memory", [{"feedback": 0.3}, {"smooth": 0.5}, {"steady": 0.5}, {"similarity_skip": 0.9},
                                    {"noise": "walking"}])
def test_a_session_with_memory_keeps_to_one_engine_until_that_dies(memory: dict[str, Any]) -> None:
    first, second = Flying(1, 9), Flying(2, 9)
    player = player_of(first, second)
    player.adopt({**START, "feedback": 0.0, "smooth": 0.0, "steady": 0.0, "similarity_skip": 0.0,
                  "noise": ""})

    def send(session: str, count: int, **values: Any) -> None:
        for number in range(count):
            player.send(replace(an_input(strength=number / 10, **values), session=session), 0.0)

    send("7", 3, **memory)
    send("8", 3, **memory)
    assert [sorted(set(engine.sessions.values())) for engine in (first, second)] == [["7"], ["8"]], "each has its own"
    first.ready = False
    send("7", 1, **memory)
    assert "7" in second.sessions.values()
    first.ready = True
    assert player.sharing == 2
    send("", 1, **memory)
    assert player.sharing == 1, "the governor must not count on the other one"


def test_an_engine_that_fell_back_gets_nothing_while_another_renders_the_recipe() -> None:
    first, second = Flying(1, 9), Flying(2, 9)
    player = player_of(first, second)
    second.substitutes = second.fallen = True
    assert not player.fallen
    for strength in (0.1, 0.2, 0.3):
        player.send(an_input(strength=strength), 0.0)
    assert (len(first.under_way), len(second.under_way)) == (3, 0)
    player.step(0.0)
    assert not second.fallen, "it tries the recipe again"
    first.ready = False
    second.substitutes = second.fallen = second.ready = True
    assert player.fallen
    assert player.send(an_input(strength=0.4), 0.0)
    assert len(second.under_way) == 1, "better than nothing"


def test_one_engine_falls_back_at_most() -> None:
    engines = [Flying(pid, 1) for pid in (1, 2, 3)]
    player_of(*engines)
    for engine in engines:
        engine.ready = False
    first, second, third = (engine.may_fall for engine in engines)  # type: ignore[attr-defined]
    assert first()
    engines[0].fallen = True
    assert not second()
    engines[0].fallen, engines[1].ready = False, True
    assert not third()


def test_the_death_of_one_of_several_is_no_failure_and_it_starts_again() -> None:
    first, second = Flying(1, 1), Flying(2, 1)
    player = player_of(first, second)
    first.failure = Failed("out of memory", memory=True)
    assert player.failure is None
    assert not player.is_complete(0.0) or second.ready
    second.failure = Failed("died")
    assert player.failure is first.failure, "what memory would mend"
    player.set_policy(RestartPolicy.ALWAYS)
    assert (first.log, second.log) == (["resume"], ["resume"])


def test_the_first_engine_waits_for_the_others_but_not_for_ever() -> None:
    first, second = Flying(1, 1), Flying(2, 1)
    player = player_of(first, second)
    second.ready = False
    player.step(5.0)
    assert not player.is_complete(5.0)
    assert player.is_complete(5.0 + LONGEST_WAIT)
    player.variant = replace(player.variant, accelerator="compile")
    assert not player.is_complete(5.0 + LONGEST_WAIT), "the other one may compile for minutes"
    second.failure = Failed("no such device")
    assert player.is_complete(5.0)


def test_engines_join_and_leave() -> None:
    first, second = Flying(1, 1), Flying(2, 1)
    player = player_of(first)
    player.join(second, 0.0)  # type: ignore[arg-type]
    assert second.log == ["start"]
    player.leave(first)  # type: ignore[arg-type]
    assert player.engines == [second]  # type: ignore[comparison-overlap]
    assert player.send(an_input(), 0.0)
    assert len(second.under_way) == 1
    assert player.make_room() is None, "the only one that renders"


def test_the_only_engine_that_renders_leaves_once_another_has_loaded_or_cannot_load() -> None:
    old, new = Flying(1, 1), Flying(2, 1)
    new.ready = False
    player = player_of(old)
    player.join(new, 0.0)  # type: ignore[arg-type]
    player.leave(old)  # type: ignore[arg-type]
    player.step(1.0)
    assert player.send(an_input(), 1.0), "the picture goes on"
    player.stay(old)  # type: ignore[arg-type]
    new.ready = True
    player.step(2.0)
    assert player.engines == [old, new]  # type: ignore[comparison-overlap]
    player.leave(old)  # type: ignore[arg-type]
    assert player.engines == [new]  # type: ignore[comparison-overlap]
    third = Flying(3, 1)
    third.ready, third.alarm = False, "out of memory"
    player.join(third, 3.0)  # type: ignore[arg-type]
    player.leave(new)  # type: ignore[arg-type]
    assert player.engines == [third], "it makes room"  # type: ignore[comparison-overlap]


def test_engines_that_stay_keep_the_spare_that_they_share() -> None:
    spare: Any = object()
    first, second = Flying(1, 1), Flying(2, 1)
    first.spare = second.spare = spare
    player = player_of(first, second)
    player.leave(first)  # type: ignore[arg-type]
    assert (first.spare, second.spare) == (None, spare)


def test_a_waiting_process_of_this_machine_goes_to_no_engine_of_a_cluster() -> None:
    remote, local = Flying(1, 1), Flying(2, 1)
    remote.place, remote.ready, local.ready = EnginePlace(ray="auto"), False, False
    spare: Any = object()
    player_of(remote, local).start(0.0, spare)
    assert (remote.given, local.given) == (None, spare)


def test_a_frame_that_was_held_back_is_due_although_its_time_has_just_passed() -> None:
    player = player_of(Flying(1, 2, 0.1), Flying(2, 2, 0.1))
    assert player.send(an_input(), 0.0)
    assert player.due(0.01) is None, "nothing waits"
    assert not player.send(an_input(strength=0.9), 0.04)
    assert player.due(0.04) == pytest.approx(0.0475)
    assert player.due(0.05) == 0.05
    player.step(0.05)
    assert player.send(an_input(strength=0.9), 0.05)
    assert player.due(0.05) is None


def test_a_result_waits_for_an_older_one_of_a_slower_engine_and_not_for_one_that_is_much_slower() -> None:
    fast, slow = Flying(1, 1, 0.05), Flying(2, 1, 0.08)
    player = player_of(fast, slow)
    player._pacer.note_sent(-1.0)
    assert player.send(an_input(strength=0.1), 0.0)  # to the fast one
    assert player.send(an_input(strength=0.2), 0.035)  # to the slow one: expected at 0.115
    fast.finish()
    assert player.step(0.05) is not None
    assert player.send(an_input(strength=0.3), 0.07)
    fast.finish()
    assert player.step(0.1) is None, "number 1 comes soon"
    due = player.due(0.1)
    assert due is not None
    slow.finish()
    numbers = [frame.number for at in (0.115, 0.15) if (frame := player.step(at))]
    assert numbers == [1, 2]
    assert player.metrics.total("dropped/rendered") == 0

    fast, slow = Flying(1, 1, 0.05), Flying(2, 1, 0.5)
    player = player_of(slow, fast)
    assert player.send(an_input(strength=0.1), 0.0)  # to the slow one
    assert player.send(an_input(strength=0.2), 0.05)
    fast.finish()
    frame = player.step(0.1)
    assert frame is not None
    assert frame.number == 1
    slow.finish()
    assert player.step(0.5) is None
    assert player.metrics.total("dropped/rendered") == 1


def test_what_a_dead_engine_had_under_way_is_not_waited_for() -> None:
    first, second = Flying(1, 1, 0.1), Flying(2, 1, 0.1)
    player = player_of(first, second)
    assert player.send(an_input(strength=0.1), 0.0)
    assert player.send(an_input(strength=0.2), 0.05)
    first.pid = 3
    second.finish()
    assert player.step(0.06) is not None
