"""Recipes for control networks and distilled models, each pulled from a hub on loopback that has what they list."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator

import pytest
from huggingface_hub import constants
from huggingface_hub.utils import close_session

from lcm_daemon.cli import main
from lcm_daemon.recipes import downloads, hub_cache
from lcm_daemon.recipes.reader import load_recipe
from tests.rigs.standin_hub import Repo, StandinHub

NAMES = ("sdxl-dmd2", "sdxl-lightning-4step", "dreamshaper-8", "dreamshaper-xl-turbo", "sd-turbo-depth",
         "sd-turbo-pose", "sd-turbo-normal", "sd15-tile", "sd15-scribble", "sd15-seg", "sd15-normal", "sdxl-union",
         "sdxl-union-promax", "sdxl-t2i-canny", "sdxl-t2i-sketch", "sd15-t2i-canny", "sd15-tcd", "sdxl-tcd", "sd15-pcm",
         "sdxl-pcm")
COMMIT = "a" * 40


# A name of a tensor by which a file is known for what it is, by a part of its place.
LAYER = "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k"
NAMED = {"t2i": "adapter.body.0.resnets.0.block1.weight", "lora": f"unet.{LAYER}.lora_A.weight",
         "pcm": f"unet.{LAYER}.lora_A.weight", "control": "controlnet_mid_block.weight", "unet": f"{LAYER}.weight",
         "taesd": "encoder.layers.0.weight", "text_encoder": "text_model.final_layer_norm.weight"}


def content(source: str, path: str) -> bytes:
    """A small file of the right kind."""
    if not path.endswith(".safetensors"):
        return b"{}"
    data = path.encode().ljust(2000, b"\0")
    name = next((name for part, name in NAMED.items() if part in f"{source}/{path}".lower()), "weight")
    header = json.dumps({name: {"dtype": "U8", "shape": [20, 100], "data_offsets": [0, len(data)]}}).encode()
    return struct.pack("<Q", len(header)) + header + data


@pytest.fixture(scope="module")
def hub() -> Iterator[StandinHub]:
    """Has every file that these recipes list, under the revisions that they name, and pickles beside them."""
    repos: dict[str, Repo] = {}
    for name in NAMES:
        for files in load_recipe(name).files:
            known = dict(repos[files.source].files) if files.source in repos else {"pytorch_model.bin": b"pickle"}
            revisions = {files.revision: "b" * 40} if files.revision and len(files.revision) != 40 else {}
            commit = files.revision if len(files.revision) == 40 else COMMIT
            listed = {path: content(files.source, path) for path in files.files}
            repos[files.source] = Repo(known | listed, commit, revisions)
    with StandinHub(repos) as running:
        yield running


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_is_pulled_and_then_complete(
    name: str, hub: StandinHub, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    cache = tmp_path_factory.getbasetemp() / "pulled"  # recipes share their base's files
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.url + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    assert main(["pull", name]) == 0, capsys.readouterr()
    assert f"{name}: complete" in capsys.readouterr().out
    close_session()
    asked = len(hub.requests)
    assert main(["pull", name, "--offline"]) == 0
    assert len(hub.requests) == asked
    for needed in downloads.needed_files(load_recipe(name)):
        folder = hub_cache.find_snapshot(needed.source, needed.revision)
        assert folder is not None
        for path in needed.required:
            assert (folder / path).read_bytes() == content(needed.source, path)
        assert not (folder / "pytorch_model.bin").exists()
