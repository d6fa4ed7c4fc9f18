"""Units say what systemd reads, ask for what the daemon does, and allow no more than it needs."""

from __future__ import annotations

import configparser
import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from lcm_daemon.commands.service import systemd
from lcm_daemon.commands.service.plan import ServicePlan, make_plan
from lcm_daemon.commands.service.systemd import Systemd
from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.core.thread_priority import TICK
from lcm_daemon.stage.systemd_notify import WATCHDOG_INTERVAL

MOST_EXPOSED = 30  # a tenth each of what `systemd-analyze security` calls exposure; 50 and more is MEDIUM

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="this system has no systemd")


@pytest.fixture(autouse=True)
def _no_driver(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(systemd, "NVIDIA_MODPROBE", tmp_path / "nvidia-modprobe")


@pytest.fixture
def plan(tmp_path: Path) -> ServicePlan:
    file = tmp_path / "mirror.yaml"
    file.write_text("{}")
    return make_plan(str(file), kiosk=True, environment={})


def manager(tmp_path: Path, version: int = 256, session: bool = False) -> Systemd:
    return Systemd(tmp_path, version, session, {"DISPLAY": ":0"})


def unit(manager: Systemd, plan: ServicePlan, index: int = 0) -> dict[str, configparser.SectionProxy]:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read_string([*manager.files(plan).values()][index].decode())
    return dict(parser)


def of_the_system(plan: ServicePlan) -> ServicePlan:
    return replace(plan, is_system=True, user="daemon")


def test_a_service_lasts_and_ends_in_order(plan: ServicePlan, tmp_path: Path) -> None:
    found = unit(manager(tmp_path), plan)
    service = found["Service"]
    assert (service["Type"], service["Restart"], service["KillMode"]) == ("notify", "always", "mixed")
    assert float(service["WatchdogSec"]) >= 5 * WATCHDOG_INTERVAL
    assert found["Unit"]["StartLimitIntervalSec"] == "0"
    assert (service["RestartSec"], service["RestartMaxDelaySec"]) == ("1", "15")
    assert service["OOMPolicy"] == "continue", "an engine that the kernel ends does not end the show"
    assert int(service["LimitNOFILE"]) >= 65536
    assert int(service["LimitRTPRIO"]) >= TICK
    assert found["Install"]["WantedBy"] == "default.target"


def test_an_older_systemd_gets_no_keys_that_it_does_not_know(plan: ServicePlan, tmp_path: Path) -> None:
    service = unit(manager(tmp_path, version=252), plan)["Service"]
    assert "RestartSteps" not in service
    assert service["RestartSec"] == "2"


def test_a_service_of_the_system_waits_for_the_network_and_has_folders(plan: ServicePlan, tmp_path: Path) -> None:
    found = unit(manager(tmp_path), of_the_system(plan))
    assert found["Unit"]["Wants"] == "network-online.target"
    assert "network-online.target" in found["Unit"]["After"]
    service = found["Service"]
    assert (service["User"], service["StateDirectory"], service["CacheDirectory"]) == ("daemon", *["lcm-daemon"] * 2)
    assert service["ReadWritePaths"].split() == [f"-{tmp_path}", "-/var/cache/lcm-daemon"]
    assert service["ProtectSystem"] == "strict"
    assert found["Install"]["WantedBy"] == "multi-user.target"


def test_a_show_beside_the_program_cannot_change_it(
    plan: ServicePlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An administrator runs that program as root."""
    monkeypatch.setattr(sys, "prefix", str(tmp_path / ".venv"))
    service = unit(manager(tmp_path), of_the_system(plan))["Service"]
    assert service["ReadOnlyPaths"].split() == [f"-{tmp_path / '.venv'}"]
    monkeypatch.setattr(sys, "prefix", "/opt/lcm-daemon/.venv")
    assert "ReadOnlyPaths" not in unit(manager(tmp_path), of_the_system(plan))["Service"]


def test_what_is_needed_stays_allowed(plan: ServicePlan, tmp_path: Path) -> None:
    """Cameras, cards, compilers and other programs' shared memory."""
    service = unit(manager(tmp_path), of_the_system(plan))["Service"]
    closed = {"PrivateDevices", "ProtectClock", "DevicePolicy", "DeviceAllow", "MemoryDenyWriteExecute",
              "PrivateNetwork", "PrivateUsers", "RemoveIPC", "PrivateIPC", "RestrictRealtime"}
    assert not closed & set(service)
    assert service["PrivateTmp"] == "yes"
    assert "PrivateTmp" not in unit(manager(tmp_path), replace(of_the_system(plan), shares_tmp=True))["Service"]


def test_a_users_service_on_a_machine_with_cuda_has_no_limits(plan: ServicePlan, tmp_path: Path) -> None:
    """nvidia-modprobe has the rights of root, which NoNewPrivileges and a filter of calls take away."""
    (tmp_path / "nvidia-modprobe").touch()
    assert "NoNewPrivileges" not in unit(manager(tmp_path), plan)["Service"]
    service = unit(manager(tmp_path), of_the_system(plan))["Service"]
    assert service["NoNewPrivileges"] == "yes"
    assert service["ExecStartPre"] == f"-+{tmp_path}/nvidia-modprobe -c=0 -u"


def test_a_display_is_found_with_and_without_a_session(plan: ServicePlan, tmp_path: Path) -> None:
    within = unit(manager(tmp_path, session=True), plan)
    assert within["Install"]["WantedBy"] == within["Unit"]["PartOf"] == "graphical-session.target"
    assert "Environment" not in within["Service"]
    without = unit(manager(tmp_path), plan)
    assert without["Service"]["Environment"] == "DISPLAY=:0"


def test_the_screen_waits_for_the_daemon_and_shows_its_output(plan: ServicePlan, tmp_path: Path) -> None:
    for each, program in ((plan, ""), (of_the_system(plan), "/usr/bin/cage")):
        screen = unit(manager(tmp_path), each, 1)
        assert program in screen["Service"]["ExecStart"]
        assert screen["Service"]["ExecStart"].endswith("--app=http://127.0.0.1:8000/output")
        assert "health --port 8000" in screen["Service"]["ExecStartPre"]
        assert screen["Service"]["TimeoutStartSec"] == "infinity"
        assert screen["Unit"]["StartLimitIntervalSec"] == "0"


ODD = ("50% $HOME", 'a "quoted" \\ word', "Räume", "%n;'")


def test_words_arrive_as_they_were(plan: ServicePlan, tmp_path: Path) -> None:
    odd = replace(plan, command=("/opt/my program", "run", *ODD), environment={"HF_HOME": ODD[1]})
    service = unit(manager(tmp_path), odd)["Service"]
    assert [word.replace("%%", "%").replace("$$", "$") for word in shlex.split(service["ExecStart"])] == [
        *odd.command]
    assert shlex.split(unit(manager(tmp_path, session=True), odd)["Service"]["Environment"]) == [f"HF_HOME={ODD[1]}"]


@needs_systemd
@pytest.mark.parametrize("is_system", [False, True], ids=["user", "system"])
def test_systemd_finds_nothing_wrong(is_system: bool, tmp_path: Path) -> None:
    folder = tmp_path / "Zwei Räume $1"
    folder.mkdir()
    file = folder / "100% mirror.yaml"
    file.write_text("{}")
    plan = make_plan(str(file), [f"parameters.prompt={ODD[1]}"], is_system, "daemon" if is_system else "",
                     environment={"HF_HOME": "/srv/my models"})
    version = int(subprocess.run(["systemctl", "--version"], capture_output=True, text=True).stdout.split()[1])
    kind = [] if is_system else ["--user"]
    for path, content in manager(tmp_path, version).files(plan).items():
        written = tmp_path / path.name
        written.write_bytes(content)
        for words in (["verify", written], ["security", "--offline=true", f"--threshold={MOST_EXPOSED}", written]):
            if words[0] == "security" and not is_system:
                continue
            done = subprocess.run(["systemd-analyze", *kind, *words], capture_output=True, text=True,
                                  env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)})
            assert done.returncode == 0, done.stdout + done.stderr
            assert written.name not in done.stderr, "it warns of nothing"


