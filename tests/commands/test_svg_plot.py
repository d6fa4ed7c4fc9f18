"""Plots of reports: well-formed, within their frame, with readable numbers."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from lcm_daemon.commands.svg_plot import HEIGHT, WIDTH, Mark, Series, bar_chart, clock_text, line_plot, number


def inside(svg: str) -> ElementTree.Element:
    """The plot as XML; raises if it is not well-formed."""
    return ElementTree.fromstring(f"<div>{svg}</div>")


@pytest.mark.parametrize("values", [[], [0.0], [0.0, 0.0], [3e-7, 1e-6], [1.0, 33.4, 950.0], [5e9]])
def test_a_line_stays_inside_of_its_frame(values: list[float]) -> None:
    points = [(float(place), value) for place, value in enumerate(values)]
    plot = inside(line_plot([Series("<a & b>", points)], "ms", 3.0, [Mark(-1.0, 99.0, "engine <killed>")]))
    drawn = plot.find(".//polyline")
    assert drawn is not None
    for x, y in re.findall(r"([\d.]+),([\d.]+)", drawn.get("points", "")):
        assert 0 <= float(x) <= WIDTH
        assert 0 <= float(y) <= HEIGHT
    assert plot.findtext(".//title") == "engine <killed>"
    assert plot.findtext(".//span") == "<a & b>"


@pytest.mark.parametrize("seconds", [0.0, 0.5, 59.0, 3600.0, 86400.0, 30 * 86400.0])
def test_the_time_axis_has_few_numbers(seconds: float) -> None:
    texts = [text.text for text in inside(line_plot([], "ms", seconds)).iterfind(".//text")]
    assert 2 <= len(texts) <= 16
    assert len(set(texts)) == len(texts)


def test_bars_are_as_long_as_their_values() -> None:
    bars = inside(bar_chart([("eager", 5.0), ("compiled", 10.0)], "frames/s")).findall(".//rect")
    assert float(bars[1].get("width", "")) == 2 * float(bars[0].get("width", ""))


@pytest.mark.parametrize(("value", "text"), [(0, "0"), (0.25, "0.25"), (33.4, "33.4"), (1200, "1200")])
def test_numbers_are_readable(value: float, text: str) -> None:
    assert number(value) == text


def test_times_are_readable() -> None:
    assert [clock_text(seconds) for seconds in (5, 200, 7500)] == ["5 s", "3:20 min", "2:05 h"]
