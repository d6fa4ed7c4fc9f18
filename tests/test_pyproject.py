"""What the package ships, that it is built to the same bytes each time, and that its version is in one place."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

from lcm_daemon import __version__

ROOT = Path(__file__).parents[1]
PANEL = ROOT / "lcm_daemon" / "controllers" / "panel"
WHEEL = f"lcm_daemon-{__version__}-py3-none-any.whl"
SDIST = f"lcm_daemon-{__version__}.tar.gz"
NOT_SHIPPED = ("lcm_daemon/README.md", "lcm_daemon/controllers/panel/ui/")  # for those who change the package
BY_TOOLS = {"__pycache__", "node_modules"}


def build(source: Path, target: Path, **variables: str) -> None:
    """Build wheel and sdist of a source folder with what is installed here. Nothing is downloaded."""
    plain = {name: text for name, text in os.environ.items() if name != "SOURCE_DATE_EPOCH"}
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-d", str(target)], cwd=source, check=True,
                   capture_output=True, env={**plain, **variables}, umask=0o077 if variables else 0o022)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Wheel and sdist of this checkout."""
    target = tmp_path_factory.mktemp("built")
    build(ROOT, target)
    return target


@pytest.mark.slow
def test_the_same_source_gives_the_same_bytes(built: Path, tmp_path: Path) -> None:
    """Built again from the sdist, in another folder, with new times of all files and other permissions."""
    with tarfile.open(built / SDIST) as archive:
        archive.extractall(tmp_path, filter="data")
    source = tmp_path / SDIST.removesuffix(".tar.gz")
    for number, file in enumerate(sorted(source.rglob("*"))):
        os.utime(file, (1e9 + number, 1e9 + number))
    build(source, tmp_path / "again", TZ="Asia/Tokyo", HOME=str(tmp_path), USER="other")
    for name in (WHEEL, SDIST):
        assert (tmp_path / "again" / name).read_bytes() == (built / name).read_bytes(), name


@pytest.mark.slow
def test_the_metadata_is_as_the_index_wants_it(built: Path) -> None:
    done = subprocess.run([sys.executable, "-m", "twine", "check", "--strict", str(built / WHEEL), str(built / SDIST)],
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("PASSED") == 2


@pytest.mark.slow
def test_the_wheel_has_every_file_of_the_package(built: Path) -> None:
    with zipfile.ZipFile(built / WHEEL) as archive:
        shipped = {name for name in archive.namelist() if ".dist-info/" not in name}
        licences = {name for name in archive.namelist() if ".dist-info/licenses/" in name}
    own = {path.relative_to(ROOT).as_posix() for path in (ROOT / "lcm_daemon").rglob("*")
           if path.is_file() and BY_TOOLS.isdisjoint(path.parts)}
    shows = {f"lcm_daemon/{path.relative_to(ROOT).as_posix()}" for path in (ROOT / "show_configs").glob("*.yaml")}
    assert shipped == {name for name in own if not name.startswith(NOT_SHIPPED)} | shows
    assert len(licences) == 2
    with tarfile.open(built / SDIST) as archive:
        assert all(not BY_TOOLS.intersection(Path(name).parts) for name in archive.getnames())


def test_the_version_is_in_one_place() -> None:
    """The package says it; the build reads it there, and the newest part of the changelog has it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    assert "version" in project["project"]["dynamic"]
    assert project["tool"]["hatch"]["version"]["path"] == "lcm_daemon/__init__.py"
    headings = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert headings[0] == __version__
    assert len(set(headings)) == len(headings)


def test_every_licence_is_there() -> None:
    files = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["license-files"]
    assert all((ROOT / file).is_file() for file in files)
    assert "lcm_daemon/controllers/panel/LICENSES.txt" in files


def test_the_pages_notice_names_what_the_page_holds() -> None:
    notice = (PANEL / "LICENSES.txt").read_text("utf-8")
    page = "".join(path.read_text("utf-8") for path in (PANEL / "page" / "assets").iterdir())
    for sign, holder in (("svelte.dev", "Svelte Contributors"), ("tailwindcss.com", "Tailwind Labs")):
        assert sign in page
        assert f"Copyright (c) {'2016-2025 ' if sign == 'svelte.dev' else ''}{holder}" in notice
    assert "Permission is hereby granted, free of charge" in notice
