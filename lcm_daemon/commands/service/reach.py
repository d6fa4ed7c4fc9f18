"""Whether another user reaches the files of a service, by the permissions of the folders on the way. POSIX only."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

MOST_LINKS = 40  # as Linux follows


def blocked(user: str, paths: Iterable[Path]) -> list[str]:
    """A line for each path that `user` does not reach, with the folder that is closed to it. Lists of access (ACL)
    count for nothing here, so that a line is a hint and no proof."""
    if sys.platform == "win32" or not user:
        return []
    import pwd

    try:
        entry = pwd.getpwnam(user)
        groups = set(os.getgrouplist(user, entry.pw_gid))
    except (KeyError, OSError):
        return []
    if entry.pw_uid == 0:
        return []
    found = []
    for path in paths:
        closed = next((each for each in _steps(path) if not _lets_in(each, entry.pw_uid, groups)), None)
        if closed is not None:
            found.append(f"{path}: the user {user} does not reach it, because {closed} is closed to it")
    return found


def _steps(path: Path) -> Iterator[Path]:
    """Every folder and file that is passed on the way to what `path` names, links followed."""
    for _ in range(MOST_LINKS):
        yield from reversed(path.parents)
        if not path.is_symlink():
            break
        path = Path(os.path.normpath(path.parent / path.readlink()))
    yield path


def _lets_in(path: Path, uid: int, groups: set[int]) -> bool:
    """Whether a folder may be passed, or a file read. A path that does not exist blocks nothing."""
    try:
        found = path.stat()
    except OSError:
        return True
    wanted = 0o1 if stat.S_ISDIR(found.st_mode) else 0o4
    if found.st_uid == uid:
        return bool(found.st_mode & wanted << 6)
    return bool(found.st_mode & (wanted << 3 if found.st_gid in groups else wanted))
