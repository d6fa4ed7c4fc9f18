"""ControlState: requests are coerced and collected; confirmed changes reach the subscribers."""

from __future__ import annotations

import pytest

from lcm_daemon.core.control_state import RECEIPTS_KEPT, ControlState
from lcm_daemon.core.live_values import Parameters
from lcm_daemon.core.metrics import Metrics
from lcm_daemon.core.moving_values import MovingValues
from lcm_daemon.core.parameter_table import TABLE
from lcm_daemon.core.parameters import Parameter, Value
from lcm_daemon.core.refusals import Refusal
from lcm_daemon.core.requests import COMMANDS_KEPT, Change, CommandRequest, commands
from lcm_daemon.core.tempo import Tempo


class Rig:
    """A control state that counts how often it wakes its desk."""

    def __init__(self) -> None:
        self.woken = 0
        names = commands(["ink", "sd-turbo"])
        self.controls = ControlState(TABLE, Parameters().targets(), Metrics(), self._wake, names)

    def _wake(self) -> None:
        self.woken += 1


@pytest.fixture
def rig() -> Rig:
    return Rig()


def test_only_the_newest_change_of_a_parameter_is_requested(rig: Rig) -> None:
    for value in (0.1, 0.2, 7):
        assert rig.controls.set("strength", value, "osc/a")
    pending = rig.controls.pop_requests()
    assert pending.changes == {"strength": Change("strength", 1.0, "osc/a")}
    assert not rig.controls.pop_requests()


def test_refused_requests_are_counted_and_do_not_wake_the_desk(rig: Rig) -> None:
    assert not rig.controls.set("strength", "loud", "osc/a")
    assert not rig.controls.set("nonsense", 1, "osc/a")
    assert not rig.controls.command("explode", "osc/a")
    assert (rig.woken, bool(rig.controls.pop_requests())) == (0, False)
    assert rig.controls.metrics.counts() == {"desk/refused": 1, "desk/unknown": 2}


def test_values_change_when_the_stage_confirms_them(rig: Rig) -> None:
    heard: list[list[Change]] = []
    rig.controls.subscribe(on_changes=heard.append)
    rig.controls.set("steps", 4, "panel/1")
    assert rig.controls.values["steps"] == 2
    rig.controls.apply_update([Change("steps", 4, "panel/1")], {"fps": 30.0})
    assert rig.controls.values["steps"] == 4
    assert rig.controls.status == {"fps": 30.0}
    assert heard == [[Change("steps", 4, "panel/1")]]


def test_panic_cancels_earlier_requests_only(rig: Rig) -> None:
    rig.controls.set("strength", 0.9, "osc/a")
    rig.controls.command("panic", "osc/b")
    rig.controls.set("steps", 3, "osc/a")
    pending = rig.controls.pop_requests()
    assert pending.commands == [CommandRequest("panic", "osc/b")]
    assert list(pending.changes) == ["steps"]


def test_waiting_commands_are_limited(rig: Rig) -> None:
    for _ in range(10_000):
        rig.controls.command("cue/go", "osc/a")
    assert len(rig.controls.pop_requests().commands) == COMMANDS_KEPT


def test_panic_is_accepted_during_a_flood(rig: Rig) -> None:
    calls: list[str] = []
    rig.controls.subscribe(on_panic=lambda: calls.append("void"))
    for _ in range(2 * COMMANDS_KEPT):
        rig.controls.command("tap", "osc/a")
    rig.controls.set("strength", 0.9, "osc/a")
    rig.controls.command("panic", "osc/a")
    rig.controls.set("strength", 0.2, "osc/a")
    assert list(rig.controls.pop_requests()) == [CommandRequest("panic", "osc/a"), Change("strength", 0.2, "osc/a")]
    assert calls == ["void"]


def test_changes_and_commands_keep_their_order(rig: Rig) -> None:
    """What a command finds is what was sent before it, and a later move does not come before it."""
    rig.controls.set("strength", 0.1, "osc/a")
    rig.controls.set("strength", 0.9, "osc/a")
    rig.controls.command("cue/record", "osc/a", ["high"])
    rig.controls.set("strength", 0.2, "osc/a")
    rig.controls.command("cue/record", "osc/a", ["low"])
    assert [step.value if isinstance(step, Change) else step.arguments[0] for step in rig.controls.pop_requests()] == [
        0.9, "high", 0.2, "low"]


