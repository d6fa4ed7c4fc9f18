"""ShowFile, show_changes and what one show leaves to the next, without a daemon."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from lcm_daemon.automation.look import Look
from lcm_daemon.automation.modulator_bank import ModulatorBank
from lcm_daemon.core.bindings import BindingEdit
from lcm_daemon.core.control_state import Rows
from lcm_daemon.core.live_values import Parameters
from lcm_daemon.core.metrics import Metrics
from lcm_daemon.core.requests import CommandRequest
from lcm_daemon.render.recipe_switcher import RecipeSwitcher
from lcm_daemon.shows.library import show_files
from lcm_daemon.shows.openable_shows import openable_shows
from lcm_daemon.shows.reader import load_show
from lcm_daemon.shows.show import Show
from lcm_daemon.shows.show_writer import ShowEdits, edit_show
from lcm_daemon.stage.handover import kept_by_desk, merged_look
from lcm_daemon.stage.inputs import Inputs
from lcm_daemon.stage.show_changes import show_changes
from lcm_daemon.stage.show_file import ShowFile
from lcm_daemon.transports.endpoint import EndpointConfig

SHOW = "# mine\nname: club\nparameters: {mix: 0.5}\nosc:\n  map:\n    - {from: /1/a, to: mix}  # left\n"
EDIT = BindingEdit("osc", {"from": "/1/b", "to": "strength"})


class FakeSwitcher(RecipeSwitcher):
    """Knows the size of one show's recipe."""

    def __init__(self, show: Show) -> None:
        self._own = {show.recipe.name: show.recipe}


def read(folder: Path, text: str = SHOW, name: str = "mirror") -> Show:
    (folder / f"{name}.yaml").write_text(text, "utf-8")
    return load_show(folder / f"{name}.yaml", environment={})


def settle(file: ShowFile, now: float = 0.0, bindings: tuple[BindingEdit, ...] = ()) -> dict[str, Any]:
    """Step until every job has ended; return the page's row."""
    file.step(now, bindings)
    end = time.perf_counter() + 20
    while file._jobs and time.perf_counter() < end:
        file.step(now, bindings)
        time.sleep(0.005)
    return dict(file.lists()["show"][0])


def do(file: ShowFile, name: str, *arguments: Any) -> dict[str, Any]:
    file.execute(CommandRequest(name, "page/1", arguments))
    return settle(file)


def test_changes_are_saved_and_no_longer_unsaved(tmp_path: Path) -> None:
    file = ShowFile(read(tmp_path))
    file.changes = lambda: ShowEdits({"mix": 0.25})
    assert settle(file)["unsaved"] == 1
    row = do(file, "show/save")
    assert (row["note"], row["unsaved"], row["changed"]) == ("saved in mirror.yaml", 0, False)
    assert (tmp_path / "mirror.yaml").read_text() == SHOW.replace("0.5", "0.25")
    file.changes = lambda: ShowEdits({"mix": 0.75})
    assert settle(file)["unsaved"] == 1


def test_learned_bindings_are_written_at_once_and_only_once(tmp_path: Path) -> None:
    file = ShowFile(read(tmp_path))
    row = settle(file, bindings=(EDIT,))
    text = (tmp_path / "mirror.yaml").read_text()
    assert yaml.safe_load(text)["osc"]["map"] == [{"from": "/1/a", "to": "mix"}, {"from": "/1/b", "to": "strength"}]
    assert "# left" in text
    assert (row["note"], file.unwritten) == ("saved in mirror.yaml", ())
    changed = BindingEdit("osc", EDIT.line, {"curve": "exp"})
    settle(file, bindings=(EDIT, changed, BindingEdit("osc", {"from": "/1/a", "to": "mix"}, removed=True)))
    assert yaml.safe_load((tmp_path / "mirror.yaml").read_text())["osc"]["map"] == [
        {"from": "/1/b", "to": "strength", "curve": "exp"}]


def test_a_packaged_show_is_not_written_but_saved_under_another_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    file = ShowFile(load_show("demo"))
    row = settle(file, bindings=(EDIT,))
    assert "save the show under a name of your own" in row["note"]
    assert not row["own"]
    assert "it comes with the daemon" in do(file, "show/save")["note"]
    file.execute(CommandRequest("show/save_as", "page/1", ("mine",)))
    settle(file, bindings=(EDIT,))
    assert file.next is not None
    assert (file.next.show.file, file.next.keeps_look) == (str(tmp_path / "mine.yaml"), True)
    assert yaml.safe_load((tmp_path / "mine.yaml").read_text())["osc"]["map"] == [dict(EDIT.line)]


