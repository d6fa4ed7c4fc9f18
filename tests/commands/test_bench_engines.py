"""The bench of several engines: its figures, and that one more engine adds its share."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lcm_daemon.commands import bench, bench_engines
from lcm_daemon.commands.bench_engines import EngineFigures, as_figures, run_engines

ONE = EngineFigures(1, 20.0, 1.1, True, 0, 0.001, 0.002, 0.001, 0.0005)


@pytest.mark.slow
def test_three_engines_render_in_order_and_more_than_one_could() -> None:
    figures = run_engines(3, (64, 64), seconds=1.0, service=0.1)
    assert figures.is_ordered
    assert figures.rate > 18.0, "one gives 10 a second, three give 30 on a machine that is not busy"
    assert 0.0 < figures.stage_cpu < 0.1


def test_the_report_compares_each_number_of_engines_with_one() -> None:
    found = as_figures([ONE, EngineFigures(4, 76.0, 1.2, False, 2, 0.001, 0.002, 0.001, 0.0005)])
    assert found["4 engines, share of 4 times one"] == pytest.approx(0.95)
    assert found["4 engines, out of order or late"] == 3.0
    assert "4 engines:   76.0 frames/s, spacing p95 1.20 of even, OUT OF ORDER, 2 late" in str(
        EngineFigures(4, 76.0, 1.2, False, 2, 0.001, 0.002, 0.001, 0.0005))


def test_the_numbers_of_engines_double_up_to_the_most(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:
    run: list[int] = []
    monkeypatch.setattr(bench_engines, "run_engines", lambda engines, size, seconds: run.append(engines) or ONE)
    assert bench.bench_engines(6, (512, 512), str(tmp_path / "figures.json")) == 0
    assert run == [1, 2, 4, 6]
    assert len(capsys.readouterr().out.splitlines()) == 4
    assert json.loads((tmp_path / "figures.json").read_text())["engines"]["1 engine, frames/s"] == 20.0
