"""DeskReports: what the stage tells the desk, and so the controllers and pages."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from lcm_daemon.automation.automation import Automation
from lcm_daemon.core.control_state import Rows
from lcm_daemon.core.frame import Frame, Pixels
from lcm_daemon.core.live_values import Parameters
from lcm_daemon.core.parameters import Value
from lcm_daemon.core.refusals import Refusals
from lcm_daemon.core.requests import Change
from lcm_daemon.desk.desk_supervisor import DeskSupervisor
from lcm_daemon.stage.choices import Choices
from lcm_daemon.stage.dispatch import Dispatch
from lcm_daemon.stage.show_file import ShowFile
from lcm_daemon.stage.status_report import StatusReport

PREVIEW_INTERVAL = 1 / 15  # seconds between two frames for the page
FULL_INTERVAL = 1 / 75  # the same while a page shows /output: every new frame, up to a screen's 60 a second


class Reporter(Protocol):
    """A part that refuses requests."""

    refusals: Refusals


class DeskReports:
    """Tells the desk changes, lists and refusals as they come, the status twice a second, and frames for pages.

    Args:
        desk: The desk.
        parameters: The live values.
        automation, dispatch, choices, show_file, report: Where lists, status and messages come from.
        reporters: Further parts whose refusals are told.
    """

    def __init__(
        self, desk: DeskSupervisor, parameters: Parameters, automation: Automation, dispatch: Dispatch,
        choices: Choices, show_file: ShowFile, report: StatusReport, reporters: Sequence[Reporter],
    ) -> None:
        self._desk, self._parameters, self._automation, self._dispatch = desk, parameters, automation, dispatch
        self._choices, self._show_file, self._report = choices, show_file, report
        self._reporters: tuple[Reporter, ...] = (automation, show_file, *reporters)
        self._told_modulators = automation.bank.revision
        self._previewed_at = 0.0
        self._previewed: Pixels | None = None  # what the desk was sent last
        desk.moving_values = report.moving_values

    def tell(self, moved: list[Change], now: float) -> None:
        """Tell what has happened since the last call; `moved` is what the automation has changed."""
        desk, automation = self._desk, self._automation
        if automation.bank.revision != self._told_modulators:  # some were added, changed or removed
            self._told_modulators = automation.bank.revision
            desk.replace_table(self._parameters.shown())
        if self._dispatch.has_news:
            self._tell_lists(self._dispatch.lists())
        desk.tell(moved)
        desk.tell_tempo(automation.tempo)
        desk.tell_list("looks", automation.editor.rows())
        desk.send_messages(automation.pop_messages(now))
        desk.tell_refusals([refusal for reporter in self._reporters for refusal in reporter.refusals.pop()])

    def tell_status(self, now: float, collect: Callable[[], Mapping[str, Value]]) -> bool:
        """Tell the status that `collect` returns, and all lists, if they are due; return whether they were."""
        if not self._report.is_due(now):
            return False
        self._desk.tell([], {**collect(), **self._choices.status()}, self._report.parameter_states())
        self._tell_lists({**self._dispatch.lists(), **self._choices.lists(now), **self._show_file.lists()})
        return True

    def show(self, output: Frame, now: float, source: Frame | None) -> None:
        """Send the desk the frames of output and source, as often as its pages ask for."""
        is_new = output.pixels is not self._previewed
        interval = FULL_INTERVAL if self._desk.wants_every_frame and is_new else PREVIEW_INTERVAL
        if now - self._previewed_at >= interval:
            self._previewed_at, self._previewed = now, output.pixels
            self._desk.show(output, now, source)

    def _tell_lists(self, lists: Mapping[str, Rows]) -> None:
        for name, rows in lists.items():
            self._desk.tell_list(name, rows)
