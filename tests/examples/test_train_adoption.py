"""A finished model taken apart is the same model in the training's hands."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.rigs.lazy import Lazy

torch = Lazy("torch")
diffusers = Lazy("diffusers")
adoption = Lazy("examples.train_builtin.adoption")
controlnet = Lazy("examples.train_builtin.controlnet")
diffusion = Lazy("examples.train_builtin.diffusion")
text = Lazy("examples.train_builtin.text")
train = Lazy("examples.train_builtin.train")
vae = Lazy("examples.train_builtin.vae")

pytestmark = pytest.mark.training




def test_the_shipped_model_goes_on_where_it_stands(tmp_path: Path) -> None:
    adoption.adopt(train.TARGET, tmp_path)
    loaded = {
        "unet": (diffusion.load(tmp_path / "distillation.pt"), diffusers.UNet2DConditionModel),
        "vae": (vae.load(tmp_path), diffusers.AutoencoderTiny),
        "controlnet": (controlnet.load(tmp_path, "distillation.pt"), diffusers.ControlNetModel),
    }
    for name, (ours, kind) in loaded.items():
        shipped = kind.from_pretrained(train.TARGET / name).float().state_dict()
        assert ours.state_dict().keys() == shipped.keys()
        assert all(torch.equal(tensor, shipped[key]) for key, tensor in ours.state_dict().items()), name
    assert text.Captions(tmp_path).encode(["red bricks"]).isfinite().all()


def test_what_the_work_folder_has_already_stays(tmp_path: Path) -> None:
    torch.save({"average": {}, "step": 7}, tmp_path / "distillation.pt")
    adoption.adopt(train.TARGET, tmp_path)
    adoption.adopt(train.TARGET, tmp_path)
    assert torch.load(tmp_path / "distillation.pt", weights_only=True)["step"] == 7
