"""ControlNets, ControlNet-Unions and T2I-Adapters: hold the image to the shapes of a control map.

Here all three are called ControlNets; `control_passes.py` has what each kind computes. The control map, and what only
depends on it, are computed once per update, not once per step as in diffusers, and not at all for a ControlNet of
weight 0 or outside its start..end. A frame has two halves. `ControlNets.prepare` decides on the host what runs, and
writes the weights as numbers. `run` and `residuals` then launch what its plan says, on memory that keeps its address,
so they may be part of a recorded frame. Frames with equal plans launch the same kernels.

"guide" is the show's second source. A ControlNet makes its map from the input or from the guide.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from lcm_daemon.core.errors import RecipeError
from lcm_daemon.core.frame import Size
from lcm_daemon.pipelines.base import ControlValues, FrameValues
from lcm_daemon.pipelines.components import Components
from lcm_daemon.pipelines.control_passes import AdapterPass, ControlPass, Residuals, make_pass
from lcm_daemon.pipelines.noise import MAX_STEPS
from lcm_daemon.pipelines.numbers import Numbers
from lcm_daemon.pipelines.preprocessors import build
from lcm_daemon.pipelines.preprocessors.base import Preprocessor
from lcm_daemon.pipelines.session_memory import copies, write_back
from lcm_daemon.recipes.parts import ControlNet
from lcm_daemon.recipes.recipe import Recipe

_PassKey = tuple[int, int]  # step, samples in the batch

# Plans for which start and end must stay the same before a recorded frame leaves out the steps that they exclude. Until
# then these steps run at weight 0: each other range of steps is a recording, and a moving fader would cause many.
SETTLE_PLANS = 60

# Keys that must be equal in the configs of a ControlNet and of the UNet that it was trained with.
_SHARED = ("in_channels", "block_out_channels", "layers_per_block", "cross_attention_dim", "addition_embed_type")


@dataclass
class _Decisions:
    """What the host remembers of one ControlNet from frame to frame.

    has_map: The embedding is that of a map which still counts.
    stored_for: Steps, samples and range that the stored residuals are valid for; None where none are.
    range: Of the steps within start..end.
    still: Plans since the range has changed.
    """

    has_map: bool = False
    stored_for: tuple[int, ...] | None = None
    range: tuple[int, int] = (0, 0)
    still: int = SETTLE_PLANS


_Saved = tuple[_Decisions, Sequence[torch.Tensor], Mapping[_PassKey, Residuals], Any]


@dataclass(frozen=True)
class _PlannedControlNet:
    """What one ControlNet does in a frame.

    number: Its place in the recipe.
    first, end: It runs from step `first` to the one before `end`.
    makes_map: It makes a map and embeds it.
    reads, stores: It takes its residuals from an earlier frame; it stores them for later ones.
    """

    number: int
    first: int
    end: int
    makes_map: bool
    reads: bool
    stores: bool


@dataclass(frozen=True)
class ControlPlan:
    """Everything that decides which kernels the ControlNets of a frame launch. All other values are on the device.

    uses_guide: A map is made of the guide's image.
    is_recordable: Whether the frame may be part of a recording; false while a preprocessor that must not be recorded
        makes a map.
    """

    active: tuple[_PlannedControlNet, ...] = ()
    uses_guide: bool = False
    is_recordable: bool = True

    def at(self, step: int) -> Iterator[_PlannedControlNet]:
        """The ControlNets that run in this step."""
        return (each for each in self.active if each.first <= step < each.end)


class LiveControlNet:
    """One ControlNet of a recipe, its live values and its current map.

    number: its place in the recipe.
    recorded: frames are recorded, so few different plans are better than the shortest one.

    Attributes:
        control: Its declaration in the recipe.
        gates: The current weight for each step, 0 for steps outside of start..end.
        module: The pass.
        run: Calls the pass. May be replaced by a compiled one.
    """

    def __init__(self, number: int, control: ControlNet, module: ControlPass, preprocessor: Preprocessor,
                 recorded: bool) -> None:
        self.number, self.control = number, control
        self.gates = [0.0] * MAX_STEPS
        self.module = module
        self.run: Callable[..., Residuals] = self.module
        self.preprocessor = preprocessor
        self._recorded = recorded
        self._decided = _Decisions()
        self._embedded: Residuals = ()
        self._stored: dict[_PassKey, Residuals] = {}

    def prepare(self, values: ControlValues, steps: int, samples: int, has_source: bool,
                frame: int) -> _PlannedControlNet | None:
        """Decide what runs in this frame; None for nothing."""
        active = [step for step in range(steps) if _is_within(values, step, steps)]
        self.gates[:] = [values.weight if step in active else 0.0 for step in range(MAX_STEPS)]
        first, end = self._settle((active[0], active[-1] + 1) if active else (0, 0), steps)
        decided = self._decided
        if values.weight <= 0.0 or first == end or not (has_source or decided.has_map):
            decided.has_map = False  # a new map is made as soon as it is needed again
            return None
        is_due = has_source and (not decided.has_map or frame % values.interval == 0)
        decided.has_map = True
        if values.interval == 1:
            decided.stored_for = None
            return _PlannedControlNet(self.number, first, end, is_due, reads=False, stores=False)
        if not is_due and self._has_stored(steps, samples, first, end):
            return _PlannedControlNet(self.number, first, end, makes_map=False, reads=True, stores=False)
        decided.stored_for = steps, samples, first, end
        # Residuals for other steps are computed together with a new map: that is the recording which exists.
        return _PlannedControlNet(self.number, first, end, has_source, reads=False, stores=True)

    def save(self) -> _Saved:
        """As of `Remembering`."""
        decided, stored_for = self._decided, self._decided.stored_for
        stored = {(step, samples): copies(residuals) for (step, samples), residuals in self._stored.items()
                  if stored_for is not None and samples == stored_for[1] and stored_for[2] <= step < stored_for[3]}
        return decided, copies(self._embedded) if decided.has_map else (), stored, self.preprocessor.save()

    def restore(self, saved: _Saved | None) -> None:
        """As of `Remembering`."""
        self._decided, embedded, stored, of_preprocessor = saved or (_Decisions(), (), {}, None)
        if embedded:
            write_back(self._embedded, embedded)
        for key, residuals in stored.items():
            write_back(self._stored[key], residuals)
        self.preprocessor.restore(of_preprocessor)

    def _has_stored(self, steps: int, samples: int, first: int, end: int) -> bool:
        stored = self._decided.stored_for
        return stored is not None and stored[:2] == (steps, samples) and stored[2] <= first and end <= stored[3]

    def _settle(self, active: tuple[int, int], steps: int) -> tuple[int, int]:
        """The range of steps to run: all of them while the active range of a recorded frame moves."""
        decided = self._decided
        decided.still = min(decided.still + 1, SETTLE_PLANS) if active == decided.range else 0
        decided.range = active
        return active if not self._recorded or decided.still == SETTLE_PLANS else (0, steps)

    def make_map(self, source: torch.Tensor) -> None:
        """Make the control map of an image, and embed it."""
        embedded = self.module.embed(self.preprocessor.map(source))
        if [one.shape for one in self._embedded] != [one.shape for one in embedded]:
            self._embedded = tuple(map(torch.empty_like, embedded))
        write_back(self._embedded, embedded)

    def residuals(self, plan: _PlannedControlNet, step: int, sample: torch.Tensor, timestep: torch.Tensor,
                  states: torch.Tensor, pooled: torch.Tensor | None, ids: torch.Tensor | None) -> Residuals:
        """Residuals at weight 1, computed or stored."""
        key, keeps_itself = (step, len(sample)), self.module.is_adapter
        if plan.reads and not keeps_itself:
            return self._stored[key]
        if not keeps_itself and self._embedded[0].shape[-2:] != sample.shape[-2:]:
            raise RecipeError(f"controlnet {self.control.name}: it scales images down by another factor than the VAE")
        residuals = self.run(sample, timestep, states, self._embedded, pooled, ids)
        if plan.stores and not keeps_itself:  # a copy: a captured pass overwrites its last result with the next one
            for own, each in zip(_memory_for(self._stored, key, residuals), residuals, strict=True):
                own.copy_(each)
        return residuals


class ControlNets:
    """All ControlNets of a recipe.

    size: render size, (width, height).
    numbers: where the weights are written to.
    recorded: frames are recorded.
    """

    def __init__(self, components: Components, recipe: Recipe, size: Size, numbers: Numbers,
                 recorded: bool = False) -> None:
        self.controlnets = [_make(components, recipe, number, recorded) for number in range(len(recipe.controlnets))]
        self._shape = (1, 3, size[1], size[0])
        self._gates = numbers.reserve(len(self.controlnets) * MAX_STEPS)
        self._weights = torch.zeros(len(self.controlnets), MAX_STEPS, device=components.device, dtype=components.dtype)
        self._sums: dict[tuple[bool, int], Residuals] = {}  # by T2I-Adapter or not, and number of samples in the batch
        self._frame = 0

    def prepare(self, values: FrameValues, samples: int, has_guide: bool) -> ControlPlan:
        """Decide what runs in this frame, and write the weights. Call once a frame, before the numbers are sent.

        Each ControlNet makes its map every `interval` frames; several of them do so in different frames. One whose
        source is the guide has no effect until the guide has sent a frame.

        Args:
            values: Those of the frame. In mode "text" nothing runs.
            samples: Samples in a pass of the UNet; with classifier-free guidance a batch of two.
            has_guide: Whether `run` will be given an image of the guide.
        """
        if not self.controlnets or values.mode == "text":
            return ControlPlan()
        planned = []
        for each in self.controlnets:
            has_source = has_guide or each.control.source != "guide"
            planned.append(each.prepare(values.controlnets[each.control.name], values.steps, samples, has_source,
                                        self._frame + each.number))
        self._frame += 1
        self._gates.write([gate for each in self.controlnets for gate in each.gates])
        active = tuple(one for one in planned if one is not None)
        makers = [self.controlnets[one.number] for one in active if one.makes_map]
        return ControlPlan(active, any(each.control.source == "guide" for each in makers),
                           all(each.preprocessor.is_recordable for each in makers))

    def save(self) -> tuple[int, Sequence[_Saved]] | None:
        """As of `Remembering`: the number of frames, and what each ControlNet remembers."""
        return (self._frame, [each.save() for each in self.controlnets]) if self._frame else None

    def restore(self, saved: tuple[int, Sequence[_Saved]] | None) -> None:
        """As of `Remembering`. With None the next frame makes new maps."""
        self._frame = 0 if saved is None else saved[0]
        for number, each in enumerate(self.controlnets):
            each.restore(None if saved is None else saved[1][number])

    @torch.inference_mode()
    def run(self, plan: ControlPlan, image: torch.Tensor, guide: torch.Tensor | None) -> None:
        """Make the maps that are due. Call before the steps.

        image, guide: (1, 3, h, w) of the render size, from -1 to 1.
        """
        if not plan.active:
            return
        for source in (image, guide):
            if source is not None and source.shape != self._shape:
                raise ValueError(f"an image must have the shape {self._shape}, got {tuple(source.shape)}")
        self._weights.copy_(self._gates.tensor.view(self._weights.shape))
        for planned in plan.active:
            each = self.controlnets[planned.number]
            source = guide if each.control.source == "guide" else image
            if planned.makes_map and source is not None:
                each.make_map(source)

    @torch.inference_mode()
    def residuals(self, plan: ControlPlan, step: int, sample: torch.Tensor, timestep: torch.Tensor,
                  states: torch.Tensor, pooled: torch.Tensor | None = None,
                  ids: torch.Tensor | None = None) -> Residuals:
        """Compute what to add in the UNet at one step.

        Args:
            plan: The frame's.
            step: From 0.
            sample: As the UNet gets it, in its dtype; with classifier-free guidance a batch of two.
            timestep: As the UNet gets it.
            states: As the UNet gets them.
            pooled: As the UNet gets it.
            ids: As the UNet gets them.

        Returns:
            Weighted sums: those of ControlNets, then those of T2I-Adapters, as `UNetPass` takes them; () where none is
            active. The next call overwrites them.
        """
        sums: dict[bool, Residuals] = {}
        for planned in plan.at(step):
            each, weight = self.controlnets[planned.number], self._weights[planned.number, step]
            residuals = each.residuals(planned, step, sample, timestep, states, pooled, ids)
            kind = each.module.is_adapter
            is_first = kind not in sums
            sums[kind] = _memory_for(self._sums, (kind, len(sample)), residuals)
            for total, residual in zip(sums[kind], residuals, strict=True):
                if is_first:
                    torch.mul(residual, weight, out=total)
                else:
                    total.addcmul_(residual, weight)
        return sums.get(False, ()) + sums.get(True, ())


def _is_within(values: ControlValues, step: int, steps: int) -> bool:
    """Whether a step is within start..end, by the rule of diffusers' controlnet_keep."""
    return not (step / steps < values.start or (step + 1) / steps > values.end)


