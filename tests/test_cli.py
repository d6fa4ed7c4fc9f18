"""The commands, as a user types them."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from lcm_daemon import __version__
from lcm_daemon.cli import main
from lcm_daemon.parameters import TABLE
from tests.daemon import free_port


def typed(*words: str) -> str:
    """What a command prints, in a process of its own: native libraries stay out of this one."""
    command = [sys.executable, "-m", "lcm_daemon", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_help_is_quick_and_imports_no_torch() -> None:
    code = (
        "import sys, lcm_daemon.cli as c\n"
        "try: c.main(['--help'])\n"
        "except SystemExit: pass\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert "play a show" in done.stdout
    assert done.stdout.strip().endswith("False")


def test_python_m_is_the_same() -> None:
    done = subprocess.run([sys.executable, "-m", "lcm_daemon", "--version"], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == f"lcm-daemon {__version__}"


def test_check_prints_every_mistake_and_returns_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    show = tmp_path / "show.yaml"
    show.write_text("outptu: 1\noutput: {fps: 1000}\n")
    assert main(["check", str(show)]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(":")[1] for line in lines] == ["1", "2"]


def test_check_of_a_good_show_says_what_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "demo"]) == 0
    assert "http://127.0.0.1:8000" in capsys.readouterr().out


def test_list_parameters_is_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "parameters"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == [f"/lcm/{name}" for name in TABLE]


@pytest.mark.parametrize(("what", "expected"), [
    ("recipes", "sd-turbo"), ("transports", "spout (sink)"), ("shows", "demo"), ("prompts", "ocean"),
])
def test_the_other_lists(what: str, expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", what]) == 0
    assert expected in capsys.readouterr().out


def test_list_sources_looks_on_every_bus() -> None:
    assert "testcard" in typed("list", "sources")


def test_doctor_reports_every_integration_and_what_to_install() -> None:
    report = typed("doctor")
    for word in ("torch", "cpu", "ndi", "spout", "syphon", "midi", "builtin", "sd-turbo"):
        assert f" {word} " in report
    if sys.platform != "win32":
        assert any("missing" in line for line in report.splitlines() if " spout " in line)


def test_a_port_in_use_is_one_line_and_code_2_before_anything_plays(tmp_path: Path) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        show = tmp_path / "show.yaml"
        show.write_text(f"recipe: passthrough\nosc: false\npanel: {{port: {port}}}\n")
        done = subprocess.run(
            [sys.executable, "-m", "lcm_daemon", "run", str(show)], capture_output=True, text=True, timeout=60
        )
    assert done.returncode == 2
    assert str(port) in done.stderr.strip().splitlines()[-1]
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="Spout is there on Windows: nothing to miss")
def test_a_missing_integration_that_is_not_optional_is_one_line_and_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    show = tmp_path / "show.yaml"
    show.write_text("sinks: [{transport: spout, name: lcm}]\n")
    assert main(["run", str(show)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("spout: ")
    assert "install it with: pip install" in line


def test_an_absent_source_is_one_clear_line_and_the_show_goes_on(tmp_path: Path) -> None:
    show = tmp_path / "show.yaml"
    show.write_text(
        f"recipe: passthrough\nosc: false\npanel: {{port: {free_port()}}}\n"
        "source: {transport: file, path: nowhere.mp4}\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "lcm_daemon", "run", str(show), "--seconds", "3"], capture_output=True, text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stderr.splitlines() if "nowhere.mp4" in line]
    assert len(lines) == 1
    assert "Traceback" not in done.stderr


def test_run_for_some_seconds_ends_by_itself(tmp_path: Path) -> None:
    show = tmp_path / "show.yaml"
    show.write_text(f"recipe: passthrough\nosc: false\npanel: {{port: {free_port()}}}\n")
    begun = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "lcm_daemon", "run", str(show), "--seconds", "1"], capture_output=True, text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert time.perf_counter() - begun >= 1.0
    assert "passthrough" in done.stdout
