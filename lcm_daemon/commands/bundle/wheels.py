"""The installed packages as wheels again: what plays here is what is packed, and no package index is asked.

A wheel is made of the files that an installed package lists in its RECORD, each checked against its hash
(https://packaging.python.org/specifications/recording-installed-packages,
https://packaging.python.org/specifications/binary-distribution-format).
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import io
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import zipfile
from base64 import urlsafe_b64encode
from importlib.metadata import Distribution, PackagePath
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.core.recorded_files import recorded_files

_OF_THE_INSTALLER = ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json")
_EPOCH = (1980, 1, 1, 0, 0, 0)  # of every file in a wheel
_CHUNK = 1 << 20
_SCRIPTS, _HEADERS = ("bin", "scripts"), "include"  # folders beside that of Python's modules, in lower case
_LEVEL = "compress_level" if sys.version_info >= (3, 13) else "_compresslevel"  # attribute of a ZipInfo


def find_installed(name: str) -> Distribution | None:
    """The package of this name. The current folder may have what a build has left there: one with a RECORD comes first.
    """
    found = list(importlib.metadata.distributions(name=name))
    return next((each for each in found if each.read_text("RECORD")), found[0] if found else None)


def pip_wheel(folder: Path) -> Path:
    """Write a wheel of pip, for a machine that may have none. Raises LcmDaemonError if there is none here either."""
    if installed := find_installed("pip"):
        return repack(installed, folder)
    try:
        import ensurepip  # Debian's Python may come without it
    except ImportError:
        bundled: list[Path] = []
    else:
        bundled = sorted(Path(ensurepip.__file__).parent.glob("_bundled/pip-*.whl"))
    if not bundled:
        raise LcmDaemonError("pip is not installed here, and the other machine needs it: install it with: "
                             "python -m ensurepip, or uv pip install pip")
    return Path(shutil.copy(bundled[-1], folder))


def repack(package: Distribution, folder: Path) -> Path:
    """Write an installed package as a wheel into `folder`; return its path.

    Raises:
        LcmDaemonError: It is not as it was installed, or was installed by something that keeps no RECORD.
    """
    name = package.metadata["Name"]
    files = [file for file in recorded_files(package) if not _is_left_out(file, package)]
    info = next((file.parent for file in files if file.name == "METADATA"), None)
    if info is None or not info.name.endswith(".dist-info"):
        raise LcmDaemonError(f"the package {name} has no RECORD of its files; install it with pip or uv")
    wheel = folder / f"{info.name.removesuffix('.dist-info')}-{_tags(package)}.whl"
    rows = []
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in files:
            rows.append(_add(archive, file, _place(file, info.name), name))
        rows.append(f"{info.name}/RECORD,,")
        archive.writestr(_entry(f"{info.name}/RECORD", 0o644), "\n".join(rows) + "\n")
    return wheel


def _is_left_out(file: PackagePath, package: Distribution) -> bool:
    """Whether the installer of the other machine makes this file itself."""
    if file.suffix == ".pyc" or (file.name in _OF_THE_INSTALLER and file.parent.name.endswith(".dist-info")):
        return True
    outside = [part for part in file.parts if part != ".."] if file.parts[0] == ".." else []
    own = {point.name for point in package.entry_points if point.group in ("console_scripts", "gui_scripts")}
    is_made = bool(outside) and outside[0].lower() in _SCRIPTS and file.name.partition(".exe")[0] in own
    return is_made or (bool(outside) and outside[0].lower() == _HEADERS)  # C headers: nothing is compiled there


def _tags(package: Distribution) -> str:
    """What the wheel is for, as in its file name: "cp311-cp311-manylinux_2_28_x86_64"."""
    lines = (package.read_text("WHEEL") or "Tag: py3-none-any").splitlines()
    tags = [line.partition(":")[2].strip().split("-") for line in lines if line.startswith("Tag:")]
    return "-".join(".".join(dict.fromkeys(parts)) for parts in zip(*tags, strict=True))


def _place(file: PackagePath, info: str) -> str:
    """Where an installed file was in its wheel: those outside of the packages' folder lie in folders by their kind."""
    parts = [part for part in file.parts if part != ".."]
    if file.parts[0] != "..":
        return "/".join(parts)
    data = info.removesuffix(".dist-info") + ".data"
    if parts[0].lower() in _SCRIPTS:
        return "/".join((data, "scripts", *parts[1:]))
    return "/".join((data, "data", *parts))


def _add(archive: zipfile.ZipFile, file: PackagePath, place: str, package: str) -> str:
    """Copy a file into a wheel; return its line of the RECORD."""
    path = Path(str(file.locate()))
    try:
        source = path.open("rb")
    except OSError as error:
        raise LcmDaemonError(f"the package {package} is not as it was installed: {path}: "
                             f"{error.strerror or error}; install it again") from error
    mode = 0o755 if os.fstat(source.fileno()).st_mode & stat.S_IXUSR else 0o644
    with source, archive.open(_entry(place, mode), "w", force_zip64=True) as target:
        head = source.readline() if "/scripts/" in place else b""
        read, written, size = _copy(source, target, head, re.sub(rb"^#!.*python.*", b"#!python", head))
    if file.hash is not None and file.hash.mode == "sha256" and file.hash.value != read:
        raise LcmDaemonError(f"the package {package} is not as it was installed: {path} has changed; install it again")
    quoted = f'"{place}"' if "," in place else place
    return f"{quoted},sha256={written},{size}"


def _copy(source: Any, target: Any, head: bytes, written_head: bytes) -> tuple[str, str, int]:
    """Copy what follows the first line `head`. Returns both hashes, as a RECORD has them, and the bytes written."""
    read, written, size = hashlib.sha256(head), hashlib.sha256(written_head), len(written_head)
    target.write(written_head)
    while chunk := source.read(_CHUNK):
        read.update(chunk)
        written.update(chunk)
        size += target.write(chunk)
    return _digest(read), _digest(written), size


def _digest(state: Any) -> str:
    return urlsafe_b64encode(state.digest()).decode().rstrip("=")


def _entry(place: str, mode: int) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(place, _EPOCH)
    entry.external_attr = (stat.S_IFREG | mode) << 16
    entry.compress_type = zipfile.ZIP_DEFLATED
    setattr(entry, _LEVEL, 1)  # libraries of gigabytes: four times as fast, and little larger
    return entry


def editable_source(package: Distribution) -> Path | None:
    """The folder of a package that was installed with `pip install -e`; None for others."""
    try:
        origin = json.load(io.StringIO(package.read_text("direct_url.json") or "{}"))
        if origin.get("dir_info", {}).get("editable"):
            return Path(url2pathname(unquote(urlsplit(origin["url"]).path)))
    except (ValueError, KeyError, AttributeError):
        pass
    return None


def build(source: Path, folder: Path) -> Path:
    """Build the wheel of a package's source, for those who develop it. Raises LcmDaemonError."""
    before = set(folder.iterdir())
    done = subprocess.run([sys.executable, "-m", "pip", "wheel", "--no-deps", "--quiet", "--disable-pip-version-check",
                           "--wheel-dir", str(folder), str(source)], capture_output=True, text=True, check=False)
    made = set(folder.iterdir()) - before
    if done.returncode or not made:
        reason = (done.stderr.strip().splitlines() or ["pip has made no wheel"])[-1]
        raise LcmDaemonError(f"{source}: its wheel cannot be built: {reason:.200}")
    return made.pop()
