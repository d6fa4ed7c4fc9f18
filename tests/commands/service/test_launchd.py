"""Property lists say what launchd reads."""

from __future__ import annotations

import plistlib
from dataclasses import replace
from pathlib import Path

import pytest

from lcm_daemon.commands.service.launchd import Launchd
from lcm_daemon.commands.service.plan import ServicePlan, make_plan

PRINTED = "gui/501/lcm-daemon-mirror = {\n\tactive count = 1\n\tstate = running\n\truns = 3\n\tlast exit code = 1\n}\n"


@pytest.fixture
def plan(tmp_path: Path) -> ServicePlan:
    file = tmp_path / "mirror & more.yaml"
    file.write_text("{}")
    return make_plan(str(file), ['parameters.prompt="a <b>"'], kiosk=True, environment={"HF_HOME": "/models"})


def test_an_agent_is_kept_alive(plan: ServicePlan, tmp_path: Path) -> None:
    launchd = Launchd(tmp_path, 501)
    service, screen = launchd.files(plan).items()
    assert service[0] == tmp_path / "Library" / "LaunchAgents" / "lcm-daemon-mirror-more.plist"
    found = plistlib.loads(service[1])
    assert tuple(found["ProgramArguments"]) == plan.command
    assert (found["KeepAlive"], found["RunAtLoad"], found["ProcessType"]) == (True, True, "Interactive")
    assert found["SoftResourceLimits"]["NumberOfFiles"] >= 4096
    assert found["EnvironmentVariables"]["HF_HOME"] == "/models"
    assert plistlib.loads(screen[1])["ProgramArguments"][-1] == f"--app={plan.picture}"
    assert {launchd.show_of(content) for content in launchd.files(plan).values()} == {str(plan.show)}
    assert launchd.show_of(b"<plist/>") == launchd.show_of(plistlib.dumps({"Label": "x"})) == ""


def test_a_daemon_of_the_system_has_a_user(plan: ServicePlan, tmp_path: Path) -> None:
    launchd = Launchd(tmp_path, 501)
    path, content = next(iter(launchd.files(replace(plan, is_system=True, user="show")).items()))
    assert path == Path("/Library/LaunchDaemons/lcm-daemon-mirror-more.plist")
    assert plistlib.loads(content)["UserName"] == "show"
    steps = [step.words for step in launchd.install_steps(replace(plan, is_system=True))]
    assert ("launchctl", "bootstrap", "system", str(path)) in steps
    assert [words[2] for words in steps if words[1] == "bootstrap"] == ["system", "gui/501"], "a browser needs a user"


def test_the_state_in_words(tmp_path: Path) -> None:
    state = Launchd(tmp_path, 501).read_state(PRINTED)
    assert state.runs
    assert state.text == "running, 3 starts, the last run ended with 1"
    assert not Launchd(tmp_path, 501).read_state("Could not find service").runs
