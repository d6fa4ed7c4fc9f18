"""The real shapes of transformers, held to the published numbers of parameters; random ones that a picture comes
through."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lcm_daemon.core.frame import solid
from lcm_daemon.recipes.reader import load_recipe
from tests.pipelines.conftest import make_picture
from tests.rigs.lazy_imports import lazy_imports

with lazy_imports(globals()):
    import torch

    from lcm_daemon.pipelines import random_families
    from lcm_daemon.pipelines.latent_consistency import LatentConsistency
    from lcm_daemon.pipelines.model_parts import parts_of
    from lcm_daemon.pipelines.random_families import FamilyArchitecture
    from lcm_daemon.pipelines.random_weights import random_components

# In billions: denoiser, VAE, text encoder. By the models' cards, and by the sizes of their files: two bytes a
# parameter, four for the autoencoder of SANA, 1.25 GB.
PUBLISHED = {"sana-sprint": (0.6, 0.312, 2.61), "sana-sprint-1.6b": (1.6, 0.312, 2.61),
             "flux2-klein": (3.876, 0.084, 4.02), "z-image-turbo": (6.155, 0.084, 4.02)}
TINY: dict[str, Any] = {
    "denoiser": {"in_channels": 4, "out_channels": 4, "num_attention_heads": 2, "attention_head_dim": 8,
                 "num_layers": 1, "num_cross_attention_heads": 2, "cross_attention_head_dim": 8,
                 "cross_attention_dim": 16, "caption_channels": 16, "guidance_embeds": True},
    "vae": {"latent_channels": 4, "attention_head_dim": 8, "encoder_block_out_channels": [8] * 6,
            "decoder_block_out_channels": [8] * 6, "encoder_layers_per_block": [1] * 6,
            "decoder_layers_per_block": [1] * 6, "encoder_qkv_multiscales": [[]] * 6,
            "decoder_qkv_multiscales": [[]] * 6},
    "text": {"vocab_size": 99, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2,
             "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8}}


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_parts_have_their_published_number(name: str) -> None:
    recipe = load_recipe(name)
    architecture, kinds = random_families.ARCHITECTURES[recipe.family], random_families.first_kinds(
        parts_of(recipe.family))
    configs = (random_families.denoiser_config(recipe.family, recipe.model), architecture.vae, architecture.text)
    for kind, config, expected in zip(kinds, configs, PUBLISHED[name], strict=True):
        with torch.device("meta"):
            model = kind.from_config(config) if hasattr(kind, "from_config") else kind(kind.config_class(**config))
        assert sum(one.numel() for one in model.parameters()) / 1e9 == pytest.approx(expected, rel=0.02)


@pytest.mark.slow
def test_a_random_family_renders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random_families, "ARCHITECTURES", {"sana-sprint": FamilyArchitecture(**TINY)})
    recipe = replace(load_recipe("sana-sprint"), size=(64, 64), device="cpu", dtype="bfloat16")
    pipeline = LatentConsistency(recipe, recipe.size, random_components)
    pipeline.load(lambda line: None)
    encoder = pipeline.renderer.components.text_encoders[0].model
    assert encoder.dtype == torch.bfloat16
    assert encoder.rotary_emb.inv_freq.dtype == torch.float32
    seen = []
    for prompt in ("", "a (red:1.2) wave in the ocean"):
        out = solid(recipe.size)
        pipeline.render(make_picture(recipe.size), {**recipe.start_values(), "prompt": prompt}, out, None)
        seen.append(out)
    assert all(float(np.std(out[..., :3])) > 0 for out in seen)
