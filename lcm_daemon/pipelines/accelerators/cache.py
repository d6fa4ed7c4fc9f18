"""Cache: compiled artefacts on disk, so that the second start is quick. Written whole or not at all."""

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

LIMIT = 20 << 30  # bytes kept; what was not used for longest goes first
STALE = 86400.0  # seconds; no compilation takes a day


class Cache:
    """Files of one accelerator, below the user's cache folder. Raises OSError where that cannot be written."""

    def __init__(self, accelerator: str, folder: Path | None = None, limit: int = LIMIT) -> None:
        self.folder = (folder or cache_folder()) / accelerator
        self._limit = limit

    def find(self, name: str) -> Path | None:
        """The file of that name, marked as used now."""
        file = self.folder / name
        if not file.is_file():
            return None
        os.utime(file)
        return file

    @contextmanager
    def workplace(self) -> Iterator[Path]:
        """An empty folder on the cache's own disk, gone at the end."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._sweep()
        with tempfile.TemporaryDirectory(dir=self.folder, ignore_cleanup_errors=True) as place:
            yield Path(place)

    def keep(self, made: Path, name: str) -> Path:
        """Move a finished file from the workplace to its name, in one step, and make room."""
        file = self.folder / name
        with made.open("rb+") as opened:
            os.fsync(opened.fileno())
        made.replace(file)
        self._trim(file)
        return file

    def drop(self, name: str) -> None:
        """Forget a file that proved useless."""
        (self.folder / name).unlink(missing_ok=True)

    def _sweep(self) -> None:
        """Workplaces of processes that were killed."""
        for place in self.folder.iterdir():
            if place.is_dir() and time.time() - place.stat().st_mtime > STALE:
                shutil.rmtree(place, ignore_errors=True)

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
    """A name for what `module` computes: its structure, every weight, the inputs' shapes, and the versions.

    Reads all weights, on the device too: seconds for a large model.
    """
    found = hashlib.blake2b(digest_size=16)
    shapes = [None if tensor is None else (tuple(tensor.shape), tensor.dtype) for tensor in example]
    found.update(repr((__version__, torch.__version__, versions, shapes, str(module), _settings(module))).encode())
    for key, tensor in module.state_dict().items():
        found.update(f"{key} {tensor.dtype} {tuple(tensor.shape)}".encode())
        found.update(tensor.detach().contiguous().reshape(-1).view(torch.uint8).cpu().numpy().data)
    return found.hexdigest()


def _settings(module: nn.Module) -> str:
    """The plain numbers that modules hold, which their print does not show."""
    return repr([(name, sorted((key, value) for key, value in vars(part).items()
                               if isinstance(value, bool | int | float | str)))
                 for name, part in module.named_modules()])
