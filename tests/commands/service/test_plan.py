"""What a service starts and needs."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from lcm_daemon.cli import build_parser
from lcm_daemon.commands.service.plan import make_plan, service_name
from lcm_daemon.core.errors import LcmDaemonError


def show(folder: Path, text: str = "{}", name: str = "mirror.yaml") -> str:
    path = folder / name
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize(("file", "given", "name"), [
    ("/shows/mirror.yaml", "", "lcm-daemon-mirror"), ("demo", "", "lcm-daemon-demo"),
    ("/x/Zwei Räume.yaml", "", "lcm-daemon-Zwei-R-ume"), ("/x/a@b%n.yaml", "", "lcm-daemon-a-b-n"),
    ("/x/mirror.yaml", "hall", "lcm-daemon-hall"), ("/x/lcm-daemon-a.yaml", "", "lcm-daemon-a"),
])
def test_the_name_of_a_service(file: str, given: str, name: str) -> None:
    assert service_name(file, given) == name


def test_a_name_without_letters_wants_another() -> None:
    with pytest.raises(LcmDaemonError, match="--name"):
        service_name("/x/東京.yaml")


def test_the_command_is_one_that_run_understands(tmp_path: Path) -> None:
    plan = make_plan(show(tmp_path), ["output.fps=25"], environment={})
    words = plan.command[len(plan.program):]
    options = build_parser().parse_args(words)
    assert (options.show, options.overrides) == (str(tmp_path / "mirror.yaml"), ["output.fps=25"])
    assert Path(plan.program[0]).is_absolute()
    assert plan.folder == tmp_path
    assert shlex.join(plan.program).endswith("lcm-daemon") or plan.program[1] == "-P"


def test_folders_that_a_show_writes_to(tmp_path: Path) -> None:
    text = "sinks: [{transport: record, path: 'takes/{date}/a.mp4'}, {transport: record, path: /data/b.mp4}]\n" \
        "audience: {keep: /pictures}\nlog: {file: /logs/show.log}"
    assert make_plan(show(tmp_path, text), environment={}).writable == (
        tmp_path, Path("/logs"), Path("/pictures"), Path("/data"))
    assert make_plan("demo", environment={}).writable == (), "it may be anywhere, and is written to the state's folder"
    assert make_plan("demo", environment={}).folder is None


def test_variables_that_a_service_keeps(tmp_path: Path) -> None:
    given = {"HF_HOME": "/models", "PATH": "/bin", "SECRET": "x", "LCM_DAEMON__OUTPUT__FPS": "50", "TZ": ""}
    assert make_plan(show(tmp_path), environment=given).environment == {
        "HF_HOME": "/models", "LCM_DAEMON__OUTPUT__FPS": "50"}


def test_what_needs_a_display_or_tmp(tmp_path: Path) -> None:
    window = make_plan(show(tmp_path, "sinks: [{transport: window, optional: true}]"), environment={})
    assert (window.needs_display, window.shares_tmp) == (True, True)
    ray = make_plan(show(tmp_path, "engines: {ray: auto, engines: 1}"), environment={})
    assert (ray.needs_display, ray.shares_tmp) == (False, True)
    plain = make_plan(show(tmp_path), environment={})
    assert (plain.needs_display, plain.shares_tmp, plain.picture) == (False, False, "")


def test_a_kiosk_shows_the_page(tmp_path: Path) -> None:
    plan = make_plan(show(tmp_path, "panel: {host: 0.0.0.0, port: 8123}"), kiosk=True, environment={})
    assert (plan.picture, plan.needs_display) == ("http://127.0.0.1:8123/output", True)


@pytest.mark.parametrize(("text", "said"), [
    ("panel: false", "is off"), ("panel: {port: 0}", "any port"), ("outptu: 1", "outptu"),
    ("network: {access: {pin: '48151623', local_pin: true}}", "local_pin"),
])
def test_shows_that_have_no_kiosk(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(LcmDaemonError, match=said):
        make_plan(show(tmp_path, text), kiosk=True, environment={})


def test_a_line_break_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LcmDaemonError, match="control character"):
        make_plan(show(tmp_path), environment={"HF_HOME": "/a\nExecStart=/bin/x"})
