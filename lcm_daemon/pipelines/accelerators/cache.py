"""Cache of compiled modules on disk, which makes the second start quick. Files are written atomically."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from lcm_daemon import __version__
from lcm_daemon.core.paths import cache_folder

SIZE_LIMIT = 20 << 30  # bytes; the files that were not used for longest are deleted first
STALE_SECONDS = 86400.0  # no compilation takes a day


class CompileCache:
    """Files of one accelerator, below the user's cache folder. Methods raise OSError if it cannot be written.

    Args:
        accelerator: name of the accelerator, and of its folder.
        folder: parent folder; the user's cache folder by default.
        limit: size limit in bytes.
    """

    def __init__(self, accelerator: str, folder: Path | None = None, limit: int = SIZE_LIMIT) -> None:
        self.folder = (folder or cache_folder()) / accelerator
        self._limit = limit

    def find(self, name: str) -> Path | None:
        """Return the file of that name, marked as used now, or None."""
        file = self.folder / name
        if not file.is_file():
            return None
        os.utime(file)
        return file

    @contextmanager
    def work_folder(self) -> Iterator[Path]:
        """Yield an empty folder on the cache's disk; it is deleted at the end."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._remove_stale_folders()
        with tempfile.TemporaryDirectory(dir=self.folder, ignore_cleanup_errors=True) as folder:
            yield Path(folder)

    def store(self, made: Path, name: str) -> Path:
        """Move a finished file from the work folder to its name, atomically, and enforce the size limit."""
        file = self.folder / name
        with made.open("rb+") as opened:
            os.fsync(opened.fileno())
        made.replace(file)
        self._trim(file)
        return file

    def remove(self, name: str) -> None:
        """Delete a file, for example one that cannot be read."""
        (self.folder / name).unlink(missing_ok=True)

    def _remove_stale_folders(self) -> None:
        """Delete work folders of processes that were killed."""
        for folder in self.folder.iterdir():
            if folder.is_dir() and time.time() - folder.stat().st_mtime > STALE_SECONDS:
                shutil.rmtree(folder, ignore_errors=True)

    def _trim(self, newest: Path) -> None:
        files = sorted((file for file in self.folder.iterdir() if file.is_file()), key=lambda f: f.stat().st_mtime)
        size = sum(file.stat().st_size for file in files)
        for file in files:
            if size <= self._limit:
                return
            if file != newest:
                size -= file.stat().st_size
                file.unlink(missing_ok=True)


def fingerprint(module: nn.Module, example: tuple[Tensor | None, ...], *versions: str) -> str:
    """Hash what `module` computes: its structure, all weights, the shapes of the inputs, and the versions.

    Reads all weights, also from the device: this takes seconds for a large model.
    """
    digest = hashlib.blake2b(digest_size=16)
    shapes = [None if tensor is None else (tuple(tensor.shape), tensor.dtype) for tensor in example]
    digest.update(repr((__version__, torch.__version__, versions, shapes, str(module), _settings(module))).encode())
    for key, tensor in module.state_dict().items():
        digest.update(f"{key} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().contiguous().reshape(-1).view(torch.uint8).cpu().numpy().data)
    return digest.hexdigest()


def _settings(module: nn.Module) -> str:
    """Plain numbers and texts held by the modules, which `str(module)` does not contain."""
    return repr([(name, sorted((key, value) for key, value in vars(part).items()
                               if isinstance(value, bool | int | float | str)))
                 for name, part in module.named_modules()])
