"""Recipe: a model set-up as data. Read from YAML, checked with places, handed to the engine as it is.

A recipe names its weights and never fetches them: a folder, or a hub id that is looked up in the local cache alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lcm_daemon.core.frame import Size
from lcm_daemon.core.parameters import Table, Value
from lcm_daemon.recipes.parts import ControlNet, Files, ImagePrompt, Lora, table_of_parts

GRID = 8  # pixels: every VAE of the known families shrinks by this factor

_HUB = re.compile(r"([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)((?:/[\w.-]+)*)")
ACCELERATORS = ("auto", "none", "compile", "tensorrt", "sfast", "onediff", "openvino")
SAMPLERS = ("lcm", "euler", "euler_ancestral", "ddim", "tcd")  # as `pipelines.sampler.KINDS`
PREPROCESSORS = ("canny", "depth", "pose", "softedge", "lineart", "none")


@dataclass(frozen=True)
class Recipe:
    """A model set-up. `name` is how the show calls it.

    model, unet, vae, loras: an absolute path, or a place on the hub ("owner/name", "owner/name/folder/file"). An empty
    unet or vae is the model's own.
    sampler: a kind of `pipelines.sampler`.   schedule: over the model's scheduler_config.json, and what `Sampler` says.
    guidance: "embedded" (the UNet takes the scale as an input), "classifier_free" (a second pass with the negative
    prompt where the scale is above 1), "none" (it is baked into the weights).
    size: (width, height) of rendering, in pixels.   download, vram: for people ("2.4 GB"), as is `licence`.
    accelerate: the accelerator to run it on; "auto" takes the best that is there.
    stream_batch: one pass of the UNet for all steps; as many frames late as there are steps, less one.
    safety: show no frame that the safety checker objects to.
    parameters: values that differ from the parameters' own defaults.   files: what `lcm-daemon pull` fetches.
    """

    name: str
    title: str = ""
    pipeline: str = "latent_consistency"
    model: str = ""
    unet: str = ""
    vae: str = ""
    loras: tuple[Lora, ...] = ()
    controlnets: tuple[ControlNet, ...] = ()
    image_prompt: ImagePrompt | None = None
    sampler: str = "lcm"
    schedule: Mapping[str, float | int | bool | str] = field(default_factory=dict)
    guidance: str = "classifier_free"
    size: Size = (512, 512)
    device: str = "auto"
    dtype: str = "auto"
    accelerate: str = "auto"
    stream_batch: bool = False
    safety: bool = False
    licence: str = ""
    download: str = ""
    vram: str = ""
    parameters: Mapping[str, Value] = field(default_factory=dict)
    files: tuple[Files, ...] = ()

    def table(self) -> Table:
        """The parameters that move this recipe: those of every recipe, and those of its own parts."""
        return table_of_parts(self.loras, self.controlnets, self.image_prompt)

    def start(self) -> dict[str, Value]:
        """Where every parameter starts."""
        return {p.name: p.default for p in self.table().values()} | dict(self.parameters)


def split_hub(source: str) -> tuple[str, str] | None:
    """A place on the hub as ("owner/name", "path/inside" or ""); None for a local path."""
    match = None if Path(source).is_absolute() else _HUB.fullmatch(source)
    return (match[1], match[2].removeprefix("/")) if match else None
