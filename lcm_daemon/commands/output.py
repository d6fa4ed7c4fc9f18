"""Output of the commands to the terminal."""

from __future__ import annotations

from collections.abc import Callable, Sequence

PrintLine = Callable[[str], None]


def print_line(text: str) -> None:
    """Print a line at once, also into a pipe."""
    print(text, flush=True)


def format_table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the rows as lines with aligned columns. Every row has the same number of cells."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
