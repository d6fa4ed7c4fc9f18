"""`check` looks at the files of a show's recipes: absent ones with one right command, others for what they are."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from lcm_daemon.cli import main
from lcm_daemon.recipes.downloads import SAFETY
from tests.commands.test_pull_models import TEXT, VAE, write_checkpoint
from tests.rigs.standin_hub import weights

SD15 = "stable-diffusion-v1-5/stable-diffusion-v1-5"
QUIET = {"osc": False, "panel": False}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def write_show(tmp_path: Path, recipe: Any, **more: Any) -> Path:
    file = tmp_path / "show.yaml"
    file.write_text(yaml.safe_dump({"recipe": recipe, **QUIET, **more}, sort_keys=False))
    return file


def checked(file: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    code = main(["check", str(file)])
    said = capsys.readouterr()
    return code, said.out + said.err


def write_base(folder: Path, context: int = 768) -> Path:
    """A model of which only the descriptions are here."""
    files: Mapping[str, Any] = {
        "unet/config.json": {"cross_attention_dim": context, "in_channels": 4}, "vae/config.json": {},
        "text_encoder/config.json": {}, "tokenizer/vocab.json": {}, "scheduler/scheduler_config.json": {}}
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(json.dumps(content))
    return folder


@pytest.mark.parametrize(("recipe", "command"), [
    ("sd15-lcm", "lcm-daemon pull sd15-lcm"),
    ({"base": "sd15-lcm", "vae": ""}, "lcm-daemon pull {show}"),
    ({"base": "sd15-lcm", "title": "as it is"}, "lcm-daemon pull {show}"),
    ("mine.yaml", "lcm-daemon pull {mine}"),
])
def test_absent_weights_are_a_note_with_the_right_command(
    recipe: Any, command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text("{base: sd15-lcm, parameters: {steps: 3}}")
    show = write_show(tmp_path, recipe)
    code, said = checked(show, capsys)
    (line,) = [line for line in said.splitlines() if line.startswith("  absent ")]
    assert code == 0
    assert line.endswith(f"; fetch them with: {command.format(show=show, mine=mine)}")
    assert f"not on this machine: {SD15}, " in line


def test_one_line_for_each_recipe_of_a_show(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cues = [{"name": "a", "recipe": "sdxl-turbo"}, {"name": "b", "recipe": "builtin"}]
    show = write_show(tmp_path, "builtin", recipes={"ink": "sd-turbo"}, cues=cues)
    _, said = checked(show, capsys)
    lines = [line for line in said.splitlines() if line.startswith("  absent ")]
    assert [line.split(": ")[0] for line in lines] == ["  absent   recipe ink", "  absent   recipe sdxl-turbo"]
    assert lines[0].endswith("lcm-daemon pull sd-turbo")


def test_the_safety_checker_that_a_show_adds_has_a_command_of_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`pull sd-turbo` does not fetch it; a recipe of the show's own file is pulled with it."""
    _, said = checked(write_show(tmp_path, "sd-turbo", safety=True), capsys)
    files = " ".join(map(shlex.quote, SAFETY.required))
    assert f"fetch them with: hf download {SAFETY.source} {files} && lcm-daemon pull sd-turbo" in said
    show = write_show(tmp_path, {"base": "sd-turbo"}, safety=True)
    _, said = checked(show, capsys)
    assert f"fetch them with: lcm-daemon pull {show}\n" in said


def place_of(text: str, show: Path) -> str:
    """Where a value is in the show: "file:line:column"."""
    for number, line in enumerate(show.read_text().splitlines(), 1):
        if text in line:
            return f"{show}:{number}:{line.index(text) + 1}"
    raise AssertionError(text)


