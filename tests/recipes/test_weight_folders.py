"""Which files of a folder are a model's weights: one or several, in full or in half precision."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lcm_daemon.recipes.weight_folders import FolderWeights, choose_variant, find_weights, pickles_in

NAME = "diffusion_pytorch_model"
FULL, HALF = (f"{NAME}.safetensors", f"{NAME}.fp16.safetensors")
INDEX, HALF_INDEX = f"{NAME}.safetensors.index.json", f"{NAME}.safetensors.index.fp16.json"
SHARDS = tuple(f"{NAME}-0000{number}-of-00002.safetensors" for number in (1, 2))
HALVES = tuple(f"{NAME}.fp16-0000{number}-of-00002.safetensors" for number in (1, 2))
OLD_HALVES = tuple(f"{NAME}-0000{number}-of-00002.fp16.safetensors" for number in (1, 2))


def write(folder: Path, *names: str, index: str = "", shards: tuple[str, ...] = ()) -> None:
    for name in names:
        (folder / name).write_bytes(b"x")
    if index:
        weight_map = {str(number): name for number, name in enumerate(shards)}
        (folder / index).write_text(json.dumps({"weight_map": weight_map}))


def found(folder: Path, half: bool) -> tuple[list[str], str | None, tuple[str, ...]]:
    weights = find_weights(folder, half)
    assert weights is not None
    return [file.name for file in weights.files], weights.variant, weights.missing


def test_one_file_in_the_wanted_precision(tmp_path: Path) -> None:
    write(tmp_path, FULL)
    assert found(tmp_path, half=True) == ([FULL], None, ())
    write(tmp_path, HALF, f"{NAME}.non_ema.safetensors")
    assert found(tmp_path, half=True) == ([HALF], "fp16", ())
    assert found(tmp_path, half=False) == ([FULL], None, ())
    (tmp_path / FULL).unlink()
    assert found(tmp_path, half=False) == ([HALF], "fp16", ())


@pytest.mark.parametrize(("index", "shards", "variant"), [
    (INDEX, SHARDS, None), (HALF_INDEX, HALVES, "fp16"), (HALF_INDEX, OLD_HALVES, "fp16")])
def test_shards_and_what_is_missing_of_them(
    index: str, shards: tuple[str, ...], variant: str | None, tmp_path: Path
) -> None:
    write(tmp_path, *shards)
    assert found(tmp_path, half=True) == (list(shards), variant, (index,))
    write(tmp_path, index=index, shards=shards)
    assert found(tmp_path, half=True) == (list(shards), variant, ())
    (tmp_path / shards[1]).unlink()
    assert found(tmp_path, half=True)[2] == (shards[1],)
    (tmp_path / index).write_text("{}")
    assert found(tmp_path, half=True)[2] == (index,)


def test_complete_weights_come_first(tmp_path: Path) -> None:
    write(tmp_path, HALVES[0], FULL, index=HALF_INDEX, shards=HALVES)
    assert found(tmp_path, half=True) == ([FULL], None, ())


@pytest.mark.parametrize("name", [
    "../../secret.safetensors", "/etc/passwd", "..", ".", "", "a\\b.safetensors", "a\0.safetensors",
    "pytorch_model.bin", f"{'x' * 5000}.safetensors"])
def test_an_index_that_names_no_weights_beside_it_is_damaged(name: str, tmp_path: Path) -> None:
    write(tmp_path, index=INDEX, shards=(name,))
    weights = find_weights(tmp_path, half=True)
    assert weights == FolderWeights((), None, (INDEX,), tmp_path / INDEX)


@pytest.mark.parametrize("content", [b"", b"[1]", b"\xff\xfe{", b'{"weight_map": {}}', b"[" * 200_000])
def test_an_index_that_cannot_be_read_is_damaged(content: bytes, tmp_path: Path) -> None:
    (tmp_path / INDEX).write_bytes(content)
    weights = find_weights(tmp_path, half=True)
    assert weights is not None
    assert weights.damaged == tmp_path / INDEX


def test_a_folder_of_pickles_has_no_weights(tmp_path: Path) -> None:
    write(tmp_path, "pytorch_model.bin", "config.json")
    assert find_weights(tmp_path, half=True) is None
    assert pickles_in(tmp_path) == ["pytorch_model.bin"]
    assert pickles_in(tmp_path / "absent") == []


def test_what_is_downloaded_of_a_folder() -> None:
    assert choose_variant([FULL, HALF, f"{NAME}.non_ema.safetensors"]) == [HALF]
    assert choose_variant([FULL, f"{NAME}.non_ema.safetensors"]) == [FULL]
    assert choose_variant([*SHARDS, INDEX]) == [*SHARDS, INDEX]
    assert choose_variant([*SHARDS, INDEX, *HALVES, HALF_INDEX]) == [*HALVES, HALF_INDEX]
    assert choose_variant([*SHARDS, INDEX, *OLD_HALVES, HALF_INDEX]) == [*OLD_HALVES, HALF_INDEX]
    assert choose_variant(["a.safetensors", "b.safetensors"]) == ["a.safetensors", "b.safetensors"]
