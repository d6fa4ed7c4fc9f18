"""Which files of a show are packed, where, and what becomes of the paths in its documents."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lcm_daemon.commands.bundle.show_files import ShowFiles, show_files
from lcm_daemon.commands.check_names import find_missing
from lcm_daemon.core.errors import DocumentError
from lcm_daemon.shows.reader import inspect_show
from tests.rigs.standin_hub import weights


class Machine:
    """A folder for the show and one for everything else, which is taken away before the show is read again."""

    def __init__(self, folder: Path) -> None:
        self.show, self.elsewhere = folder / "shows", folder / "elsewhere"
        for each in (self.show, self.elsewhere):
            each.mkdir()

    def file(self, path: Path, content: bytes | str = b"x") -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def picture(self, path: Path) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(path)
        return path

    def pack(self, text: str, name: str = "mirror.yaml") -> ShowFiles:
        """Find the files of a show with this text, and lay them out in a folder as `unbundle` does."""
        file = self.file(self.show / name, text)
        reading = inspect_show(file, environment={})
        reading.problems.raise_if_any()
        self.found = show_files(reading)
        self.target = self.show.parent / "target"
        for place, source in self.found.files.items():
            self.file(self.target / place, source if isinstance(source, str) else source.read_bytes())
        return self.found

    def unpacked(self) -> str:
        """Take the original files away, check the show that was laid out, and return its text."""
        shutil.rmtree(self.show)
        shutil.rmtree(self.elsewhere)
        file = self.target / self.found.show
        reading = inspect_show(file, environment={})
        assert reading.names is not None
        assert [*reading.problems.found, *find_missing(reading.names, reading.problems.references)] == []
        return file.read_text("utf-8")


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_a_show_without_files(machine: Machine) -> None:
    text = "# mine\nname: mirror\n"
    found = machine.pack(text)
    assert list(found.files) == ["show/mirror.yaml"]
    assert (found.show, found.moved, found.left_out) == ("show/mirror.yaml", {}, [])
    assert machine.unpacked() == text


def test_what_is_in_the_shows_folder_keeps_its_place(machine: Machine) -> None:
    for name in ("clips/sea.png", "stills/a.png", "stills/deep/b.png", "slate.png", "not named.png"):
        machine.picture(machine.show / name)
    machine.file(machine.show / "stills/.hidden")
    text = ("source: {transport: file, path: clips/sea.png}  # a comment\n"
            "sources: {wide: {transport: file, path: ./stills}}\noutput: {slate: 'slate.png', failsafe: slate}\n")
    found = machine.pack(text)
    assert set(found.files) == {"show/mirror.yaml", "show/clips/sea.png", "show/stills/a.png",
                                "show/stills/deep/b.png", "show/slate.png"}
    assert machine.unpacked() == text


def test_absolute_paths_become_relative(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(machine.elsewhere))
    inside, outside = machine.picture(machine.show / "clips/sea.png"), machine.picture(machine.elsewhere / "a/sea.png")
    for name in ("b/sea.png", "home.png", "stills/1.png"):
        machine.picture(machine.elsewhere / name)
    found = machine.pack(
        f"sources:  # all kinds\n  inside: {{transport: file, path: '{inside}'}}\n"
        f'  outside: {{transport: file, path: "{outside}", fit: cover}}   # keeps this\n'
        "  up: {transport: file, path: ../elsewhere/b/../b/sea.png}\n  home: {transport: file, path: ~/home.png}\n"
        f"  folder: {{transport: file, path: {machine.elsewhere / 'stills'}}}\n")
    assert set(found.files) == {
        "show/mirror.yaml", "show/clips/sea.png", "show/files/a/sea.png", "show/files/b/sea.png",
        "show/files/elsewhere/home.png", "show/files/elsewhere/stills/1.png"}
    assert len(found.moved) == 4
    assert machine.unpacked() == (
        "sources:  # all kinds\n  inside: {transport: file, path: \"clips/sea.png\"}\n"
        '  outside: {transport: file, path: "files/a/sea.png", fit: cover}   # keeps this\n'
        '  up: {transport: file, path: "files/b/sea.png"}\n'
        '  home: {transport: file, path: "files/elsewhere/home.png"}\n'
        '  folder: {transport: file, path: "files/elsewhere/stills"}\n')


def test_two_folders_of_one_name(machine: Machine) -> None:
    first, second = (machine.picture(machine.elsewhere / name / "clips/sea.png") for name in "ab")
    found = machine.pack(f"source: {{transport: file, path: {first}}}\nguide: {{transport: file, path: {second}}}\n")
    assert {"show/files/clips/sea.png", "show/files/clips-2/sea.png"} < set(found.files)
    machine.unpacked()


def test_a_folder_that_the_show_has_from_an_earlier_bundle(machine: Machine) -> None:
    old, new = machine.show / "files/clips/sea.png", machine.elsewhere / "clips/sea.png"
    machine.picture(old)
    machine.picture(new)
    found = machine.pack("source: {transport: file, path: files/clips/sea.png}\n"
                         f"guide: {{transport: file, path: {new}}}\n")
    assert (found.files["show/files/clips/sea.png"], found.files["show/files/clips-2/sea.png"]) == (old, new)
    machine.unpacked()


def test_a_path_in_a_block_scalar(machine: Machine) -> None:
    clip = machine.picture(machine.elsewhere / "clips/sea.png")
    machine.pack(f"source:\n  transport: file\n  path: >-\n    {clip}\n\n# next\nname: mirror\n")
    assert machine.unpacked().endswith('  path: "files/clips/sea.png"\n\n# next\nname: mirror\n')


def test_anchors_quotes_and_other_line_ends(machine: Machine) -> None:
    clip = machine.picture(machine.elsewhere / "it's a \u00fcber clip.png")
    quoted = str(clip).replace("'", "''")
    found = machine.pack("\ufeffx-clip: &clip\r\n  transport: file\r\n"
                         f"  path: &place '{quoted}'\r\nsource: *clip\r\nguide: {{transport: file, path: *place}}\r\n")
    assert len(found.files) == 2
    text = machine.unpacked()
    assert "path: &place \"files/elsewhere/it's a \u00fcber clip.png\"" in text


def test_recipes_in_files_and_what_they_name(machine: Machine) -> None:
    """A recipe of another folder keeps what is beside it, and gets new paths for the rest."""
    recipes = machine.elsewhere / "recipes"
    machine.file(recipes / "loras/adapter_model.safetensors", weights(300))
    machine.file(recipes / "loras/adapter_config.json", "{}")
    machine.file(recipes / "loras/other.json", "{}")
    ink = machine.file(machine.elsewhere / "ink.safetensors", weights(300))
    machine.file(recipes / "night.yaml", "base: builtin\nloras: [{name: near, model: loras/adapter_model.safetensors}, "
                                         f"{{name: ink, model: {ink}}}]\n")
    machine.file(machine.show / "dusk.yaml", f"base: {recipes / 'night.yaml'}\n")
    machine.file(machine.elsewhere / "words.txt", "bad\n")
    found = machine.pack("recipe: dusk.yaml\naudience: {blocked_words: ../elsewhere/words.txt}\n")
    assert set(found.files) == {
        "show/mirror.yaml", "show/dusk.yaml", "show/files/recipes/night.yaml", "show/files/elsewhere/ink.safetensors",
        "show/files/loras/adapter_model.safetensors", "show/files/loras/adapter_config.json",
        "show/files/elsewhere/words.txt"}
    show = inspect_show(machine.target / found.show, environment={}).show
    assert show is not None
    assert [Path(lora.model).is_file() for lora in show.recipe.loras[-2:]] == [True, True]
    assert all(str(machine.target) in lora.model for lora in show.recipe.loras[-2:])
    machine.unpacked()


def test_looks_and_prompts_come_with_it(machine: Machine) -> None:
    machine.file(machine.show / "mirror.cues.yaml", "cues: []\n")
    machine.file(machine.show / "mirror.prompts.yaml", "{}\n")
    assert {"show/mirror.cues.yaml", "show/mirror.prompts.yaml"} < set(machine.pack("name: x\n").files)


def test_every_missing_file_has_its_place(machine: Machine) -> None:
    with pytest.raises(DocumentError) as refused:
        machine.pack("source: {transport: file, path: absent.mp4}\noutput: {slate: gone.png}\n")
    assert [problem.line for problem in refused.value.problems] == [1, 2]


def test_links_in_the_shows_folder_stay_there(machine: Machine) -> None:
    machine.picture(machine.elsewhere / "clips/sea.png")
    (machine.show / "clips").symlink_to(machine.elsewhere / "clips")
    text = "source: {transport: file, path: clips/sea.png}\n"
    assert set(machine.pack(text).files) == {"show/mirror.yaml", "show/clips/sea.png"}
    (machine.show / "clips").unlink()
    assert machine.unpacked() == text


def test_links_to_folders_are_followed_once(machine: Machine) -> None:
    machine.picture(machine.elsewhere / "deep/1.png")
    machine.picture(machine.show / "stills/0.png")
    (machine.show / "stills/more").symlink_to(machine.elsewhere / "deep")
    (machine.show / "stills/again").symlink_to(machine.show / "stills")
    (machine.elsewhere / "deep/back").symlink_to(machine.show / "stills")
    found = machine.pack("source: {transport: file, path: stills}\n")
    assert set(found.files) == {"show/mirror.yaml", "show/stills/0.png", "show/stills/more/1.png"}


def test_what_belongs_to_the_machine_is_left_out(machine: Machine) -> None:
    for name in ("host.pem", "host.key"):
        machine.file(machine.show / name)
    found = machine.pack("network: {tls: {certificate: host.pem, key: host.key}}\n"
                         "alarms: {command: [notify, now]}\nopening_hours: {commands: {open: [lamp, 'on']}}\n")
    assert list(found.files) == ["show/mirror.yaml"]
    assert [line.partition(":")[0] for line in found.left_out] == [
        "network.tls", "alarms.command", "opening_hours.commands.open"]


def test_folders_elsewhere_that_the_show_writes_to_are_named(machine: Machine) -> None:
    found = machine.pack("sinks:\n- {transport: record, path: takes/a.mov}\n"
                         "- {transport: record, path: /far/takes/b.mov}\n"
                         "log: {file: /far/mirror.log}\n")
    assert [line.partition(": make")[0] for line in found.left_out] == [
        "/far/takes: the folder for recordings", "/far: the folder for the log"]


def test_the_demo_is_packed_with_the_looks_of_the_state_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LCM_DAEMON_STATE", str(tmp_path))
    (tmp_path / "demo.cues.yaml").write_text("cues: []\n")
    from lcm_daemon.shows.library import find_show

    found = show_files(inspect_show(find_show("demo"), environment={}))
    assert set(found.files) == {"show/demo.yaml", "show/demo.cues.yaml"}
