"""The list of what is in a bundle, with the hash of each file. It is read on a machine that trusts no name in it.

A bundle holds a copy of this module: it imports the standard library and `core.errors` alone.
"""

from __future__ import annotations

import json
import platform
import sys
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from lcm_daemon.core.errors import LcmDaemonError

FORMAT = 1
NAME = "bundle.json"  # in the bundle
SHOW, MODELS, WHEELS = "show", "models", "wheels"  # the folders in a bundle
MOST_BYTES = 64 << 20  # of the list
_MOST_SIZE = 1 << 62  # bytes of a file
_MOST_NAME = 255  # bytes of a file's name, on the usual file systems
_MOST_PATH = 1000  # characters
# https://learn.microsoft.com/windows/win32/fileio/naming-a-file
_RESERVED = {"con", "prn", "aux", "nul", *(f"{device}{number}" for device in ("com", "lpt") for number in range(1, 10))}
_BAD = '<>:"|?*\\/'  # in names on Windows; the colon also begins another stream of a file, or names a drive
_CONTROLS = ("Cc", "Zl", "Zp")  # Unicode's categories of control characters and of ends of lines
_TURNING = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"  # they show a name in another order


@dataclass(frozen=True)
class BundledFile:
    """One file of a bundle.

    Attributes:
        path: Where it is in the bundle, and in the folder that is made of it: "show/mirror.yaml".
        size: Bytes.
        sha256: Its hash, in hexadecimal digits.
    """

    path: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What is in a bundle, and which machine it is for.

    Attributes:
        name: Name of the show, and of the folder that is made.
        show: Path of the show file in the bundle.
        version: Version of lcm-daemon.
        python: Version of Python, as "3.11".
        system: System and processor, as "linux x86_64".
        files: Every file.
        format: Version of this list.
    """

    name: str
    show: str
    version: str
    python: str
    system: str
    files: tuple[BundledFile, ...]
    format: int = FORMAT

    def size(self, folder: str = "") -> int:
        """Bytes of all files, or of those in one of the folders."""
        return sum(file.size for file in self.files if file.path.startswith(folder))

    def to_json(self) -> str:
        """The list as it is in a bundle."""
        return json.dumps(asdict(self), indent=1)


def this_python() -> str:
    """The version of Python that packages are made for, as "3.11"."""
    return f"{sys.version_info[0]}.{sys.version_info[1]}"


def this_system() -> str:
    """System and processor, as "linux x86_64"."""
    return f"{platform.system().lower()} {platform.machine().lower()}"


def read_manifest(content: bytes) -> Manifest:
    """Read the list of a bundle and check every name in it.

    Raises:
        LcmDaemonError: It is damaged, of a later version, or names a file that may not be written.
    """
    try:
        found = json.loads(content)
        if found["format"] != FORMAT:
            raise LcmDaemonError(f"it has format {found['format']!r:.20}, and this lcm-daemon reads format {FORMAT}")
        files = tuple(_read_file(row) for row in found["files"])
        name, show = _text(found["name"]), _text(found["show"])
        version, python, system = (_plain(found[key]) for key in ("version", "python", "system"))
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise LcmDaemonError("its list of files is damaged") from error
    manifest = Manifest(name, show, version, python, system, files)
    _check_names(manifest)
    return manifest


def _read_file(row: Mapping[str, Any]) -> BundledFile:
    file = BundledFile(_text(row["path"]), row["size"], _text(row["sha256"]))
    if type(file.size) is not int or not 0 <= file.size <= _MOST_SIZE:
        raise ValueError("not a size")
    return file


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("not a text")
    return value


def _plain(value: object) -> str:
    """A text that an error may show in a terminal."""
    text = _text(value)
    if not text.isprintable():
        raise ValueError("not a plain text")
    return text


def _check_names(manifest: Manifest) -> None:
    """Raise LcmDaemonError for the first name that must not be written."""
    paths = [file.path for file in manifest.files]
    problem = name_problem(manifest.name)
    if problem:
        raise LcmDaemonError(f"its name {manifest.name!r:.80} {problem}")
    for path in paths:
        if problem := path_problem(path):
            raise LcmDaemonError(f"its file {path!r:.80} {problem}")
    if len({*paths}) < len(paths):
        raise LcmDaemonError("it has two files of one name")
    if manifest.show not in paths or not manifest.show.startswith(f"{SHOW}/"):
        raise LcmDaemonError(f"it has no show {manifest.show!r:.80}")


def path_problem(path: str) -> str:
    """Why a file of this path may not be in a bundle; "" if it may."""
    folder, *names = path.split("/")
    if folder not in (SHOW, MODELS, WHEELS) or not names:
        return f"is not in one of the folders {SHOW}, {MODELS} and {WHEELS}"
    if len(path) > _MOST_PATH:
        return f"has a path of more than {_MOST_PATH} characters"
    return _first(map(name_problem, names))


def name_problem(name: str) -> str:
    """Why a file or folder must not have this name, on any system; "" if it may."""
    if not name or name in (".", "..") or name[-1] in ". ":
        return "has a name that is empty, or ends with a dot or a blank"
    if any(each in _BAD or each in _TURNING or unicodedata.category(each) in _CONTROLS for each in name):
        return f"has a name with a character that a system does not allow: {_BAD} or a control character"
    if name.partition(".")[0].rstrip().lower() in _RESERVED:
        return "has the name of a device on Windows"
    try:
        is_long = len(name.encode()) > _MOST_NAME
    except UnicodeEncodeError:
        return "has a name that is not UTF-8"
    return f"has a name of more than {_MOST_NAME} bytes" if is_long else ""


def _first(problems: Iterable[str]) -> str:
    return next(filter(None, problems), "")
