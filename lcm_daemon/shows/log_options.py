"""The show's section `log`: a log file, and the form of log lines."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lcm_daemon.core.document import Node, Problems
from lcm_daemon.core.schema import Choice, Custom, Field, Fields, Number, PathText, Section
from lcm_daemon.processes.log_output import JSON, TEXT, LogOutput

_MEGABYTE = 1_000_000
_NO_LOGS = (".yaml", ".yml")  # shows, recipes and looks, to which lines would be appended


def _read_file(node: Node, problems: Problems) -> str | None:
    text: str | None = PathText().read(node, problems)
    if text and Path(text).suffix.lower() in _NO_LOGS:
        problems.add(node, f"{text!r:.80} is the name of a YAML file: lines would be appended to it; name the log .log")
        return None
    return text


_FIELDS: Fields = {
    "file": Field(Custom(_read_file, "the path of a log file", PathText()), "",
                  "a file for the log, beside standard error"),
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
