"""Damaged files of a compiler's folder are found before the compiler reads them."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from lcm_daemon.recipes.prepared import Prepared, PreparedForm
from tests.rigs.lazy_imports import lazy_imports

with lazy_imports(globals()):
    import torch

    from lcm_daemon.pipelines.accelerators import compile as compiling
    from lcm_daemon.pipelines.accelerators.cache_manifest import FILE, CacheManifest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with two compiled files and a lock."""
    folder = tmp_path / "compiled"
    (folder / "deep").mkdir(parents=True)
    (folder / "a.so").write_bytes(bytes(100))
    (folder / "deep" / "b").write_bytes(bytes(200))
    (folder / "a.lock").touch()
    CacheManifest(folder).note()
    return folder


@pytest.mark.parametrize("content", [b"", bytes(99), bytes(50) + b"?" + bytes(49), b"<html>"])
def test_a_file_with_another_content_is_damaged(folder: Path, content: bytes, caplog: pytest.LogCaptureFixture) -> None:
    manifest = CacheManifest(folder)
    assert manifest.damaged() == []
    (folder / "a.lock").write_text("held")
    assert not manifest.drop_if_damaged()
    status = (folder / "a.so").stat()
    (folder / "a.so").write_bytes(content)
    os.utime(folder / "a.so", ns=(status.st_atime_ns, status.st_mtime_ns))  # as a disk that loses bits
    assert manifest.damaged() == [folder / "a.so"]
    assert manifest.drop_if_damaged()
    assert not folder.exists()
    assert caplog.messages == [f"{folder}: 1 of the compiled files are damaged, such as a.so; the folder is deleted, "
                               "and all is compiled again"]


def test_files_that_are_new_or_gone_are_not_damaged(folder: Path) -> None:
    manifest = CacheManifest(folder)
    (folder / "a.so").unlink()
    (folder / "c").write_text("new")
    assert manifest.damaged() == []
    manifest.note()
    (folder / "c").write_text("other")
    (folder / "deep" / "b").write_text("other")
    assert manifest.drop_damaged() == [folder / "c", folder / "deep" / "b"]
    assert sorted(path.name for path in folder.iterdir()) == ["a.lock", "deep", FILE]


@pytest.mark.parametrize("content", ["", "[", "[]", '{"a.so": 1}', '{"a.so": [1, 2]}', "[" * 100])
def test_a_damaged_manifest_knows_nothing(folder: Path, content: str) -> None:
    (folder / FILE).write_text(content)
    manifest = CacheManifest(folder)
    (folder / "a.so").write_text("other")
    assert manifest.damaged() == []
    manifest.note()
    (folder / "a.so").write_text("damaged")
    assert manifest.damaged() == [folder / "a.so"]


def test_a_folder_that_is_not_there_is_whole(tmp_path: Path) -> None:
    assert not CacheManifest(tmp_path / "none").drop_if_damaged()


def test_a_damaged_folder_takes_its_prepared_forms_with_it(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiling, "inductor_folder", lambda device: folder)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "torch"))  # as if it was not set
    form = PreparedForm("1", "sd", "64x64", "compile", "2", "card", True, 9.0, str(folder))
    Prepared.read().add(form)
    Prepared.read().add(replace(form, digest="2", folder=str(tmp_path)))
    (folder / "a.so").write_text("damaged")
    assert compiling._use_folder(torch.device("cpu")) is not None
    assert [form.digest for form in Prepared.read().forms] == ["2"]
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == str(folder)
    assert not folder.exists()
    folder.mkdir()
    (folder / "a.so").write_text("other")
    assert compiling._use_folder(torch.device("cpu")) is not None
    assert folder.exists(), "once in a process: later files are its own"


def test_a_folder_that_the_user_has_named_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "/somewhere/else")
    assert compiling._use_folder(torch.device("cpu")) is None
