"""Services are installed, brought up to date, told of and removed; what fails leaves everything as it was."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from lcm_daemon.cli import main
from lcm_daemon.commands.service import command
from lcm_daemon.commands.service.command import Services, default_user
from lcm_daemon.commands.service.plan import ServicePlan, make_plan
from lcm_daemon.commands.service.systemd import Systemd
from lcm_daemon.core.errors import LcmDaemonError


class System:
    """A system that notes what is run. fails: The words of commands that fail."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.fails: tuple[str, ...] = ()
        self.prints = ""

    def run(self, words: Sequence[str]) -> tuple[int, str]:
        self.ran.append(" ".join(words))
        failed = any(word in words for word in self.fails)
        return (1, f"{words[-1]} failed") if failed else (0, self.prints)


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> System:
    monkeypatch.setattr(Systemd, "problem", lambda self: "")
    monkeypatch.delenv("SUDO_USER", raising=False)
    return System()


@pytest.fixture
def plan(tmp_path: Path) -> ServicePlan:
    file = tmp_path / "mirror.yaml"
    file.write_text("{}")
    return make_plan(str(file), environment={})


def services(system: System, home: Path, lines: list[str], dry_run: bool = False) -> Services:
    manager = Systemd(home, 256, session=False, environment={})
    return Services(manager, system.run, is_administrator=False, dry_run=dry_run, print_line=lines.append)


def installed(home: Path) -> list[str]:
    return sorted(path.name for path in home.rglob("*.service"))


def test_install_writes_enables_and_starts(system: System, plan: ServicePlan, tmp_path: Path) -> None:
    lines: list[str] = []
    assert services(system, tmp_path, lines).install(plan) == 0
    assert installed(tmp_path) == ["lcm-daemon-mirror.service"]
    assert [line.partition("--user ")[2] or line.split()[1] for line in system.ran] == [
        "daemon-reload", "enable lcm-daemon-mirror.service", "enable-linger", "restart lcm-daemon-mirror.service"]
    assert "lcm-daemon-mirror: started; it will start with the machine" in lines


def test_a_service_of_a_desktop_does_not_start_without_it(system: System, plan: ServicePlan, tmp_path: Path) -> None:
    manager = Systemd(tmp_path, 256, session=True, environment={})
    Services(manager, system.run, False, print_line=lambda line: None).install(replace(plan, needs_display=True))
    assert not any("enable-linger" in line for line in system.ran)


def test_install_again_replaces_and_removes_an_earlier_kiosk(system: System, plan: ServicePlan, tmp_path: Path) -> None:
    here = services(system, tmp_path, [])
    here.install(replace(plan, picture="http://127.0.0.1:8000/output"))
    assert installed(tmp_path) == ["lcm-daemon-mirror.service", "lcm-screen-mirror.service"]
    here.install(replace(plan, environment={"HF_HOME": "/models"}))
    assert installed(tmp_path) == ["lcm-daemon-mirror.service"]
    assert "HF_HOME=/models" in next(tmp_path.rglob("lcm-daemon-*.service")).read_text()
    assert "systemctl --user disable --now lcm-screen-mirror.service" in system.ran


def test_a_start_that_fails_is_told_and_the_service_stays(system: System, plan: ServicePlan, tmp_path: Path) -> None:
    system.fails, lines = ("restart",), []
    assert services(system, tmp_path, lines).install(plan) == 1
    assert installed(tmp_path) == ["lcm-daemon-mirror.service"]
    assert "the start has failed" in lines[-1]


def test_without_lingering_it_is_installed_all_the_same(system: System, plan: ServicePlan, tmp_path: Path) -> None:
    system.fails, lines = ("enable-linger",), []
    assert services(system, tmp_path, lines).install(plan) == 0
    assert any("enable-linger" in line and "failed" in line for line in lines)


def test_what_cannot_be_enabled_leaves_everything_as_it_was(
    system: System, plan: ServicePlan, tmp_path: Path
) -> None:
    here = services(system, tmp_path, [])
    system.fails = ("enable",)
    with pytest.raises(LcmDaemonError, match=r"enable .*: lcm-daemon-mirror.service failed"):
        here.install(plan)
    assert installed(tmp_path) == []
    system.fails = ()
    here.install(plan)
    before = next(tmp_path.rglob("*.service")).read_text()
    system.fails = ("enable",)
    with pytest.raises(LcmDaemonError):
        here.install(replace(plan, environment={"HF_HOME": "/models"}))
    assert next(tmp_path.rglob("*.service")).read_text() == before


