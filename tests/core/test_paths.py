"""Folders of each system."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.core.paths import cache_folder, state_folder

CACHES = {"linux": "xdg/cache/lcm-daemon", "win32": "local/lcm-daemon/Cache", "darwin": "Library/Caches/lcm-daemon"}
STATES = {"linux": "xdg/state/lcm-daemon", "win32": "local/lcm-daemon/State",
          "darwin": "Library/Application Support/lcm-daemon"}
BARE = {"linux": ".cache/lcm-daemon", "win32": "AppData/Local/lcm-daemon/Cache", "darwin": "Library/Caches/lcm-daemon"}


@pytest.fixture(autouse=True)
def _home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("LCM_DAEMON_CACHE", "LCM_DAEMON_STATE", "STATE_DIRECTORY", "XDG_CACHE_HOME", "XDG_STATE_HOME",
                 "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)


@pytest.mark.parametrize(("folder", "places"), [(cache_folder, CACHES), (state_folder, STATES)])
def test_folders_are_the_usual_ones_of_the_system(
    folder: Callable[[], Path], places: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg" / "cache"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg" / "state"))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    for system, place in places.items():
        monkeypatch.setattr("sys.platform", system)
        assert folder() == tmp_path / place


def test_folders_are_in_the_home_folder_by_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for system, place in BARE.items():
        monkeypatch.setattr("sys.platform", system)
        assert cache_folder() == tmp_path / place


def test_the_environment_overrides_the_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LCM_DAEMON_CACHE", str(tmp_path / "mine"))
    assert cache_folder() == tmp_path / "mine"
    monkeypatch.setenv("STATE_DIRECTORY", f"{tmp_path / 'first'}:{tmp_path / 'second'}")  # as systemd writes several
    assert state_folder() == tmp_path / "first"
    monkeypatch.setenv("LCM_DAEMON_STATE", str(tmp_path / "mine"))
    assert state_folder() == tmp_path / "mine"


def test_a_home_folder_is_needed_only_if_no_variable_names_a_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def nowhere() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", nowhere)
    monkeypatch.setattr("sys.platform", "linux")
    with pytest.raises(LcmDaemonError, match="LCM_DAEMON_STATE"):
        state_folder()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    assert (cache_folder(), state_folder()) == (tmp_path / "cache/lcm-daemon", tmp_path / "state/lcm-daemon")
    monkeypatch.setattr("sys.platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    assert state_folder() == tmp_path / "local/lcm-daemon/State"
