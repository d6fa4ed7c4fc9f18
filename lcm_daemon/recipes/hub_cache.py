"""Hub: the model hub's files, and the cache of them on this machine, shared with every other program that uses the hub.

The cache's layout (blobs, snapshots, refs) is huggingface_hub's own, as it documents it in
https://huggingface.co/docs/huggingface_hub/guides/manage-cache. Two things differ from its own downloads: one that was
cut off goes on where it stopped, in another process too; and the revision's name is moved to the new files once they
are all there and checked, so that a show never sees half of them.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from lcm_daemon.core.errors import RecipeError

MAIN = "main"
_COMMIT = re.compile(r"[0-9a-f]{40}")
_REVISION = re.compile(r"\w[\w./-]*")
_CHUNK = 1 << 20  # bytes hashed at a time


@dataclass(frozen=True)
class HubFile:
    """path: inside its place. size: bytes. digest: SHA-256 of a large file, git's SHA-1 of a small one."""

    path: str
    size: int
    digest: str


@dataclass(frozen=True)
class Listing:
    """All files of one place at one commit."""

    commit: str
    files: Mapping[str, HubFile]


# --- on this machine: opens no connection ---


def storage(source: str) -> Path:
    """The folder that the cache keeps for `source` ("owner/name"), whether it is there or not."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE) / f"models--{source.replace('/', '--')}"


def find_snapshot(source: str, revision: str = "") -> Path | None:
    """The folder with the files of `source` that were fetched, complete or not; None where nothing was.

    huggingface_hub's own look-up refuses a snapshot whose listing names files that nobody wanted to fetch.
    """
    place = storage(source)
    commit = revision if _COMMIT.fullmatch(revision) else _read_ref(place, revision or MAIN)
    folder = place / "snapshots" / commit
    return folder if commit and folder.is_dir() else None


def read_listing(source: str, commit: str) -> Listing | None:
    """What the hub said when it was last asked for this commit; None where it never was."""
    try:
        rows = json.loads(_listing_file(source, commit).read_text("utf-8"))
        return Listing(commit, {row["path"]: HubFile(**row) for row in rows})
    except (OSError, ValueError, TypeError, KeyError):  # absent, or damaged: then it is as good as absent
        return None


def is_whole(path: Path, digest: str, size: int | None = None) -> bool:
    """Whether the file is there with this size and digest. Reads all of it."""
    try:
        found = path.stat().st_size
        return (size is None or found == size) and _digest(path, len(digest) == 64, found) == digest
    except OSError:
        return False


def _digest(path: Path, large: bool, size: int) -> str:
    """SHA-256 of the bytes, or what git calls the blob: SHA-1 of a header and the bytes."""
    state = hashlib.sha256() if large else hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            state.update(chunk)
    return state.hexdigest()


def _read_ref(place: Path, revision: str) -> str:
    if not _REVISION.fullmatch(revision) or ".." in revision:
        return ""
    try:
        text = (place / "refs" / revision).read_text("utf-8").strip()
    except OSError:
        return ""
    return text if _COMMIT.fullmatch(text) else ""


def _listing_file(source: str, commit: str) -> Path:
    return storage(source) / "lcm-daemon" / f"{commit}.json"


# --- on the hub ---


def ask(source: str, revision: str = "") -> Listing:
    """What the hub has under `source` now. Raises RecipeError, one line that says what to do."""
    from huggingface_hub import HfApi

    with _in_one_line(source, revision):
        info = HfApi().model_info(source, revision=revision or None, files_metadata=True)
    commit, rows = info.sha or "", info.siblings or []
    files = {row.rfilename: HubFile(row.rfilename, row.size or 0, row.lfs.sha256 if row.lfs else row.blob_id or "")
             for row in rows}
    if not _COMMIT.fullmatch(commit) or not all(map(_is_inside, files)):
        raise RecipeError(f"{source}: the hub's answer makes no sense: a commit {commit!r:.60} with {len(files)} files")
    return Listing(commit, files)


def fetch(source: str, commit: str, file: HubFile, bar: Any = None) -> Path:
    """Have `file` in the cache, whole and checked, and return where. Goes on with what an earlier call left.

    bar: the class of a progress bar, with tqdm's interface. Raises RecipeError.
    """
    place = storage(source)
    pointer = place / "snapshots" / commit / file.path
    if is_whole(pointer, file.digest, file.size):
        return pointer
    blob = place / "blobs" / file.digest
    for folder in (blob.parent, pointer.parent):
        folder.mkdir(parents=True, exist_ok=True)
    with _in_one_line(source, commit), _lock(blob):
        if not is_whole(blob, file.digest, file.size):
            _download(source, commit, file, blob, bar)
        _point(pointer, blob)
    return pointer


def adopt(source: str, revision: str, listing: Listing) -> None:
    """From now on `revision` means this commit on this machine. Called when all its files are there."""
    place = storage(source)
    rows = [asdict(file) for file in listing.files.values()]
    _write(_listing_file(source, listing.commit), json.dumps(rows, indent=1))
    if not _COMMIT.fullmatch(revision):
        _write(place / "refs" / (revision or MAIN), listing.commit)


def _download(source: str, commit: str, file: HubFile, blob: Path, bar: Any) -> None:
    from huggingface_hub import hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers

    part = blob.with_name(f"{blob.name}.lcm-daemon.part")
    headers = {**build_hf_headers(), "Accept-Encoding": "identity"}  # sizes and ranges are those of the file itself
    for resumed in (True, False):  # a rest that was wrong from before is no reason to give up
        with part.open("ab" if resumed and _size(part) < file.size else "wb") as target:
            http_get(hf_hub_url(source, file.path, revision=commit), target, resume_size=target.tell(),
                     headers=headers, expected_size=file.size, displayed_filename=file.path, tqdm_class=bar)
        if is_whole(part, file.digest, file.size):
            os.replace(part, blob)
            return
        part.unlink()
    raise RecipeError(f"{source}/{file.path}: what came is not what the hub lists (its hash differs); try again, and "
                      "if it stays so, something on the way alters downloads")


def _lock(blob: Path) -> Any:
    """One process at a time downloads a file; the others wait and find it there."""
    from huggingface_hub.utils import WeakFileLock

    return WeakFileLock(blob.with_name(f"{blob.name}.lcm-daemon.lock"))


def _point(pointer: Path, blob: Path) -> None:
    """A relative link, so that the cache may be moved; where the system makes no links, the file itself."""
    pointer.unlink(missing_ok=True)
    try:
        pointer.symlink_to(os.path.relpath(blob, pointer.parent))
    except OSError:  # Windows, without the right to make links
        os.replace(blob, pointer)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".new")
    beside.write_text(text, "utf-8")
    os.replace(beside, path)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _is_inside(path: str) -> bool:
    return ".." not in PurePosixPath(path).parts and not PurePosixPath(path).is_absolute() and "\\" not in path


@contextmanager
def _in_one_line(source: str, revision: str) -> Iterator[None]:
    """Whatever the transport raises, as one line that says what to do."""
    from huggingface_hub import constants, errors

    hub = constants.ENDPOINT
    reasons: Mapping[type[Exception], str] = {  # the special before the general
        errors.OfflineModeIsEnabled: "HF_HUB_OFFLINE is set, so nothing may be fetched: unset it, or pull --offline",
        errors.GatedRepoError: f"is gated: accept its licence at {hub}/{source}, make a token at "
                               f"{hub}/settings/tokens and set HF_TOKEN to it",
        errors.RevisionNotFoundError: f"has no revision {revision!r}",
        errors.RemoteEntryNotFoundError: "no longer has this file: pull again",
        errors.RepositoryNotFoundError: "is not on the hub, or it is private: then set HF_TOKEN",
        errors.HfHubHTTPError: f"{hub} refuses: {{error}}; try again later",
        errors.HTTPError: f"{hub} cannot be reached ({{error}}); what was fetched stays, the next pull goes on there",
        OSError: "cannot be stored: {error}",
    }
    try:
        yield
    except tuple(reasons) as error:
        text = next(text for kind, text in reasons.items() if isinstance(error, kind))
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise RecipeError(f"{source}: {text.format(error=f'{first:.160}')}") from error
