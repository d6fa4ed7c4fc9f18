"""Figures: what the times of many frames come to, as the bench prints them."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from lcm_daemon.core.metrics import quantile_of
from lcm_daemon.recipes.recipe import Recipe

Rows = dict[str, float | str]
Frames = Sequence[Mapping[str, float]]  # seconds by part, a row a frame

_PARTS: Mapping[str, str] = {"outside": "outside the modules"}


def summarise(frames: Frames) -> Rows:
    """Of one contender: the median by part, and the tail."""
    whole = sorted(row["frame"] for row in frames)
    parts = {part: statistics.median(row[part] for row in frames) for part in frames[0] if part != "frame"}
    return {"frames/s": 1 / quantile_of(whole, 0.5),
            **{f"frame, ms (p{100 * q:g})": 1000 * quantile_of(whole, q) for q in (0.5, 0.99)},
            **{f"{_PARTS.get(part, part)}, ms": 1000 * value for part, value in parts.items()}}


def compare(found: Mapping[str, Frames]) -> dict[str, float]:
    """How many times quicker each contender is than diffusers; nothing where diffusers did not take part."""
    medians = {name: statistics.median(row["frame"] for row in frames) for name, frames in found.items()}
    theirs = medians.pop("diffusers", None)
    return {name: theirs / ours for name, ours in medians.items()} if theirs else {}


def table_row(recipe: Recipe, steps: int, where: str, accelerator: str, found: Mapping[str, Frames]) -> str:
    """The README's: model, device, accelerator, size, steps, frames/s, p50, p99, times diffusers."""
    best = next(iter(found))
    figures, ratio = summarise(found[best]), compare(found).get(best)
    cells = [recipe.name, where, accelerator if best == "accelerated" else "none",
             "{}x{}".format(*recipe.size), str(steps), f"{figures['frames/s']:.3g}",
             f"{figures['frame, ms (p50)']:.1f} ms", f"{figures['frame, ms (p99)']:.1f} ms",
             f"{ratio:.2f}" if ratio else "-"]
    return f"| {' | '.join(cells)} |"
