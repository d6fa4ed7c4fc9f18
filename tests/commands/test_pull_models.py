"""Pulling what a user's own model needs: a checkpoint's base without weights, shards with their index, a full VAE."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import yaml
from huggingface_hub.utils import close_session

from tests.commands.test_pull import TINY_VAE, WANTED, Here, files_in, model_files, snapshot, write_recipe
from tests.rigs.standin_hub import Repo, StandinHub, weights

UNET_CONFIG = json.dumps({"cross_attention_dim": 768, "in_channels": 4}).encode()
DESCRIPTIONS = {name for name in WANTED if not name.endswith(".safetensors")}
STEM = "unet/diffusion_pytorch_model"
INDEX = f"{STEM}.safetensors.index.json"
SHARDS = [f"{STEM}-0000{number}-of-00002.safetensors" for number in (1, 2)]


@pytest.fixture
def standin() -> Iterator[StandinHub]:
    repos = {"some/model": Repo(model_files() | {"unet/config.json": UNET_CONFIG}),
             "some/tiny-vae": Repo(TINY_VAE, commit="b" * 40)}
    with StandinHub(repos) as running:
        yield running


@pytest.fixture
def here(tmp_path: Path, standin: StandinHub, monkeypatch: pytest.MonkeyPatch,
         capsys: pytest.CaptureFixture[str]) -> Iterator[Here]:
    ready = Here(tmp_path, monkeypatch, capsys)
    ready.use(standin.url)
    yield ready
    close_session()


def over(tmp_path: Path, **changes: object) -> Path:
    """A recipe over another one that lists its files."""
    write_recipe(tmp_path / "base.yaml")
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump({"base": "base.yaml", **changes}))
    return file


def write_checkpoint(file: Path, *parts: str, context: int = 768) -> None:
    """A whole model in one file, as far as its header goes."""
    shapes: dict[str, list[int]] = {
        "model.diffusion_model.input_blocks.0.0.weight": [1, 4, 1, 1],
        "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": [1, context]}
    shapes |= {part: [1] for part in parts}
    rows, place = {}, 0
    for name, shape in shapes.items():
        size = shape[0] * (shape[1] if len(shape) > 1 else 1)
        rows[name] = {"dtype": "U8", "shape": shape, "data_offsets": [place, place + size]}
        place += size
    header = json.dumps(rows).encode()
    file.write_bytes(len(header).to_bytes(8, "little") + header + bytes(place))


TEXT, VAE = "cond_stage_model.transformer.text_model.x", "first_stage_model.encoder.down.0.block.0.conv1.weight"


@pytest.mark.slow
@pytest.mark.parametrize(("parts", "changes", "more"), [
    ((TEXT, VAE), {}, set()),
    ((TEXT, VAE), {"vae": ""}, {"vae/config.json"}),
    ((TEXT,), {"vae": ""}, {"vae/config.json", "vae/diffusion_pytorch_model.safetensors"}),
    ((VAE,), {}, {"text_encoder/model.fp16.safetensors"}),
], ids=["whole", "its own VAE", "without VAE", "without text encoder"])
def test_of_a_checkpoints_base_only_descriptions_are_fetched(
    parts: tuple[str, ...], changes: Mapping[str, object], more: set[str], here: Here, tmp_path: Path
) -> None:
    write_checkpoint(tmp_path / "merge.safetensors", *parts)
    done = here(str(over(tmp_path, checkpoint="merge.safetensors", **changes)))
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("mine: complete\n")
    assert files_in(snapshot(tmp_path)) == DESCRIPTIONS | more


@pytest.mark.slow
def test_a_checkpoint_on_the_hub_is_fetched(standin: StandinHub, here: Here, tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "made", TEXT, VAE)
    standin.repos["some/merges"] = Repo({"a.safetensors": (tmp_path / "made").read_bytes(), "b.safetensors": b"no"},
                                        "c" * 40)
    done = here(str(over(tmp_path, checkpoint="some/merges/a.safetensors")))
    assert done.returncode == 0, done.stderr
    assert files_in(snapshot(tmp_path, "some/merges", "c" * 40)) == {"a.safetensors"}


@pytest.mark.slow
def test_the_full_vae_over_a_base_that_lists_its_files(here: Here, tmp_path: Path) -> None:
    recipe = str(over(tmp_path, vae=""))
    assert here(str(tmp_path / "base.yaml")).returncode == 0
    done = here(recipe)
    assert done.returncode == 0, done.stderr
    assert files_in(snapshot(tmp_path)) == {*WANTED, "vae/config.json", "vae/diffusion_pytorch_model.safetensors"}
    assert here(recipe, "--offline").returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("listed", [False, True])
def test_shards_come_with_their_index(
    half: bool, listed: bool, standin: StandinHub, here: Here, tmp_path: Path
) -> None:
    names = [name.replace("model-", "model.fp16-") if half else name for name in SHARDS]
    index = INDEX.replace("index.json", "index.fp16.json") if half else INDEX
    content = json.dumps({"weight_map": {"a": names[0][5:], "b": names[1][5:]}}).encode()
    files = {name: data for name, data in model_files().items() if not name.startswith(STEM)}
    files |= {**dict.fromkeys(names, weights(2000)), index: content, f"{STEM}.non_ema.safetensors": weights(9000)}
    if half:  # beside those in full precision
        files |= {**dict.fromkeys(SHARDS, weights(4000)), INDEX: b"{}"}
    standin.repos["some/model"] = Repo(files)
    listing = [{"source": "some/model", "files": [*DESCRIPTIONS, "text_encoder/*.safetensors", *names]}]
    recipe = str(write_recipe(tmp_path / "mine.yaml", files=listing if listed else []))
    done = here(recipe)
    assert done.returncode == 0, done.stderr
    found = {name for name in files_in(snapshot(tmp_path)) if name.startswith(STEM)}
    assert found == {*names, index}
    (snapshot(tmp_path) / index).unlink()
    done = here(recipe, "--offline")
    assert (done.returncode, done.stdout.splitlines()[0].split()[-1]) == (1, f"some/model/{index}")


@pytest.mark.slow
def test_weights_that_are_only_pickles_are_said(standin: StandinHub, here: Here, tmp_path: Path) -> None:
    files = {name: data for name, data in model_files().items() if not name.startswith(STEM)}
    standin.repos["some/model"] = Repo(files | {f"{STEM}.bin": b"pickle"})
    done = here(str(write_recipe(tmp_path / "mine.yaml", files=[])))
    assert done.returncode == 2
    assert f"some/model has {STEM}.bin only as a pickle: a pickle can run programs" in done.stderr
    assert standin.downloads() == []


@pytest.mark.slow
def test_what_the_hub_lacks_is_not_advised_again(standin: StandinHub, here: Here, tmp_path: Path) -> None:
    standin.repos["some/model"] = Repo({name: data for name, data in model_files().items() if "vae" not in name})
    done = here(str(over(tmp_path, vae="")))
    assert done.returncode == 2
    assert done.stderr.endswith("recipe mine: the hub has no some/model/vae as .safetensors\n")


@pytest.mark.slow
def test_a_page_that_was_downloaded_by_hand_is_refused(here: Here, tmp_path: Path) -> None:
    (tmp_path / "merge.safetensors").write_text("<!DOCTYPE html><html>Sign in</html>")
    done = here(str(over(tmp_path, checkpoint="merge.safetensors")))
    assert done.returncode == 2
    assert f"recipe mine: checkpoint {tmp_path}/merge.safetensors is an HTML page, not weights" in done.stderr


@pytest.mark.slow
def test_a_checkpoint_of_another_family_names_the_right_base(here: Here, tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "merge.safetensors", TEXT, VAE, context=2048)
    done = here(str(over(tmp_path, checkpoint="merge.safetensors")))
    assert done.returncode == 2
    assert ("is a whole model in one file for SDXL (context 2048), the base's model some/model is SD 1.x "
            "(context 768); the base for it is sdxl-lcm") in done.stderr
