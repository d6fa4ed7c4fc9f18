"""The bank of prompts while a show plays, and its file."""

from __future__ import annotations

from pathlib import Path

import pytest

from lcm_daemon.core.parameters import Refused
from lcm_daemon.stage.prompt_bank import PLACES, PromptBank

OWN = ("red", "blue", "green")


def bank(tmp_path: Path, *prompts: str) -> PromptBank:
    return PromptBank(prompts or OWN, tmp_path / "mirror.yaml")


def file_of(tmp_path: Path) -> Path:
    return tmp_path / "mirror.prompts.yaml"


def texts(bank: PromptBank) -> dict[object, object]:
    return {row["number"]: row["text"] for row in bank.rows()}


def test_places_keep_their_numbers(tmp_path: Path) -> None:
    here = bank(tmp_path)
    here.clear(2)
    here.store(9, "stars")
    here.store(1, "crimson")
    assert texts(here) == {1: "crimson", 3: "green", 9: "stars"}
    with pytest.raises(Refused, match="no prompt 2; the show has 1, 3, 9"):
        here.text(2)
    here.store(0, "first free")
    here.store(0, "next free")
    assert texts(here) == {1: "crimson", 2: "first free", 3: "green", 4: "next free", 9: "stars"}


def test_changes_last_and_the_shows_own_prompts_stay_editable(tmp_path: Path) -> None:
    here = bank(tmp_path)
    here.clear(2)
    here.store(4, "a: [b] # ü 'c'")
    here.store(1, "red")  # as the show has it
    here.close()
    assert file_of(tmp_path).read_text("utf-8").count("\n") == 2
    assert texts(bank(tmp_path)) == {1: "red", 3: "green", 4: "a: [b] # ü 'c'"}
    assert texts(bank(tmp_path, "scarlet", "blue", "jade")) == {1: "scarlet", 3: "jade", 4: "a: [b] # ü 'c'"}


def test_what_was_saved_into_the_show_is_the_shows(tmp_path: Path) -> None:
    here = bank(tmp_path)
    here.store(2, "stars")
    here.clear(3)
    here.close()
    bank(tmp_path, "red", "stars", "").close()
    assert texts(bank(tmp_path, "red", "night", "")) == {1: "red", 2: "night"}


def test_a_show_without_a_file() -> None:
    here = PromptBank()
    here.store(1, "ocean")
    assert here.text(1.0) == "ocean"
    here.close()


@pytest.mark.parametrize(("number", "text", "reason"), [
    (1, "", "the prompt is empty"),
    (100, "x", "100 is not a place; there are 1 to 99"),
    (1.5, "x", "1.5 is not a place"),
])
def test_refusals(tmp_path: Path, number: float, text: str, reason: str) -> None:
    here = bank(tmp_path)
    with pytest.raises(Refused, match=reason):
        here.store(number, text)
    assert texts(here) == dict(enumerate(OWN, 1))
    assert not file_of(tmp_path).exists()


def test_a_full_bank_and_an_empty_one(tmp_path: Path) -> None:
    full, empty = bank(tmp_path, *["x"] * PLACES), PromptBank()
    with pytest.raises(Refused, match="all 99 places are taken"):
        full.store(0, "y")
    with pytest.raises(Refused, match="the show has no prompts"):
        empty.clear(1)


@pytest.mark.parametrize(("content", "log", "found"), [
    ("2: lava\n0: x\n3: [a]\n", ["mirror.prompts.yaml:2:1: '0' is not a place", ":3:4: "],
     {1: "red", 2: "lava", 3: "green"}),
    ("yes: lava\n4:\n5: 1984\n", ["'yes' is not a place", ":2:3: '' is not text"],
     {1: "red", 2: "blue", 3: "green", 5: "1984"}),
    ("- lava", ["it is not a list of numbers"], dict(enumerate(OWN, 1))),
    ("{2: ", ["mirror.prompts.yaml:1:"], dict(enumerate(OWN, 1))),
])
def test_a_damaged_file_is_reported_and_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: str, log: list[str], found: dict[int, str],
) -> None:
    file_of(tmp_path).write_text(content)
    here = bank(tmp_path)
    assert texts(here) == found
    assert all(line in caplog.text for line in log)
    here.close()
    assert file_of(tmp_path).read_text() == content, "nothing has changed"
    here = bank(tmp_path)
    here.store(1, "crimson")
    here.close()
    assert (tmp_path / "mirror.prompts.yaml.bad").read_text() == content
    assert texts(bank(tmp_path)) == {**found, 1: "crimson"}
