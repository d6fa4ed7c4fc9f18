"""Tasks say what the Task Scheduler of Windows reads."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from lcm_daemon.commands.service.plan import ServicePlan, make_plan
from lcm_daemon.commands.service.task_scheduler import NAMESPACE, TaskScheduler


@pytest.fixture
def plan(tmp_path: Path) -> ServicePlan:
    file = tmp_path / "mirror & more.yaml"
    file.write_text("{}")
    return make_plan(str(file), ["output.fps=25"], kiosk=True, environment={})


def value(content: bytes, path: str) -> str | None:
    where = "/".join(f"{{{NAMESPACE}}}{name}" for name in path.split("/"))
    return ElementTree.fromstring(content).findtext(where)


def test_a_task_is_started_again_and_never_ended(plan: ServicePlan, tmp_path: Path) -> None:
    tasks = TaskScheduler(tmp_path, "HALL\\show")
    service, screen = tasks.files(plan).values()
    assert value(service, "Actions/Exec/Command") == plan.command[0]
    arguments = value(service, "Actions/Exec/Arguments")
    assert arguments is not None
    assert f'run "{plan.show}" --set output.fps=25' in arguments
    assert value(service, "Settings/ExecutionTimeLimit") == "PT0S"
    assert value(service, "Settings/RestartOnFailure/Interval") == "PT1M"
    assert value(service, "Triggers/LogonTrigger/Repetition/Interval") == "PT1M"
    assert value(service, "Settings/MultipleInstancesPolicy") == "IgnoreNew"
    assert value(service, "Triggers/LogonTrigger/UserId") == "HALL\\show"
    assert value(service, "Settings/Priority") == "5"
    assert plan.picture in str(value(screen, "Actions/Exec/Arguments"))
    assert {tasks.show_of(content) for content in (service, screen)} == {str(plan.show)}
    assert tasks.show_of(b"<Task/>") == tasks.show_of(b"no XML") == ""


def test_a_task_of_the_system_starts_before_a_login(plan: ServicePlan, tmp_path: Path) -> None:
    service, screen = TaskScheduler(tmp_path, "show").files(replace(plan, is_system=True)).values()
    assert value(service, "Triggers/BootTrigger/Enabled") == "true"
    assert value(service, "Principals/Principal/LogonType") == "S4U"
    assert value(screen, "Triggers/LogonTrigger/Enabled") == "true", "a browser needs a user"


def test_variables_are_set_by_a_shell(plan: ServicePlan, tmp_path: Path) -> None:
    content = next(iter(TaskScheduler(tmp_path, "show").files(
        replace(plan, environment={"HF_HOME": "C:\\my models", "TZ": "UTC"})).values()))
    assert value(content, "Actions/Exec/Command") == "cmd.exe"
    assert 'set \\"HF_HOME=C:\\my models\\"&& ' in str(value(content, "Actions/Exec/Arguments"))


def test_the_state_in_words(tmp_path: Path) -> None:
    tasks = TaskScheduler(tmp_path, "show")
    state = tasks.read_state("Running|11/28/2026 10:00:00|267009\n")
    assert state.runs
    assert "last started 11/28/2026 10:00:00" in state.text
    assert not tasks.read_state("Ready||0").runs
    assert not tasks.read_state("Get-ScheduledTask : No task").runs
