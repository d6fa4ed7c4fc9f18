"""Parts that a recipe may have several of, and the live parameters that they add."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath

from lcm_daemon.core.needs import Condition, Need
from lcm_daemon.core.parameter_table import TABLE
from lcm_daemon.core.parameters import Parameter, Table, in_groups, table_of

LORA_FADER = 2.0  # a LoRA's fader goes to twice the strength that it was trained at, in both directions
LORA_LIMIT = 4.0  # the same of a fader whose recipe starts beyond, and of fader and prompt together


@dataclass(frozen=True)
class Lora:
    """A LoRA: a low-rank addition to the model's weights.

    Attributes:
        model: File, folder or place on the hub.
        weight: 1.0 is the strength it was trained at. Of a live LoRA, the parameter's start value.
        name: With a name it is live, through the parameter `lora/<name>`; without one it is merged at load.
    """

    model: str
    weight: float = 1.0
    name: str = ""


@dataclass(frozen=True)
class ControlNet:
    """A ControlNet, a ControlNet-Union or a T2I-Adapter: makes the render follow shapes.

    Its parameters are `control/<name>/weight` and the like.

    Attributes:
        name: Part of the names of its parameters.
        model: Folder or place on the hub.
        preprocessor: Makes the control map from the frame; "none" if the frame is a control map.
        detector: The preprocessor's own model.
        map: What the map is, in `registry.MAP_KINDS`, for a ControlNet-Union; "auto": the preprocessor tells it.
        source: "input", or "guide", the show's second source.
        weight: Start value of its parameter.
        start: Start value of its parameter.
        end: Start value of its parameter.
        interval: Start value of its parameter.
    """

    name: str
    model: str
    preprocessor: str = "canny"
    detector: str = ""
    map: str = "auto"
    source: str = "input"
    weight: float = 1.0
    start: float = 0.0
    end: float = 1.0
    interval: int = 1


@dataclass(frozen=True)
class ImagePrompt:
    """An image as a prompt (IP-Adapter), through the parameter `image_prompt`, or `image_prompt/<name>` with a name.

    Attributes:
        model: The adapter's file.
        encoder: Folder of its image encoder.
        image: An image file; empty for the live input.
        weight: Start value of its parameter.
        name: Part of the name of its parameter; empty for the only image prompt of a recipe.
    """

    model: str
    encoder: str
    image: str = ""
    weight: float = 0.6
    name: str = ""


@dataclass(frozen=True)
class Pix2Pix:
    """The weights of a pix2pix-turbo, and what makes the map that it paints.

    Attributes:
        model: A .safetensors file; examples/models says how it is made of the published pickle.
        preprocessor: Makes the map from the frame; "none" if the frame is a map.
        detector: The preprocessor's own model.
    """

    model: str
    preprocessor: str = "canny"
    detector: str = ""


@dataclass(frozen=True)
class TextualInversion:
    """A word whose meaning was learned as vectors of the text encoders' input (arXiv:2208.01618).

    Attributes:
        model: File, folder or place on the hub.
        name: The word in prompts; empty for the file's name without its ending, and the word that the file holds.
    """

    model: str
    name: str = ""

    @property
    def word(self) -> str:
        """The word in prompts, in lower case: its name, or that of its file."""
        return (self.name or PurePath(self.model.replace("\\", "/")).stem).lower()


@dataclass(frozen=True)
class Files:
    """What `lcm-daemon pull` fetches from one place on the hub.

    Attributes:
        source: "owner/name".
        files: File names or patterns.
        revision: Branch, tag or commit; empty for the newest.
    """

    source: str
    files: tuple[str, ...]
    revision: str = ""


def table_of_parts(loras: Sequence[Lora], controlnets: Sequence[ControlNet], images: Sequence[ImagePrompt]) -> Table:
    """TABLE and the parameters of these parts."""
    added = [_lora_parameter(lora) for lora in loras if lora.name]
    added += [parameter for control in controlnets for parameter in _controlnet_parameters(control)]
    added += [Parameter(f"image_prompt/{image.name}".rstrip("/"), "float", image.weight,
                        f"Weight of the image prompt {image.name}".rstrip() + ".", 0.0, 2.0, group="Pictures")
              for image in images]
    return in_groups({**TABLE, **table_of(added)})


def _lora_parameter(lora: Lora) -> Parameter:
    reach = LORA_FADER if abs(lora.weight) <= LORA_FADER else LORA_LIMIT
    return Parameter(f"lora/{lora.name}", "float", lora.weight, f"Weight of the LoRA {lora.name}.", -reach, reach,
                     group="LoRA")


_NOT_TEXT_MODE = Need("mode is text", (Condition("mode", values=("image", "control")),))


def _controlnet_parameters(control: ControlNet) -> list[Parameter]:
    path, name = f"control/{control.name}", control.name
    used = (_NOT_TEXT_MODE, Need(f"{path}/weight is 0", (Condition(f"{path}/weight", above=0.0),)))
    return [
        Parameter(f"{path}/weight", "float", control.weight, f"How closely the ControlNet {name} is followed.",
                  0.0, 2.0, group="ControlNet", needs=(_NOT_TEXT_MODE,)),
        Parameter(f"{path}/start", "float", control.start, f"Share of the steps before {name} takes effect.", 0.0, 1.0,
                  group="ControlNet", needs=used),
        Parameter(f"{path}/end", "float", control.end, f"Share of the steps after which {name} is off.", 0.0, 1.0,
                  group="ControlNet", needs=used),
        Parameter(f"{path}/interval", "int", control.interval, f"Frames between two runs of {name}.", 1, 16, "frames",
                  group="ControlNet", needs=used),
    ]
