"""The list of refusals: who sent what and why, counted and limited."""

from __future__ import annotations

from collections.abc import Callable

from lcm_daemon.core.control_state import ControlState
from lcm_daemon.core.metrics import Metrics
from lcm_daemon.core.parameter_table import TABLE
from lcm_daemon.core.refusals import Refusal
from lcm_daemon.desk.refusal_log import MAX_ROWS, MAX_TEXT, NAME, RefusalLog


class Rig:
    def __init__(self) -> None:
        self.due: list[Callable[[], None]] = []
        self.lists = 0
        self.controls = ControlState(TABLE, {"steps": 2}, Metrics(), lambda: None)
        self.controls.subscribe(on_list=self._on_list)
        RefusalLog(self.controls, lambda seconds, call: self.due.append(call), lambda: "21:30:05")

    def _on_list(self, name: str) -> None:
        assert name == NAME
        self.lists += 1

    def wait(self) -> None:
        """Let the pause between two publications pass."""
        due, self.due = self.due, []
        for call in due:
            call()

    @property
    def rows(self) -> list[tuple[object, ...]]:
        return [(row["by"], row["text"], row["count"]) for row in self.controls.lists[NAME]]


def test_a_refusal_is_listed_at_once_with_its_sender_and_reason() -> None:
    rig = Rig()
    rig.controls.set("steps", "many", "osc/192.168.1.7:52311")
    (row,) = rig.controls.lists[NAME]
    assert row == {"number": 1, "at": "21:30:05", "by": "osc 192.168.1.7", "count": 1,
                   "text": "steps takes a number, not 'many'"}


def test_a_repeated_one_is_counted_and_comes_last() -> None:
    rig = Rig()
    for origin, text in (("panel/1", "a"), ("panel/2", "a"), ("midi/pad/cc 1", "b"), ("panel/3", "a")):
        rig.controls.report_refusal(Refusal(origin, text))
    rig.wait()
    assert rig.rows == [("midi pad", "b", 1), ("page", "a", 3)]


def test_a_flood_is_two_lists_a_second_and_fifty_rows() -> None:
    rig = Rig()
    for number in range(10_000):
        rig.controls.report_refusal(Refusal("osc/10.0.0.9:1", f"{number} " + "x" * 1000))
    assert rig.lists == 1
    rig.wait()
    assert (rig.lists, len(rig.rows)) == (2, MAX_ROWS)
    assert len(str(rig.rows[-1][1])) == MAX_TEXT
    rig.wait()
    assert (rig.lists, rig.due) == (2, []), "nothing new: nothing is sent"
    rig.controls.report_refusal(Refusal("osc/10.0.0.8:1", "again"))
    assert rig.lists == 3
