"""The file of recorded cues as text: reading it, and composing it."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from lcm_daemon.automation.cue_list import Cue
from lcm_daemon.automation.recorded_cues import RecordedCues
from lcm_daemon.automation.schema import PLACE, read_recorded_cues
from lcm_daemon.core.document import Problems, compose
from lcm_daemon.core.errors import DocumentError, Problem
from lcm_daemon.core.regular_file import open_regular

MAX_FILE_CHARACTERS = 4_000_000  # a full list of 256 cues, each with the longest prompts, has 2 million


def read_cue_file(path: Path) -> tuple[RecordedCues, list[Problem]]:
    """Return the cues of a file, and its mistakes with their places. A cue with a mistake is skipped."""
    problems = Problems()
    try:
        return read_recorded_cues(compose(_read_text(path), str(path), MAX_FILE_CHARACTERS), problems), problems.found
    except DocumentError as error:
        return RecordedCues(), list(error.problems)


class CueFileText:
    """Composes the text of the file. A cue that has not changed is not composed again."""

    def __init__(self) -> None:
        self._yaml: dict[str, tuple[Cue, str]] = {}  # by cue name

    def compose(self, recorded: RecordedCues) -> str:
        """Return the text. It is read back as the same cues."""
        cues, (place,) = recorded.by_name, PLACE
        self._yaml = {name: known for name, known in self._yaml.items() if name in cues}
        return "".join(self._as_yaml(cues[name]) if name in cues else _dump({place: name}) for name in recorded.places)

    def _as_yaml(self, cue: Cue) -> str:
        known, text = self._yaml.get(cue.name, (None, ""))
        if known is not cue:
            text = _dump(_as_mapping(cue))
            self._yaml[cue.name] = cue, text
        return text


def _dump(row: Mapping[str, Any]) -> str:
    return yaml.safe_dump([row], sort_keys=False, allow_unicode=True)


def _as_mapping(cue: Cue) -> dict[str, Any]:
    """Return the fields of a cue that differ from the defaults."""
    defaults = Cue("")
    return {name: _plain(value) for name, value in vars(cue).items()
            if name == "name" or value != getattr(defaults, name)}


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [message.as_mapping() for message in value]
    return dict(value) if isinstance(value, Mapping) else value


def _read_text(path: Path) -> str:
    """Return the text of the file, at most one character more than the limit. Raises DocumentError."""
    try:
        with io.TextIOWrapper(open_regular(path), encoding="utf-8") as file:
            return file.read(MAX_FILE_CHARACTERS + 1)
    except UnicodeDecodeError as error:
        raise DocumentError([Problem(str(path), 1, 1, "the file is not text in UTF-8")]) from error
    except OSError as error:
        raise DocumentError([Problem(str(path), 1, 1, f"cannot be read: {error.strerror}")]) from error
