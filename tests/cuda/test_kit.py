"""The CUDA kit on the CPU, with small shapes: it must keep working without a card at hand."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import need

ROOT = Path(__file__).parents[2]
KIT = ROOT / "tests" / "cuda" / "kit"

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("stages", [("smoke", "graph"), ("baseline", "live")])
def test_stages_run_on_the_cpu(tmp_path: Path, stages: tuple[str, ...]) -> None:
    need(sys.platform == "linux", "the kit is for Linux")
    environment = {
        **os.environ, "DEVICE": "cpu", "BUDGET": "550", "SLOW": "4", "NO_INSTALL": "1", "OMP_NUM_THREADS": "1",
        "PYTHON": sys.executable, "KIT_WORK": str(tmp_path / "work"), "OUT": str(tmp_path / "out"),
    }
    done = subprocess.run(["bash", str(KIT / "run.sh"), *stages], cwd=ROOT, env=environment, capture_output=True,
                          text=True, timeout=600)
    results = [json.loads(line) for line in (tmp_path / "out" / "results.jsonl").read_text().splitlines()]
    assert [row for row in results if "FAILED" in row or row.get("ok") is False] == [], done.stdout
    assert {row["stage"] for row in results} == set(stages), done.stdout
