"""CacheManifest: digests of the files that a compiler keeps in a folder of its own, by which damaged ones are found.

Such compilers trust their files: one that a power cut has cut off, or a full disk, ends the engine or is refused at
every start.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import shutil
from pathlib import Path
from typing import NamedTuple

from lcm_daemon.core.atomic_file import write_atomically

log = logging.getLogger(__name__)

FILE = "manifest.json"
_PASSING = (".lock", ".new", ".tmp")  # endings of files that say nothing


class _Entry(NamedTuple):
    size: int
    modified: int  # nanoseconds
    digest: str


class CacheManifest:
    """The files of one folder as they were when something had been compiled.

    Args:
        folder: The folder. It need not exist.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._file = folder, folder / FILE

    def damaged(self) -> list[Path]:
        """The noted files whose content is another one now. Files that are gone are made again and do not count."""
        found = []
        for name, entry in self._read().items():
            with contextlib.suppress(FileNotFoundError):
                if _digest(self._folder / name) != entry.digest:
                    found.append(self._folder / name)
        return found

    def note(self) -> None:
        """Note all files. Only those that are new, or written again, are read."""
        before = self._read()
        entries = {}
        for path in self._folder.rglob("*"):
            if path.name == FILE or path.suffix in _PASSING or path.is_symlink() or not path.is_file():
                continue
            name = path.relative_to(self._folder).as_posix()
            with contextlib.suppress(FileNotFoundError):
                status, known = path.stat(), before.get(name)
                is_known = known is not None and known[:2] == (status.st_size, status.st_mtime_ns)
                entries[name] = known if is_known and known else _Entry(
                    status.st_size, status.st_mtime_ns, _digest(path))
        if entries != before:
            write_atomically(self._file, json.dumps(entries))

    def drop_if_damaged(self) -> bool:
        """Delete the whole folder if a file in it is damaged, for its files belong together; say so."""
        if not (damaged := self.damaged()):
            return False
        log.warning("%s: %d of the compiled files are damaged, such as %s; the folder is deleted, and all is compiled "
                    "again", self._folder, len(damaged), damaged[0].name)
        shutil.rmtree(self._folder, ignore_errors=True)
        return True

    def drop_damaged(self) -> list[Path]:
        """Delete each file that is damaged, for its files are independent; return them."""
        damaged = self.damaged()
        for path in damaged:
            log.warning("%s: the compiled file is damaged; it is deleted and compiled again", path)
            path.unlink(missing_ok=True)
        return damaged

    def _read(self) -> dict[str, _Entry]:
        """What was noted; nothing if the file is missing or damaged itself."""
        try:
            return {name: _Entry(int(size), int(modified), str(digest))
                    for name, (size, modified, digest) in json.loads(self._file.read_bytes()).items()}
        except (OSError, ValueError, TypeError, AttributeError):
            return {}


def _digest(path: Path) -> str:
    with open(path, "rb", buffering=0) as file:
        digest = hashlib.blake2b(digest_size=16)
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
