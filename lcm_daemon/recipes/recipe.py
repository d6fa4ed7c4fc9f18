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
from lcm_daemon.recipes.parts import ControlNet, Files, ImagePrompt, Lora, Pix2Pix, TextualInversion, table_of_parts
from lcm_daemon.recipes.registry import STABLE_DIFFUSION

MAX_IN_FLIGHT = 4  # each frame more adds to the latency; three keep upload, computation and download busy
_HUB = re.compile(r"([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)((?:/[\w.-]+)*)")
# Endings that no repository's name has: "merges/ink.safetensors" is a file in a folder.
_OF_FILES = (".safetensors", ".png", ".jpg", ".jpeg", ".webp")


@dataclass(frozen=True)
class Recipe:
    """The description of a model.

    Weights are named by an absolute path or a place on the hub ("owner/name", "owner/name/folder/file").

    Attributes:
        name: The name that shows and commands use.
        title: One line for users.
        pipeline: A name in `registry.PIPELINES`.
        family: A name in `registry.FAMILIES`: which kinds of parts the model is made of.
        model: Weights of the model.
        checkpoint: A whole model in one file, whose weights replace those of `model`; may be empty.
        unet: Weights of another UNet than the model's own; may be empty.
        vae: Weights of another VAE than the model's own; may be empty.
        loras: LoRAs, merged or live.
        controlnets: ControlNets.
        image_prompt: The image prompt, if there is one without a name.
        image_prompts: Image prompts with names. With these, `image_prompt` is None.
        pix2pix: The weights of a pix2pix-turbo, in the family of that name.
        upscaler: Weights of a network of Real-ESRGAN for the parameter `upscale`; empty for the package's own.
        interpolator: Weights of RIFE for the parameter `interpolate`; empty to move pictures along the motion.
        embeddings: Words that are learned as vectors (textual inversion).
        clip_skip: The layer of the text encoders whose states are used, counted from the last one, which is 1: as
            stable-diffusion-webui, ComfyUI and Civitai count. 0 is the layer that the model was trained with: 1, and 2
            for SDXL, where 1 means 2, too.
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
        origin: What `pull` is given to fetch this recipe: its name, or its file or that of its show. Empty if no
            file has it. It does not count in comparisons.
    """

    name: str
    title: str = ""
    pipeline: str = "latent_consistency"
    family: str = STABLE_DIFFUSION
    model: str = ""
    checkpoint: str = ""
    unet: str = ""
    vae: str = ""
    loras: tuple[Lora, ...] = ()
    controlnets: tuple[ControlNet, ...] = ()
    image_prompt: ImagePrompt | None = None
    image_prompts: tuple[ImagePrompt, ...] = ()
    pix2pix: Pix2Pix | None = None
    upscaler: str = ""
    interpolator: str = ""
    embeddings: tuple[TextualInversion, ...] = ()
    clip_skip: int = 0
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
    origin: str = field(default="", compare=False, repr=False)

    def table(self) -> Table:
        """The parameters of this recipe: those of every recipe, and those of its parts."""
        table = table_of_parts(self.loras, self.controlnets, self.all_image_prompts)
        return {name: replace(parameter, needs=(*self._never(parameter), *parameter.needs))
                for name, parameter in table.items()}

    def _never(self, parameter: Parameter) -> tuple[Need, ...]:
        """Why a parameter never has an effect with this recipe; empty if it may have one."""
        if self.pipeline == "passthrough" and parameter.group != "Master" and parameter.name != "interpolate":
            return (Need(f"the recipe {self.name} shows the input untouched"),)
        if parameter.name == "negative_prompt" and self.guidance != "classifier_free":
            return (Need(f"the recipe {self.name} plays, which takes no negative prompt"),)
        if parameter.name == "guidance" and self.guidance == "none":
            return (Need(f"the recipe {self.name} plays, whose guidance is part of its weights"),)
        if parameter.name == "strength" and self.pix2pix:
            return (Need(f"the recipe {self.name} plays, which always repaints all"),)
        if parameter.name == "inpaint" and self.stream_batch:
            return (Need(f"the recipe {self.name} plays, which has a stream batch"),)
        return ()

    @property
    def all_image_prompts(self) -> tuple[ImagePrompt, ...]:
        """The image prompts, with or without names."""
        return (self.image_prompt,) if self.image_prompt else self.image_prompts

    def with_image(self, name: str, image: str) -> Recipe:
        """The recipe with a file as the image of one of its image prompts; name: "" for the one without a name."""
        changed = [replace(prompt, image=image) if prompt.name == name else prompt for prompt in self.all_image_prompts]
        return replace(self, image_prompt=changed[0]) if self.image_prompt else replace(
            self, image_prompts=tuple(changed))

    def start_values(self) -> dict[str, Value]:
        """Start values of all its parameters."""
        return {p.name: p.default for p in self.table().values()} | dict(self.parameters)


def split_hub(source: str) -> tuple[str, str] | None:
    """A place on the hub as ("owner/name", "path/inside" or ""); None for a local path."""
    match = None if Path(source).is_absolute() else _HUB.fullmatch(source)
    if match is None or (not match[2] and match[1].lower().endswith(_OF_FILES)):
        return None
    return match[1], match[2].removeprefix("/")
