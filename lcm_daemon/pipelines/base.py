"""Pipeline: renders one frame. Pipelines are built, loaded and used in the engine process only."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from lcm_daemon.core.errors import EngineError
from lcm_daemon.core.frame import Pixels, Size, check_pixels
from lcm_daemon.core.live_values import Blend
from lcm_daemon.core.parameters import Values
from lcm_daemon.recipes.recipe import Recipe

if TYPE_CHECKING:
    from lcm_daemon.pipelines.interpolation import Interpolator

Progress = Callable[[str], None]  # accepts one short line: "loading unet", "warming up"


@dataclass(frozen=True)
class Report:
    """Description of a loaded pipeline, for the opening screen, the status and the bench."""

    model: str
    device: str  # "cuda:0 (NVIDIA H100)", "cpu (2 threads)"
    dtype: str
    size: Size  # render size, (width, height)
    upgrade: str = ""  # accelerator worth loading a second time with, beside the pipeline that plays; "" if none


@dataclass(frozen=True)
class DeviceMemory:
    """Memory of the device, in bytes. The engine sends it to the stage every few seconds.

    Attributes:
        free: Not in use by any program.
        total: All of it.
        used: The most that this process has used, with the driver's own share, which is estimated.
        lent: The computer's own memory that Windows has lent because the device's was full.
    """

    free: int
    total: int
    used: int
    lent: int = 0


@dataclass(frozen=True)
class ControlValues:
    """Values of one ControlNet: `control/<name>/weight` and so on."""

    weight: float
    start: float
    end: float
    interval: int


@dataclass(slots=True)  # not frozen: that would double the time to build one, which every frame does
class FrameValues:
    """All parameters that change a rendered frame, with their types. Built once a frame.

    The fields have the names of the parameters. Texts and seeds are blends, because they may be travelling.

    image_prompt: 0 where the recipe has no image prompt.
    image_prompts: by the names of the recipe's image prompts.
    loras: weights of the live LoRAs, by name.
    controlnets: by the names of the recipe's ControlNets.
    """

    mode: str
    steps: int
    strength: float
    mix: float
    guidance: float
    prompt: Blend
    prompt_b: Blend
    blend: float
    negative_prompt: Blend
    seed: Blend
    noise: str
    noise_speed: float
    feedback: float
    smooth: float
    steady: float
    similarity_skip: float
    inpaint: float
    upscale: int
    image_prompt: float
    image_prompts: Mapping[str, float]
    loras: Mapping[str, float]
    controlnets: Mapping[str, ControlValues]

    @staticmethod
    def of(values: Values) -> FrameValues:
        """Read the values of every parameter of a recipe's table."""
        nested = [name for name in values if "/" in name]  # "lora/<name>", "control/<name>/weight" and so on
        return FrameValues(
            mode=str(values["mode"]),
            steps=int(values["steps"]),
            strength=float(values["strength"]),
            mix=float(values["mix"]),
            guidance=float(values["guidance"]),
            prompt=Blend.of(values["prompt"]),
            prompt_b=Blend.of(values["prompt_b"]),
            blend=float(values["blend"]),
            negative_prompt=Blend.of(values["negative_prompt"]),
            seed=Blend.of(values["seed"]),
            noise=str(values["noise"]),
            noise_speed=float(values["noise_speed"]),
            feedback=float(values["feedback"]),
            smooth=float(values["smooth"]),
            steady=float(values["steady"]),
            similarity_skip=float(values["similarity_skip"]),
            inpaint=float(values["inpaint"]),
            upscale=int(values["upscale"]),
            image_prompt=float(values.get("image_prompt", 0.0)),
            image_prompts={name.removeprefix("image_prompt/"): float(values[name]) for name in nested
                           if name.startswith("image_prompt/")},
            loras={name.removeprefix("lora/"): float(values[name]) for name in nested if name.startswith("lora/")},
            controlnets={name.split("/")[1]: _control_values(values, name.removesuffix("/weight")) for name in nested
                         if name.startswith("control/") and name.endswith("/weight")})


def _control_values(values: Values, path: str) -> ControlValues:
    return ControlValues(float(values[f"{path}/weight"]), float(values[f"{path}/start"]),
                         float(values[f"{path}/end"]), int(values[f"{path}/interval"]))


class Pending(Protocol):
    """A frame that was submitted. Its input, guide and output belong to the pipeline until `wait` returns."""

    def wait(self) -> dict[str, float]:
        """Block until `out` holds the picture; return what `Pipeline.render` returns.

        Called once for each frame, in the order of submission, and not always on the thread that submits.
        """
        ...


