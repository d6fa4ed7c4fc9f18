"""Which packages a bundle has."""

from __future__ import annotations

import importlib.metadata
import json
from importlib.metadata import Distribution, PathDistribution
from pathlib import Path

import pytest

from lcm_daemon.commands.bundle import packages, wheels
from lcm_daemon.core.errors import LcmDaemonError
from tests.commands.bundle.test_wheels import installed


@pytest.fixture
def site(tmp_path: Path) -> Path:
    return tmp_path / "lib/python3/site-packages"


@pytest.fixture
def here(site: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Distribution]:
    """The packages that are installed, by name."""
    found: dict[str, Distribution] = {}

    def find(name: str) -> list[Distribution]:
        """As importlib does, with what a build has left in the current folder first."""
        own = found.get(name.lower().replace("_", "-"))
        return [PathDistribution(left), own] if own else []

    left = site / "left.egg-info"
    left.mkdir(parents=True)
    (left / "PKG-INFO").write_text("Name: left\n")
    monkeypatch.setattr(importlib.metadata, "distributions", find)
    for name, requires, extras in (
        ("first", ["Some_Lib>=1", "absent-there; sys_platform == 'none'", "one; extra == 'whole'",
                   "one; extra == 'half'", "absent; extra == 'half'", "tool; extra == 'dev'",
                   "windows-only; extra == 'empty' and sys_platform == 'none'"], ["whole", "half", "dev", "empty"]),
        ("some-lib", ["deep[more]"], []), ("one", [], []), ("deep", ["deeper; extra == 'more'", "first"], ["more"]),
        ("deeper", [], []), ("tool", [], []), ("unrelated", [], []),
    ):
        found[name] = installed(site, name, requires=requires, extras=extras)
    return found


def test_everything_that_is_needed_and_no_more(here: dict[str, Distribution], tmp_path: Path) -> None:
    found = packages.needed_packages(tmp_path, "first")
    assert list(found.installed) == ["deep", "deeper", "first", "one", "some-lib"]
    assert (found.extras, found.built) == (("whole",), {})


def test_what_is_needed_and_absent(here: dict[str, Distribution], tmp_path: Path) -> None:
    del here["deeper"]
    with pytest.raises(LcmDaemonError, match="the package deeper, which deep needs, is not installed here"):
        packages.needed_packages(tmp_path, "first")


def test_a_package_in_development_is_what_its_source_says(
    here: dict[str, Distribution], site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was installed may be older: it then lacks what the source needs."""
    newer = installed(tmp_path / "newer/site-packages", "one", requires=["tool"])
    monkeypatch.setattr(packages, "build", lambda source, folder: wheels.repack(newer, folder))
    origin = {"url": (tmp_path / "a source").as_uri(), "dir_info": {"editable": True}}
    (site / "one-1.0.dist-info/direct_url.json").write_text(json.dumps(origin))
    found = packages.needed_packages(tmp_path, "first")
    assert "tool" in found.installed
    assert found.wheel("one", tmp_path) == tmp_path / "one-1.0-py3-none-any.whl"
    assert found.wheel("tool", tmp_path) == tmp_path / "tool-1.0-py3-none-any.whl"


def test_the_packages_of_this_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "editable_source", lambda package: None)  # a build takes seconds
    found = set(packages.needed_packages(tmp_path).installed)
    assert {"lcm-daemon", "torch", "numpy", "av", "pyyaml", "diffusers"} <= found
    assert found.isdisjoint({"pytest", "mypy", "ruff", "hypothesis"})