def test_a_request_is_not_replaced_across_another_command(rig: Rig) -> None:
    """`load A`, GO, `load B` starts A."""
    for name, *arguments in (["cue/load", "a"], ["cue/load", "b"], ["cue/go"], ["cue/load", "c"], ["cue/load", "d"]):
        rig.controls.command(name, "osc/a", arguments)
    assert [(each.name, *each.arguments) for each in rig.controls.pop_requests().commands] == [
        ("cue/load", "b"), ("cue/go",), ("cue/load", "d")]


def test_a_command_checks_its_arguments_as_a_parameter_does(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    for arguments in ([], ["sd-trubo"], [1], [["ink"]]):
        assert not rig.controls.command("recipe", "osc/a", arguments)
    assert not rig.controls.command("size", "osc/a", [512, "wide"])
    assert rig.controls.metrics.counts() == {"desk/refused": 5}
    assert "recipe: it takes <name>" in caplog.text
    assert rig.controls.refusal("recipe", ["sd-trubo"]) == "recipe: 'sd-trubo' is not known; did you mean 'sd-turbo'?"
    assert rig.controls.command("size", "osc/a", [64.0, 384.4, "passed over"])
    assert rig.controls.pop_requests().commands == [CommandRequest("size", "osc/a", (64, 384))]


def test_only_the_newest_recipe_request_counts(rig: Rig) -> None:
    for name in ("ink", "sd-turbo", "ink"):
        rig.controls.command("recipe", "osc/a", [name])
    assert rig.controls.pop_requests().commands == [CommandRequest("recipe", "osc/a", ("ink",))]


def test_next_requests_for_two_parameters_are_both_kept(rig: Rig) -> None:
    for name, value in (("mix", "0.1"), ("prompt", "lava"), ("mix", "0.2")):
        rig.controls.command("next", "osc/a", [name, value])
    assert [call.arguments for call in rig.controls.pop_requests().commands] == [("prompt", "lava"), ("mix", "0.2")]


def test_a_replaced_table_adds_and_removes_parameters(rig: Rig) -> None:
    heard: list[set[str]] = []
    rig.controls.subscribe(on_table=lambda: heard.append(set(rig.controls.table)))
    ink = {**TABLE, "lora/ink": Parameter("lora/ink", "float", 0.5, "", -2.0, 2.0)}
    assert not rig.controls.set("lora/ink", 1, "osc/a")
    rig.controls.replace_table(ink, {**rig.controls.values, "lora/ink": 0.5})
    assert rig.controls.set("lora/ink", 1, "osc/a")
    rig.controls.replace_table(TABLE, Parameters().targets())
    assert not rig.controls.pop_requests(), "a move of what has gone"
    rig.controls.apply_update([Change("lora/ink", 1.0, "osc/a")], None)
    assert "lora/ink" not in rig.controls.values
    assert heard == [set(ink), set(TABLE)]


def test_a_subscription_ends_when_its_function_is_called(rig: Rig) -> None:
    calls: list[str] = []
    stop = rig.controls.subscribe(
        on_changes=lambda changes: calls.append("changes"), on_status=lambda status: calls.append("status"),
        on_table=lambda: calls.append("table"), on_panic=lambda: calls.append("panic"),
    )

    def everything() -> None:
        rig.controls.apply_update([Change("steps", 4, "panel/1")], {"fps": 30.0})
        rig.controls.replace_table(TABLE, Parameters().targets())
        rig.controls.command("panic", "osc/a")

    everything()
    assert calls == ["changes", "status", "table", "panic"]
    stop()
    stop()
    everything()
    assert len(calls) == 4
    assert rig.controls.subscribers == []


def test_a_subscriber_may_end_its_subscription_while_it_is_called(rig: Rig) -> None:
    calls: list[str] = []

    def once(changes: list[Change]) -> None:
        calls.append("first")
        stop()

    stop = rig.controls.subscribe(on_changes=once)
    rig.controls.subscribe(on_changes=lambda changes: calls.append("second"))
    for _ in range(2):
        rig.controls.apply_update([Change("steps", 4, "panel/1")], None)
    assert calls == ["first", "second", "second"]


def test_the_arguments_of_a_command_are_coerced_once(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    coerced: list[str] = []
    coerce = Parameter.coerce
    monkeypatch.setattr(Parameter, "coerce", lambda self, value: coerced.append(self.name) or coerce(self, value))
    assert rig.controls.command("cue/goto", "osc/a", ["ink", 2.0])
    assert coerced == ["name", "fade"]


def test_values_that_move_reach_those_that_want_them(rig: Rig) -> None:
    seen: list[dict[str, Value]] = []
    assert not rig.controls.wants_moving
    stop = rig.controls.subscribe(on_moving=lambda values: seen.append(dict(values)))
    assert (rig.controls.wants_moving, rig.woken) == (True, 1)
    for moving in (MovingValues({"mix": 0.5}, {"mix": 0.4}), MovingValues({"mix": 0.6}, {"mix": 0.4}), MovingValues()):
        rig.controls.apply_update([], None, moving=moving)
        assert rig.controls.faded("mix") == moving.faded.get("mix", 1.0)
        assert rig.controls.in_force("mix") == moving.in_force.get("mix", 1.0)
    assert seen == [{"mix": 0.4}, {"mix": 1.0}]
    stop()
    assert not rig.controls.wants_moving


def test_refusals_of_the_desk_and_of_the_stage_reach_the_subscribers(rig: Rig) -> None:
    refusals: list[Refusal] = []
    rig.controls.subscribe(on_refusal=refusals.append)
    rig.controls.set("strength", "lava", "osc/127.0.0.1:9")
    rig.controls.set("nothing", 1, "osc/127.0.0.1:9")
    rig.controls.command("cue/goto", "midi/pad")
    rig.controls.apply_update([], None, refusals=[Refusal("panel/3", "no cue 'x'")])
    assert [refusal.origin for refusal in refusals] == ["osc/127.0.0.1:9", "osc/127.0.0.1:9", "midi/pad", "panel/3"]
    assert refusals[0].text == "strength takes a number, not 'lava'"
    assert refusals[3].text == "no cue 'x'"


def test_a_receipt_is_asked_for_once_and_comes_after_the_changes(rig: Rig) -> None:
    seen: list[object] = []
    rig.controls.subscribe(on_changes=lambda changes: seen.append("changes"))
    assert rig.controls.pop_requests().receipt == 0
    rig.controls.set("strength", 0.25, "test")
    rig.controls.when_handled(lambda: seen.append("handled"))
    rig.controls.when_handled(lambda: seen.append("handled too"))
    queue = rig.controls.pop_requests()
    assert queue.receipt == 1
    assert rig.controls.pop_requests().receipt == 0
    rig.controls.apply_update([], None)
    assert seen == []
    rig.controls.apply_update(list(queue.changes.values()), None, receipt=1)
    assert seen == ["changes", "handled", "handled too"]
    rig.controls.when_handled(lambda: seen.append("next"))
    assert rig.controls.pop_requests().receipt == 2
    rig.controls.apply_update([], None, receipt=2)
    assert seen[-1] == "next"


def test_callers_that_wait_for_a_receipt_are_limited(rig: Rig) -> None:
    called: list[int] = []
    for number in range(2 * RECEIPTS_KEPT):
        rig.controls.when_handled(lambda number=number: called.append(number))
    rig.controls.apply_update([], None, receipt=rig.controls.pop_requests().receipt)
    assert called == list(range(RECEIPTS_KEPT))


def test_subscribers_are_called_with_the_shows_tempo() -> None:
    controls, heard = ControlState(TABLE, dict.fromkeys(TABLE, 0.0), Metrics(), lambda: None), []
    stop = controls.subscribe(on_tempo=heard.append)
    controls.update_tempo(Tempo(90.0))
    stop()
    controls.update_tempo(Tempo(91.0))
    assert (heard, controls.tempo) == ([Tempo(90.0)], Tempo(91.0))


def test_a_list_is_reported_when_its_rows_change(rig: Rig) -> None:
    heard: list[tuple[str, object]] = []
    stop = rig.controls.subscribe(on_list=lambda name: heard.append((name, rig.controls.lists[name])))
    dawn, dusk = ({"name": "dawn"},), ({"name": "dusk"},)
    for rows in (dawn, dawn, dusk):
        rig.controls.set_list("looks", rows)
    assert heard == [("looks", dawn), ("looks", dusk)]
    stop()
    rig.controls.set_list("looks", dawn)
    assert len(heard) == 2
