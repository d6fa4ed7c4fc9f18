"""Figures from the times of measured frames, as the bench prints them."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from lcm_daemon.core.metrics import quantile_of
from lcm_daemon.recipes.recipe import Recipe

Figures = dict[str, float | str]  # by the label that is printed
FrameTimes = Sequence[Mapping[str, float]]  # for each frame, seconds by part; "frame" is the whole

_PART_LABELS: Mapping[str, str] = {"outside": "outside the modules"}


def summarize(frames: FrameTimes) -> Figures:
    """Return the rate, the quantiles of the whole frame, and the median of each part."""
    whole = sorted(row["frame"] for row in frames)
    parts = {part: statistics.median(row[part] for row in frames) for part in frames[0] if part != "frame"}
    return {"frames/s": 1 / quantile_of(whole, 0.5),
            **{f"frame, ms (p{100 * q:g})": 1000 * quantile_of(whole, q) for q in (0.5, 0.99)},
            **{f"{_PART_LABELS.get(part, part)}, ms": 1000 * value for part, value in parts.items()}}


def diffusers_ratios(measured: Mapping[str, FrameTimes]) -> dict[str, float]:
    """Return the time of diffusers divided by that of each other implementation. Empty without diffusers."""
    medians = {name: statistics.median(row["frame"] for row in frames) for name, frames in measured.items()}
    reference = medians.pop("diffusers", None)
    return {name: reference / median for name, median in medians.items()} if reference else {}


def table_row(recipe: Recipe, steps: int, device: str, accelerator: str, measured: Mapping[str, FrameTimes]) -> str:
    """Return a row of a Markdown table for the first implementation in `measured`.

    Its cells are model, device, accelerator, size, steps, frames/s, p50, p99 and the time of diffusers divided by p50.
    """
    best = next(iter(measured))
    figures, ratio = summarize(measured[best]), diffusers_ratios(measured).get(best)
    cells = [recipe.name, device, accelerator if best == "accelerated" else "none",
             "{}x{}".format(*recipe.size), str(steps), f"{figures['frames/s']:.3g}",
             f"{figures['frame, ms (p50)']:.1f} ms", f"{figures['frame, ms (p99)']:.1f} ms",
             f"{ratio:.2f}" if ratio else "-"]
    return f"| {' | '.join(cells)} |"
