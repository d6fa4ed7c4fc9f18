"""The bench measures, prints and writes; its figures are its own affair."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path

import psutil
import pytest

from lcm_daemon.commands import bench, bench_daemon, bench_model, bench_stage
from lcm_daemon.commands.bench_task import Task, show_of
from lcm_daemon.core.errors import EngineError, LcmDaemonError, RecipeError
from lcm_daemon.pipelines.weights import locate
from lcm_daemon.recipes.parts import Lora
from lcm_daemon.recipes.reader import load_recipe
from lcm_daemon.recipes.recipe import Recipe
from tests.conftest import need
from tests.pipelines.test_random_weights import TINY_XL
from tests.rigs.daemon import wait_for
from tests.rigs.lazy_imports import lazy_imports

with lazy_imports(globals()):
    from lcm_daemon.pipelines import random_weights


@pytest.mark.slow
def test_a_bench_of_the_passthrough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LCM_DAEMON_STATE", str(tmp_path / "state"))
    monkeypatch.setattr(bench_stage, "STAGE_FRAMES", 200)
    monkeypatch.setattr(bench_daemon, "BUS_SECONDS", 2.0)
    assert bench.bench(task("passthrough"), str(tmp_path / "figures.json")) == 0
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["stage"]["passthrough 512x512 flat out, frames/s"] > 0
    assert figures["bus in to bus out"]["bus in to bus out, ms (p50)"] > 0
    assert 0 < figures["start"]["first output frame, s"] <= figures["start"]["first rendered frame, s"]
    assert "failed" not in capsys.readouterr().out
    assert not (tmp_path / "state").exists(), "a bench has no look to keep"


def test_the_memory_of_a_bench_is_that_of_the_same_processes_throughout() -> None:
    content = {"recipe": "passthrough", "osc": False, "panel": False, "engine": {"spare": False}}
    stage = bench_stage.StageRun(replace(show_of(content), sinks=()), 100).stage
    assert not stage.desk.keeps_spare, "a spare desk would start between the first measurement and the second"


def test_a_file_that_cannot_be_written_is_said_before_anything_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench, "MEASUREMENTS", {"stage": lambda task: pytest.fail("measured")})
    with pytest.raises(LcmDaemonError, match=r"x\.json: cannot be written: No such file or directory$"):
        bench.bench(task("passthrough"), str(tmp_path / "absent" / "x.json"))


@pytest.mark.slow
def test_a_process_that_dies_while_it_measures_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_model, "_send_figures", _die)
    with pytest.raises(EngineError, match="the process that measures the model died"):
        bench_model.measure_model(task("builtin"))


def _die(pipe: object, task: Task) -> None:
    os._exit(1)


@pytest.mark.slow
def test_an_error_of_the_process_that_measures_is_raised_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_model, "_send_figures", _fail)
    with pytest.raises(RecipeError, match="no weights"):
        bench_model.measure_model(task("builtin"))


def _fail(pipe: Connection, task: Task) -> None:
    """As where the weights are missing, without the time that torch takes to load."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bench_model, "model_figures", _raise)
        bench_model._send_figures(pipe, task)


def _raise(task: Task) -> None:
    raise RecipeError("no weights")


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="shared memory is not to be seen on this system")
@pytest.mark.parametrize(("measure", "segments"), [("measure_bus", 2), ("measure_model", 0)])
def test_ctrl_c_leaves_nothing_behind(measure: str, segments: int) -> None:
    """A terminal sends it to every process of the bench."""
    code = ("import signal, sys\nfrom lcm_daemon.commands import bench\nfrom lcm_daemon.cli import main\n"
            "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # behind a shell's & it is off
            "if __name__ == '__main__':\n"
            f"    bench.MEASUREMENTS = {{'it': bench.{measure}}}\n    sys.exit(main(['bench']))\n")
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                          start_new_session=True) as measuring:
        wait_for(lambda: _spawned(measuring.pid) and len(_shared(measuring.pid)) >= segments, 60, "its processes")
        children, shared = psutil.Process(measuring.pid).children(recursive=True), _shared(measuring.pid)
        try:
            os.killpg(measuring.pid, signal.SIGINT)
            _, said = measuring.communicate(timeout=60)
        finally:
            measuring.kill()
    assert (measuring.returncode, said) == (130, "")
    assert psutil.wait_procs(children, 10)[1] == []
    assert [path for path in shared if Path(path).exists()] == []


def _spawned(pid: int) -> bool:
    return any("spawn_main" in " ".join(child.cmdline()) for child in psutil.Process(pid).children())


def _shared(pid: int) -> set[str]:
    """The shared memory that the processes below this one have open."""
    found: set[str] = set()
    for child in psutil.Process(pid).children(recursive=True):
        with contextlib.suppress(psutil.Error):
            found |= {area.path for area in child.memory_maps() if area.path.startswith("/dev/shm/")}
    return found


@pytest.mark.slow
def test_the_models_part_compares_with_diffusers() -> None:
    recipe = load_recipe("builtin")
    need(Path(locate(recipe).model).exists(), "the built-in model is not in this checkout")
    eager = replace(recipe, size=(128, 128), accelerate="none")  # test_int8.py compares with an accelerated form
    rows = bench_model.measure_model(replace(task("builtin"), recipe=eager, steps=(2,)))
    assert {"2 steps: eager, frames/s", "2 steps: eager, frame, ms (p99)", "2 steps: diffusers, frame, ms (p50)",
            "2 steps: diffusers' time / eager", "2 steps: eager, outside the modules, ms",
            "2 steps: eager, in to out, ms (p99)"} <= set(rows)
    assert "not recorded, 1 frame in flight" in str(rows["2 steps: eager, plays"])
    assert str(rows["2 steps: as a table"]).startswith("| builtin | cpu (")


@pytest.mark.slow
def test_a_recipe_on_random_weights_needs_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random_weights, "ARCHITECTURES", {"tiny/xl": TINY_XL})
    recipe = Recipe("tiny", model="tiny/xl", vae="madebyollin/taesdxl", guidance="none", sampler="euler",
                    size=(64, 64), device="cpu", dtype="float32", accelerate="none", loras=(Lora("some/lora"),))
    rows = bench_model.model_figures(Task(recipe, 2, (1,), random=True))
    assert rows["1 step: eager, frames/s"] > 0
    assert rows["1 step: diffusers' time / eager"] > 0


def test_random_weights_measure_the_model_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench, "MEASUREMENTS", {"stage": lambda task: {"a": 1.0}, "model": lambda task: {"b": 2.0}})
    assert bench.bench(replace(task("sd-turbo"), random=True)) == 0
    assert [line.split() for line in capsys.readouterr().out.splitlines() if line] == [["model"], ["b", "2.00"]]


def test_what_has_no_random_weights_is_said() -> None:
    with pytest.raises(RecipeError, match="recipe sdxs-512: random weights are not available for the model"):
        bench_model.model_figures(replace(task("sdxs-512"), random=True))


@pytest.mark.slow
def test_a_recipe_whose_weights_are_missing_is_said_and_the_rest_is_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench, "MEASUREMENTS", {"model": bench_model.model_figures, "last": lambda task: {"n": 1.0}})
    need(not _there("sd-turbo"), "sd-turbo is on this machine: nothing is missing")
    assert bench.bench(replace(task("sd-turbo"), frames=1)) == 0
    assert "failed" in (printed := capsys.readouterr().out)
    assert "1.00" in printed


def task(name: str) -> Task:
    return Task(load_recipe(name), frames=2, reference=name)


def _there(name: str) -> bool:
    try:
        locate(load_recipe(name))
    except RecipeError:
        return False
    return True
