"""The files of the model hub, and their cache on this machine, which all programs that use the hub share.

The cache's layout (blobs, snapshots, refs) is huggingface_hub's own, documented in
https://huggingface.co/docs/huggingface_hub/guides/manage-cache. Two things differ from its own downloads: an
interrupted download is resumed where it stopped, in another process too; and a revision's name moves to the new files
only when all of them are there and checked, so that a show never sees half of them.
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

from lcm_daemon.core.atomic_file import write_atomically
from lcm_daemon.core.errors import RecipeError

MAIN = "main"
_COMMIT = re.compile(r"[0-9a-f]{40}")
_REVISION = re.compile(r"\w[\w./-]*")
_CHUNK = 1 << 20  # bytes hashed at a time


@dataclass(frozen=True)
class HubFile:
    """One file.

    Attributes:
        path: Path inside the repository.
        size: Bytes.
        digest: SHA-256 of a large file, git's SHA-1 of a small one.
    """

    path: str
    size: int
    digest: str


@dataclass(frozen=True)
class Listing:
    """All files of a repository at one commit."""

    commit: str
    files: Mapping[str, HubFile]


# --- on this machine: opens no connection ---


def repo_folder(source: str) -> Path:
    """The cache's folder for the repository `source` ("owner/name"); it may not exist."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE) / f"models--{source.replace('/', '--')}"


def find_snapshot(source: str, revision: str = "") -> Path | None:
    """The folder with the downloaded files of `source`, complete or not; None if there is none.

    huggingface_hub's own look-up rejects a snapshot whose listing names files that were not meant to be downloaded.
    """
    folder = repo_folder(source)
    commit = revision if _COMMIT.fullmatch(revision) else _read_ref(folder, revision or MAIN)
    snapshot = folder / "snapshots" / commit
    return snapshot if commit and snapshot.is_dir() else None


def read_listing(source: str, commit: str) -> Listing | None:
    """The listing of this commit as the hub last sent it; None if it never did."""
    try:
        rows = json.loads(_listing_file(source, commit).read_text("utf-8"))
        return Listing(commit, {row["path"]: HubFile(**row) for row in rows})
    except (OSError, ValueError, TypeError, KeyError):  # absent or damaged
        return None


def is_intact(path: Path, digest: str, size: int | None = None) -> bool:
    """Whether the file exists and has this size and digest. Reads the whole file."""
    try:
        found = path.stat().st_size
        return (size is None or found == size) and _digest(path, len(digest) == 64, found) == digest
    except OSError:
        return False


def _digest(path: Path, large: bool, size: int) -> str:
    """SHA-256 of the bytes, or git's name of the blob: SHA-1 of a header and the bytes."""
    state = hashlib.sha256() if large else hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            state.update(chunk)
    return state.hexdigest()


def _read_ref(folder: Path, revision: str) -> str:
    if not _REVISION.fullmatch(revision) or ".." in revision:
        return ""
    try:
        text = (folder / "refs" / revision).read_text("utf-8").strip()
    except OSError:
        return ""
    return text if _COMMIT.fullmatch(text) else ""


def _listing_file(source: str, commit: str) -> Path:
    return repo_folder(source) / "lcm-daemon" / f"{commit}.json"


# --- on the hub ---


def fetch_listing(source: str, revision: str = "") -> Listing:
    """Ask the hub for the files of `source`. Raises RecipeError: one line that says what to do."""
    from huggingface_hub import HfApi

    with _recipe_errors(source, revision):
        info = HfApi().model_info(source, revision=revision or None, files_metadata=True)
    commit, rows = info.sha or "", info.siblings or []
    files = {row.rfilename: HubFile(row.rfilename, row.size or 0, row.lfs.sha256 if row.lfs else row.blob_id or "")
             for row in rows}
    if not _COMMIT.fullmatch(commit) or not all(map(_is_inside, files)):
        raise RecipeError(f"{source}: the hub's answer is invalid: a commit {commit!r:.60} with {len(files)} files")
    return Listing(commit, files)


