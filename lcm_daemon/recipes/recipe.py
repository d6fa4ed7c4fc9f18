"""Recipe: the description of a model as data. It is read from YAML, checked, and sent to the engine.

A recipe names its weights and never fetches them: they are in a folder, or in the local cache of the hub.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from lcm_daemon.core.frame import Size
from lcm_daemon.core.needs import Need
from lcm_daemon.core.parameters import Parameter, Table, Value
from lcm_daemon.recipes.parts import ControlNet, Files, ImagePrompt, Lora, table_of_parts

MAX_IN_FLIGHT = 4  # each frame more adds to the latency; three keep upload, computation and download busy
_HUB = re.compile(r"([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)((?:/[\w.-]+)*)")


@dataclass(frozen=True)
class Recipe:
    """The description of a model.

    Weights are named by an absolute path or a place on the hub ("owner/name", "owner/name/folder/file").

    Attributes:
        name: The name that shows and commands use.
        title: One line for users.
        pipeline: A name in `registry.PIPELINES`.
        model: Weights of the model.
        unet: Weights of another UNet than the model's own; may be empty.
        vae: Weights of another VAE than the model's own; may be empty.
        loras: LoRAs, merged or live.
        controlnets: ControlNets.
        image_prompt: The image prompt, if there is one.
        sampler: A name in `registry.SAMPLERS`.
        schedule: Values that override the model's scheduler_config.json; `pipelines.sampler.Sampler` lists more keys.
        guidance: "embedded" (the UNet takes the scale as an input), "classifier_free" (a second pass with the negative
            prompt if the scale is above 1), or "none" (baked into the weights).
        size: (width, height) of the rendered frames, in pixels.
        device: "auto", "cuda", "cuda:1", "mps", "cpu", or a device of OpenVINO ("openvino:GPU").
        dtype: "auto", "float16", "bfloat16" or "float32".
        accelerate: A name in `registry.ACCELERATOR_CHOICES`.
        in_flight: Largest number of frames under way in the engine, up to MAX_IN_FLIGHT; 0 leaves it to the pipeline.
        recorded: Record frames as CUDA graphs, where the device is one of CUDA.
        stream_batch: One pass of the UNet for all steps; the output is late by as many frames as steps, less one.
        safety: Do not show frames that the safety checker rejects.
        licence: Licences of the weights, for users.
        download: Size of the download, for users ("2.4 GB").
        vram: Memory that it takes on the device, for users ("3 GB").
        parameters: Start values that differ from the parameters' defaults.
        files: What `lcm-daemon pull` fetches.
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
    in_flight: int = 0
    recorded: bool = True
    stream_batch: bool = False
    safety: bool = False
    licence: str = ""
    download: str = ""
    vram: str = ""
    parameters: Mapping[str, Value] = field(default_factory=dict)
    files: tuple[Files, ...] = ()

    def table(self) -> Table:
        """The parameters of this recipe: those of every recipe, and those of its parts."""
        table = table_of_parts(self.loras, self.controlnets, self.image_prompt)
        return {name: replace(parameter, needs=(*self._never(parameter), *parameter.needs))
                for name, parameter in table.items()}

    def _never(self, parameter: Parameter) -> tuple[Need, ...]:
        """Why a parameter never has an effect with this recipe; empty if it may have one."""
        if self.pipeline == "passthrough" and parameter.group != "Master":
            return (Need(f"the recipe {self.name} shows the input untouched"),)
        if parameter.name == "negative_prompt" and self.guidance != "classifier_free":
            return (Need(f"the recipe {self.name} plays, which takes no negative prompt"),)
        if parameter.name == "guidance" and self.guidance == "none":
            return (Need(f"the recipe {self.name} plays, whose guidance is part of its weights"),)
        return ()

    def start_values(self) -> dict[str, Value]:
        """Start values of all its parameters."""
        return {p.name: p.default for p in self.table().values()} | dict(self.parameters)


def split_hub(source: str) -> tuple[str, str] | None:
    """A place on the hub as ("owner/name", "path/inside" or ""); None for a local path."""
    match = None if Path(source).is_absolute() else _HUB.fullmatch(source)
    return (match[1], match[2].removeprefix("/")) if match else None
