"""The CUDA kit on the CPU, with small shapes: it must keep working without a card at hand."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.conftest import need

ROOT = Path(__file__).parents[2]
KIT = "tests.cuda.kit"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The kit's folder. Its modules read the environment once, when they are imported, which only these tests do."""
    need(sys.platform == "linux", "the kit is for Linux")
    folder = tmp_path_factory.mktemp("kit")
    with pytest.MonkeyPatch.context() as patch:
        own = {"DEVICE": "cpu", "KIT_WORK": str(folder), "KIT_STAGE": "test", "KIT_RESULTS": f"{folder}/results.jsonl",
               "LCM_DAEMON_CACHE": f"{folder}/cache", "OMP_NUM_THREADS": "1"}
        for name, value in own.items():
            patch.setenv(name, value)
        yield folder


@pytest.fixture
def architectures(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kit makes the models of this process small; afterwards they are as before."""
    from lcm_daemon.pipelines import random_weights

    for name in ("ARCHITECTURES", "make_vae"):
        monkeypatch.setattr(random_weights, name, getattr(random_weights, name))


def module(name: str) -> ModuleType:
    return importlib.import_module(f"{KIT}.{name}")


def results(folder: Path) -> list[dict[str, Any]]:
    """The results so far, none of which may be a failure."""
    rows = [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]
    assert [row for row in rows if "FAILED" in row or row.get("ok") is False or row.get("REFUSED")] == []
    return rows


def test_a_run_ends_with_a_table(tmp_path: Path) -> None:
    """The script itself: a stage in a process of its own, its results, the summary and the figures."""
    need(sys.platform == "linux", "the kit is for Linux")
    environment = {
        **os.environ, "DEVICE": "cpu", "BUDGET": "200", "SLOW": "4", "NO_INSTALL": "1", "OMP_NUM_THREADS": "1",
        "PYTHON": sys.executable, "KIT_WORK": str(tmp_path / "work"), "OUT": str(tmp_path / "out"),
    }
    done = subprocess.run(["bash", "tests/cuda/kit/run.sh", "smoke"], cwd=ROOT, env=environment, capture_output=True,
                          text=True, timeout=300, check=False)
    rows = results(tmp_path / "work")
    assert {row["stage"] for row in rows} == {"smoke"}, done.stdout + done.stderr
    assert f"{len(rows)} results, 0 to look at" in (tmp_path / "out" / "summary.txt").read_text()
    assert "no card" in (tmp_path / "out" / "figures.md").read_text()


@pytest.mark.parametrize(("name", "arguments", "wanted"), [
    ("pipeline", ("sd-turbo", "auto", "--frames", "2"), {"sd-turbo auto, 1 steps: frame",
                                                       "sd-turbo auto, 1 steps: frames in flight"}),
    ("baseline", ("sd-turbo", "eager"), {"sd-turbo, eager, recorded, 3 frames under way: interval"}),
    ("control", (), {"sd-turbo-canny: what the ControlNet adds", "sd-turbo-canny: operations"}),
    ("daemon", ("recorded",), {f"kit-recorded: {line}" for line in (
        "first rendered", "plays", "a LoRA's fader moves", "strength moved", "2 steps", "engine killed",
        "plays again")}),
])
@pytest.mark.usefixtures("architectures")
def test_a_stage_runs_on_the_cpu(
    name: str, arguments: tuple[str, ...], wanted: set[str], work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", [name, *arguments])
    stage = module(name)
    monkeypatch.setattr(stage.signal, "signal", lambda *_: None) if name == "daemon" else None
    stage.main()
    rows = {row["name"]: row for row in results(work)}
    assert wanted <= rows.keys()
    if name == "daemon":
        plays = rows["kit-recorded: plays"]
        assert plays["rendered_seen_fps"] > 0
        assert plays["in_to_out_p50_ms"] > 0
        assert rows["kit-recorded: engine killed"]["first_new_card_s"] > 0


def test_the_training_is_stopped_and_continued(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cheap steps of the stage `train`: the first run ends in the middle, the second one finishes."""
    stage = module("train")
    monkeypatch.setattr(stage, "LAST", "text")
    monkeypatch.setattr(sys, "argv", ["train", "--minutes", "0.1"])
    monkeypatch.setenv("OUT", str(work / "out"))
    with undone_changes():
        stage.main()
    rows = {row["name"]: row for row in results(work)}
    assert rows["training: finished"]["ok"]
    assert rows["training: stopped"]["in_step"] in ("data", "vae", "decoder", "autoencoder")
    assert {path.name for path in (work / "out" / "builtin").glob("*.pt")} == {"vae.pt", "decoder.pt", "autoencoder.pt"}


@contextmanager
def undone_changes() -> Iterator[None]:
    """The stage makes the training small for its whole process; afterwards it is as before."""
    from examples.train_builtin import controlnet, data, decoder, latents, loras, reward, runs, text

    modules = (controlnet, data, decoder, latents, loras, reward, runs, text)
    before = [dict(vars(changed)) for changed in modules]
    probe = controlnet.train_probe.__defaults__
    runs.stop_on_signals = lambda: None
    yield
    controlnet.train_probe.__defaults__ = probe
    for changed, own in zip(modules, before, strict=True):
        vars(changed).update(own)


@pytest.mark.usefixtures("work")
def test_the_figures_of_a_card() -> None:
    """The table for the page of figures, from results as a card would give them."""
    figures = module("figures")
    rows: list[dict[str, Any]] = [
        {"stage": "smoke", "name": "card", "name_of_card": "a card", "gib": 80.0, "driver": "1"},
        {"stage": "smoke", "name": "versions", "torch": "2.11.0", "cuda": "13.0", "diffusers": "0.42.1"},
        {"stage": "live", "name": "kit-recorded: plays", "rendered_seen_fps": 250.0, "in_to_out_p50_ms": 6.0,
         "in_to_out_p99_ms": 7.5, "status_in_flight": 3},
        {"stage": "baseline", "name": "sd-turbo, eager, recorded, 3 frames under way: interval", "fps": 240.0},
        {"stage": "killed", "name": "kit-compiled: compiled engine killed", "first_new_card_s": 12.0},
    ]
    bench = {"model": {"1 step: recorded, frames/s": 260.0, "1 step: diffusers, frames/s": 80.0,
                       "1 step: recorded, plays": "fused, float16, recorded, 3 frames in flight"}}
    text = figures.table(rows, [bench], "0123456")
    lines = {line.split("|")[1].strip(): [cell.strip() for cell in line.split("|")[2:-1]]
             for line in text.splitlines() if line.startswith("| ")}
    assert lines["SD-Turbo 512, 1 step, memory bus in to memory bus out"] == [
        "250 fps, p50 6.0 ms, p99 7.5 ms", "200 fps at p99 <= 8 ms", "yes"]
    assert lines["SD-Turbo 512, 1 step: the next aim"][2] == "no"
    assert lines["the first line, beside the kit's own loop of plain torch"] == ["1.04 times", "1.0 times", "yes"]
    assert lines["recorded, beside diffusers' own pipeline, eager"] == ["3.25 times", "2.0 times", "yes"]
    assert lines["a compiled engine is killed: until a new frame"] == ["12.0 s", "10 s", "no"]
    assert lines["SDXL-Turbo 512, 1 step"][0] == "not measured"
    assert "a card" in text
    assert "bash tests/cuda/kit/run.sh" in text
