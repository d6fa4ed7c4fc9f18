"""The section `memory` of a show."""

from __future__ import annotations

from pathlib import Path

import pytest

from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.shows.memory_limits import MemoryLimits
from lcm_daemon.shows.reader import load_show


def limits(folder: Path, text: str) -> MemoryLimits | None:
    (folder / "show.yaml").write_text(text)
    return load_show(folder / "show.yaml", environment={}).unattended.memory


def test_a_show_without_it_sets_no_limit(tmp_path: Path) -> None:
    assert limits(tmp_path, "memory: false") is limits(tmp_path, "name: x") is None
    assert limits(tmp_path, "memory: {}") == limits(tmp_path, "memory: {desk: ~}") == MemoryLimits()


@pytest.mark.parametrize(("text", "expected"), [
    ("12 GB", 12 * 10**9), ("800MB", 800 * 10**6), ("1.5 GiB", 3 * 2**29), ('"512 mib"', 2**29),
])
def test_a_limit_is_a_size_with_its_unit(tmp_path: Path, text: str, expected: int) -> None:
    found = limits(tmp_path, f"memory: {{engine: {text}, stage: 1 GB}}")
    assert found == MemoryLimits(engine=expected, stage=10**9)


@pytest.mark.parametrize("text", ["12", "0.1", "12 G", "much", "-1 GB", "nan GB", "1e3 GB", "٣ GB", '""',
                                  "12 GB of it", "9999999999 GB"])
def test_anything_else_is_a_mistake_with_its_place(tmp_path: Path, text: str) -> None:
    with pytest.raises(LcmDaemonError, match=r"show\.yaml:1:1[0-9]: .* is not a size with its unit, such as 800 MB"):
        limits(tmp_path, f"memory: {{desk: {text}}}")


def test_a_limit_below_that_of_any_process_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(LcmDaemonError) as raised:
        limits(tmp_path, "memory:\n  desk: 5 MB\n  engine: 9999999 GB\n  engin: 1 GB\n")
    assert str(raised.value).replace(f"{tmp_path}/", "").splitlines() == [
        "show.yaml:2:9: '5 MB' is not between 50 MB and 1000000 GB",
        "show.yaml:3:11: '9999999 GB' is not between 50 MB and 1000000 GB",
        "show.yaml:4:3: unknown key 'engin'; did you mean 'engine'?"]
