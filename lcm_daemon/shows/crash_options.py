"""The show's section `crash_reports`: what is kept of processes that fail."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lcm_daemon.core.schema import Boolean, Field, Fields, Number, Section


@dataclass(frozen=True)
class CrashReportOptions:
    """What is kept of processes that fail.

    Attributes:
        keep: How many reports; 0 writes none.
        prompts: Whether they may hold prompts.
    """

    keep: int = 20
    prompts: bool = False


_FIELDS: Fields = {
    "keep": Field(Number(0, 10_000, whole=True), 20, "how many reports of failed processes are kept; 0 writes none"),
    "prompts": Field(Boolean(), False, "whether reports may hold prompts"),
}
CRASH_REPORTS = Field(Section(_FIELDS), {name: spec.default for name, spec in _FIELDS.items()},
                      "what is kept of processes that fail")


def read_crash_reports(found: Mapping[str, Any] | None) -> CrashReportOptions:
    """What the section says. found: None for a mistake."""
    if found is None:
        return CrashReportOptions()
    return CrashReportOptions(found["keep"] or 0, bool(found["prompts"]))
