"""The shows that a running daemon may open."""

from __future__ import annotations

import functools
from pathlib import Path

import yaml

from lcm_daemon.automation.cue_store import RECORDED_CUES_SUFFIX
from lcm_daemon.core.document import compose
from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.shows.library import show_files
from lcm_daemon.shows.reader import show_fields

MAX_LISTED = 256  # files of a folder that are looked at
MAX_LISTED_SIZE = 1_000_000  # bytes; a longer file is not listed
_COMPANIONS = (RECORDED_CUES_SUFFIX, ".prompts.yaml")  # files beside a show


def openable_shows(folder: Path) -> dict[str, Path]:
    """The shows that a running daemon may open, by name: those of a folder, then those that come with the package.

    A file of the folder counts if each of its keys is one of a show.
    """
    beside = [path for path in sorted(folder.glob("*.yaml"))[:MAX_LISTED] if _is_show(path)] if folder.is_dir() else []
    found: dict[str, Path] = {}
    for path in (*beside, *show_files()):
        found.setdefault(path.stem, path)
    return found


def _is_show(path: Path) -> bool:
    """Whether the top-level keys of a file are those of a show. Values may have mistakes: opening it says which."""
    if path.name.endswith(_COMPANIONS):
        return False
    try:
        stat = path.stat()
        return stat.st_size <= MAX_LISTED_SIZE and _has_keys(path, stat.st_mtime_ns, frozenset(show_fields(path, path)))
    except OSError:
        return False


@functools.lru_cache(4 * 256)
def _has_keys(path: Path, changed: int, known: frozenset[str]) -> bool:
    """changed: when the file was changed, so that another content is read again."""
    try:
        root = compose(path.read_text("utf-8"), path.name).raw
    except (OSError, UnicodeDecodeError, LcmDaemonError):
        return False
    keys = {str(key.value) for key, _ in root.value} if isinstance(root, yaml.MappingNode) else set()
    return bool(keys) and all(key in known or key.startswith("x-") for key in keys)
