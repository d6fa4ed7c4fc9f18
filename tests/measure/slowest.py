"""Print where a test run spent its time, as Markdown tables.

    python -m pytest --junitxml=report.xml
    python -m tests.measure.slowest report.xml
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree


def times_of(report: Path) -> dict[tuple[str, str], list[float]]:
    """Seconds of every test of a JUnit report, by file and function; the cases of a parametrized test are together."""
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    for case in ElementTree.parse(report).getroot().iter("testcase"):
        file = case.get("classname", "").removeprefix("tests.").replace(".", "/")
        found[file, case.get("name", "").partition("[")[0]].append(float(case.get("time", "0")))
    return found


def table(title: str, rows: Mapping[str, Sequence[float]], count: int) -> str:
    """The rows that took longest, longest first, with the number of their tests."""
    sums = sorted(((sum(seconds), len(seconds), name) for name, seconds in rows.items()), reverse=True)
    lines = [f"| {title} | tests | seconds |", "|---|---|---|"]
    return "\n".join([*lines, *(f"| `{name}` | {tests} | {seconds:.0f} |" for seconds, tests, name in sums[:count])])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("report", type=Path, help="file written by pytest --junitxml")
    parser.add_argument("--count", type=int, default=15, help="rows of each table")
    asked = parser.parse_args()
    times = times_of(asked.report)
    files: dict[str, list[float]] = defaultdict(list)
    for (file, _), seconds in times.items():
        files[file] += seconds
    print(f"{sum(map(len, times.values()))} tests, {sum(map(sum, times.values())):.0f} s\n")
    print(table("file", files, asked.count), end="\n\n")
    print(table("test", {f"{file}::{name}": seconds for (file, name), seconds in times.items()}, asked.count))


if __name__ == "__main__":
    main()