def _make(components: Components, recipe: Recipe, number: int, recorded: bool) -> LiveControlNet:
    control = recipe.controlnets[number]
    network = components.controlnets[control.name]
    module = make_pass(control, network, recipe.size, f"recipe {recipe.name}: controlnet {control.name}")
    for key in () if isinstance(module, AdapterPass) else _SHARED:
        of_network, of_unet = getattr(network.config, key), getattr(components.unet.config, key)
        if of_network != of_unet:
            raise RecipeError(f"recipe {recipe.name}: controlnet {control.name} is for another family of models: "
                              f"its {key} is {of_network}, the UNet's {of_unet}")
    if isinstance(module, AdapterPass) and not module.fits(components.unet.config):
        raise RecipeError(f"recipe {recipe.name}: controlnet {control.name} is a T2I-Adapter for another family of "
                          f"models: its levels have {network.config.channels} channels, the UNet's blocks "
                          f"{list(components.unet.config.block_out_channels)}")
    preprocessor = build(control, recipe, components.device, components.dtype)
    return LiveControlNet(number, control, module, preprocessor, recorded)


def _memory_for(memory: dict[Any, Residuals], key: Any, like: Residuals) -> Residuals:
    """Tensors for such residuals, always the same ones for a key."""
    if key not in memory:
        memory[key] = tuple(torch.empty_like(each) for each in like)
    return memory[key]
