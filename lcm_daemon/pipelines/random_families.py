"""Random weights in the architectures of transformers, for `random_weights`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import torch

from lcm_daemon.pipelines.base import Progress
from lcm_daemon.pipelines.components import Components, TextEncoder
from lcm_daemon.pipelines.loras import LiveLoras
from lcm_daemon.pipelines.model_parts import ModelParts, parts_of
from lcm_daemon.pipelines.quick_read import make_empty
from lcm_daemon.recipes.recipe import Recipe

Config = Mapping[str, Any]
Randomize = Callable[[Any, torch.device, torch.dtype], None]


@dataclass(frozen=True)
class FamilyArchitecture:
    """Configurations of a family's parts, by the names in their config.json; what is a default there is left to it.

    variants: of the denoiser, by a part of the model's name on the hub.
    """

    denoiser: Config
    vae: Config
    text: Config
    schedule: Config = field(default_factory=dict)
    variants: Mapping[str, Config] = field(default_factory=dict)


_DEEP: Config = {
    "encoder_block_types": ["ResBlock"] * 3 + ["EfficientViTBlock"] * 3, "upsample_block_type": "interpolate",
    "decoder_block_types": ["ResBlock"] * 3 + ["EfficientViTBlock"] * 3, "downsample_block_type": "Conv",
    "encoder_layers_per_block": [2, 2, 2, 3, 3, 3], "decoder_layers_per_block": [3] * 6,
    "encoder_qkv_multiscales": [[]] * 3 + [[5]] * 3, "decoder_qkv_multiscales": [[]] * 3 + [[5]] * 3,
    "scaling_factor": 0.41407}
_GEMMA: Config = {"vocab_size": 256000, "hidden_size": 2304, "intermediate_size": 9216, "num_hidden_layers": 26,
                  "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256}
_QWEN: Config = {"vocab_size": 151936, "hidden_size": 2560, "intermediate_size": 9728, "num_hidden_layers": 36,
                 "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128}
_FOUR: Config = {"down_block_types": ["DownEncoderBlock2D"] * 4, "up_block_types": ["UpDecoderBlock2D"] * 4,
                 "block_out_channels": [128, 256, 512, 512], "layers_per_block": 2}

ARCHITECTURES: Mapping[str, FamilyArchitecture] = {  # by family
    "sana-sprint": FamilyArchitecture(
        {"guidance_embeds": True, "qk_norm": "rms_norm_across_heads"}, _DEEP, _GEMMA, variants={"0.6B": {
            "num_attention_heads": 36, "num_layers": 28, "num_cross_attention_heads": 16,
            "cross_attention_head_dim": 72, "cross_attention_dim": 1152}}),
    "flux2-klein": FamilyArchitecture(
        {"num_layers": 5, "num_single_layers": 20, "num_attention_heads": 24, "joint_attention_dim": 7680,
         "guidance_embeds": False}, {}, _QWEN, {"use_dynamic_shifting": True}),
    "z-image": FamilyArchitecture(
        {}, {**_FOUR, "latent_channels": 16, "scaling_factor": 0.3611, "shift_factor": 0.1159,
             "use_quant_conv": False, "use_post_quant_conv": False}, _QWEN, {"shift": 3.0}),
}


def make_components(recipe: Recipe, device: torch.device, dtype: torch.dtype, progress: Progress,
                    randomize: Randomize) -> Components:
    """Make what `load_components` loads for a recipe of one of ARCHITECTURES, with random weights."""
    architecture, parts = ARCHITECTURES[recipe.family], parts_of(recipe.family)

    def make(part: str, kind: Any, config: Config) -> Any:
        progress(f"making a random {part}")
        with torch.device(device), _default(dtype):
            model = make_empty(kind, config).eval().requires_grad_(False)
        randomize(model, device, dtype)
        return model

    kinds = first_kinds(parts)
    transformer = make("transformer", kinds[0], denoiser_config(recipe.family, recipe.model))
    vae = make("vae", kinds[1], architecture.vae)
    encoder = make("text encoder", kinds[2], architecture.text)
    for model in (transformer, vae):
        model.to(memory_format=torch.channels_last)
    return Components(
        transformer, vae, (TextEncoder(WordTokenizer(int(architecture.text["vocab_size"])), encoder),),
        {**architecture.schedule, **recipe.schedule}, device, dtype, LiveLoras(transformer, [encoder], {}),
        family=recipe.family)


def first_kinds(parts: ModelParts) -> list[Any]:
    """The classes of denoiser, VAE and text encoder; of several, the first."""
    return [next(iter(kinds.values())) for kinds in (parts.denoisers, parts.vaes, parts.text_encoders)]


def denoiser_config(family: str, model: str) -> Config:
    """Configuration of the denoiser of a model, by its name on the hub."""
    architecture = ARCHITECTURES[family]
    variant = next((config for name, config in architecture.variants.items() if name in model), {})
    return {**architecture.denoiser, **variant}


@contextmanager
def _default(dtype: torch.dtype) -> Iterator[None]:
    """While this is open, new parameters have this dtype."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


class WordTokenizer:
    """A token for each word. Which one does not matter: the time of a frame does not depend on it.

    Its methods are those of transformers' tokenizers, as far as `language_prompts` and `chat_prompts` call them.
    """

    def __init__(self, vocabulary: int) -> None:
        self._vocabulary = vocabulary

    def encode(self, text: str) -> list[int]:
        """Token numbers."""
        return [sum(word.encode()) % self._vocabulary for word in re.findall(r"\S+", text)] or [0]

    def __call__(self, text: str, padding: Any = False, truncation: bool = True, max_length: int = 1,
                 return_offsets_mapping: bool = False) -> Any:
        """Token numbers, attention mask, and where in the text the tokens begin and end."""
        numbers = self.encode(text)[:max_length]
        places = [match.span() for match in re.finditer(r"\S+", text)][:max_length]
        missing = max_length - len(numbers) if padding else 0
        return SimpleNamespace(input_ids=numbers + [0] * missing, offset_mapping=places or [(0, 0)],
                               attention_mask=[1] * len(numbers) + [0] * missing)

    def apply_chat_template(self, messages: Sequence[Mapping[str, str]], **_: Any) -> str:
        """The text itself."""
        return messages[0]["content"]