def test_a_file_that_changed_on_disk_is_offered_and_not_overwritten(tmp_path: Path) -> None:
    file = ShowFile(read(tmp_path))
    file.changes = lambda: ShowEdits({"mix": 0.25})
    assert not settle(file, 1.0)["changed"]
    (tmp_path / "mirror.yaml").write_text(SHOW + "output: {fps: 3000}\n")
    assert settle(file, 2.0)["changed"]
    assert "is not overwritten" in do(file, "show/save")["note"]
    row = do(file, "show/reload")
    assert row["note"].startswith("mirror.yaml:7:15: 3000 is not a number")
    assert file.next is None
    (tmp_path / "mirror.yaml").write_text(SHOW + "output: {fps: 50}\n")
    do(file, "show/reload")
    assert file.next is not None
    assert file.next.show.fps == 50
    assert [refusal.origin for refusal in file.refusals.pop()] == ["page/1", "page/1"]


def test_watch_reads_a_changed_file_by_itself(tmp_path: Path) -> None:
    file = ShowFile(read(tmp_path), watch=True)
    settle(file, 1.0)
    (tmp_path / "mirror.yaml").write_text(SHOW.replace("0.5", "0.75"))
    settle(file, 2.0)
    assert file.next is not None
    assert file.next.show.parameters == {"mix": 0.75}


@pytest.mark.parametrize(("name", "reason"), [
    ("../up", "is not a name"), ("/tmp/x", "is not a name"), ("", "is not a name"), (".x", "is not a name"),
    ("mirror", "there is a mirror.yaml already"),
])
def test_names_from_the_network_are_never_paths(tmp_path: Path, name: str, reason: str) -> None:
    file = ShowFile(read(tmp_path))
    assert reason in do(file, "show/save_as", name)["note"]
    assert [path.name for path in tmp_path.iterdir()] == ["mirror.yaml"]
    assert f"no show {name!r}" in do(file, "show/open", name or "../up")["note"] or name in ("mirror", "")
    assert file.next is None or name == "mirror"


@pytest.mark.skipif(os.name != "posix", reason="other systems have other permissions")
def test_a_copy_of_a_private_show_is_private(tmp_path: Path) -> None:
    show = read(tmp_path)
    (tmp_path / "mirror.yaml").chmod(0o600)  # it may hold the pin
    do(ShowFile(show), "show/save_as", "copy")
    assert (tmp_path / "copy.yaml").stat().st_mode & 0o777 == 0o600


def test_a_save_that_would_break_the_show_is_refused(tmp_path: Path) -> None:
    file = ShowFile(read(tmp_path))
    file.changes = lambda: ShowEdits({"lora/none": 0.5})
    assert "no parameter 'lora/none'" in do(file, "show/save")["note"]
    assert (tmp_path / "mirror.yaml").read_text() == SHOW


def test_only_shows_can_be_opened(tmp_path: Path) -> None:
    read(tmp_path)
    (tmp_path / "recipe.yaml").write_text("base: builtin\n")
    (tmp_path / "mirror.cues.yaml").write_text("- {name: a}\n")
    (tmp_path / "list.yaml").write_text("[1]\n")
    assert list(openable_shows(tmp_path)) == ["mirror", *(show.stem for show in show_files())]
    file = ShowFile(load_show(tmp_path / "mirror.yaml", environment={}))
    do(file, "show/open", "demo")
    assert file.next is not None
    assert (file.next.show.name, file.next.keeps_look) == ("demo", False)


def test_what_was_changed_is_what_differs_from_the_file(tmp_path: Path) -> None:
    show = read(tmp_path, SHOW + "prompts: [a]\nmodulation: [{name: drift, to: mix, depth: 0.1}]\n")
    parameters = Parameters(show.table(show.recipe), show.start_values(show.recipe))
    bank = ModulatorBank(show.modulators, parameters)
    own: Rows = ({"number": 1, "text": "a"},)
    inputs, switcher = Inputs(show, Metrics(), lambda: None), FakeSwitcher(show)
    play = partial(show_changes, show, switcher=switcher, parameters=parameters, bank=bank, inputs=inputs)
    assert not play(recipe=show.recipe, prompts=own)
    for name, value in {"mix": 0.30000001192092896, "freeze": True, "master": 0.0, "mod/drift/depth": 0.2}.items():
        parameters.set(name, value, 0.0)
    found = play(recipe=show.recipe, prompts=(*own, {"number": 3, "text": "c"}))
    assert found == ShowEdits({"mix": 0.3, "mod/drift/depth": 0.2}, {"prompts": ["a", "", "c"]})
    bank.execute(CommandRequest("modulator/add", "page/1", ("pulse", "strength", "sine", 0.25, 2.0)), 0.0)
    found = play(recipe=show.recipe, prompts=own)
    assert found.sections["modulation"] == [
        {"name": "drift", "to": "mix", "depth": 0.2}, {"name": "pulse", "to": "strength", "rate": 2.0}]
    assert found.parameters == {"mix": 0.3}


