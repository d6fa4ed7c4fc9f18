"""The known name that was probably meant."""

from __future__ import annotations

import difflib
import random

from lcm_daemon.core.parameter_table import TABLE
from lcm_daemon.core.suggestions import nearest, suggestion

KNOWN = [*TABLE, *(f"/lcm/{name}" for name in TABLE)]


def typed(rng: random.Random) -> str:
    """A known name with a few mistakes."""
    letters = list(rng.choice(KNOWN))
    for _ in range(rng.randrange(6)):
        at = rng.randrange(len(letters) + 1)
        letters[at:at + rng.randrange(3)] = rng.choice(["", "x", "/", "ab"])
    return "".join(letters)


def test_it_is_the_one_that_difflib_finds() -> None:
    rng = random.Random(1)
    for name in ["", "/", "strenght", "x" * 500, *(typed(rng) for _ in range(200))]:
        close = difflib.get_close_matches(name[:80], KNOWN, 1, 0.5)
        assert suggestion(name, KNOWN) == (f"; did you mean {close[0]!r}?" if close else "")


def test_without_one_a_short_list_is_named() -> None:
    assert nearest("qqqq", ["red", "green"]) == "; there are red, green"
    assert nearest("gren", ["red", "green"]) == "; did you mean 'green'?"
