"""Which files a recipe needs from the hub."""

from __future__ import annotations

import pytest

from lcm_daemon.recipes.downloads import needed_files
from lcm_daemon.recipes.parts import Lora
from lcm_daemon.recipes.recipe import Recipe


@pytest.mark.parametrize(("model", "required", "optional"), [
    ("owner/style", (), ("*.safetensors", "adapter_config.json")),
    ("owner/style/adapter_model.safetensors", ("adapter_model.safetensors",), ("adapter_config.json",)),
    ("owner/style/deep/adapter_model.safetensors", ("deep/adapter_model.safetensors",), ("deep/adapter_config.json",)),
    ("owner/style/ink.safetensors", ("ink.safetensors",), ()),
])
def test_the_settings_of_an_adapter_come_with_it(model: str, required: tuple[str, ...],
                                                 optional: tuple[str, ...]) -> None:
    """Without them its alpha is unknown."""
    recipe = Recipe("own", loras=(Lora(model),))
    needed = next(needed for needed in needed_files(recipe) if needed.source == "owner/style")
    assert (needed.required, needed.optional) == (required, optional)
