"""PromptBank: the show's `prompts`, which are played by number, and what has been put there while it played.

Changes are kept in a file beside the show (`mirror.prompts.yaml` for `mirror.yaml`), a line for each place that differs
from the show. An empty text is a place that was cleared.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from lcm_daemon.core.atomic_file import AtomicFile
from lcm_daemon.core.control_state import Rows
from lcm_daemon.core.document import Problems, compose, read_error
from lcm_daemon.core.errors import DocumentError, Problem
from lcm_daemon.core.parameters import TEXT_LIMIT, Refused, Value

log = logging.getLogger(__name__)

PLACES = 99  # places that can be changed while the show plays
SUFFIX = ".prompts.yaml"  # replaces the suffix of the show file
MAX_FILE_CHARACTERS = 2 * PLACES * TEXT_LIMIT


class PromptBank:
    """Prompts by their place, counted from 1. Places may be empty: the others keep their numbers.

    Args:
        prompts: The show's own.
        show: The path that files beside the show are named after; without it, changes last for this run only.
    """

    def __init__(self, prompts: Sequence[str] = (), show: Path | None = None) -> None:
        self._own = dict(enumerate(prompts, 1))
        self._file = AtomicFile(show.with_suffix(SUFFIX), "the bank of prompts") if show else None
        self._damaged = False  # the file has mistakes
        kept = self._read()
        self._texts = {**self._own, **kept}
        if not self._damaged and any(text == self._own.get(place, "") for place, text in kept.items()):
            self._write()  # the show has what was kept, so that its file decides again

    def text(self, number: Value) -> str:
        """The prompt at a place. Raises Refused if there is none."""
        filled = [place for place, text in self._texts.items() if text]
        if not filled:
            raise Refused("the show has no prompts")
        if number in filled:
            return self._texts[int(number)]
        raise Refused(f"no prompt {number:g}; the show has {_spans(filled)}")

    def store(self, number: Value, text: str) -> None:
        """Put a prompt at a place, or at the first free one for 0. Raises Refused if that is not possible."""
        if not text:
            raise Refused("the prompt is empty")
        free = next((place for place in range(1, PLACES + 1) if not self._texts.get(place)), PLACES + 1)
        if number == 0 and free > PLACES:
            raise Refused(f"all {PLACES} places are taken")
        self._put(self._place(number or free), text)

    def clear(self, number: Value) -> None:
        """Clear a place. Raises Refused if it is empty already."""
        self.text(number)
        self._put(self._place(number), "")

    def rows(self) -> Rows:
        """The prompts in order: number, text."""
        return tuple({"number": place, "text": text} for place, text in sorted(self._texts.items()) if text)

    def close(self) -> None:
        """Wait until everything is written."""
        if self._file is not None:
            self._file.close()

    def _place(self, number: Value) -> int:
        if number not in range(1, PLACES + 1):
            raise Refused(f"{number:g} is not a place; there are 1 to {PLACES}")
        return int(number)

    def _put(self, place: int, text: str) -> None:
        self._texts[place] = text
        self._write()

    def _write(self) -> None:
        changed = {place: text for place, text in sorted(self._texts.items()) if text != self._own.get(place, "")}
        if self._file is not None:
            self._file.write(lambda: self._compose(changed))

    def _compose(self, changed: Mapping[int, str]) -> str:
        """The file's new content. A file with mistakes is kept under another name: it may hold hours of work."""
        if self._damaged and self._file is not None:
            self._damaged, path = False, self._file.path
            with contextlib.suppress(OSError):
                log.warning("%s: the file with mistakes is kept as %s", path, path.replace(f"{path}.bad").name)
        return yaml.safe_dump(changed, allow_unicode=True, width=TEXT_LIMIT)

    def _read(self) -> dict[int, str]:
        """Read the file. Each mistake is logged with its place, and what it is in is skipped."""
        if self._file is None or not self._file.path.exists():
            return {}
        path, problems, found = self._file.path, Problems(), dict[int, str]()
        try:
            found = _read_bank(path, problems)
        except DocumentError as error:
            problems.extend(error.problems)
        for problem in problems.found:
            log.warning("%s", problem)
        self._damaged = bool(problems)
        return found


def _read_bank(path: Path, problems: Problems) -> dict[int, str]:
    """Raises DocumentError if the file cannot be read as a mapping at all."""
    try:
        with path.open(encoding="utf-8") as file:
            root = compose(file.read(MAX_FILE_CHARACTERS + 1), str(path), MAX_FILE_CHARACTERS)
    except (OSError, UnicodeDecodeError) as error:
        raise DocumentError([Problem(str(path), 1, 1, f"cannot be read: {read_error(error)}")]) from error
    if not isinstance(root.value, dict):
        raise DocumentError([root.problem("it is not a list of numbers with their prompts")])
    found: dict[int, str] = {}
    for key, text in root.items():
        if isinstance(key.value, bool) or key.value not in range(1, PLACES + 1):
            problems.add(key, f"{key.text!r:.80} is not a place; there are 1 to {PLACES}")
        elif not text.is_text:
            problems.add(text, f"{text.text!r:.80} is not text")
        else:
            found[key.value] = text.text[:TEXT_LIMIT]
    return found


def _spans(places: Sequence[int]) -> str:
    """Places as "1 to 4, 9"."""
    spans: list[list[int]] = []
    for place in sorted(places):
        if spans and spans[-1][-1] == place - 1:
            spans[-1] = [spans[-1][0], place]
        else:
            spans.append([place])
    return ", ".join(" to ".join(map(str, span)) for span in spans)
