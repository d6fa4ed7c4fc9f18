"""Adapters as peft saves them: a folder with the weights and adapter_config.json, held to peft's own result."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.pipelines.conftest import inference_mode
from tests.rigs import tiny
from tests.rigs.lazy_imports import lazy_imports

with lazy_imports(globals()):
    import peft
    import torch
    from safetensors.torch import load_file, save_file

    from lcm_daemon.pipelines.lora_file import read_lora
    from lcm_daemon.pipelines.lora_settings import AdapterSettings
    from lcm_daemon.pipelines.loras import merge

LAYERS = r".*(attn1\.to_q|attn2\.to_k|ff\.net\.2|mid_block\.resnets\.0\.conv1|proj_in)"
CONFIGS: dict[str, tuple[str, dict[str, Any]]] = {
    "alpha": ("LoraConfig", {"r": 4, "lora_alpha": 32}),
    "patterns": ("LoraConfig", {"r": 4, "lora_alpha": 8, "rank_pattern": {"to_q": 2, r"mid_block\..*conv1": 1},
                                "alpha_pattern": {r"ff\.net\.2": 1, "attn2.to_k": 16}}),
    "rank-stabilised": ("LoraConfig", {"r": 4, "lora_alpha": 6, "use_rslora": True}),
    "dora": ("LoraConfig", {"r": 4, "lora_alpha": 6, "use_dora": True}),
    "loha": ("LoHaConfig", {"r": 4, "alpha": 40, "use_effective_conv2d": True}),
    "lokr": ("LoKrConfig", {"r": 4, "alpha": 6, "use_effective_conv2d": True}),
    "lokr of two products": ("LoKrConfig", {"r": 1, "alpha": 20, "decompose_both": True}),
    "whole lokr": ("LoKrConfig", {"r": 64, "alpha": 32, "alpha_pattern": {"to_q": 16}}),
}


@pytest.fixture(scope="module")
def unet() -> Any:
    torch.manual_seed(0)
    return tiny.make_unet(block_out_channels=(32, 32)).eval().requires_grad_(False)


@inference_mode
def run(unet: Any) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    sample: torch.Tensor = unet(torch.randn(1, 4, 8, 8, generator=generator), torch.tensor([400.0]),
                                torch.randn(1, 16, 32, generator=generator)).sample
    return sample


def saved(unet: Any, folder: Path, kind: str, settings: dict[str, Any], name: str = "default") -> torch.Tensor:
    """Save a random adapter in a folder; return what peft makes of it. The UNet itself stays as it is."""
    copy = type(unet).from_config(unet.config)
    copy.load_state_dict(unet.state_dict())
    config = getattr(peft, kind)(target_modules=LAYERS, **settings)
    model = peft.get_peft_model(copy.eval(), config, adapter_name=name)
    generator = torch.Generator().manual_seed(1)
    for parameter in (parameter for parameter in model.parameters() if parameter.requires_grad):
        drawn = 0.6 * torch.rand(parameter.shape, generator=generator) - 0.3
        parameter.data = drawn if parameter.ndim > 1 else parameter.data * (1 + drawn)
    model.save_pretrained(folder)
    return run(model)


@pytest.mark.parametrize("config", CONFIGS)
def test_a_folder_of_peft_is_read_with_its_settings(config: str, unet: Any, tmp_path: Path) -> None:
    expected = saved(unet, tmp_path, *CONFIGS[config])
    before, plain = {name: tensor.clone() for name, tensor in unet.state_dict().items()}, run(unet)
    content = read_lora(tmp_path / "adapter_model.safetensors", unet, [])
    merge(content, 1.0)
    found = run(unet)
    unet.load_state_dict(before)
    assert content.skipped == ""
    assert (expected - plain).abs().max() > 0.1
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-3)


def test_names_of_adapters_do_not_matter_but_there_may_be_one_only(unet: Any, tmp_path: Path) -> None:
    saved(unet, tmp_path / "one", *CONFIGS["alpha"])
    folder = tmp_path / "one"
    tensors = load_file(folder / "adapter_model.safetensors")
    named = {name.replace(".weight", ".style.weight"): tensor for name, tensor in tensors.items()}
    file = folder / "adapter_model.named.safetensors"
    save_file(named, file)
    plain, styled = (read_lora(each, unet, []) for each in (folder / "adapter_model.safetensors", file))
    assert all(torch.equal(plain.factors[layer].up, factor.up) for layer, factor in styled.factors.items())
    save_file(named | {name: tensor.clone() for name, tensor in tensors.items()}, file)
    with pytest.raises(ValueError, match="it contains several adapters"):
        read_lora(file, unet, [])


@pytest.mark.parametrize("wrong", [
    {"lora_alpha": "much"}, {"lora_alpha": [1]}, {"alpha_pattern": [1]}, {"alpha_pattern": {"(": 1}},
    {"r": 0, "lora_alpha": 1e400}], ids=str)
def test_damaged_settings_are_an_error_of_the_file(wrong: dict[str, Any]) -> None:
    settings = AdapterSettings(wrong)
    if "r" in wrong:
        with pytest.raises(ValueError, match="division by zero"):
            settings.scale("unet", "a.b", 0)
    else:
        with pytest.raises(ValueError):  # noqa: PT011 (its text is Python's)
            settings.scale("unet", "a.b", 4)


def test_other_kinds_of_adapters_are_refused(unet: Any, tmp_path: Path) -> None:
    saved(unet, tmp_path, *CONFIGS["alpha"])
    config = tmp_path / "adapter_config.json"
    for text, words in (({"peft_type": "OFT"}, "an adapter of the kind OFT; supported are LORA, LOHA, LOKR"),
                        ([], "its settings are not a mapping")):
        config.write_text(json.dumps(text))
        with pytest.raises(ValueError, match=words):
            read_lora(tmp_path / "adapter_model.safetensors", unet, [])
