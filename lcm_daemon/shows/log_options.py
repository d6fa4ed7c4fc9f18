"""The show's section `log`: a log file, and the form of log lines."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lcm_daemon.core.schema import Choice, Field, Fields, Number, PathText, Section
from lcm_daemon.processes.log_output import JSON, TEXT, LogOutput

_MEGABYTE = 1_000_000
_FIELDS: Fields = {
    "file": Field(PathText(), "", "a file for the log, beside standard error"),
    "size": Field(Number(0.01, 100_000), 10.0, "megabytes from which the file is renamed, and another one begins"),
    "keep": Field(Number(0, 1000, whole=True), 5, "how many renamed files are kept"),
    "format": Field(Choice((TEXT, JSON)), TEXT, "form of the file's lines; without a file, of those on standard error"),
}
LOG = Field(Section(_FIELDS), {name: spec.default for name, spec in _FIELDS.items()}, "where log lines go")


def read_log(found: Mapping[str, Any] | None, base: Path) -> LogOutput:
    """What the section says. found: None for a mistake. base: Folder that relative paths start from."""
    if found is None:
        return LogOutput()
    file = found["file"] and str(base / Path(found["file"]).expanduser())
    return LogOutput(file or "", int((found["size"] or 0) * _MEGABYTE), found["keep"] or 0, found["format"] or TEXT)
