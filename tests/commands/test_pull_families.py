"""Recipes of transformers, each pulled from a hub on loopback whose repository looks like the real one."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest
from huggingface_hub import constants
from huggingface_hub.utils import close_session

from lcm_daemon.cli import main
from lcm_daemon.pipelines.weights import locate
from lcm_daemon.recipes import hub_cache
from lcm_daemon.recipes.reader import load_recipe
from tests.commands.test_pull_recipes import COMMIT, content
from tests.rigs.standin_hub import Repo, StandinHub


def repository(source: str, shards: Mapping[str, int]) -> dict[str, bytes]:
    """Files of a transformer's repository. shards: number of weight files, by folder."""
    names = ["model_index.json", "README.md", "scheduler/scheduler_config.json", "tokenizer/tokenizer.json",
             "tokenizer/tokenizer_config.json", "whole-model.safetensors"]
    files = {name: content(source, name) for name in names}
    for folder, count in shards.items():
        stem = "model" if folder == "text_encoder" else "diffusion_pytorch_model"
        parts = [f"{stem}-{number + 1:05}-of-{count:05}" if count > 1 else stem for number in range(count)]
        files |= {f"{folder}/{part}.safetensors": content(source, f"{folder}/{part}.safetensors") for part in parts}
        files[f"{folder}/config.json"] = b"{}"
        if count > 1:
            index = {"weight_map": {f"layer{number}": f"{part}.safetensors" for number, part in enumerate(parts)}}
            files[f"{folder}/{stem}.safetensors.index.json"] = json.dumps(index).encode()
    return files


@pytest.mark.slow
@pytest.mark.parametrize(("name", "shards"), [
    ("sana-sprint", 1), ("sana-sprint-1.6b", 1), ("flux2-klein", 1), ("z-image-turbo", 3)])
def test_a_family_is_pulled_with_all_shards_and_then_complete(
    name: str, shards: int, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    recipe = load_recipe(name)
    files = repository(recipe.model, {"text_encoder": 2, "transformer": shards, "vae": 1})
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path_factory.mktemp("pulled")))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    with StandinHub({recipe.model: Repo(files, COMMIT)}) as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE",
                            hub.url + "/{repo_id}/resolve/{revision}/{filename}")
        assert main(["pull", name]) == 0, capsys.readouterr()
        close_session()
    assert main(["pull", name, "--offline"]) == 0
    folder = hub_cache.find_snapshot(recipe.model)
    assert folder is not None
    pulled = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert pulled == {file for file in files if "/" in file}
    assert locate(recipe).unet == folder / "transformer"
