"""Figures of frames whose times are known."""

from __future__ import annotations

import pytest

from lcm_daemon.commands.bench_report import diffusers_ratios, summarize, table_row
from lcm_daemon.recipes.recipe import Recipe

OURS = [{"frame": seconds, "outside": 0.002} for seconds in (0.010, 0.020, 0.030)]
THEIRS = [{"frame": 0.050}]


def test_the_median_and_the_tail() -> None:
    rows = summarize(OURS)
    assert rows["frames/s"] == pytest.approx(50)
    assert rows["frame, ms (p50)"] == pytest.approx(20)
    assert rows["frame, ms (p99)"] == pytest.approx(30, abs=1)
    assert rows["outside the modules, ms"] == pytest.approx(2)


def test_against_diffusers() -> None:
    assert diffusers_ratios({"eager": OURS, "diffusers": THEIRS}) == {"eager": pytest.approx(2.5)}
    assert diffusers_ratios({"eager": OURS}) == {}


def test_the_table_row() -> None:
    row = table_row(Recipe("sd-turbo"), 1, "cuda (a card)", "compile", {"accelerated": OURS, "diffusers": THEIRS})
    assert row.startswith("| sd-turbo | cuda (a card) | compile | 512x512 | 1 | 50 | 20.0 ms |")
    assert row.endswith("| 2.50 |")
