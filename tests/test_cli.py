"""The commands, as a user types them."""

from __future__ import annotations

import errno
import io
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from lcm_daemon import __version__
from lcm_daemon.cli import main
from lcm_daemon.commands import bench
from lcm_daemon.commands.bench_task import Task
from lcm_daemon.commands.listing import LISTS
from lcm_daemon.core.parameter_table import TABLE
from lcm_daemon.recipes.reader import load_recipe, recipe_names
from lcm_daemon.stage.stage import Stage
from tests.rigs.daemon import wait_for


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """`run` sets it up for a process of its own, with a stream that ends with the test."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def typed(*words: str) -> str:
    """What a command prints, in a process of its own: native libraries stay out of this one."""
    command = [sys.executable, "-m", "lcm_daemon", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_python_m_is_the_same() -> None:
    done = subprocess.run([sys.executable, "-m", "lcm_daemon", "--version"], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == f"lcm-daemon {__version__}"


def test_check_prints_every_mistake_and_returns_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    show = tmp_path / "show.yaml"
    show.write_text("outptu: 1\noutput: {fps: 1001}\n")
    assert main(["check", str(show)]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(":")[1] for line in lines] == ["1", "2"]


def test_check_of_a_good_show_says_what_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "demo"]) == 0
    assert "http://127.0.0.1:8000" in capsys.readouterr().out


def test_list_parameters_is_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "parameters"]) == 0
    assert addresses(capsys.readouterr().out) == [f"/lcm/{name}" for name in TABLE]


def addresses(out: str) -> list[str]:
    """The first word of each line, without the headings of the groups."""
    return [line.split()[0] for line in out.splitlines() if line.startswith("/")]


def test_list_recipes_is_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "recipes"]) == 0
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split() == ["NAME", "TITLE", "STEPS", "DOWNLOAD", "VRAM", "LICENCE"]
    assert [row.split()[0] for row in rows] == recipe_names()
    turbo = next(row for row in rows if row.startswith("sd-turbo "))
    cells = [turbo[head.index(column):].split("  ")[0].strip() for column in head.split()]
    assert cells[:5] == ["sd-turbo", "SD-Turbo, one step at 512 pixels", "1", "2.4 GB", "~3.5 GB"]
    assert cells[5].startswith("Stability AI Community License")


def test_list_parameters_of_a_recipe_has_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "parameters", "sd15-canny"]) == 0
    listed = addresses(capsys.readouterr().out)
    assert listed == [f"/lcm/{name}" for name in load_recipe("sd15-canny").table()]
    assert "/lcm/control/canny/interval" in listed


def test_pull_says_what_there_is_when_it_does_not_know(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pull", "sd-trubo"]) == 2
    assert capsys.readouterr().err == "no recipe or show 'sd-trubo'; did you mean 'sd-turbo'?\n"


@pytest.mark.parametrize("command", [["pull"], ["list", "parameters"], ["bench"]], ids=" ".join)
@pytest.mark.parametrize(("content", "said"), [
    ("name: wide".encode("utf-16"), ": cannot be read: it is not text in UTF-8"),
    (b"\x93NUMPY\x01\x00v", ": cannot be read: it is not text in UTF-8"),
    (b"- a\n- b", ":1:1: a list is not a mapping with the keys name, recipe"),
    (b"hello", ":1:1: 'hello' is not a mapping with the keys name, recipe"),
], ids=["UTF-16", "binary", "list", "word"])
def test_a_file_that_is_no_show_is_one_line(
    command: list[str], content: bytes, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "odd.yaml"
    file.write_bytes(content)
    assert main([*command, str(file)]) == 2
    assert capsys.readouterr().err.startswith(f"{file}{said}")


def test_pull_of_what_is_in_the_package_wants_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pull", "builtin", "passthrough", "demo"]) == 0
    assert capsys.readouterr().out.count(": complete\n") == 3


@pytest.mark.parametrize("words", [["--size", "512"], ["--size", "500x512"], ["--size", "axb"], ["--steps", "9"]])
def test_bench_refuses_what_no_model_renders(words: list[str]) -> None:
    with pytest.raises(SystemExit):
        main(["bench", "sd-turbo", *words])


def test_bench_hands_its_options_on(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Task] = []
    monkeypatch.setattr(bench, "bench", lambda task, file, html: asked.append(task) or 0)
    assert main(["bench", "sd-turbo", "--size", "640x384", "--steps", "1", "--random-weights", "--frames", "5",
                 "--accelerate", "none"]) == 0
    (task,) = asked
    assert (task.recipe.name, task.recipe.size, task.steps) == ("sd-turbo", (640, 384), (1,))
    assert (task.random, task.frames, task.reference) == (True, 5, "sd-turbo")
    assert task.recipe.accelerate == "none"


def test_bench_names_the_accelerators(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--accelerate", "warp"]) == 2
    assert "openvino" in capsys.readouterr().err


@pytest.mark.slow
def test_a_reader_who_has_enough_is_no_error() -> None:
    with subprocess.Popen([sys.executable, "-m", "lcm_daemon", "list", "prompts"], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True) as listing:
        assert listing.stdout is not None
        assert listing.stderr is not None
        listing.stdout.close()
        assert listing.stderr.read() == ""
    assert listing.returncode == 1


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no full device")
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_what_cannot_be_printed_is_one_line(unbuffered: str) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run([sys.executable, "-m", "lcm_daemon", "list", "prompts"], stdout=full, text=True,
                              stderr=subprocess.PIPE, env={**os.environ, "PYTHONUNBUFFERED": unbuffered})
    assert (done.returncode, done.stderr) == (1, "standard output cannot be written: No space left on device\n")


def test_a_closed_pipe_on_windows_is_no_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Closed(io.RawIOBase):
        """The error of Windows for a pipe without a reader."""

        def writable(self) -> bool:
            return True

        def write(self, data: object) -> int:
            raise OSError(errno.EINVAL, "Invalid argument")

        def fileno(self) -> int:
            return spare.fileno()

    with (tmp_path / "spare").open("w") as spare, monkeypatch.context() as patch:
        patch.setattr("sys.platform", "win32")
        patch.setattr("sys.stdout", io.TextIOWrapper(Closed(), write_through=True))
        assert main(["list", "shows"]) == 1


def test_an_error_that_is_not_of_printing_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> list[str]:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setitem(LISTS, "shows", fail)
    with pytest.raises(OSError, match="Invalid argument"):
        main(["list", "shows"])


def test_nobody_listens_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout", None)  # as Python has it where the file was closed
    assert main(["list", "shows"]) == 0


@pytest.mark.slow
def test_a_terminal_without_the_letters_gets_others(tmp_path: Path) -> None:
    show = tmp_path / "show.yaml"
    show.write_text("name: Straße 東京", "utf-8")
    done = subprocess.run([sys.executable, "-m", "lcm_daemon", "check", str(show)], capture_output=True,
                          env={**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"})
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"Stra\\xdfe \\u6771\\u4eac" in done.stdout


@pytest.mark.parametrize("seconds", ["nan", "-1", "inf", "soon"])
def test_run_refuses_seconds_that_are_none(seconds: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["run", f"--seconds={seconds}"])
    assert "--seconds" in capsys.readouterr().err


@pytest.mark.parametrize(("given", "reason"), [
    ("lcm_daemon.render", "is not LOGGER=LEVEL"), ("lcm_daemon.render=loud", "is not LOGGER=LEVEL"),
    ("=debug", "is not LOGGER=LEVEL"), ("lcm_daemon.rendr=debug", "no module 'lcm_daemon.rendr'"),
])
def test_run_refuses_a_log_level_without_effect(given: str, reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["run", "--log", given])
    assert reason in capsys.readouterr().err


@pytest.mark.slow
def test_log_levels_are_set_per_module_in_all_processes(tmp_path: Path) -> None:
    """The levels go to the stage here, and to the engine and the desk as they start."""
    show = tmp_path / "show.yaml"
    show.write_text("recipe: passthrough\nosc: false\npanel: {port: 0}\n")
    code = ("import logging, sys\nfrom lcm_daemon import cli\nfrom lcm_daemon.processes import bootstrap\n"
            "from lcm_daemon.desk import desk\n"
            "def run_desk(endpoint, config, log_levels):\n"
            "    bootstrap.set_up_logging(log_levels)\n"
            "    logging.getLogger('lcm_daemon.web').debug('a line of the desk')\n"
            "    logging.getLogger('lcm_daemon.core').debug('not a line')\n"
            "    logging.getLogger('lcm_daemon.core').info('not a line')\n"
            "desk.run = run_desk\n"
            "if __name__ == '__main__':\n    sys.exit(cli.main(sys.argv[1:]))\n")
    (tmp_path / "main.py").write_text(code)
    done = subprocess.run(
        [sys.executable, str(tmp_path / "main.py"), "run", str(show), "--seconds", "4", "--log", "lcm_daemon.web=debug",
         "--log", "lcm_daemon.core=WARNING"], capture_output=True, text=True, timeout=60)
    assert "D lcm_daemon.web: a line of the desk" in done.stderr
    assert "not a line" not in done.stderr


LIGHT = {"lcm_daemon", "numpy", "yaml", "pythonosc", "filelock"}  # torch, diffusers and servers would take seconds


@pytest.mark.slow
@pytest.mark.parametrize("words", [["--help"], ["check", "demo"], ["list", "recipes"], ["list", "parameters"]])
def test_small_commands_load_light_libraries_alone(words: list[str]) -> None:
    code = (
        "import sys; before = set(sys.modules)\n"
        "import lcm_daemon.cli as c\n"
        f"try: c.main({words})\n"
        "except SystemExit: pass\n"
        "print(*(m for m in set(sys.modules) - before if '.' not in m and hasattr(sys.modules[m], '__path__')))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    packages = set(done.stdout.splitlines()[-1].split()) - set(sys.stdlib_module_names)
    assert "lcm_daemon" in packages
    assert packages <= LIGHT


@pytest.mark.parametrize(("what", "expected"), [
    ("recipes", "sd-turbo"), ("transports", "spout (sink)"), ("shows", "demo"), ("prompts", "ocean"),
])
def test_the_other_lists(what: str, expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", what]) == 0
    assert expected in capsys.readouterr().out


@pytest.mark.slow
def test_list_sources_looks_on_every_bus() -> None:
    assert "testcard" in typed("list", "sources")


@pytest.mark.slow
def test_doctor_reports_every_integration_and_what_to_install() -> None:
    report = typed("doctor")
    for word in ("torch", "cpu", "ndi", "spout", "syphon", "midi", "builtin", "sd-turbo"):
        assert f" {word} " in report
    if sys.platform != "win32":
        assert any("missing" in line for line in report.splitlines() if " spout " in line)


@pytest.mark.slow
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


@pytest.mark.slow
def test_an_absent_source_is_logged_and_the_show_continues(tmp_path: Path) -> None:
    show = tmp_path / "show.yaml"
    show.write_text(
        "recipe: passthrough\nosc: false\npanel: {port: 0}\n"
        "source: {transport: file, path: nowhere.mp4}\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "lcm_daemon", "run", str(show), "--seconds", "3"], capture_output=True, text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stderr.splitlines() if "nowhere.mp4" in line]
    assert 1 <= len(lines) <= 3, "it is logged the 1st, 2nd and 4th time"
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_run_for_some_seconds_ends_by_itself(tmp_path: Path) -> None:
    show = tmp_path / "show.yaml"
    show.write_text("recipe: passthrough\nosc: false\npanel: {port: 0}\n")
    begun = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "lcm_daemon", "run", str(show), "--seconds", "1"], capture_output=True, text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert time.perf_counter() - begun >= 1.0
    assert "passthrough" in done.stdout


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no process groups that a signal goes to")
@pytest.mark.parametrize(("children", "codes"), [(1, {0, 130, -signal.SIGINT}), (2, {0})], ids=["desk", "engine"])
def test_ctrl_c_while_a_child_starts_ends_the_show_in_order(children: int, codes: set[int], tmp_path: Path) -> None:
    """The desk starts before the show is read: until then, Ctrl-C ends `run` as it ends any other command.

    Python ends by the signal itself if Ctrl-C comes while a dataclass is made (its `exec` sets a mark that stays).
    Shells report that as 130 too.
    """
    show = tmp_path / "show.yaml"
    show.write_text("recipe: passthrough\nosc: false\npanel: {port: 0}\nengine: {spare: false}\n")
    with subprocess.Popen([sys.executable, "-m", "lcm_daemon", "run", str(show)], stdout=subprocess.DEVNULL,
                          stderr=subprocess.PIPE, text=True, start_new_session=True) as run:
        try:
            wait_for(lambda: spawned(run.pid) >= children, 60, "a child")
            os.killpg(run.pid, signal.SIGINT)
            _, said = run.communicate(timeout=60)
        finally:
            run.kill()  # one that did not hear it would be waited for without end
    assert run.returncode in codes, said
    assert "Traceback" not in said
    assert "did not start" not in said


@pytest.mark.parametrize("error", [RuntimeError, ImportError])
def test_ctrl_c_that_an_import_has_wrapped_ends_run(error: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    """Python 3.11 raises RuntimeError for what is raised inside of `__set_name__`."""
    def run(*arguments: object) -> int:
        if pressed:
            noted.append(signal.SIGINT)
        raise error("wrapped")

    noted: list[int] = []
    monkeypatch.setattr("lcm_daemon.cli._note_interrupts", lambda: noted)
    monkeypatch.setattr("lcm_daemon.commands.run.run", run)
    pressed = True
    assert main(["run", "demo"]) == 130
    noted.clear()
    pressed = False
    with pytest.raises(error):
        main(["run", "demo"])


def spawned(pid: int) -> int:
    """The number of child processes, without the helper of Python."""
    commands = [" ".join(child.cmdline()) for child in psutil.Process(pid).children()]
    return sum("spawn_main" in command for command in commands)


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="Windows has no SIGHUP")
@pytest.mark.parametrize(("signals", "code"), [("HUP HUP", 0), ("TERM TERM", 0), ("HUP INT", 130), ("INT INT", 130)])
def test_only_a_second_ctrl_c_ends_at_once(signals: str, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel and a shell both send SIGHUP when a terminal closes."""
    numbers = [signal.Signals[f"SIG{name}"] for name in signals.split()]
    ended: list[int] = []

    class Show(Stage):
        def run(self, seconds: float | None = None, on_open: object = None) -> None:
            for number in numbers:
                signal.raise_signal(number)  # in this thread, before the next line

        def kill(self) -> None:
            ended.append(130)

    before = {number: signal.getsignal(number) for number in numbers}
    monkeypatch.setattr("lcm_daemon.commands.run.Stage", Show)
    monkeypatch.setattr("os._exit", lambda code: None)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup ignores it, and then the show does too
    try:
        assert main(["run", "demo", "--set", "resume=false", "--set", "recipe=passthrough"]) == 0
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert ended == [code] * (code > 0)


@pytest.mark.slow
def test_sigterm_during_the_first_imports_ends_the_first_process_of_a_container() -> None:
    """Linux gives such a process no signals but those that it handles."""
    container = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child"]
    if not shutil.which("unshare") or subprocess.run([*container, "true"], capture_output=True).returncode:
        pytest.skip("this system makes no namespace for processes")
    with subprocess.Popen([*container, sys.executable, "-m", "lcm_daemon", "run"], stdout=subprocess.DEVNULL) as outer:
        def first() -> psutil.Process | None:
            found = psutil.Process(outer.pid).children()
            return found[0] if found and _handles(found[0].pid, signal.SIGTERM) else None

        wait_for(first, what="the handler")
        process = first()
        assert process is not None
        process.terminate()
        assert outer.wait(10) in (0, 128 + signal.SIGTERM)


def _handles(pid: int, number: signal.Signals) -> bool:
    """Whether a process has a handler for a signal, see proc_pid_status(5)."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    caught = next(int(line.split()[1], 16) for line in lines if line.startswith("SigCgt:"))
    return bool(caught >> (number - 1) & 1)
