"""Figures of frames whose times are known."""

from __future__ import annotations

import pytest

from lcm_daemon.commands.bench_report import diffusers_ratios, summarize, table_rows
from lcm_daemon.recipes.recipe import Recipe

OURS = [{"frame": seconds, "latency": 3 * seconds, "outside": 0.002} for seconds in (0.010, 0.020, 0.030)]
THEIRS = [{"frame": 0.050, "latency": 0.050}]


def test_the_median_and_the_tail() -> None:
    rows = summarize(OURS)
    assert rows["frames/s"] == pytest.approx(50)
    assert rows["frame, ms (p50)"] == pytest.approx(20)
    assert rows["frame, ms (p99)"] == pytest.approx(30, abs=1)
    assert rows["in to out, ms (p50)"] == pytest.approx(60)
    assert rows["in to out, ms (p99)"] == pytest.approx(90, abs=1)
    assert rows["outside the modules, ms"] == pytest.approx(2)


def test_against_diffusers() -> None:
    assert diffusers_ratios({"eager": OURS, "diffusers": THEIRS}) == {"eager": pytest.approx(2.5)}
    assert diffusers_ratios({"eager": OURS}) == {}


def test_a_table_row_for_each() -> None:
    labels = {"accelerated": "compile, float16, recorded, 3 frames in flight", "diffusers": "diffusers' own pipeline"}
    rows = table_rows(Recipe("sd-turbo"), 1, "cuda (a card)", labels, {"accelerated": OURS, "diffusers": THEIRS})
    assert rows["accelerated"] == (
        "| sd-turbo | cuda (a card) | compile, float16, recorded, 3 frames in flight | 512x512 | 1 | 50 | 20.0 ms "
        "| 30.0 ms | 60.0 ms | 90.0 ms | 2.50 |")
    assert rows["diffusers"].endswith("| 20 | 50.0 ms | 50.0 ms | 50.0 ms | 50.0 ms | - |")
