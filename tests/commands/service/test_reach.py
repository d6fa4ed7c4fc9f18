"""Files that another user does not reach are named, with the folder that is in the way."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest

from lcm_daemon.commands.service.reach import blocked

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has other permissions")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that everyone reaches."""
    for each in (tmp_path, *tmp_path.parents):
        if each.stat().st_uid == os.getuid() and each != Path("/") and "pytest" in str(each):
            each.chmod(0o755)
    return tmp_path


def test_a_closed_home_is_in_the_way(folder: Path) -> None:
    other = next(each.pw_name for each in pwd.getpwall() if each.pw_uid not in (0, os.getuid()))
    home = folder / "home"
    home.mkdir()
    show = home / "mirror.yaml"
    show.write_text("{}")
    assert blocked(other, [show]) == []
    home.chmod(0o700)
    link = folder / "link.yaml"
    link.symlink_to(show)
    assert blocked(other, [show, link]) == [
        f"{path}: the user {other} does not reach it, because {home} is closed to it" for path in (show, link)]
    home.chmod(0o755)
    show.chmod(0o600)
    assert [line.rpartition("because ")[2] for line in blocked(other, [show])] == [f"{show} is closed to it"]


def test_what_cannot_be_told_blocks_nothing(folder: Path) -> None:
    assert blocked("root", [folder / "gone"]) == blocked("", [folder]) == blocked("visitor-of-nowhere", [folder]) == []
    assert blocked(pwd.getpwuid(os.getuid()).pw_name, [folder / "gone" / "mirror.yaml"]) == []
