"""Models whose files fit their class exactly, and what is left to the libraries."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from lcm_daemon.recipes.weight_folders import find_weights
from tests.rigs.lazy_imports import lazy_imports

with lazy_imports(globals()):
    import torch
    from diffusers import AutoencoderTiny, UNet2DConditionModel
    from safetensors.torch import load_file, save_file
    from transformers import CLIPTextModel

    from lcm_daemon.pipelines.components import read_pretrained
    from lcm_daemon.pipelines.quick_read import read_quickly

Checkpoint = Callable[[str], Path]
PARTS = (("text_encoder", "model", "CLIPTextModel"), ("unet", "diffusion_pytorch_model", "UNet2DConditionModel"),
         ("vae", "diffusion_pytorch_model", "AutoencoderTiny"))


def kind_of(name: str) -> type:
    return {"CLIPTextModel": CLIPTextModel, "UNet2DConditionModel": UNet2DConditionModel,
            "AutoencoderTiny": AutoencoderTiny}[name]


@pytest.mark.parametrize(("part", "file", "kind"), PARTS)
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_model_equals_that_of_its_library(
    checkpoint: Checkpoint, part: str, file: str, kind: str, dtype: str,
) -> None:
    folder, precision = checkpoint("epsilon") / part, getattr(torch, dtype)
    expected = kind_of(kind).from_pretrained(folder, dtype=precision, local_files_only=True)
    assert_equal(read_quickly(kind_of(kind), folder, precision, [folder / f"{file}.safetensors"]), expected)


def assert_equal(read: torch.nn.Module, expected: torch.nn.Module) -> None:
    tensors = dict([*read.named_parameters(), *read.named_buffers()])
    wanted = dict([*expected.named_parameters(), *expected.named_buffers()])
    assert tensors.keys() == wanted.keys()
    assert all(torch.equal(tensors[key], wanted[key]) and tensors[key].dtype == wanted[key].dtype for key in wanted)


@pytest.mark.parametrize(("part", "size"), [("text_encoder", "12KB"), ("unet", "200KB")])
@pytest.mark.parametrize("variant", [None, "fp16"])
def test_shards_equal_what_the_library_reads(
    checkpoint: Checkpoint, part: str, size: str, variant: str | None, tmp_path: Path
) -> None:
    kind = kind_of({"text_encoder": "CLIPTextModel", "unet": "UNet2DConditionModel"}[part])
    precision = torch.float16 if variant else torch.float32
    model = kind.from_pretrained(checkpoint("epsilon") / part, dtype=precision)
    model.save_pretrained(tmp_path, max_shard_size=size, variant=variant)
    files = find_weights(tmp_path, half=bool(variant))
    assert files is not None
    assert len(files.files) > 2
    assert (files.missing, files.variant) == ((), variant)
    assert_equal(read_quickly(kind, tmp_path, precision, files.files), model)
    assert_equal(read_pretrained(kind, tmp_path, precision), model)
    files.files[1].unlink()
    with pytest.raises(ValueError, match=f"{files.files[1].name} is missing"):
        read_pretrained(kind, tmp_path, precision)


def test_anything_unusual_is_left_to_the_library(checkpoint: Checkpoint, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(checkpoint("epsilon") / "unet", tmp_path / "unet"))
    file, config = folder / "diffusion_pytorch_model.safetensors", folder / "config.json"

    def reads() -> bool:
        return read_quickly(UNet2DConditionModel, folder, torch.float32, [file]) is not None

    assert reads()
    assert read_quickly(UNet2DConditionModel, folder, torch.float32, [folder / "absent.safetensors"]) is None
    content = json.loads(config.read_text())
    config.write_text(json.dumps({**content, "quantization_config": {"quant_method": "bitsandbytes"}}))
    assert not reads()
    config.write_text(json.dumps(content))
    tensors = load_file(file)
    save_file({f"old.{key}": tensor for key, tensor in tensors.items()}, file, metadata={"format": "pt"})
    assert not reads()
    file.write_bytes(b"\xff" * 64)
    assert not reads()


def test_threads_are_as_before(checkpoint: Checkpoint) -> None:
    before = torch.get_num_threads()
    folder = checkpoint("epsilon") / "unet"
    read_quickly(UNet2DConditionModel, folder, torch.float16, [folder / "diffusion_pytorch_model.safetensors"])
    assert torch.get_num_threads() == before