def download(source: str, commit: str, file: HubFile, bar: Any = None) -> Path:
    """Download a file to the cache and check it, unless it is there. Resumes an interrupted download.

    Args:
        source: Repository, "owner/name".
        commit: The commit that the file belongs to.
        file: The file.
        bar: Class of a progress bar with tqdm's interface.

    Returns:
        Its path in the cache.

    Raises:
        RecipeError: It cannot be downloaded; one line that says what to do.
    """
    folder = repo_folder(source)
    pointer = folder / "snapshots" / commit / file.path
    if is_intact(pointer, file.digest, file.size):
        return pointer
    blob = folder / "blobs" / file.digest
    with _recipe_errors(source, commit):
        for parent in (blob.parent, pointer.parent):
            parent.mkdir(parents=True, exist_ok=True)
        with _lock(blob):
            if not is_intact(blob, file.digest, file.size):
                _download(source, commit, file, blob, bar)
            _link(pointer, blob)
    return pointer


def activate(source: str, revision: str, listing: Listing) -> None:
    """Let `revision` mean this commit on this machine. Call it when all its files are there.

    Raises:
        RecipeError: The cache cannot be written.
    """
    rows = [asdict(file) for file in listing.files.values()]
    with _recipe_errors(source, revision):
        write_atomically(_listing_file(source, listing.commit), json.dumps(rows, indent=1))
        if not _COMMIT.fullmatch(revision):
            write_atomically(repo_folder(source) / "refs" / (revision or MAIN), listing.commit)


def _download(source: str, commit: str, file: HubFile, blob: Path, bar: Any) -> None:
    from huggingface_hub import hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers

    part = blob.with_name(f"{blob.name}.lcm-daemon.part")
    headers = {**build_hf_headers(), "Accept-Encoding": "identity"}  # sizes and ranges must be those of the file itself
    for resumed in (True, False):  # the part that an earlier call left may be wrong
        with part.open("ab" if resumed and _size(part) < file.size else "wb") as target:
            http_get(hf_hub_url(source, file.path, revision=commit), target, resume_size=target.tell(),
                     headers=headers, expected_size=file.size, displayed_filename=file.path, tqdm_class=bar)
        if is_intact(part, file.digest, file.size):
            os.replace(part, blob)
            return
        part.unlink()
    raise RecipeError(f"{source}/{file.path}: the downloaded file is not the one that the hub lists (its hash "
                      "differs); try again; if it happens again, something on the network changes downloads")


def _lock(blob: Path) -> Any:
    """One process at a time downloads a file; the others wait and then find it."""
    from huggingface_hub.utils import WeakFileLock

    return WeakFileLock(blob.with_name(f"{blob.name}.lcm-daemon.lock"))


def _link(pointer: Path, blob: Path) -> None:
    """Make a relative link, so that the cache can be moved; move the file itself if the system makes no links."""
    pointer.unlink(missing_ok=True)
    try:
        pointer.symlink_to(os.path.relpath(blob, pointer.parent))
    except OSError:  # Windows without the right to make links
        os.replace(blob, pointer)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _is_inside(path: str) -> bool:
    return ".." not in PurePosixPath(path).parts and not PurePosixPath(path).is_absolute() and "\\" not in path


@contextmanager
def _recipe_errors(source: str, revision: str) -> Iterator[None]:
    """Raise RecipeError for the errors of the hub's client and of the disk: one line that says what to do."""
    from huggingface_hub import constants, errors

    hub = constants.ENDPOINT
    reasons: Mapping[type[Exception], str] = {  # special ones before general ones
        errors.OfflineModeIsEnabled: "HF_HUB_OFFLINE is set, so nothing is downloaded: unset it, or use pull --offline",
        errors.GatedRepoError: f"is gated: accept its licence at {hub}/{source}, make a token at "
                               f"{hub}/settings/tokens and set HF_TOKEN to it",
        errors.RevisionNotFoundError: f"has no revision {revision!r}",
        errors.RemoteEntryNotFoundError: "no longer has this file: pull again",
        errors.RepositoryNotFoundError: "is not on the hub; if it is private, set HF_TOKEN",
        errors.HfHubHTTPError: f"{hub} refused the request: {{error}}; try again later",
        errors.HTTPError: f"{hub} cannot be reached ({{error}}); the next pull resumes the download",
        OSError: "cannot be stored: {error}",
    }
    try:
        yield
    except tuple(reasons) as error:
        text = next(text for kind, text in reasons.items() if isinstance(error, kind))
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise RecipeError(f"{source}: {text.format(error=f'{first:.160}')}") from error
