"""Unpacking: every byte is checked, nothing is written outside of the new folder, and a failure leaves nothing."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from lcm_daemon.commands.bundle import unpack
from lcm_daemon.commands.bundle.archive import BundleWriter
from lcm_daemon.commands.bundle.manifest import NAME, Manifest, read_manifest
from lcm_daemon.commands.bundle.unpack import unbundle
from lcm_daemon.core.errors import LcmDaemonError

CLIP = bytes(range(256)) * 5000
LONG = "show/clips/sea.mp4"


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A bundle without packages. What installs them is a stand-in, and the current folder is an empty one."""
    monkeypatch.setattr(unpack, "install", lambda folder: (folder / "installed").touch())
    monkeypatch.setattr(unpack, "check_show", lambda folder, show: 0)
    clip, file = tmp_path / "sea.mp4", tmp_path / "mirror.pyz"
    clip.write_bytes(CLIP)
    with BundleWriter(file) as writer:
        writer.add("show/mirror.yaml", "name: mirror\n")
        writer.add(LONG, clip)
        writer.finish("mirror", "show/mirror.yaml")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return file


def rewritten(file: Path, change: Callable[[str, bytes], bytes | None]) -> None:
    """Write the zip file again; `change` gets each name and its content, and None leaves it out."""
    with zipfile.ZipFile(file) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, old in content.items():
            if (new := change(name, old)) is not None:
                archive.writestr(name, new)


def listed(file: Path, change: Callable[[Manifest], Manifest]) -> None:
    rewritten(file, lambda name, old: change(read_manifest(old)).to_json().encode() if name == NAME else old)


def test_files_come_out_as_they_went_in(bundle: Path) -> None:
    assert unbundle(str(bundle)) == 0
    assert Path("mirror/show/mirror.yaml").read_text() == "name: mirror\n"
    assert Path("mirror", LONG).read_bytes() == CLIP
    assert Path("mirror/installed").exists()
    assert 'run "$here"/show/mirror.yaml' in Path("mirror/run").read_text()
    with pytest.raises(LcmDaemonError, match="mirror is there already and not empty"):
        unbundle(str(bundle))
    assert unbundle(str(bundle), "other/place") == 0
    assert Path("other/place/show/mirror.yaml").exists()


def test_a_bundle_is_the_same_each_time(bundle: Path, tmp_path: Path) -> None:
    with BundleWriter(tmp_path / "again.pyz") as writer:
        writer.add("show/mirror.yaml", "name: mirror\n")
        writer.add(LONG, tmp_path / "sea.mp4")
        writer.finish("mirror", "show/mirror.yaml")
    assert (tmp_path / "again.pyz").read_bytes() == bundle.read_bytes()


def test_what_the_list_does_not_name_stays_in_the_archive(bundle: Path) -> None:
    with zipfile.ZipFile(bundle, "a") as archive:
        archive.writestr("../../evil", "x")
        archive.writestr("/evil", "x")
        archive.writestr("show/evil", "x")
    assert unbundle(str(bundle)) == 0
    found = {path.relative_to(Path.cwd()).as_posix() for path in Path.cwd().rglob("*") if path.is_file()}
    assert found == {"mirror/run", "mirror/installed", "mirror/show/mirror.yaml", f"mirror/{LONG}"}
    assert not Path("../../evil").exists()


