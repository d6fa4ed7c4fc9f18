"""Writes the file of a bundle: a zip file that Python starts (https://docs.python.org/3/library/zipapp.html).

Every file is copied piece by piece and hashed on its way; the list of them comes last.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import zipfile
from pathlib import Path
from types import TracebackType
from typing import IO

import lcm_daemon
from lcm_daemon.commands.bundle.manifest import (
    NAME,
    BundledFile,
    Manifest,
    path_problem,
    this_python,
    this_system,
)
from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.core.regular_file import open_regular

_CHUNK = 1 << 20
_EPOCH = (1980, 1, 1, 0, 0, 0)  # of every file, so that the same content gives the same bundle
_START = b"#!/usr/bin/env python3\n"
# The modules that set a bundle up, as they are here. They import nothing else of ours.
_MODULES = ("__init__.py", "core/__init__.py", "core/errors.py", "commands/__init__.py", "commands/bundle/__init__.py",
            "commands/bundle/manifest.py", "commands/bundle/set_up.py", "commands/bundle/unpack.py")
_MAIN = """\
import sys

if sys.version_info[:2] != ({python}):
    sys.exit("This bundle is for Python {version}, and this is Python %d.%d: start it with python{version}."
             % sys.version_info[:2])
from lcm_daemon.commands.bundle.unpack import main

sys.exit(main(sys.argv))
"""


class BundleWriter:
    """The file of a bundle while it is written, as a context manager. It gets its name when it is complete.

    Args:
        path: The file. One that is there already is replaced.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._part = path, path.with_name(f"{path.name}.{os.getpid()}.part")
        self._files: list[BundledFile] = []
        self._is_complete = False

    def __enter__(self) -> BundleWriter:
        self._file = self._part.open("wb")
        self._file.write(_START)
        self._archive = zipfile.ZipFile(self._file, "w")  # stored as it is: weights and wheels do not become smaller
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        try:
            with self._file, contextlib.nullcontext() if self._is_complete else contextlib.suppress(OSError):
                self._archive.close()
            if self._is_complete:
                self._part.chmod(0o755)
                self._part.replace(self._path)
        finally:
            self._part.unlink(missing_ok=True)

    def is_own(self, file: Path) -> bool:
        """Whether this is the file that is written, or the one that it replaces."""
        return file in (self._path, self._part)

    def add(self, path: str, source: Path | str) -> None:
        """Add a file.

        Args:
            path: Where it is in the bundle.
            source: The file, or its text.

        Raises:
            LcmDaemonError: It must not have this name on another machine.
            OSError: It cannot be read, or the bundle cannot be written.
        """
        if problem := path_problem(path):
            raise LcmDaemonError(f"{source if isinstance(source, Path) else path} cannot be packed: it {problem}")
        with io.BytesIO(source.encode()) if isinstance(source, str) else open_regular(source) as content:
            size, digest = self._copy(path, content)
        self._files.append(BundledFile(path, size, digest))

    def _copy(self, path: str, content: IO[bytes]) -> tuple[int, str]:
        digest, size = hashlib.sha256(), 0
        with self._archive.open(zipfile.ZipInfo(path, _EPOCH), "w", force_zip64=True) as target:
            while chunk := content.read(_CHUNK):
                digest.update(chunk)
                size += target.write(chunk)
        return size, digest.hexdigest()

    def finish(self, name: str, show: str) -> Manifest:
        """Add what sets the bundle up, and the list of its files, which is returned.

        Args:
            name: Name of the show.
            show: Path of the show in the bundle.
        """
        manifest = Manifest(name, show, lcm_daemon.__version__, this_python(), this_system(), tuple(self._files))
        package = Path(lcm_daemon.__file__).parent
        for module in _MODULES:
            source = package / module
            self._write(f"lcm_daemon/{module}", source.read_text("utf-8") if source.exists() else "")
        self._write("__main__.py", _MAIN.format(python=this_python().replace(".", ", "), version=this_python()))
        self._write(NAME, manifest.to_json())
        self._is_complete = True
        return manifest

    def _write(self, path: str, text: str) -> None:
        self._archive.writestr(zipfile.ZipInfo(path, _EPOCH), text)
