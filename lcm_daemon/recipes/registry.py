"""The parts that recipes name: pipelines, samplers, preprocessors and accelerators. They are declared only here.

The tables are literal and import nothing, so that the schema and the doctor can read them without torch. Plugins add
pipelines and preprocessors, see `core.plugins`. The packages of `lcm_daemon.pipelines` load the classes from the
import paths, "module:Class".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from lcm_daemon.core.plugins import NameTable

_PIPELINES = "lcm_daemon.pipelines"

PIPELINES = NameTable("pipeline", {
    "passthrough": f"{_PIPELINES}.passthrough:Passthrough",
    "timed_copy": f"{_PIPELINES}.timed_copy:TimedCopy",  # for measurements
    "latent_consistency": f"{_PIPELINES}.latent_consistency:LatentConsistency",
})

# Pipelines whose recipes name files of weights.
WITH_WEIGHTS = frozenset({"latent_consistency"})

# Keys of a recipe that name weights which it can do without, and what is done then.
OPTIONAL_WEIGHTS: Mapping[str, str] = {
    "upscaler": "the package's own network is used",
    "interpolator": "pictures are moved along the motion",
}

# Pipelines that judge each picture, where a recipe says `safety: true`.
WITH_SAFETY_CHECKER = frozenset({"latent_consistency"})

PREPROCESSORS = NameTable("preprocessor", {
    "canny": f"{_PIPELINES}.preprocessors.canny:Canny",
    "depth": f"{_PIPELINES}.preprocessors.depth:Depth",
    "pose": f"{_PIPELINES}.preprocessors.pose:Pose",
    "softedge": f"{_PIPELINES}.preprocessors.lines:SoftEdge",
    "lineart": f"{_PIPELINES}.preprocessors.lines:LineArt",
    "scribble": f"{_PIPELINES}.preprocessors.scribble:Scribble",
    "normal": f"{_PIPELINES}.preprocessors.normal:Normal",
    "seg": f"{_PIPELINES}.preprocessors.segmentation:Segmentation",
    "tile": f"{_PIPELINES}.preprocessors.tile:Tile",
    "none": f"{_PIPELINES}.preprocessors.base:NoPreprocessor",
})

# Kinds of control maps that a ControlNet-Union tells apart, with their numbers in its weights; the model of July 2024
# knows the first six, "promax" all eight (https://github.com/xinsir6/ControlNetPlus).
MAP_KINDS: Mapping[str, int] = {
    "pose": 0, "depth": 1, "scribble": 2, "canny": 3, "normal": 4, "seg": 5, "tile": 6, "repaint": 7,
}
_SAME_MAPS: Mapping[str, str] = {"softedge": "scribble", "lineart": "canny"}  # as the model was trained


def kind_of_map(preprocessor: str) -> str:
    """The kind of map, in MAP_KINDS, that a preprocessor makes; "" for one that makes none."""
    kind = _SAME_MAPS.get(preprocessor, preprocessor)
    return kind if kind in MAP_KINDS else ""


@dataclass(frozen=True)
class PackageSupport:
    """A package behind an accelerator, and the versions that its adapter was written for or measured with."""

    package: str
    versions: str


@dataclass(frozen=True)
class AcceleratorEntry:
    """An accelerator: its class, and the packages behind it.

    Attributes:
        path: Import path of the class.
        packages: The packages.
        slow: It compiles for minutes while a recipe loads. A show plays the recipe without it first.
    """

    path: str
    packages: tuple[PackageSupport, ...] = ()
    slow: bool = False


ACCELERATORS: Mapping[str, AcceleratorEntry] = {
    "none": AcceleratorEntry(f"{_PIPELINES}.accelerators.none:NoAccelerator"),
    "compile": AcceleratorEntry(f"{_PIPELINES}.accelerators.compile:Compile", (
        PackageSupport("torch", ">=2.6"),
    ), slow=True),
    "fused": AcceleratorEntry(f"{_PIPELINES}.accelerators.fused:Fused", (
        PackageSupport("triton", "that of torch; on Windows triton-windows. Without it GroupNorm stays torch's"),
    )),
    "fp8": AcceleratorEntry(f"{_PIPELINES}.accelerators.fp8:Fp8", slow=True),
    "openvino": AcceleratorEntry(f"{_PIPELINES}.accelerators.openvino:OpenVino", (
        PackageSupport("openvino", ">=2025.0, measured with 2026.4"),
    )),
    "tensorrt": AcceleratorEntry(f"{_PIPELINES}.accelerators.tensorrt:TensorRt", (
        PackageSupport("torch-tensorrt", "the same version as torch; calls checked against 2.13"),
    ), slow=True),
    "sfast": AcceleratorEntry(f"{_PIPELINES}.accelerators.sfast:StableFast", (
        PackageSupport("stable-fast-pruna", "1.0.8, which needs torch 2.9"),
        PackageSupport("stable-fast", "1.0.5, built from source; not maintained"),
    ), slow=True),
    "onediff": AcceleratorEntry(f"{_PIPELINES}.accelerators.onediff:OneDiff", (
        PackageSupport("onediff", "1.2.0, with oneflow; not maintained"),
    ), slow=True),
}
NONE = "none"  # the accelerator that compiles nothing
QUICK = "fused"  # the accelerator of a quick form: `none` where it does not work, see `RecipeVariant`
AUTO = "auto"  # in place of an accelerator's name: the best one that works here
ACCELERATOR_CHOICES = (AUTO, *ACCELERATORS)


def compiles_for_minutes(accelerator: str) -> bool:
    """Whether a recipe with this accelerator, or with AUTO, keeps a show waiting while it loads."""
    return accelerator != AUTO and ACCELERATORS[accelerator].slow


@dataclass(frozen=True)
class SamplerKind:
    """What distinguishes one sampler from another; `lcm_daemon.pipelines.sampler` has the formulas and their sources.

    Attributes:
        distilled: The timesteps are those of the distillation (`original_inference_steps`), not all of the schedule.
        end: Timestep where the last step ends: the clean image (-1), 0, or what the model's `set_alpha_to_one` says.
        text_noise: Factor of the noise that text mode starts from: 1, or that of the first timestep.
        boundary: The model's output is subject to the boundary conditions of consistency models.
        noise: What becomes of the noise after a step: all new ("fresh"), kept, or mixed ("ancestral", "tcd").
        flow: The schedule of a model of flow matching; "" for one of noise that is added in variance-preserving steps.
        from_input: The model sees the input's latents without noise, at the last timestep, at every strength.
    """

    distilled: bool
    end: Literal["clean", "zero", "config"]
    text_noise: Literal["one", "first"]
    boundary: bool
    noise: Literal["fresh", "kept", "ancestral", "tcd"]
    flow: Literal["", "scm", "shifted", "flux2"] = ""
    from_input: bool = False


SAMPLERS: Mapping[str, SamplerKind] = {
    "lcm": SamplerKind(distilled=True, end="clean", text_noise="one", boundary=True, noise="fresh"),
    "euler": SamplerKind(distilled=False, end="clean", text_noise="first", boundary=False, noise="kept"),
    "euler_ancestral": SamplerKind(
        distilled=False, end="clean", text_noise="first", boundary=False, noise="ancestral"
    ),
    "ddim": SamplerKind(distilled=False, end="config", text_noise="one", boundary=False, noise="kept"),
    "tcd": SamplerKind(distilled=True, end="zero", text_noise="one", boundary=False, noise="tcd"),
    "pix2pix": SamplerKind(
        distilled=False, end="clean", text_noise="first", boundary=False, noise="kept", from_input=True
    ),
    "scm": SamplerKind(distilled=False, end="clean", text_noise="first", boundary=False, noise="fresh", flow="scm"),
    "flow_euler": SamplerKind(
        distilled=False, end="clean", text_noise="first", boundary=False, noise="kept", flow="shifted"
    ),
    "flux2": SamplerKind(distilled=False, end="clean", text_noise="first", boundary=False, noise="kept", flow="flux2"),
}


@dataclass(frozen=True)
class ModelFamily:
    """A family of models: what its parts are, and what a recipe of it may say.

    Attributes:
        title: Its name for users.
        path: Import path of the class that makes its parts, a `pipelines.model_parts.ModelParts`.
        denoiser: Folder of the denoiser in the folder of a model.
        samplers: Names in SAMPLERS.
        guidance: Kinds of guidance.
        step: Sides of a frame are multiples of this, in pixels.
        accelerators: Names in ACCELERATOR_CHOICES.
        refused: Keys of recipes that have no effect with it, and what each of them is for users.
        overflows: In float16; it then runs in bfloat16 or float32.
        emphasis: Its prompts have words with emphasis.
        required: Keys that a recipe must have, and what each of them is for users.
    """

    title: str
    path: str
    denoiser: str
    samplers: tuple[str, ...]
    guidance: tuple[str, ...]
    step: int
    accelerators: tuple[str, ...]
    refused: Mapping[str, str] = field(default_factory=dict)
    overflows: bool = False
    emphasis: bool = True
    required: Mapping[str, str] = field(default_factory=dict)


STABLE_DIFFUSION = "stable-diffusion"  # the family of a recipe that names none
_ONLY_STABLE_DIFFUSION: Mapping[str, str] = {
    "unet": "no other UNet", "loras": "no LoRAs", "controlnets": "no ControlNets", "image_prompt": "no image prompt",
    "image_prompts": "no image prompts",
    "stream_batch": "no stream batch", "checkpoint": "no model in one file",
    "embeddings": "no embeddings", "clip_skip": "no clip_skip", "pix2pix": "no weights of pix2pix-turbo",
}

FAMILIES: Mapping[str, ModelFamily] = {
    STABLE_DIFFUSION: ModelFamily(
        "Stable Diffusion", f"{_PIPELINES}.stable_diffusion:StableDiffusion", "unet",
        samplers=tuple(name for name, kind in SAMPLERS.items() if not (kind.flow or kind.from_input)),
        guidance=("none", "embedded", "classifier_free"), step=8, accelerators=ACCELERATOR_CHOICES,
        refused={"pix2pix": "no weights of pix2pix-turbo, which is a family of its own"}),
    "pix2pix-turbo": ModelFamily(
        "pix2pix-turbo", f"{_PIPELINES}.pix2pix:Pix2PixTurbo", "unet", samplers=("pix2pix",), guidance=("none",),
        step=8, accelerators=(NONE,), required={"pix2pix": "its weights, a .safetensors file"},
        refused={"unet": "no other UNet", "vae": "no other VAE", "checkpoint": "no model in one file",
                 "stream_batch": "no stream batch"}),
    "flux2-klein": ModelFamily(
        "FLUX.2 klein", f"{_PIPELINES}.flux2:Flux2Klein", "transformer", samplers=("flux2",), guidance=("none",),
        step=16, accelerators=(NONE,), refused=_ONLY_STABLE_DIFFUSION, overflows=True, emphasis=False),
    "z-image": ModelFamily(
        "Z-Image", f"{_PIPELINES}.z_image:ZImage", "transformer", samplers=("flow_euler",), guidance=("none",),
        step=16, accelerators=(NONE,), refused=_ONLY_STABLE_DIFFUSION, overflows=True, emphasis=False),
    "sana-sprint": ModelFamily(
        "SANA-Sprint", f"{_PIPELINES}.sana:SanaSprint", "transformer", samplers=("scm",), guidance=("embedded",),
        step=32, accelerators=(NONE,), refused=_ONLY_STABLE_DIFFUSION, overflows=True),
}