@pytest.mark.parametrize(("change", "reason"), [
    (lambda name, old: old[:-1] + b"x" if name == LONG else old, f"damaged: {LONG}"),
    (lambda name, old: old + b"x" if name == LONG else old, f"damaged: {LONG}"),
    (lambda name, old: old + bytes(50_000_000) if name == LONG else old, f"damaged: {LONG}"),  # small when compressed
    (lambda name, old: old[:-1] if name == LONG else old, f"damaged: {LONG}"),
    (lambda name, old: None if name == LONG else old, f"not complete: {LONG}"),
    (lambda name, old: None if name == NAME else old, "not a bundle"),
    (lambda name, old: old[: len(old) // 2] if name == NAME else old, "list of files is damaged"),
    (lambda name, old: old.replace(b"show/mirror.yaml", b"show/../../a.yml") if name == NAME else old, "its file")
])
def test_damaged_bundles_leave_nothing(
    bundle: Path, change: Callable[[str, bytes], bytes | None], reason: str
) -> None:
    rewritten(bundle, change)
    with pytest.raises(LcmDaemonError, match=reason):
        unbundle(str(bundle))
    assert list(Path.cwd().iterdir()) == []


@pytest.mark.parametrize("cut", [0, 10, 1000, -1000, -10])
def test_cut_bundles(bundle: Path, cut: int) -> None:
    bundle.write_bytes(bundle.read_bytes()[:cut])
    with pytest.raises(LcmDaemonError, match="damaged"):
        unbundle(str(bundle))
    assert list(Path.cwd().iterdir()) == []


def test_a_flipped_bit_is_found(bundle: Path) -> None:
    content = bytearray(bundle.read_bytes())
    content[content.index(CLIP[:1000]) + 500_000] ^= 1
    bundle.write_bytes(content)
    with pytest.raises(LcmDaemonError, match="damaged"):
        unbundle(str(bundle))
    assert list(Path.cwd().iterdir()) == []


@pytest.mark.parametrize("changes", [{"python": "3.9"}, {"system": "windows amd64"}, {"system": "linux aarch64"}])
def test_another_machine_is_refused_before_anything_is_written(bundle: Path, changes: dict[str, str]) -> None:
    listed(bundle, lambda found: replace(found, **changes))
    with pytest.raises(LcmDaemonError, match=f"it is for .*{next(iter(changes.values()))}"):
        unbundle(str(bundle))
    assert list(Path.cwd().iterdir()) == []


def test_a_full_disk_is_refused_before_anything_is_written(bundle: Path) -> None:
    listed(bundle, lambda found: replace(found, files=(replace(found.files[0], size=1 << 60), *found.files[1:])))
    with pytest.raises(LcmDaemonError, match="GB free"):
        unbundle(str(bundle))
    assert list(Path.cwd().iterdir()) == []


def test_a_failed_installation_leaves_nothing(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(folder: Path) -> None:
        raise LcmDaemonError("pip has failed")

    monkeypatch.setattr(unpack, "install", fail)
    with pytest.raises(LcmDaemonError, match=r"mirror\.pyz: pip has failed"):
        unbundle(str(bundle))
    assert list(Path.cwd().iterdir()) == []


@pytest.mark.parametrize(("folder", "left"), [("a/b/c", set()), ("empty", {"empty"}), ("link", {"link", "far"})])
def test_a_failure_leaves_what_was_there(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, folder: str, left: set[str]
) -> None:
    def interrupt(folder: Path) -> None:
        (folder / "venv/lib").mkdir(parents=True)
        (folder / "venv/lib64").symlink_to("lib")
        (folder / "run").touch()
        raise KeyboardInterrupt

    for name in left - {"link"}:
        Path(name).mkdir()
    if "link" in left:
        Path("link").symlink_to("far")
    monkeypatch.setattr(unpack, "install", interrupt)
    with pytest.raises(KeyboardInterrupt):
        unbundle(str(bundle), folder)
    assert {str(path) for path in Path().rglob("*")} == left


def test_other_ways_of_compressing(bundle: Path) -> None:
    with zipfile.ZipFile(bundle) as archive:
        names = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(bundle, "w", zipfile.ZIP_LZMA) as archive:
        for name, old in names.items():
            archive.writestr(name, old)
    with pytest.raises(LcmDaemonError, match="it is damaged: a file in it is compressed"):
        unbundle(str(bundle))


@pytest.mark.parametrize("content", [b"", b"PK", b"no zip file", b"#!/usr/bin/env python3\n"])
def test_other_files(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "other.pyz").write_bytes(content)
    with pytest.raises(LcmDaemonError, match=r"other\.pyz: it is damaged, or not a bundle"):
        unbundle(str(tmp_path / "other.pyz"))
    for path in (tmp_path / "absent.pyz", tmp_path):
        with pytest.raises(LcmDaemonError, match=path.name):
            unbundle(str(path))


def test_an_encrypted_archive(bundle: Path) -> None:
    """The flag alone: Python cannot write one."""
    content = bytearray(bundle.read_bytes())
    place = content.rindex(b"PK\x01\x02", 0, content.rindex(NAME.encode()))
    content[place + 8] |= 1
    bundle.write_bytes(content)
    with pytest.raises(LcmDaemonError, match="damaged"):
        unbundle(str(bundle))


def test_a_list_without_end(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpack, "MOST_BYTES", 1000)
    rewritten(bundle, lambda name, old: old + b" " * 1000 if name == NAME else old)
    with pytest.raises(LcmDaemonError, match="too long"):
        unbundle(str(bundle))


def test_what_fails_while_it_is_packed_leaves_no_file(tmp_path: Path) -> None:
    file = tmp_path / "mirror.pyz"
    file.write_bytes(b"an older one")
    writer = BundleWriter(file)
    with pytest.raises(LcmDaemonError, match="cannot be packed"), writer:
        _add_a_bad_name(writer)
    assert [path.name for path in tmp_path.iterdir()] == ["mirror.pyz"]
    assert file.read_bytes() == b"an older one"


def _add_a_bad_name(writer: BundleWriter) -> None:
    writer.add("show/a.yaml", "x")
    writer.add("show/con", "x")
