"""Output of the commands: tables."""

from __future__ import annotations

from lcm_daemon.commands.output import format_table


def test_columns_are_as_wide_as_their_longest_cell() -> None:
    assert format_table([("A", "B"), ("long", "x")]) == ["A     B", "long  x"]
