"""The section `care` of a show: its limits, nights and mistakes."""

from __future__ import annotations

from pathlib import Path

import pytest

from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.shows.care import Care
from lcm_daemon.shows.reader import load_show


def care(folder: Path, text: str) -> Care | None:
    (folder / "show.yaml").write_text(text)
    return load_show(folder / "show.yaml", environment={}).unattended.care


def test_a_show_without_it_watches_nothing(tmp_path: Path) -> None:
    assert care(tmp_path, "care: false") is care(tmp_path, "name: x") is None


def test_limits_have_defaults_and_can_be_switched_off(tmp_path: Path) -> None:
    assert care(tmp_path, "care: {}") == Care()
    found = care(tmp_path, "care: {black: false, frozen: 5, gpu_memory: false, orbit: {}}")
    assert found is not None
    assert (found.black, found.frozen, found.gpu_memory) == (None, 5.0, None)
    assert found.orbit is not None
    assert (found.orbit.pixels, found.orbit.every) == (3, 60.0)


@pytest.mark.parametrize(("times", "expected"), [("from: 22:00, to: 06:30", (1320, 1830)),
                                                 ('from: "01:00", to: "24:00"', (60, 1440))])
def test_a_night_may_pass_midnight(tmp_path: Path, times: str, expected: tuple[int, int]) -> None:
    found = care(tmp_path, f"care: {{night: {{{times}, level: 0.5}}}}")
    assert found is not None
    assert found.night is not None
    assert (found.night.times.start, found.night.times.end) == expected


@pytest.mark.parametrize(("text", "mistake"), [
    ("night: {from: 22:00, to: 22:00}", "from and to are the same time"),
    ("night: {from: 22:00, to: 22:10, fade: 301}", "two fades of 301 s are longer than the night of 600 s"),
    ("night: {from: 25:00, to: 22:10}", "'25:00' is not a time of day"),
    ("night: {from: 20:00}", "key 'to' is missing"),
    ("orbit: {pixels: 0}", "0 is not a whole number from 1 to 64"),
    ("blck: 3", "unknown key 'blck'"),
    ("black: 0.5", "0.5 is not a number from 1 to 86400"),
])
def test_mistakes_are_named(tmp_path: Path, text: str, mistake: str) -> None:
    with pytest.raises(LcmDaemonError) as error:
        care(tmp_path, f"care: {{{text}}}")
    assert mistake in str(error.value)
