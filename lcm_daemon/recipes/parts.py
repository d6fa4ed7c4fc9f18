"""Parts of a recipe that may come several times over, and the live parameters that they bring."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lcm_daemon.core.parameter_table import TABLE
from lcm_daemon.core.parameters import Parameter, Table, table_of


@dataclass(frozen=True)
class Lora:
    """A low-rank addition to the model's weights.

    With a name it is live, by the parameter `lora/<name>`; without one it is merged at load.
    weight: 1.0 is as it was trained; of a live one, where its fader starts.
    """

    model: str
    weight: float = 1.0
    name: str = ""


@dataclass(frozen=True)
class ControlNet:
    """Shapes that the picture follows, by the parameters `control/<name>/weight` and its like.

    preprocessor: makes the map from the picture; "none" where the picture is one.   detector: its own model.
    source: "input", or "guide", the show's second source.   weight, start, end, interval: where the faders start.
    """

    name: str
    model: str
    preprocessor: str = "canny"
    detector: str = ""
    source: str = "input"
    weight: float = 1.0
    start: float = 0.0
    end: float = 1.0
    interval: int = 1


@dataclass(frozen=True)
class ImagePrompt:
    """A picture as a prompt (IP-Adapter), by the parameter `image_prompt`.

    model: the adapter's file.   encoder: the folder of its image encoder.   image: a file; "" is the live input.
    weight: where the fader starts.
    """

    model: str
    encoder: str
    image: str = ""
    weight: float = 0.6


@dataclass(frozen=True)
class Files:
    """What `pull` fetches from one place: file names or patterns. An empty revision is the newest."""

    source: str
    files: tuple[str, ...]
    revision: str = ""


def table_of_parts(loras: Sequence[Lora], controlnets: Sequence[ControlNet], image: ImagePrompt | None) -> Table:
    """TABLE, and what these parts add to it."""
    own = [_of_lora(lora) for lora in loras if lora.name]
    own += [parameter for control in controlnets for parameter in _of_control(control)]
    if image is not None:
        own.append(Parameter("image_prompt", "float", image.weight, "How much of the image prompt.", 0.0, 2.0))
    return {**TABLE, **table_of(own)}


def _of_lora(lora: Lora) -> Parameter:
    return Parameter(f"lora/{lora.name}", "float", lora.weight, f"How much of the LoRA {lora.name}.", -2.0, 2.0)


def _of_control(control: ControlNet) -> list[Parameter]:
    path, name = f"control/{control.name}", control.name
    return [
        Parameter(f"{path}/weight", "float", control.weight, f"How firmly the ControlNet {name} holds the shapes.",
                  0.0, 2.0),
        Parameter(f"{path}/start", "float", control.start, f"Share of the steps before {name} sets in.", 0.0, 1.0),
        Parameter(f"{path}/end", "float", control.end, f"Share of the steps after which {name} lets go.", 0.0, 1.0),
        Parameter(f"{path}/interval", "int", control.interval, f"Frames from one look of {name} to the next.", 1, 16,
                  "frames"),
    ]
