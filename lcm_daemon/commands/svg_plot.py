"""Line plots and bar charts as SVG, for reports that are one HTML file."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 960, 220  # of a plot, in units of its view box
LEFT, RIGHT, TOP, BOTTOM = 64, 12, 10, 26  # margins
BAR_HEIGHT = 24
COLOURS = 8  # classes c0 to c7 of the page's style
STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)  # between two lines of a grid, times a power of ten
TIME_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400)  # seconds

Point = tuple[float, float]


@dataclass(frozen=True)
class Series:
    """One line of a plot. points: (seconds, value) in the order of time."""

    name: str
    points: Sequence[Point]


@dataclass(frozen=True)
class Mark:
    """A span of a plot that is shaded: from `start` to `end`, in seconds. text: Shown under the pointer."""

    start: float
    end: float
    text: str


def line_plot(series: Sequence[Series], unit: str, seconds: float, marks: Iterable[Mark] = ()) -> str:
    """Lines over time, with a legend above them.

    Args:
        series: The lines.
        unit: Unit of the values.
        seconds: Length of the time axis.
        marks: Spans that are shaded.
    """
    top = max((value for line in series for _, value in line.points), default=0.0)
    step = _step(top or 1.0, 4)
    high = step * max(1, math.ceil(top / step - 1e-9))
    seconds = max(seconds, 1e-6)
    parts = [_shade(mark, seconds) for mark in marks]
    parts += [_grid_line(index * step, high, unit) for index in range(round(high / step) + 1)]
    parts += _time_axis(seconds)
    parts += [_line(place, line.points, seconds, high) for place, line in enumerate(series)]
    legend = "".join(f'<span class="c{place % COLOURS}">{escape(line.name)}</span>'
                     for place, line in enumerate(series))
    return (f'<div class="legend">{legend}</div>'
            f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img">{"".join(parts)}</svg>')


def bar_chart(bars: Sequence[tuple[str, float]], unit: str) -> str:
    """Horizontal bars, each with its name and value. bars: (name, value); values are 0 or more."""
    high = max((value for _, value in bars), default=0.0) or 1.0
    rows = []
    for place, (name, value) in enumerate(bars):
        y, length = place * BAR_HEIGHT, 480 * value / high
        rows.append(f'<text x="350" y="{y + 16}" class="end">{escape(name)}</text>'
                    f'<rect x="360" y="{y + 4}" width="{length:.1f}" height="{BAR_HEIGHT - 8}" class="c0"/>'
                    f'<text x="{366 + length:.1f}" y="{y + 16}">{number(value)} {escape(unit)}</text>')
    return f'<svg viewBox="0 0 {WIDTH} {len(bars) * BAR_HEIGHT}" role="img">{"".join(rows)}</svg>'


def number(value: float) -> str:
    """A number with about three digits, without an exponent: "0.25", "33.4", "1200"."""
    if not value:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    text = f"{value:.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def clock_text(seconds: float) -> str:
    """A time since the start: "45 s", "3:20 min", "2:05 h"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02} min"
    return f"{whole // 3600}:{whole % 3600 // 60:02} h"


def _step(span: float, most: int) -> float:
    """The smallest step of a readable grid with at most `most` lines."""
    power = 10.0 ** math.floor(math.log10(span / most))
    return next(factor * power for factor in STEPS if factor * power * most >= span * (1 - 1e-9))


def _x(time: float, seconds: float) -> float:
    return LEFT + min(max(time / seconds, 0.0), 1.0) * (WIDTH - LEFT - RIGHT)


def _y(value: float, high: float) -> float:
    return HEIGHT - BOTTOM - value / high * (HEIGHT - TOP - BOTTOM)


def _grid_line(value: float, high: float, unit: str) -> str:
    y = _y(value, high)
    return (f'<path class="grid" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>'
            f'<text class="end" x="{LEFT - 6}" y="{y + 4:.1f}">{number(value)} {escape(unit)}</text>')


def _time_axis(seconds: float) -> list[str]:
    step = next((each for each in TIME_STEPS if seconds / each <= 8), 86400 * math.ceil(seconds / 8 / 86400))
    return [f'<text class="middle" x="{_x(time, seconds):.1f}" y="{HEIGHT - 8}">{clock_text(time)}</text>'
            for time in range(0, math.floor(seconds) + 1, step)]


def _line(place: int, points: Sequence[Point], seconds: float, high: float) -> str:
    path = " ".join(f"{_x(time, seconds):.1f},{_y(value, high):.1f}" for time, value in points)
    return f'<polyline class="c{place % COLOURS}" points="{path}"/>'


def _shade(mark: Mark, seconds: float) -> str:
    left, right = _x(mark.start, seconds), _x(mark.end, seconds)
    return (f'<rect class="mark" x="{left:.1f}" y="{TOP}" width="{max(1.5, right - left):.1f}" '
            f'height="{HEIGHT - TOP - BOTTOM}"><title>{escape(mark.text)}</title></rect>')
