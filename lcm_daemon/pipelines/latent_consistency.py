"""LatentConsistency: encode, denoise in a few steps, decode. Image to image, or from the prompt alone."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from lcm_daemon.core.errors import EngineError, RecipeError
from lcm_daemon.core.frame import Pixels, Size, solid
from lcm_daemon.core.parameters import Values
from lcm_daemon.pipelines import device as devices
from lcm_daemon.pipelines import stable_diffusion  # noqa: F401 - a spare engine imports the usual family ahead
from lcm_daemon.pipelines.accelerators import find_upgrade
from lcm_daemon.pipelines.accelerators.compile import is_tuned
from lcm_daemon.pipelines.base import DeviceMemory, FrameValues, Pending, Pipeline, Progress, Report
from lcm_daemon.pipelines.components import ComponentsLoader, load_components
from lcm_daemon.pipelines.cuda_graph import WARM_UPS, CudaGraphs
from lcm_daemon.pipelines.device_frames import DeviceFrames
from lcm_daemon.pipelines.device_memory import MemoryWatch
from lcm_daemon.pipelines.frame_job import FrameJob, Unrendered
from lcm_daemon.pipelines.frame_model import FrameModel
from lcm_daemon.pipelines.host_frames import HostFrames
from lcm_daemon.pipelines.interpolation import Interpolator
from lcm_daemon.pipelines.safety import SafeFrames, SafetyFilter
from lcm_daemon.pipelines.session_memory import SessionMemories
from lcm_daemon.pipelines.shown_frames import BrokenImages, ShownFrames
from lcm_daemon.pipelines.temporal import SimilarityFilter
from lcm_daemon.pipelines.upscaling import Upscaler
from lcm_daemon.pipelines.warm_up import rehearsals
from lcm_daemon.recipes.recipe import Recipe

# Below this strength (one of the 50 levels that latent consistency models are distilled on) nothing is repainted: the
# result would be the input as the VAE blurs it. There the input itself is faded in, so that strength 0 is the untouched
# input and the fader has no jump on the way to it.
FULL_MIX_STRENGTH = 0.02
WARM_UP_FRAMES = 2  # per mode: the first allocates and selects kernels, the second proves it
RECORDED_STEPS = range(1, 5)  # numbers of steps that are recorded at load, so that their fader causes no hitch
IN_FLIGHT = 2  # frames under way on CUDA: while one is computed, the next is ready. More only add to the latency


class LatentConsistency(Pipeline):
    """Any Stable Diffusion 1.x, 2.x or XL model that renders in one to eight steps.

    loader: where the model's parts come from. The bench passes one that makes random weights.
    """

    def __init__(self, recipe: Recipe, size: Size, loader: ComponentsLoader = load_components) -> None:
        super().__init__(recipe, size)
        self._loader = loader
        self._renderer: FrameRenderer | None = None

    @property
    def renderer(self) -> FrameRenderer:
        """The loaded model."""
        if self._renderer is None:
            raise EngineError("the pipeline is not loaded")
        return self._renderer

    def use_memory(self, slots: NDArray[np.uint8]) -> None:
        if self.renderer.on_device is not None:
            self.renderer.on_device.transfer.use_memory(slots)

    def close(self) -> None:
        if self._renderer is not None and self._renderer.on_device is not None:
            self._renderer.on_device.transfer.close()

    @torch.inference_mode()
    def _load(self, progress: Progress) -> Report:
        self._renderer = FrameRenderer(self.recipe, self.size, self._loader, progress, beside=self.loads_beside,
                                       returns=self.returns, tunes=self.tunes)
        self._renderer.warm_up(progress)
        self.frames_in_flight = self._renderer.in_flight
        return self._renderer.report()

    def compiled(self, seconds: float) -> Mapping[str, str]:
        self.renderer.acceleration.wait(seconds)
        return self.renderer.acceleration.active_names()

    def interpolator(self) -> Interpolator:
        return Interpolator(self.recipe, self.renderer.device)

    def memory(self) -> DeviceMemory | None:
        return self.renderer.memory.read()

    @torch.inference_mode()
    def end_session(self, session: str) -> None:
        self.renderer.sessions.end(session)

    @torch.inference_mode()
    def _enter(self, session: str) -> None:
        self.renderer.enter(session)

    @torch.inference_mode()
    def _submit(self, frame: Pixels, values: Values, out: Pixels, guide: Pixels | None) -> Pending:
        return self.renderer.submit(frame, FrameValues.of(values), out, guide)


@dataclass(frozen=True)
class HostMemory:
    """What one session remembers on the host."""

    shown: ShownFrames
    similarity: SimilarityFilter


class FrameRenderer:
    """A loaded model and everything that a frame needs. Loading happens in `__init__`.

    beside, returns, tunes: As `loads_beside`, `returns` and `tunes` of `Pipeline`.

    Attributes:
        memory: The device's memory.
        model: The loaded model.
        in_flight: Largest number of frames under way.
        on_device: Frames on CUDA; None on other devices.
        broken: Counts broken images.
        sessions: What each session remembers.
    """

    def __init__(self, recipe: Recipe, size: Size, loader: ComponentsLoader, progress: Progress, beside: bool = False,
                 returns: bool = False, tunes: bool = False) -> None:
        if recipe.stream_batch and recipe.controlnets:
            raise RecipeError(f"recipe {recipe.name}: stream_batch denoises frames at all steps at once, but a "
                              "ControlNet sees one frame; remove one of the two")
        self.recipe, self.size = recipe, size
        self.device = device = devices.choose_device(recipe)
        searched = devices.NO_SEARCH if returns else devices.SHORT_SEARCH if beside else devices.FULL_SEARCH
        devices.configure(device, searched)
        self.memory = MemoryWatch(device)
        self._precision = devices.choose_precision(recipe, device)
        self.dtype = dtype = self._precision.dtype
        on_cuda = device.type == "cuda"
        tuned = tunes or is_tuned(recipe, device)
        self.model = FrameModel(recipe, loader, device, dtype, progress, on_cuda, tuned, beside)
        self.components, self.acceleration = self.model.components, self.model.acceleration
        self.conditioner, self.sampler = self.model.conditioner, self.model.sampler

        self._safety = SafetyFilter(recipe, device, dtype) if recipe.safety else None
        self._upscaler = upscaler = Upscaler(recipe, size, device, dtype)
        self.broken = BrokenImages()
        self.in_flight = (recipe.in_flight or IN_FLIGHT) if on_cuda else 1
        self.on_device: DeviceFrames | None = None
        if on_cuda:
            self.on_device = DeviceFrames(self.model, size, self._safety, upscaler, self.in_flight, recipe.recorded)
        self._frames = self.on_device or HostFrames(self.model, size, self._safety, upscaler)
        self.sessions = SessionMemories((*self.model.remembering, self._frames), self._make_memory)
        self.enter("")

    @property
    def recordings(self) -> int:
        """Number of CUDA graphs."""
        return sum(graphs.count for graphs in self._all_graphs())

    @property
    def refused(self) -> str:
        """Why a frame could not be recorded; "" while every one could."""
        return next((graphs.refused for graphs in self._all_graphs() if graphs.refused), "")

    def _all_graphs(self) -> list[CudaGraphs]:
        """The recordings of frames and of what runs before one; none where frames are not recorded."""
        every = (self.on_device.graphs, self.on_device.change_graphs) if self.on_device else ()
        return [graphs for graphs in every if graphs is not None]

    def report(self) -> Report:
        """Describe the loaded model."""
        return Report(self.recipe.name, devices.describe(self.device), str(self._precision), self.recipe.size,
                      find_upgrade(self.device))

    def enter(self, session: str) -> None:
        """Let the next frames be those of a session."""
        self._session, self._memory = session, self.sessions.enter(session)

    def submit(self, frame: Pixels, values: FrameValues, out: Pixels, guide: Pixels | None) -> Pending:
        """Begin to render a frame of the session that was entered last, as `Pipeline.submit`."""
        strength = values.strength if values.mode == "image" else 1.0
        mix = values.mix * min(strength / FULL_MIX_STRENGTH, 1.0)
        shown = self._memory.shown
        if mix <= 0.0 and not (self._safety and self._session):  # a visitor's input is shown with its verdict too
            self._frames.forget()
            return Unrendered(lambda: shown.show_input(frame, out))
        if self._memory.similarity.skip(frame, values, guide):
            return Unrendered(lambda: shown.show_last(out))
        return self._frames.submit(FrameJob(frame, guide, out, values, strength, mix, self._session, shown))

    def warm_up(self, progress: Progress) -> None:
        """Render what a show is likely to use, so that the first real frame is as fast as any other.

        All numbers of steps run the same forward pass, so one step is enough; but each number has a CUDA graph of its
        own, and a stream batch has as many samples in a pass. Mode "image" comes first, because it runs all three
        modules: what is compiled while the second mode warms up would invalidate the first one's graph.
        """
        start: Values = self.recipe.start_values() | {"mix": 1.0, "strength": 1.0}
        with self.acceleration.held():
            for mode in ("image", "text"):
                progress(f"warming up {mode}")
                begun, frames = time.perf_counter(), 0
                for changes, count in self._warm_up_frames(start, mode):
                    self._render_blank({**start, "mode": mode, **changes}, count)
                    frames += count
                progress(f"warm: {(time.perf_counter() - begun) / frames * 1000:.0f} ms a frame")
            self._clear()
            self.broken.end_warm_up()
            self.acceleration.loading = False
        devices.end_search(self.device)

    def _warm_up_frames(self, start: Values, mode: str) -> Iterator[tuple[Values, int]]:
        """Changes of the start values, and for how many frames to render them."""
        graphs = self.on_device.graphs if self.on_device else None
        if graphs is None:
            yield {} if self.recipe.stream_batch else {"steps": 1}, WARM_UP_FRAMES
            return
        for steps in dict.fromkeys((int(start["steps"]), *RECORDED_STEPS)):
            # Compilers that work at load may need one frame more before the recording begins.
            yield {"steps": steps}, WARM_UPS + WARM_UP_FRAMES + 1
        if mode == "image":
            yield from rehearsals(self.recipe, start, self._upscaler.factors())

    def _render_blank(self, values: Values, count: int) -> None:
        frame, out = solid(self.size), solid(self.size)
        is_guided = float(values["inpaint"]) > 0.0 or any(
            control.source == "guide" for control in self.recipe.controlnets)
        guide = solid(self.size) if is_guided else None
        for _ in range(count):
            self.submit(frame, FrameValues.of(values), out, guide).wait()

    def _clear(self) -> None:
        """Drop every trace of the warm-up: nothing of it is shown or mixed in, and a walk starts at its seed."""
        self.sessions.clear()
        self.enter("")

    def _make_memory(self) -> HostMemory:
        return HostMemory(ShownFrames(SafeFrames(self.size) if self._safety else None, self.broken), SimilarityFilter())