@pytest.mark.parametrize(("content", "words"), [
    (b"<!DOCTYPE html><html>Sign in", "is an HTML page, not weights"),
    (b"PK\x03\x04" + bytes(90), "is a pickle (a file of torch.save)"),
    (b"", "is empty"),
])
def test_files_that_are_no_weights_are_told_at_their_place(
    content: bytes, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "merge.safetensors").write_bytes(content)
    show = write_show(tmp_path, {"base": "sd15-lcm", "checkpoint": "merge.safetensors"})
    code, said = checked(show, capsys)
    assert code == 2
    assert f"{place_of('merge.safetensors', show)}: checkpoint {tmp_path}/merge.safetensors {words}" in said


def test_another_family_is_told_at_its_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = write_base(tmp_path / "sd15")
    write_checkpoint(tmp_path / "merge.safetensors", TEXT, VAE, context=2048)
    mine = {"base": "sd15-lcm", "model": "sd15", "vae": "", "loras": []}
    show = write_show(tmp_path, mine | {"checkpoint": "merge.safetensors"})
    code, said = checked(show, capsys)
    assert code == 2
    assert said.splitlines()[-1].endswith(
        f"{place_of('merge.safetensors', show)}: checkpoint {tmp_path}/merge.safetensors is a whole model in one file "
        f"for SDXL (context 2048), the base's model {model} is SD 1.x (context 768); "
        "the base for it is sdxl-lcm")
    write_checkpoint(tmp_path / "merge.safetensors", TEXT, VAE)
    assert checked(show, capsys)[0] == 0