def test_files_of_others_are_left_alone(system: System, plan: ServicePlan, tmp_path: Path) -> None:
    here = services(system, tmp_path, [])
    path = tmp_path / ".config" / "systemd" / "user" / "lcm-daemon-mirror.service"
    path.parent.mkdir(parents=True)
    path.write_text("[Service]\nExecStart=/bin/true\n")
    with pytest.raises(LcmDaemonError, match="was not written by"):
        here.install(plan)
    with pytest.raises(LcmDaemonError, match="was not written by"):
        here.uninstall("mirror.yaml", is_system=False)
    path.unlink()
    here.install(plan)
    with pytest.raises(LcmDaemonError, match=r"it is the service of .*mirror.yaml; .*--name"):
        here.install(replace(plan, show=Path("/other/mirror.yaml")))
    assert system.ran.count("systemctl --user daemon-reload") == 1


def test_a_dry_run_prints_and_changes_nothing(system: System, plan: ServicePlan, tmp_path: Path) -> None:
    lines: list[str] = []
    assert services(system, tmp_path, lines, dry_run=True).install(plan) == 0
    assert (installed(tmp_path), system.ran) == ([], [])
    assert "ExecStart=" in lines[0]
    assert lines[-1] == "run systemctl --user restart lcm-daemon-mirror.service"
    services(system, tmp_path, []).install(plan)
    ran = len(system.ran)
    assert services(system, tmp_path, lines, dry_run=True).uninstall("mirror.yaml", is_system=False) == 0
    assert installed(tmp_path) == ["lcm-daemon-mirror.service"]
    assert len(system.ran) == ran


def test_uninstall_needs_no_show_and_keeps_its_files(system: System, plan: ServicePlan, tmp_path: Path) -> None:
    here, lines = services(system, tmp_path, lines := []), lines
    here.install(plan)
    assert here.uninstall("/gone/mirror.yaml", is_system=False) == 0
    assert installed(tmp_path) == []
    assert plan.show.is_file()
    assert here.uninstall("mirror.yaml", is_system=False) == 1
    assert lines[-1] == "lcm-daemon-mirror: not installed"


def test_status_is_an_exit_code_too(system: System, plan: ServicePlan, tmp_path: Path) -> None:
    lines: list[str] = []
    here = services(system, tmp_path, lines)
    assert here.status("mirror.yaml", is_system=False) == 1
    assert lines[-1].startswith("lcm-daemon-mirror: not installed")
    here.install(plan)
    system.prints = "ActiveState=active\nSubState=running\nUnitFileState=enabled\nNRestarts=0\nResult=success"
    assert here.status("mirror.yaml", is_system=True) == 0, "it is found with and without --system"
    assert lines[-1].startswith("lcm-daemon-mirror: active (running), enabled, 0 restarts")
    plan.show.unlink()
    system.prints = "ActiveState=failed\nResult=exit-code"
    assert here.status("mirror.yaml", is_system=False) == 1
    assert lines[-1] == "  the show's file does not exist"


def test_rights_and_the_wrong_user(system: System, plan: ServicePlan, tmp_path: Path,
                                   monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(LcmDaemonError, match="with sudo"):
        services(system, tmp_path, []).install(replace(plan, is_system=True, user="daemon"))
    monkeypatch.setenv("SUDO_USER", "alice")
    root = Services(Systemd(tmp_path, 256, False, {}), system.run, True, print_line=lambda line: None)
    with pytest.raises(LcmDaemonError, match="without sudo"):
        root.install(plan)
    assert system.ran == []


def test_the_user_of_a_service_is_never_root_by_default(plan: ServicePlan, monkeypatch: pytest.MonkeyPatch) -> None:
    assert default_user(plan.show, {"SUDO_USER": "alice"}) == "alice"
    monkeypatch.setattr(Path, "owner", lambda self: "curator")
    assert default_user(plan.show, {}) == default_user(plan.show, {"SUDO_USER": "root"}) == "curator"
    monkeypatch.setattr(Path, "owner", lambda self: "root")
    with pytest.raises(LcmDaemonError, match="--user"):
        default_user(plan.show, {})


def test_as_it_is_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(command, "this_systems_manager", lambda: Systemd(tmp_path, 256, False, {}))
    show = tmp_path / "mirror.yaml"
    show.write_text("outptu: {}")
    assert main(["service", "install", str(show), "--dry-run"]) == 2
    assert "show.yaml" not in capsys.readouterr().out
    show.write_text("{}")
    assert main(["service", "install", str(show), "--dry-run", "--name", "hall"]) == 0
    assert "lcm-daemon-hall.service" in capsys.readouterr().out
    assert main(["service", "status", str(show)]) == 1
    assert main(["service", "uninstall", str(show)]) == 1
    assert not list(tmp_path.rglob("*.service"))
    assert os.listdir(tmp_path) == ["mirror.yaml"]
