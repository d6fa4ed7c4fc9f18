"""Figures from the times of measured frames, as the bench prints them."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from lcm_daemon.core.metrics import quantile_of
from lcm_daemon.recipes.recipe import Recipe

Figures = dict[str, float | str]  # by the label that is printed
# For each frame, seconds by part. "frame" is the interval to the result before it, or the whole where one frame is in
# flight; "latency" is from its input to its output.
FrameTimes = Sequence[Mapping[str, float]]

_PART_LABELS: Mapping[str, str] = {"outside": "outside the modules"}
_WHOLE = ("frame", "latency")


def summarize(frames: FrameTimes) -> Figures:
    """Return the rate, quantiles of the interval and of the time from input to output, and the median of each part."""
    whole, latency = (sorted(row[key] for row in frames) for key in _WHOLE)
    parts = {part: statistics.median(row[part] for row in frames) for part in frames[0] if part not in _WHOLE}
    return {"frames/s": 1 / quantile_of(whole, 0.5),
            **{f"frame, ms (p{100 * q:g})": 1000 * quantile_of(whole, q) for q in (0.5, 0.99)},
            **{f"in to out, ms (p{100 * q:g})": 1000 * quantile_of(latency, q) for q in (0.5, 0.99)},
            **{f"{_PART_LABELS.get(part, part)}, ms": 1000 * value for part, value in parts.items()}}


def diffusers_ratios(measured: Mapping[str, FrameTimes]) -> dict[str, float]:
    """Return the time of diffusers divided by that of each other implementation. Empty without diffusers."""
    medians = {name: statistics.median(row["frame"] for row in frames) for name, frames in measured.items()}
    reference = medians.pop("diffusers", None)
    return {name: reference / median for name, median in medians.items()} if reference else {}


def table_rows(
    recipe: Recipe, steps: int, device: str, labels: Mapping[str, str], measured: Mapping[str, FrameTimes]
) -> dict[str, str]:
    """Return a row of a Markdown table for each implementation in `measured`, by its name.

    Its cells are model, device, how it plays, size, steps, frames/s, p50 and p99 of a frame, p50 and p99 from input to
    output, and the time of diffusers divided by p50.
    """
    ratios = diffusers_ratios(measured)
    rows = {}
    for name, frames in measured.items():
        figures = summarize(frames)
        times = [f"{figures[key]:.1f} ms" for key in ("frame, ms (p50)", "frame, ms (p99)", "in to out, ms (p50)",
                                                      "in to out, ms (p99)")]
        cells = [recipe.name, device, labels[name], "{}x{}".format(*recipe.size), str(steps),
                 f"{figures['frames/s']:.3g}", *times, f"{ratios[name]:.2f}" if name in ratios else "-"]
        rows[name] = f"| {' | '.join(cells)} |"
    return rows