def test_another_family_than_that_of_an_absent_base(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Before anything is downloaded."""
    write_checkpoint(tmp_path / "merge.safetensors", TEXT, VAE, context=2048)
    code, said = checked(write_show(tmp_path, {"base": "sd15-canny", "checkpoint": "merge.safetensors"}), capsys)
    assert code == 2
    assert f"the base's model {SD15} is SD 1.x (context 768); the base for it is sdxl-lcm" in said


@pytest.mark.parametrize(("name", "words"), [
    ("download.safetensors.part", " is not named .safetensors"), ("loop.safetensors", " does not exist"),
    (f"{'ö' * 125}.safetensors", "... is not a path: a name has at most 255 bytes"), ("ö x [1].safetensors", "empty")])
def test_files_that_are_not_read(name: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One that is named otherwise, a link to itself, a name that is too long: none is passed over in silence."""
    (tmp_path / "download.safetensors.part").touch()
    (tmp_path / "ö x [1].safetensors").touch()
    (tmp_path / "loop.safetensors").symlink_to("loop.safetensors")
    show = write_show(tmp_path, {"base": "sd15-lcm", "model": str(write_base(tmp_path / "base")), "loras": [name]})
    code, said = checked(show, capsys)
    assert code == 2
    assert words in said


def test_a_file_that_is_no_checkpoint_is_the_only_mistake(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Not that the base lacks what the file was to replace."""
    write_base(tmp_path / "sd15")
    (tmp_path / "empty.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    mine = {"base": "sd15-lcm", "model": "sd15", "vae": "", "loras": []}
    for name, words in (("empty.safetensors", "is empty: it has no tensors"), ("no.safetensors", "does not exist")):
        code, said = checked(write_show(tmp_path, mine | {"checkpoint": name}), capsys)
        assert code == 2
        assert words in said
        assert "has no weights" not in said


def test_a_checkpoint_on_the_hub_is_a_note(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_base(tmp_path / "sd15")
    show = write_show(tmp_path, {"base": "sd15-lcm", "model": "sd15", "vae": "", "loras": [],
                                 "checkpoint": "owner/name/merge.safetensors"})
    code, said = checked(show, capsys)
    assert code == 0
    assert f"not on this machine: owner/name/merge.safetensors; fetch it with: lcm-daemon pull {show}" in said


def test_a_damaged_description_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_checkpoint(tmp_path / "merge.safetensors", TEXT, VAE)
    config = write_base(tmp_path / "sd15") / "unet" / "config.json"
    for content in ("<html>", "[]", "[" * 100_000):
        config.write_text(content)
        code, said = checked(write_show(tmp_path, {"base": "sd15-lcm", "model": "sd15", "vae": "", "loras": [],
                                                   "checkpoint": "merge.safetensors"}), capsys)
        assert code == 2
        assert f"{config} is damaged: " in said


def test_shards_that_are_missing_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = write_base(tmp_path / "model")
    write_checkpoint(model / "unet" / "diffusion_pytorch_model-00001-of-00002.safetensors")
    for part in ("vae", "text_encoder"):
        write_checkpoint(model / part / "model.safetensors")
    index = {"weight_map": {str(number): f"diffusion_pytorch_model-0000{number}-of-00002.safetensors"
                            for number in (1, 2)}}
    (model / "unet" / "diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps(index))
    code, said = checked(write_show(tmp_path, {"model": "model"}), capsys)
    assert code == 2
    assert f"{model}/unet/diffusion_pytorch_model-00002-of-00002.safetensors does not exist" in said


@pytest.mark.parametrize(("recipe", "key", "words"), [
    ({"base": "sd15-lcm", "checkpoint": "merge.ckpt"}, "merge.ckpt", "'merge.ckpt' is a pickle: a pickle can run"),
    ({"base": "sd15-lcm", "loras": ["ink.pt"]}, "ink.pt", "'ink.pt' is a pickle: a pickle can run programs"),
    ({"base": "sd15-lcm", "vae": "vae.bin"}, "vae.bin", "'vae.bin' is a pickle"),
    ({"base": "sd15-lcm", "model": "xl.safetensors"}, "xl.safetensors",
     "a model in one file is written as {base: sdxl-lcm, checkpoint: xl.safetensors}"),
    ({"checkpoint": "xl.safetensors"}, "checkpoint", "or a 'base' that has one: {base: sdxl-lcm, checkpoint: xl.safe"),
    ("vae.safetensors", "vae.safetensors", "no recipe or .yaml file 'vae.safetensors'; it is a VAE"),
    ("merge.ckpt", "merge.ckpt", "no recipe or .yaml file 'merge.ckpt'; 'merge.ckpt' is a pickle"),
    ({"base": "passthrough", "checkpoint": "xl.safetensors"}, "xl.safetensors", "passthrough plays no model"),
    ("xl.safetensors", "xl.safetensors", "a model in one file is written as {base: sdxl-lcm, checkpoint: xl.safe"),
    ({"base": "sdxl-lightning", "checkpoint": "xl.safetensors"}, "xl.safetensors",
     'the base has a UNet of its own, ByteDance/SDXL-Lightning/sdxl_lightning_2step_unet.safetensors, which would'),
])
def test_what_is_written_under_the_wrong_key(
    recipe: Any, key: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_checkpoint(tmp_path / "xl.safetensors", TEXT, VAE, context=2048)
    (tmp_path / "vae.safetensors").write_bytes(weights(200, name=b"decoder.up.0.conv"))
    for name in ("merge.ckpt", "ink.pt", "vae.bin"):
        (tmp_path / name).touch()
    show = write_show(tmp_path, recipe)
    code, said = checked(show, capsys)
    assert code == 2
    assert f"{place_of(key, show)}: " in said
    assert words in said


@pytest.mark.slow
def test_it_takes_no_torch(tmp_path: Path) -> None:
    show = write_show(tmp_path, {"base": "sd15-lcm", "checkpoint": "merge.safetensors"})
    write_checkpoint(tmp_path / "merge.safetensors", TEXT, VAE)
    code = ("import sys\nfrom lcm_daemon.cli import main\nprint(main(sys.argv[1:]), "
            "sorted({'torch', 'diffusers', 'transformers', 'safetensors'} & sys.modules.keys()))")
    done = subprocess.run([sys.executable, "-c", code, "check", str(show)], capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[-1].startswith("0 []"), done.stdout + done.stderr
