"""Sets up the show of a bundle: checks every file against its hash, and installs the packages. Asks no network.

    python3 mirror.pyz [DIR]        on the other machine, which has Python alone
    lcm-daemon unbundle mirror.pyz [DIR]

A bundle holds a copy of this module: it imports the standard library, its neighbours and `core.errors` alone.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import hashlib
import shutil
import sys
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from lcm_daemon.commands.bundle.manifest import (
    MOST_BYTES,
    NAME,
    WHEELS,
    BundledFile,
    Manifest,
    read_manifest,
    this_python,
    this_system,
)
from lcm_daemon.commands.bundle.set_up import check_show, install, write_starter
from lcm_daemon.core.errors import LcmDaemonError

_CHUNK = 1 << 20  # bytes that are read at a time
_INSTALLED = 5  # bytes on the disk for one of a wheel: the wheel, what is in it, and its compiled modules
# What the module zipfile raises for a file that is not as it should be.
_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError)


def main(arguments: Sequence[str]) -> int:
    """Set up the bundle that this module was started from. arguments: The file, then those of the command line."""
    parser = argparse.ArgumentParser(prog=f"python3 {Path(arguments[0]).name}", description="Set up the show in this "
                                     "file, with its models and packages. No network is needed.")
    parser.add_argument("folder", nargs="?", default="", metavar="DIR", help="the folder to make (the name of the "
                        "show, in this folder)")
    try:
        return unbundle(arguments[0], parser.parse_args(arguments[1:]).folder)
    except LcmDaemonError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def unbundle(name: str, folder: str = "") -> int:
    """Set up the show of a bundle, and print what starts it. Return the exit code.

    Args:
        name: The bundle.
        folder: The folder to make, or an empty one; "" for one with the name of the show, in the current folder.

    Raises:
        LcmDaemonError: The bundle is damaged or for another machine, or something cannot be written. What was written
            is removed.
    """
    try:
        with open(name, "rb") as file, zipfile.ZipFile(file) as archive:
            manifest = _read_list(archive)
            _check_machine(manifest)
            target = Path(folder or manifest.name).absolute()
            _check_target(target, manifest)
            with _removed_after_failure(target):
                _extract(archive, manifest, target)
                install(target)
                write_starter(target, manifest.show)
    except LcmDaemonError as error:
        raise LcmDaemonError(f"{name}: {error}") from error
    except _DAMAGED as error:
        raise LcmDaemonError(f"{name}: it is damaged, or not a bundle: {str(error).splitlines()[0]:.160}") from error
    except OSError as error:
        if error.filename is None and error.errno in (None, errno.EINVAL):  # a place in the archive that is not there
            raise LcmDaemonError(f"{name}: it is damaged, or not a bundle") from error
        raise LcmDaemonError(f"{name}: {error.strerror or error}: {error.filename or folder or name}") from error
    return check_show(target, manifest.show)


def _read_list(archive: zipfile.ZipFile) -> Manifest:
    try:
        info = archive.getinfo(NAME)
    except KeyError:
        raise LcmDaemonError(f"it is not a bundle: it has no {NAME}") from None
    if any(each.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) for each in archive.infolist()):
        raise LcmDaemonError("it is damaged: a file in it is compressed in a way that bundles do not use")
    with archive.open(info) as file:
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise LcmDaemonError("its list of files is too long")
    return read_manifest(content)


def _check_machine(manifest: Manifest) -> None:
    """Raise LcmDaemonError if the packages are for another machine."""
    for wanted, found in ((f"Python {manifest.python}", f"Python {this_python()}"), (manifest.system, this_system())):
        if wanted != found:
            raise LcmDaemonError(f"it is for {wanted}, and this is {found}; set it up with {wanted}, or make a bundle "
                                 "on a machine like this one")


def _check_target(target: Path, manifest: Manifest) -> None:
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise LcmDaemonError(f"{target} is there already and not empty; name another folder")
    above = next(folder for folder in target.parents if folder.exists())
    needed, free = manifest.size() + (_INSTALLED - 1) * manifest.size(WHEELS), shutil.disk_usage(above).free
    if needed > free:
        raise LcmDaemonError(f"{above} has {free / 1e9:.1f} GB free, and {needed / 1e9:.1f} GB are needed")


@contextlib.contextmanager
def _removed_after_failure(target: Path) -> Iterator[None]:
    """Make a folder. If what follows fails or is interrupted, remove what was made; an empty one of the user's stays.
    """
    is_theirs = target.exists()
    made = next((folder for folder in reversed(target.parents) if not folder.exists()), target)
    target.mkdir(parents=True, exist_ok=True)
    is_complete = False
    try:
        yield
        is_complete = True
    finally:
        if not is_complete:
            for place in [*target.iterdir()] if is_theirs else [made]:
                shutil.rmtree(place, ignore_errors=True)
                with contextlib.suppress(OSError):  # a file
                    place.unlink(missing_ok=True)


def _extract(archive: zipfile.ZipFile, manifest: Manifest, target: Path) -> None:
    """Write the files that the list names, each checked; others that the archive has are left in it."""
    print(f"{manifest.name}: {len(manifest.files)} files, {manifest.size() / 1e6:,.0f} MB", flush=True)
    for file in manifest.files:
        place = target.joinpath(*file.path.split("/"))
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            with archive.open(file.path) as source, place.open("xb") as written:
                _copy(source, written, file)
        except KeyError:
            raise LcmDaemonError(f"it is not complete: {file.path} is missing") from None
    print(f"{manifest.name}: every file has the hash that it should have", flush=True)


def _copy(source: IO[bytes], target: IO[bytes], file: BundledFile) -> None:
    """Copy one file. Raises LcmDaemonError if it is not the one that the list names."""
    digest, left = hashlib.sha256(), file.size
    while chunk := source.read(min(_CHUNK, left + 1)):  # one byte more than there should be is enough to know
        left -= len(chunk)
        if left < 0:
            break
        digest.update(chunk)
        target.write(chunk)
    if left or digest.hexdigest() != file.sha256:
        raise LcmDaemonError(f"it is damaged: {file.path} does not have the hash that it should have")