@dataclass(frozen=True, slots=True)
class Finished:
    """A frame that was rendered while it was submitted."""

    seconds: dict[str, float] = field(default_factory=dict)

    def wait(self) -> dict[str, float]:
        return self.seconds


class Pipeline(ABC):
    """One recipe at one output size.

    Input and output frames have the output size. The pipeline scales to and from its own render size.

    A pipeline has `_render`, which returns when the frame is rendered, or `_submit`, which returns once it is launched.

    Attributes:
        frames_in_flight: The largest number of frames that may be under way at once; known when `load` returns.
        node: Name of the machine that renders, if it is another one; known when `load` returns.
        loads_beside: Another engine renders while this one loads: compile at low priority, and tune nothing that a
            busy device would decide wrongly. Set before `load`.
        returns: It takes the place of an engine that died: be back soon. Set before `load`.
        tunes: The device is its own: choose kernels by measuring them, however long it takes. Set before `load`.
    """

    frames_in_flight: int = 1
    node: str = ""
    loads_beside: bool = False
    returns: bool = False
    tunes: bool = False

    def __init__(self, recipe: Recipe, size: Size) -> None:
        self.recipe, self.size = recipe, size
        self._loaded = False

    def load(self, progress: Progress) -> Report:
        """Load the weights, move them to the device and warm up, so that the first frame is as fast as any other.

        Raises:
            RecipeError: A second attempt will not help (weights missing or corrupt).
        """
        report = self._load(progress)
        self._loaded = True
        return report

    def use_memory(self, slots: NDArray[np.uint8]) -> None:  # noqa: B027 - most pipelines need no preparation
        """Prepare the memory that every later frame, guide and output lies in, such as for direct copies to a device.

        Called once, after `load` and before the first frame. Frames elsewhere in memory must still work.

        Args:
            slots: All of it, uint8 (bytes,), contiguous.
        """

    def close(self) -> None:  # noqa: B027 - as `use_memory`
        """Release what `use_memory` prepared, before that memory is unmapped. No frame is under way or comes later."""

    def submit(self, frame: Pixels, values: Values, out: Pixels, guide: Pixels | None = None,
               session: str = "") -> Pending:
        """Begin to render `frame` into `out`. Alpha is copied unchanged.

        At most `frames_in_flight` frames may be under way.

        Args:
            frame: The input, uint8 (H, W, 4), of the output size.
            values: Every parameter of `recipe.table()`.
            out: The result, uint8 (H, W, 4), of the output size.
            guide: The newest frame of the show's second source, of the output size, or None.
            session: What the frame belongs to: a visitor's session, or "" for the stage's own picture. What a frame
                leaves behind for later ones (feedback, smoothing, ...) is for those of its session alone.
        """
        if not self._loaded:
            raise EngineError("the pipeline is not loaded")
        if not frame.shape == out.shape == (self.size[1], self.size[0], 4):
            raise ValueError(f"frames must have the size {self.size}, got {frame.shape} and {out.shape}")
        self._enter(session)
        return self._submit(check_pixels(frame), values, check_pixels(out), guide)

    def render(self, frame: Pixels, values: Values, out: Pixels, guide: Pixels | None = None,
               session: str = "") -> dict[str, float]:
        """Render `frame` into `out` and wait for it. Arguments as of `submit`.

        Returns:
            Seconds by part ("encode", "denoise", "decode") where the pipeline knows them.
        """
        return self.submit(frame, values, out, guide, session).wait()

    def end_session(self, session: str) -> None:  # noqa: B027 - as `_enter`
        """Drop what the frames of a session have left behind. Called on the thread that submits; frames of it may be
        under way. A later frame of that name begins a new session.
        """

    def compiled(self, seconds: float) -> Mapping[str, str]:
        """Wait up to `seconds` for what compiles in the background; return the accelerator of each part."""
        return {}

    def interpolator(self) -> Interpolator | None:
        """What makes pictures between finished ones; None where nothing does. Called once, on a thread of its own."""
        import torch

        from lcm_daemon.pipelines.interpolation import Interpolator

        return Interpolator(self.recipe, torch.device("cpu"))

    def memory(self) -> DeviceMemory | None:
        """The device's memory; None where that is the computer's own. Called on another thread than `submit`."""
        return None

    def _enter(self, session: str) -> None:  # noqa: B027 - most pipelines remember nothing
        """Prepare for the next `_submit`, whose frame is one of this session."""

    @abstractmethod
    def _load(self, progress: Progress) -> Report: ...

    def _submit(self, frame: Pixels, values: Values, out: Pixels, guide: Pixels | None) -> Pending:
        return Finished(self._render(frame, values, out, guide))

    def _render(self, frame: Pixels, values: Values, out: Pixels, guide: Pixels | None) -> dict[str, float]:
        raise NotImplementedError
