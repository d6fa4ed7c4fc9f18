"""The keys of a show that is left alone: what keeps it going, and whom it tells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lcm_daemon.core.document import Problems
from lcm_daemon.core.schema import Boolean, Field, Fields
from lcm_daemon.processes.log_output import LogOutput
from lcm_daemon.shows.alarm_options import ALARMS, AlarmOptions, read_alarms
from lcm_daemon.shows.care import CARE, Care
from lcm_daemon.shows.crash_options import CRASH_REPORTS, CrashReportOptions, read_crash_reports
from lcm_daemon.shows.log_options import LOG, read_log
from lcm_daemon.shows.memory_limits import MEMORY, MemoryLimits
from lcm_daemon.shows.opening_hours import OPENING_HOURS, OpeningHours


@dataclass(frozen=True)
class Unattended:
    """What a show says about being left alone. Each attribute is one key of the show.

    Attributes:
        opening_hours: When it is open; None for always.
        log: Where log lines go.
        crash_reports: What is kept of processes that fail.
        alarms: Who is notified of alarms; None for the page and OSC subscribers alone.
        care: What is watched, and how the display is spared; None for nothing.
        memory: How much memory each process may use; None for any.
        real_time: Whether the threads of the output run before all others, where the system allows it.
    """

    opening_hours: OpeningHours | None = None
    log: LogOutput = LogOutput()  # noqa: RUF009 - frozen
    crash_reports: CrashReportOptions = CrashReportOptions()  # noqa: RUF009 - frozen
    alarms: AlarmOptions | None = None
    care: Care | None = None
    memory: MemoryLimits | None = None
    real_time: bool = True


def unattended_fields(base: Path) -> Fields:
    """The keys. base: Folder that relative paths start from."""
    return {
        "opening_hours": OPENING_HOURS,
        "log": LOG,
        "crash_reports": CRASH_REPORTS,
        "alarms": ALARMS,
        "care": CARE,
        "memory": MEMORY,
        "real_time": Field(Boolean(), True, "let the output's threads run before those of all programs, where Linux "
                                            "allows it: root, or a limit rtprio above 0"),
    }


def read_unattended(found: Mapping[str, Any], base: Path, problems: Problems) -> Unattended:
    """What the show says.

    Args:
        found: The values of all keys of the show.
        base: Folder that relative paths start from.
        problems: Receives what is wrong with them.
    """
    return Unattended(
        opening_hours=found["opening_hours"],
        log=read_log(found["log"], base),
        crash_reports=read_crash_reports(found["crash_reports"]),
        alarms=read_alarms(found["alarms"]),
        care=found["care"],
        memory=found["memory"],
        real_time=found["real_time"],
    )