def test_a_seed_that_was_drawn_is_not_saved_until_it_is_set(tmp_path: Path) -> None:
    show = read(tmp_path, "parameters: {seed: -1}\n")
    parameters = Parameters(show.table(show.recipe), show.start_values(show.recipe))
    play = partial(show_changes, show, show.recipe, FakeSwitcher(show), parameters, ModulatorBank((), parameters), (),
                   Inputs(show, Metrics(), lambda: None))
    assert not play()
    drawn = parameters.set("seed", -1, 0.0)
    assert play() == ShowEdits({"seed": drawn})


def test_a_size_and_sources_that_were_changed_are_saved(tmp_path: Path) -> None:
    text = SHOW + "recipe: passthrough\nsources:\n  wide: {transport: testcard, fps: 5}  # left\n"
    show = read(tmp_path, text)
    parameters = Parameters(show.table(show.recipe), show.start_values(show.recipe))
    inputs = Inputs(show, Metrics(), lambda: None)
    inputs.source.name, inputs.guide.name = "wide", "ndi CAM 1"
    inputs.guide.config = EndpointConfig("ndi", {"name": "CAM 1", "bandwidth": "highest"})
    bank = ModulatorBank((), parameters)
    found = show_changes(show, replace(show.recipe, size=(640, 384)), FakeSwitcher(show), parameters, bank, (), inputs)
    assert (found.size, found.copies) == ((640, 384), {"source": "wide"})
    edited = yaml.safe_load(edit_show(text, "mirror.yaml", found))
    assert edited["recipe"] == {"base": "passthrough", "size": [640, 384]}
    assert edited["source"] == {"transport": "testcard", "fps": 5}
    assert edited["guide"]["name"] == "CAM 1"


def test_what_is_taken_back_after_it_was_saved_becomes_what_it_was(tmp_path: Path) -> None:
    text = SHOW + "recipe: {base: passthrough, size: [512, 256]}\nsource: {transport: testcard}\n"
    file = ShowFile(read(tmp_path, text))
    file.changes = lambda: ShowEdits({"mix": 0.25}, {"source": {"transport": "testcard", "fps": 5}}, (640, 384))
    assert settle(file)["unsaved"] == 3
    assert do(file, "show/save")["unsaved"] == 0
    assert load_show(tmp_path / "mirror.yaml", environment={}).recipe.size == (640, 384)
    file.changes = ShowEdits
    assert settle(file)["unsaved"] == 3
    assert do(file, "show/save")["unsaved"] == 0
    assert yaml.safe_load((tmp_path / "mirror.yaml").read_text()) == yaml.safe_load(text)


def test_a_reload_keeps_what_was_played_but_for_what_the_file_changes(tmp_path: Path) -> None:
    before = read(tmp_path)
    look = Look("builtin", (512, 512), "", {"mix": 0.9, "strength": 0.1})
    after = read(tmp_path, SHOW.replace("mix: 0.5", "mix: 0.6"))
    assert merged_look(look, before, after) == Look("builtin", (512, 512), "", {"strength": 0.1})
    other = read(tmp_path, SHOW + "recipe: passthrough\n")
    assert merged_look(look, before, other).recipe == "passthrough"
    assert merged_look(Look("sd-turbo", (512, 512)), before, other).recipe == "sd-turbo"


def test_the_next_desk_knows_subscribers_and_unwritten_bindings() -> None:
    kept = {"osc": 1, "learn": (EDIT,)}
    assert kept_by_desk(kept, same_file=True, is_written=True) == {"osc": 1}
    assert kept_by_desk(kept, same_file=True, is_written=False) == kept
    assert kept_by_desk(kept, same_file=False, is_written=False) == {"osc": 1}
