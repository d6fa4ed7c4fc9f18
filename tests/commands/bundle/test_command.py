"""A show with a model of the hub is bundled, carried to a machine without a network, and set up there."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from huggingface_hub import constants

from lcm_daemon.cli import main
from lcm_daemon.commands.bundle import command, wheels
from lcm_daemon.commands.bundle.manifest import this_python
from lcm_daemon.commands.bundle.packages import Packages
from lcm_daemon.core.errors import DocumentError, LcmDaemonError
from lcm_daemon.recipes import hub_cache
from tests.commands.bundle.test_wheels import installed
from tests.commands.test_pull import model_files
from tests.rigs.network import Network, namespace
from tests.rigs.standin_hub import digest

Find = Callable[[Path], Packages]

COMMIT = "a" * 40
NEEDED = ("scheduler/scheduler_config.json", "tokenizer/vocab.json", "tokenizer/merges.txt", "unet/config.json",
          "unet/diffusion_pytorch_model.fp16.safetensors", "text_encoder/config.json",
          "text_encoder/model.fp16.safetensors", "vae/config.json", "vae/diffusion_pytorch_model.safetensors")
# Stands in for lcm-daemon on the other machine: it prints how it was called.
PROGRAM = (b"import os, sys\n\ndef main():\n    print(*sys.argv[1:], os.environ['HF_HUB_CACHE'], "
           b"os.environ['HF_HUB_OFFLINE'])\n\nif __name__ == '__main__':\n    main()\n")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the hub that has some/model."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    files = model_files()
    listing = hub_cache.Listing(COMMIT, {
        name: hub_cache.HubFile(name, len(content), digest(content)) for name, content in files.items()})
    top = hub_cache.repo_folder("some/model")
    for name, content in files.items():
        blob, pointer = top / "blobs" / digest(content), top / "snapshots" / COMMIT / name
        for folder in (blob.parent, pointer.parent):
            folder.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(content)
        pointer.symlink_to(blob)
    hub_cache.activate("some/model", "", listing)
    return top


@pytest.fixture
def show(tmp_path: Path) -> Path:
    file = tmp_path / "mirror.yaml"
    recipe = {"model": "some/model", "files": [{"source": "some/model", "files": list(NEEDED)}]}
    file.write_text(yaml.safe_dump({"recipe": recipe, "osc": False, "panel": False}))
    return file


@pytest.fixture
def packages(tmp_path: Path) -> Find:
    site = tmp_path / "lib/python3/site-packages"
    return lambda folder: Packages({"lcm-daemon": installed(site, "lcm_daemon", {
        "lcm_daemon/__main__.py": PROGRAM,
        "lcm_daemon-1.0.dist-info/entry_points.txt": b"[console_scripts]\nlcm-daemon = lcm_daemon.__main__:main\n"})})


@pytest.fixture
def net() -> Iterator[Network]:
    with namespace(discovery=False) as network:
        yield network


@pytest.mark.slow
def test_a_bundle_is_set_up_without_a_network(
    net: Network, cache: Path, show: Path, packages: Find, tmp_path: Path
) -> None:
    lines: list[str] = []
    assert command.bundle(str(show), str(tmp_path / "out.pyz"), lines.append, packages) == 0
    assert any(f"python{this_python()} out.pyz" in line for line in lines), lines
    there = tmp_path / "there"
    there.mkdir()
    base = Path(sys.base_prefix, "bin", f"python{this_python()}")
    done = net.popen([str(base), str(tmp_path / "out.pyz")], cwd=there, stdout=subprocess.PIPE,
                     stderr=subprocess.STDOUT, text=True, env={"PATH": "/usr/bin:/bin", "PIP_INDEX_URL": "http://x"})
    output = done.communicate(timeout=120)[0]
    folder = there / "mirror"
    assert done.returncode == 0, output
    assert f"check {folder}/show/mirror.yaml {folder}/models 1" in output
    assert f"service install {folder}/show/mirror.yaml" in output
    run = net.popen([str(folder / "run"), "--seconds", "1"], stdout=subprocess.PIPE, text=True)
    assert run.communicate(timeout=60)[0].strip() == f"run {folder}/show/mirror.yaml --seconds 1 {folder}/models 1"
    folder = folder.rename(there / "moved")
    run = net.popen([str(folder / "run")], stdout=subprocess.PIPE, text=True)
    assert run.communicate(timeout=60)[0].strip() == f"run {folder}/show/mirror.yaml {folder}/models 1"
    snapshot = folder / "models/models--some--model/snapshots" / COMMIT
    found = [path.relative_to(snapshot).as_posix() for path in snapshot.rglob("*") if path.is_file()]
    assert sorted(found) == sorted(NEEDED)
    assert (folder / "models/models--some--model/refs/main").read_text() == COMMIT
    assert not (folder / "wheels").exists()


def test_missing_models_and_files_are_named(cache: Path, show: Path, packages: Find) -> None:
    (cache / "snapshots" / COMMIT / NEEDED[0]).unlink()
    with pytest.raises(LcmDaemonError, match=f"some/model/{NEEDED[0]} are missing or damaged; .*: lcm-daemon pull"):
        command.bundle(str(show), "", print, packages)
    show.write_text("source: {transport: file, path: absent.mp4}\n")
    with pytest.raises(DocumentError, match=r"mirror.yaml:1:\d+: .*absent.mp4"):
        command.bundle(str(show), str(show.with_name("out.pyz")), print, packages)
    show.write_text("nmae: x\n")
    with pytest.raises(DocumentError, match=r"mirror.yaml:1:1: unknown key"):
        command.bundle(str(show), "", print, packages)
    assert not list(show.parent.glob("*.py*"))


def test_a_bundle_does_not_contain_itself(show: Path, packages: Find, monkeypatch: pytest.MonkeyPatch) -> None:
    """The show plays the folder that the bundle is written into."""
    monkeypatch.chdir(show.parent)
    show.write_text("source: {transport: file, path: .}\n")
    monkeypatch.setattr(command, "pip_wheel", lambda folder: wheels.repack(installed(folder, "pip"), folder))
    for _ in range(2):  # the second one replaces the first
        assert command.bundle("mirror.yaml", "", print, packages) == 0
        with zipfile.ZipFile("mirror.pyz") as archive:
            shown = [name for name in archive.namelist() if name.startswith("show/")]
        assert "show/mirror.yaml" in shown
        assert not [name for name in shown if ".pyz" in name or ".bundle" in name]


def test_places_that_cannot_be_written(show: Path, packages: Find, tmp_path: Path) -> None:
    show.write_text("name: x\n")
    with pytest.raises(LcmDaemonError, match="is a folder"):
        command.bundle(str(show), str(tmp_path), print, packages)
    with pytest.raises(LcmDaemonError, match="is a file of the show"):
        command.bundle(str(show), str(show), print, packages)
    assert show.read_text() == "name: x\n"
    with pytest.raises(LcmDaemonError, match="is a device or a pipe"):
        command.bundle(str(show), os.devnull, print, packages)
    with pytest.raises(LcmDaemonError, match=r"absent does not exist"):
        command.bundle(str(show), str(tmp_path / "absent/out.pyz"), print, packages)


def test_errors_of_the_commands(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["bundle", "dmeo"]) == 2
    assert "did you mean 'demo'" in capsys.readouterr().err
    assert main(["unbundle", str(tmp_path / "absent.pyz")]) == 2
    assert "No such file" in capsys.readouterr().err
