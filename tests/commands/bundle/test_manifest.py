"""The list of a bundle's files: what it may say, and what is refused before anything is written."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lcm_daemon.commands.bundle.manifest import (
    FORMAT,
    BundledFile,
    Manifest,
    name_problem,
    path_problem,
    read_manifest,
)
from lcm_daemon.core.errors import LcmDaemonError

FILES = (BundledFile("show/mirror.yaml", 3, "a" * 64), BundledFile("wheels/pip-26-py3-none-any.whl", 5, "b" * 64))
LIST = Manifest("mirror", "show/mirror.yaml", "0.2.0", "3.11", "linux x86_64", FILES)


def test_a_list_is_read_as_it_was_written() -> None:
    assert read_manifest(LIST.to_json().encode()) == LIST
    names = changed(files=[*OWN, *(row(path=f"show/{name}") for name in ("a", "A", "ss", "\xdf"))])
    assert len(read_manifest(names).files) == 5
    assert (LIST.size(), LIST.size("wheels/")) == (8, 5)


@pytest.mark.parametrize("path", [
    "show/mirror.yaml", "show/files/clips/sea, deep.mp4", "models/models--a--b/snapshots/0f/unet/config.json",
    "wheels/x-1+cpu-py3-none-any.whl", "show/файл.yaml", "show/con-man.yaml",
    "show/Screenshot 9.41.00\u202fAM.png", "show/a\u00a0b.png", "show/\U0001f469\u200d\U0001f3a4.png", "show/\uf8ff"])
def test_paths_that_are_written(path: str) -> None:
    assert path_problem(path) == ""


@pytest.mark.parametrize("path", [
    "", "show", "show/", "/etc/passwd", "../show/a", "show/../../a", "show/./a", "show//a", "show\\a", "show/a\\b",
    "C:/a", "show/C:a", "show/a:stream", "venv/bin/python", "run", "bundle.json", "show/a\0b", "show/a\nb",
    "show/con", "show/NUL.txt", "models/com1.json", "show/a.", "show/a ", "show/" + "x" * 256, "show/\udcff",
    "show/a*b", "show" + "/x" * 600, "show/a\u202eb", "show/a\u2028b",
    "show/a\x85b"])
def test_paths_that_are_refused(path: str) -> None:
    assert path_problem(path)


def test_the_name_is_that_of_one_folder() -> None:
    assert name_problem("mirror of the sea") == ""
    assert all(map(name_problem, ("", ".", "..", "a\\b", "a:b", "aux", "x" * 256)))


def changed(**changes: Any) -> bytes:
    return json.dumps({**json.loads(LIST.to_json()), **changes}).encode()


def row(**changes: Any) -> dict[str, Any]:
    return {"path": "show/a", "size": 1, "sha256": "c" * 64, **changes}


OWN = [json.loads(LIST.to_json())["files"][0]]


@pytest.mark.parametrize(("content", "reason"), [
    (b"", "damaged"), (b"[]", "damaged"), (b"{}", "damaged"), (b"\xff", "damaged"), (b"[" * 100_000, "damaged"),
    (changed(format=FORMAT + 1), f"format {FORMAT + 1}"), (changed(name=5), "damaged"),
    (changed(files=None), "damaged"), (changed(files=[5]), "damaged"), (changed(files=[*OWN, row(size=-1)]), "damaged"),
    (changed(files=[*OWN, row(size=True)]), "damaged"), (changed(files=[*OWN, row(path=None)]), "damaged"),
    (changed(name="../up"), "its name '../up'"), (changed(name="a/b"), "its name"),
    (changed(files=[*OWN, row(path="show/../../a")]), "its file 'show/../../a'"),
    (changed(files=[*OWN, row(size=10**400)]), "damaged"), (changed(python="3.11\x1b[2J"), "damaged"),
    (changed(files=[*OWN, row(), row()]), "two files of one name"),
    (changed(files=[row()]), "no show"), (changed(show="models/a"), "no show")])
def test_lists_that_are_refused(content: bytes, reason: str) -> None:
    with pytest.raises(LcmDaemonError, match=reason.replace("(", "\\(")):
        read_manifest(content)
