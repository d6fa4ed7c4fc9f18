"""WeightFiles: paths of the files of a recipe on this machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lcm_daemon.recipes.checkpoints import SUFFIX


@dataclass(frozen=True)
class WeightFiles:
    """Paths of a recipe's parts.

    model: a diffusers folder (text_encoder/, tokenizer/, ...).
    unet: a folder (that of the transformer in some families), or a .safetensors file that the model's own
        unet/config.json describes.
    vae: a folder, or a .safetensors file.
    second: whether the model has a second text encoder.
    loras, embeddings: files, in the recipe's order.
    controlnets, detectors: folders, by the names of the ControlNets; a ControlNet may be a file.
    adapters, encoders: of the image prompts, files and folders.
    pix2pix: the weights of a pix2pix-turbo, a file.
    checkpoint: a whole model in one file; None if the recipe has none.
    in_checkpoint: the parts that it replaces: "text_encoder", "text_encoder_2", "unet", "vae".
    """

    model: Path
    unet: Path
    vae: Path
    second: bool = False
    loras: tuple[Path, ...] = ()
    embeddings: tuple[Path, ...] = ()
    controlnets: Mapping[str, Path] = field(default_factory=dict)
    detectors: Mapping[str, Path] = field(default_factory=dict)
    adapters: tuple[Path, ...] = ()
    encoders: tuple[Path, ...] = ()
    pix2pix: Path | None = None
    checkpoint: Path | None = None
    in_checkpoint: frozenset[str] = frozenset()

    @property
    def unet_config(self) -> Path:
        """The file that describes the UNet: its own config.json; for a single file the model's."""
        return config_of(self.model / "unet", self.unet)

    @property
    def vae_config(self) -> Path:
        """The file that describes the VAE, as of `unet_config`."""
        return config_of(self.model / "vae", self.vae)


def config_of(folder: Path, place: Path) -> Path:
    """The config.json of a part: in its own folder; of a single file, in the model's folder for that part."""
    return (folder if place.suffix == SUFFIX else place) / "config.json"
