"""Installed packages as wheels: which ones, what is in them, and that pip takes them."""

from __future__ import annotations

import csv
import hashlib
import io
import zipfile
from base64 import urlsafe_b64encode
from collections.abc import Mapping, Sequence
from importlib.metadata import Distribution, PathDistribution
from pathlib import Path

import pytest

from lcm_daemon.commands.bundle import wheels
from lcm_daemon.core.errors import LcmDaemonError

TOOL = b"#!/opt/here/bin/python3\nprint('a tool')\n"


def digest(content: bytes) -> str:
    return urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")


def installed(
    site: Path, name: str = "Some_Package", files: Mapping[str, bytes] | None = None, requires: Sequence[str] = (),
    extras: Sequence[str] = (), tags: Sequence[str] = ("py3-none-any",),
) -> Distribution:
    """A package as pip installs it."""
    info = f"{name}-1.0.dist-info"
    fields = [*(f"Requires-Dist: {text}" for text in requires), *(f"Provides-Extra: {extra}" for extra in extras)]
    own = {
        f"{name.lower()}/__init__.py": b"WHERE = __file__\n", f"{name.lower()}/data, more.bin": bytes(1000),
        f"{info}/METADATA": "\n".join(["Metadata-Version: 2.1", f"Name: {name}", "Version: 1.0", *fields, ""]).encode(),
        f"{info}/WHEEL": "\n".join(["Wheel-Version: 1.0", "Root-Is-Purelib: true",
                                    *(f"Tag: {tag}" for tag in tags), ""]).encode(),
        f"{info}/entry_points.txt": b"[console_scripts]\nmade = some_package:main\n", **(files or {})}
    rows = io.StringIO()
    for place, content in own.items():
        (site / place).parent.mkdir(parents=True, exist_ok=True)
        (site / place).write_bytes(content)
        csv.writer(rows).writerow([place, f"sha256={digest(content)}", len(content)])
    for place in (f"{info}/RECORD", f"{info}/INSTALLER", f"{name.lower()}/__pycache__/a.pyc"):
        csv.writer(rows).writerow([place, "", ""])
    (site / info / "INSTALLER").write_text("pip\n")
    (site / info / "RECORD").write_text(rows.getvalue())
    return PathDistribution(site / info)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    return tmp_path / "lib/python3/site-packages"


def test_a_wheel_has_what_was_installed(site: Path, tmp_path: Path) -> None:
    package = installed(site, files={
        "../../../bin/made": b"x", "../../../bin/tool": TOOL, "../../../share/man/x.1": b"x",
        "../../../include/site/x.h": b"x"},
        tags=("cp311-cp311-manylinux_2_17_x86_64", "cp311-cp311-manylinux2014_x86_64"))
    (site / "../../../bin/tool").resolve().chmod(0o755)
    wheel = wheels.repack(package, tmp_path)
    assert wheel.name == "Some_Package-1.0-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl"
    with zipfile.ZipFile(wheel) as archive:
        assert set(archive.namelist()) == {
            "some_package/__init__.py", "some_package/data, more.bin", "Some_Package-1.0.dist-info/METADATA",
            "Some_Package-1.0.dist-info/WHEEL", "Some_Package-1.0.dist-info/entry_points.txt",
            "Some_Package-1.0.data/scripts/tool", "Some_Package-1.0.data/data/share/man/x.1",
            "Some_Package-1.0.dist-info/RECORD"}
        assert archive.read("Some_Package-1.0.data/scripts/tool") == b"#!python\nprint('a tool')\n"
        assert archive.getinfo("Some_Package-1.0.data/scripts/tool").external_attr >> 16 & 0o111
        rows = list(csv.reader(io.StringIO(archive.read("Some_Package-1.0.dist-info/RECORD").decode())))
        for place, told, size in rows[:-1]:
            content = archive.read(place)
            assert (told, size) == (f"sha256={digest(content)}", str(len(content)))


def test_a_wheel_is_the_same_each_time(site: Path, tmp_path: Path) -> None:
    package = installed(site)
    folders = [tmp_path / name for name in "ab"]
    for folder in folders:
        folder.mkdir()
        (site / "some_package/__init__.py").touch()
    first, second = (wheels.repack(package, folder).read_bytes() for folder in folders)
    assert first == second


def test_what_is_not_as_it_was_installed(site: Path, tmp_path: Path) -> None:
    package = installed(site)
    (site / "some_package/__init__.py").write_bytes(b"WHERE = 'elsewhere'\n")
    with pytest.raises(LcmDaemonError, match=r"Some_Package is not as it was installed: .*__init__.py has changed"):
        wheels.repack(package, tmp_path)
    (site / "some_package/__init__.py").unlink()
    with pytest.raises(LcmDaemonError, match=r"Some_Package is not as it was installed: .*No such file"):
        wheels.repack(package, tmp_path)


def test_what_keeps_no_record(site: Path, tmp_path: Path) -> None:
    package = installed(site)
    (site / "Some_Package-1.0.dist-info/RECORD").unlink()
    with pytest.raises(LcmDaemonError, match="Some_Package has no RECORD"):
        wheels.repack(package, tmp_path)
