"""CueStore: the cues that were recorded, in a file beside the show (`mirror.cues.yaml`).

One of a name that the show has takes that one's place; every other cue of the show is the show's alone.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from lcm_daemon.automation.cue_list import Cue
from lcm_daemon.core.atomic_file import AtomicFile
from lcm_daemon.core.live_values import FADE_CURVES
from lcm_daemon.core.schema import nearest

log = logging.getLogger(__name__)

RECORDED = ".cues.yaml"  # in place of the show's own suffix


class CueStore:
    """The side file of a show. show: the show's own; without one nothing is read or written."""

    def __init__(self, show: Path | None) -> None:
        self._file = AtomicFile(show.with_suffix(RECORDED), "recorded cues") if show is not None else None
        self._damaged = False
        self._texts: dict[str, tuple[Cue, str]] = {}  # of every cue by its name: what is known need not be dumped again

    def read(self) -> list[Cue]:
        """What was recorded before; a damaged file is said once and left where it is."""
        if self._file is None or not self._file.path.exists():
            return []
        try:
            return [_read(entry) for entry in yaml.safe_load(self._file.path.read_text("utf-8")) or []]
        except (OSError, ValueError, TypeError, yaml.YAMLError) as error:
            log.warning("%s: recorded cues cannot be read: %s", self._file.path, str(error).splitlines()[0])
            self._damaged = True
            return []

    def write(self, cues: Sequence[Cue]) -> None:
        """Keep these, soon; returns at once."""
        newest = tuple(cues)
        if self._file is not None:
            if self._damaged:
                self._put_aside(self._file.path)
            self._file.write(lambda: "".join(map(self._text, newest)))

    def close(self) -> None:
        """Wait until all is written."""
        if self._file is not None:
            self._file.close()

    def _put_aside(self, path: Path) -> None:
        """A file that a hand has damaged may hold hours of work: it is kept, under another name."""
        self._damaged = False
        with contextlib.suppress(OSError):
            aside = path.replace(path.with_name(f"{path.name}.bad"))
            log.warning("%s: it is kept as %s", path, aside.name)

    def _text(self, cue: Cue) -> str:
        known, text = self._texts.get(cue.name, (None, ""))
        if known is not cue:
            text = yaml.safe_dump([_as_mapping(cue)], sort_keys=False, allow_unicode=True)
            self._texts[cue.name] = cue, text
        return text


def _read(entry: Mapping[str, Any]) -> Cue:
    """Its values are checked when it begins, for the recipe says what there is."""
    cue = Cue(**entry)
    numbers = (cue.fade, cue.delay, 0.0 if cue.follow is None else cue.follow)
    if not isinstance(cue.values, Mapping) or not all(isinstance(number, int | float) for number in numbers):
        raise ValueError(f"the cue {cue.name!r:.80} makes no sense")
    if cue.curve not in FADE_CURVES:
        raise ValueError(f"the cue {cue.name!r:.80} goes by {cue.curve!r:.80}{nearest(str(cue.curve), FADE_CURVES)}")
    return cue


def _as_mapping(cue: Cue) -> dict[str, Any]:
    plain = Cue("")
    return {name: dict(value) if isinstance(value, Mapping) else value for name, value in vars(cue).items()
            if name == "name" or value != getattr(plain, name)}
