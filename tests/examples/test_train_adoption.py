"""A finished model taken apart is the same model in the training's hands."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.rigs.lazy_imports import lazy_imports

with lazy_imports(globals()):
    import torch
    from diffusers import AutoencoderTiny, ControlNetModel, UNet2DConditionModel

    from examples.train_builtin import controlnet, diffusion, text, vae
    from examples.train_builtin.adoption import adopt
    from examples.train_builtin.train import TARGET

pytestmark = pytest.mark.training



def test_the_shipped_model_goes_on_where_it_stands(tmp_path: Path) -> None:
    adopt(TARGET, tmp_path)
    loaded = {
        "unet": (diffusion.load(tmp_path / "distillation.pt"), UNet2DConditionModel),
        "vae": (vae.load(tmp_path), AutoencoderTiny),
        "controlnet": (controlnet.load(tmp_path, "distillation.pt"), ControlNetModel),
    }
    for name, (ours, kind) in loaded.items():
        shipped = kind.from_pretrained(TARGET / name).float().state_dict()
        assert ours.state_dict().keys() == shipped.keys()
        assert all(torch.equal(tensor, shipped[key]) for key, tensor in ours.state_dict().items()), name
    hidden = text.Captions(tmp_path).encode(["red bricks"])
    assert hidden.isfinite().all()
    assert hidden.dtype is torch.float32, "as the denoiser that it is given to"


def test_what_the_work_folder_has_already_stays(tmp_path: Path) -> None:
    torch.save({"average": {}, "step": 7}, tmp_path / "distillation.pt")
    adopt(TARGET, tmp_path)
    adopt(TARGET, tmp_path)
    assert torch.load(tmp_path / "distillation.pt", weights_only=True)["step"] == 7
