"""The CUDA kit on the CPU, with small shapes: it must keep working without a card at hand."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import need

ROOT = Path(__file__).parents[2]
KIT = "tests.cuda.kit"

pytestmark = pytest.mark.slow


def results(folder: Path, *command: str) -> list[dict[str, Any]]:
    """Run a command of the kit; return its results, none of which may be a failure."""
    need(sys.platform == "linux", "the kit is for Linux")
    environment = {
        **os.environ, "DEVICE": "cpu", "BUDGET": "300", "SLOW": "4", "NO_INSTALL": "1", "OMP_NUM_THREADS": "2",
        "PYTHON": sys.executable, "KIT_WORK": str(folder / "work"), "OUT": str(folder / "out"),
    }
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    rows = [json.loads(line) for line in (folder / "work" / "results.jsonl").read_text().splitlines()]
    assert [row for row in rows if "FAILED" in row or row.get("ok") is False] == [], done.stdout + done.stderr
    return rows


def test_a_run_ends_with_a_table(tmp_path: Path) -> None:
    rows = results(tmp_path, "bash", "tests/cuda/kit/run.sh", "smoke")
    assert {row["stage"] for row in rows} == {"smoke"}
    assert f"{len(rows)} results, 0 to look at" in (tmp_path / "out" / "summary.txt").read_text()


@pytest.mark.parametrize("arguments", [
    ("pipeline", "sd-turbo", "auto", "--frames", "2"), ("baseline", "sd-turbo", "eager"), ("daemon", "recorded"),
])
def test_a_stage_runs_on_the_cpu(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    module, *rest = arguments
    assert results(tmp_path, sys.executable, "-m", f"{KIT}.{module}", *rest)
