"""`lcm-daemon pin`."""

from __future__ import annotations

import pytest
import yaml

from lcm_daemon.commands.pin import print_hash
from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.web.pin import matches


@pytest.mark.parametrize("entered", ["48151623", ""])
def test_what_it_prints_is_part_of_a_show(entered: str) -> None:
    lines: list[str] = []
    assert print_hash(lambda prompt: entered, lines.append) == 0
    made_up = lines[0].removeprefix("# pin: ")
    expected = yaml.safe_load("\n".join(lines))["network"]["access"]["pin"]
    assert matches(expected, entered or made_up)
    assert len(lines) == (1 if entered else 2)


def test_a_short_pin_is_refused() -> None:
    with pytest.raises(LcmDaemonError, match="a pin has 6 to 64 characters"):
        print_hash(lambda prompt: "1234", print)
