"""`lcm-daemon check`: reads a show and reports every mistake."""

from __future__ import annotations

from collections.abc import Sequence

from lcm_daemon.shows.reader import load_show


def check(name: str, overrides: Sequence[str] = ()) -> int:
    """Print what a show does. Return the exit code.

    Raises:
        DocumentError: the show has mistakes; its text has one line for each, with file, line and column.
    """
    show = load_show(name, overrides)
    print(f"{show.file}: no mistakes\n{show.describe()}")
    return 0
