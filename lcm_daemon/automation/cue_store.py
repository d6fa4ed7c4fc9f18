"""CueStore: the file of recorded cues next to the show (`mirror.cues.yaml` for `mirror.yaml`).

A recorded cue replaces the cue of the same name in the show. The other cues of the show are not in this file.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from lcm_daemon.automation.cue_list import Cue
from lcm_daemon.automation.schema import read_recorded_cues
from lcm_daemon.core.atomic_file import AtomicFile
from lcm_daemon.core.document import Problems, compose
from lcm_daemon.core.errors import DocumentError, Problem

log = logging.getLogger(__name__)

RECORDED_CUES_SUFFIX = ".cues.yaml"  # replaces the suffix of the show file
MAX_FILE_CHARACTERS = 4_000_000  # a full list of 256 cues, each with the longest prompts, has 2 million
MAX_LOGGED_PROBLEMS = 10


class CueStore:
    """Reads and writes the recorded cues of a show. show: the show file; without it, nothing is read or written."""

    def __init__(self, show: Path | None) -> None:
        self._file = AtomicFile(show.with_suffix(RECORDED_CUES_SUFFIX), "recorded cues") if show is not None else None
        self._damaged = False
        self._yaml: dict[str, tuple[Cue, str]] = {}  # by cue name: a cue that did not change is not dumped again

    def read(self) -> list[Cue]:
        """Return the recorded cues. Every mistake is logged with its place; a cue with a mistake is skipped."""
        if self._file is None or not self._file.path.exists():
            return []
        path, cues, problems = self._file.path, list[Cue](), Problems()
        try:
            cues = read_recorded_cues(compose(_read_text(path), str(path), MAX_FILE_CHARACTERS), problems)
        except DocumentError as error:
            problems.extend(error.problems)
        if problems.found:
            self._damaged = True
            self._report(path, problems.found, len(cues))
        return cues

    def write(self, cues: Sequence[Cue]) -> None:
        """Write these cues in the background. Return at once."""
        newest = tuple(cues)
        if self._file is not None:
            if self._damaged:
                self._keep_damaged_file(self._file.path)
            self._file.write(lambda: "".join(map(self._as_yaml, newest)))

    def close(self) -> None:
        """Wait until everything is written."""
        if self._file is not None:
            self._file.close()

    def _report(self, path: Path, problems: Sequence[Problem], count: int) -> None:
        for problem in problems[:MAX_LOGGED_PROBLEMS]:
            log.warning("%s", problem)
        more = len(problems) - MAX_LOGGED_PROBLEMS
        also = f" and {more} more" if more > 0 else ""
        log.warning("%s: recorded cues with these mistakes%s are skipped; %d cues are loaded", path, also, count)

    def _keep_damaged_file(self, path: Path) -> None:
        """Rename a file with mistakes before it is overwritten: it may hold hours of work."""
        self._damaged = False
        with contextlib.suppress(OSError):
            aside = path.replace(path.with_name(f"{path.name}.bad"))
            log.warning("%s: the file with mistakes is kept as %s", path, aside.name)

    def _as_yaml(self, cue: Cue) -> str:
        known, text = self._yaml.get(cue.name, (None, ""))
        if known is not cue:
            text = yaml.safe_dump([_as_mapping(cue)], sort_keys=False, allow_unicode=True)
            self._yaml[cue.name] = cue, text
        return text


def _read_text(path: Path) -> str:
    """Return the text of the file, at most one character more than the limit. Raises DocumentError."""
    try:
        with path.open(encoding="utf-8") as file:
            return file.read(MAX_FILE_CHARACTERS + 1)
    except UnicodeDecodeError as error:
        raise DocumentError([Problem(str(path), 1, 1, "the file is not text in UTF-8")]) from error
    except OSError as error:
        raise DocumentError([Problem(str(path), 1, 1, f"cannot be read: {error.strerror}")]) from error


def _as_mapping(cue: Cue) -> dict[str, Any]:
    """Return the fields of a cue that differ from the defaults."""
    defaults = Cue("")
    return {name: _plain(value) for name, value in vars(cue).items()
            if name == "name" or value != getattr(defaults, name)}


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [message.as_mapping() for message in value]
    return dict(value) if isinstance(value, Mapping) else value
