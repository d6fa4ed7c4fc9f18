"""ModelParts: what the models of one family are made of. A frame uses these parts through one interface each.

A family supplies a denoiser (`Denoiser`), a codec between images and latents (`VaeCodec`) and the encoding of prompts
(`PromptEncoder`), and says which classes its files may name. `recipes.registry.FAMILIES` lists the families.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lcm_daemon.pipelines.vae import VaeCodec
from lcm_daemon.recipes.recipe import Recipe
from lcm_daemon.recipes.registry import FAMILIES

if TYPE_CHECKING:
    from lcm_daemon.pipelines.components import Components
    from lcm_daemon.pipelines.denoiser import Denoiser
    from lcm_daemon.pipelines.prompts import PromptEncoder

Kinds = Mapping[str, Any]  # classes, by their name in config.json


class ModelParts(ABC):
    """The parts of one family.

    Attributes:
        denoisers, vaes, text_encoders: The supported classes.
        projects_prompt: Whether layers of the denoiser project the embedded prompt itself, so that `KeptKeys` may keep
            the result.
    """

    denoisers: Kinds
    vaes: Kinds
    text_encoders: Kinds
    projects_prompt: bool = False

    @abstractmethod
    def read_tokenizer(self, folder: Path) -> Any:
        """Read a tokenizer from local files."""

    @abstractmethod
    def make_denoiser(self, model: Any) -> Denoiser:
        """Make the denoiser of a loaded model."""

    @abstractmethod
    def make_prompts(self, components: Components) -> PromptEncoder:
        """Make the encoder of prompts."""

    def make_codec(self, vae: Any) -> VaeCodec:
        """Make the codec of a loaded VAE."""
        return VaeCodec(vae)

    def finish(self, recipe: Recipe, unet: Any, vae: Any, file: Path) -> Any:
        """Change loaded parts by the weights of `recipe.pix2pix`.

        Args:
            recipe: The recipe.
            unet: The denoiser, which may be changed in place.
            vae: The VAE.
            file: Where these weights are.

        Returns:
            The VAE to use.
        """
        return vae

    def fold(self, components: Components, shape: tuple[int, int, int]) -> None:  # noqa: B027 - nothing to fold
        """Save operations without changing the result, where that is known to be faster.

        shape: (channels, height, width) of the latents.
        """


def parts_of(family: str) -> ModelParts:
    """The parts of a family, a name in FAMILIES. Its libraries are imported here, not before."""
    module, _, kind = FAMILIES[family].path.partition(":")
    parts: ModelParts = getattr(importlib.import_module(module), kind)()
    return parts