def test_the_state_in_words(tmp_path: Path) -> None:
    printed = ("ActiveState=active\nSubState=running\nUnitFileState=enabled\nNRestarts=2\nResult=success\n"
               "ActiveEnterTimestamp=Sat 2026-11-28 10:00:00 CET\nMainPID=4\n")
    state = manager(tmp_path).read_state(printed)
    assert state.runs
    assert state.text == "active (running), enabled, since Sat 2026-11-28 10:00:00 CET, 2 restarts"
    failed = manager(tmp_path).read_state("ActiveState=activating\nSubState=auto-restart\nResult=watchdog\n")
    assert not failed.runs
    assert failed.text.endswith("the last run ended with watchdog")
    assert not manager(tmp_path).read_state("").runs


def test_models_of_the_user_are_found(plan: ServicePlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(systemd, "_home_of", lambda user: tmp_path)

    def models() -> str:
        text = next(iter(manager(tmp_path).files(of_the_system(plan)).values())).decode()
        return next(line for line in text.splitlines() if "HF_HOME" in line)

    assert models() == "Environment=HF_HOME=/var/cache/lcm-daemon/models"
    (tmp_path / ".cache" / "huggingface").mkdir(parents=True)
    assert models() == f"Environment=HF_HOME={tmp_path}/.cache/huggingface"


def test_a_user_that_does_not_exist(plan: ServicePlan, tmp_path: Path) -> None:
    with pytest.raises(LcmDaemonError, match="no user 'visitor-of-nowhere'"):
        manager(tmp_path).files(replace(plan, is_system=True, user="visitor-of-nowhere"))
