"""Measure how the finished model is quantised: the range of every convolution's input, on pictures as it plays them.

A layer's range runs from the smallest to the largest value that it ever got, as NNCF's MinMax algorithm has it. NNCF
itself is not used: it names layers by their place in OpenVINO's graph, and a range must find its layer by the path in
the model, whatever the graph around it (LoRAs, ControlNets, another size). Linear layers stay in float: they are small.
"""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from examples.train_builtin.data import BATCH, paint_shard
from examples.train_builtin.evaluation import Model
from examples.train_builtin.judges import HELD_OUT
from examples.train_builtin.words import COLOURS, STYLES, SUBJECTS
from lcm_daemon.core.parameters import Value
from lcm_daemon.pipelines.accelerators.folding import fold_vae
from lcm_daemon.pipelines.accelerators.int8 import FILE, Int8, quantise, read_int8
from lcm_daemon.pipelines.accelerators.upsampling import Upsampling, fold_upsampling
from lcm_daemon.pipelines.latent_consistency import LatentConsistency
from lcm_daemon.pipelines.unet import UNetPass
from lcm_daemon.pipelines.vae import VaeDecoder, VaeEncoder
from lcm_daemon.recipes.reader import load_recipe

SEED, PICTURES = 70_000, 96  # of the calibration; the judges' images begin at HELD_OUT
FOLDERS = {"encoder": "vae", "denoiser": "unet", "decoder": "vae"}
PATHS = {"encoder": "vae.encoder", "denoiser": "unet", "decoder": "vae.decoder"}  # a VAE's halves know each other
KEPT = ("conv_in", "conv_out", "conv_shortcut")  # of the denoiser: half of its error, and little of its time
SPARE = 1.5  # how much further than on these pictures an output may be from the float one before it is refused
SIZE = (256, 256)

Values = dict[str, Value]
Ranges = dict[str, dict[str, tuple[float, float]]]  # by part and path


def calibrate(target: Path) -> dict[str, Int8]:
    """Measure ranges and distances on pictures that training never saw; write int8.json beside the weights."""
    pipeline = load_pipeline(target)
    modules = {part: accelerated.module for part, accelerated in pipeline.renderer.acceleration.parts.items()}
    ranges: Ranges = {part: {} for part in FOLDERS}
    inputs: dict[str, list[tuple[Tensor | None, ...]]] = {part: [] for part in FOLDERS}
    hooks = [layer.register_forward_pre_hook(_watch(ranges[part], path)) for part in FOLDERS
             for path, layer in modules[part].named_modules()
             if isinstance(layer, nn.Conv2d | Upsampling) and path.startswith(PATHS[part]) and not path.endswith(KEPT)]
    hooks += [modules[part].register_forward_pre_hook(_keep(inputs[part])) for part in FOLDERS]
    for picture, values in show(PICTURES, SEED):
        play(pipeline, picture, values)
    for hook in hooks:
        hook.remove()
    found = {part: Int8(ranges[part], _distance(modules[part], ranges[part], inputs[part])) for part in FOLDERS}
    for folder in set(FOLDERS.values()):
        content = {part: {"tolerance": int8.tolerance, "ranges": {path: [round(value, 4) for value in ends]
                                                                 for path, ends in int8.ranges.items()}}
                   for part, int8 in found.items() if FOLDERS[part] == folder}
        (target / folder / FILE).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return found


def compare(target: Path, int8: dict[str, Int8], pictures: int = 100) -> dict[str, float]:
    """Return the PSNR of the quantised model against the float one, in dB, on held-out pictures: mean and smallest."""
    pipeline = load_pipeline(target)
    frames = [*show(pictures, HELD_OUT + 500)]
    expected = [play(pipeline, picture, values) for picture, values in frames]
    for part, accelerated in pipeline.renderer.acceleration.parts.items():
        accelerated.module = quantised(accelerated.module, int8[part])
        accelerated.forget()
    errors = [np.square(play(pipeline, picture, values) - wanted).mean()
              for (picture, values), wanted in zip(frames, expected, strict=True)]
    decibels = [10 * float(np.log10(255**2 / max(error, 1e-6))) for error in errors]
    return {"psnr": float(np.mean(decibels)), "psnr_smallest": min(decibels)}


def quantise_model(model: Model, target: Path) -> None:
    """Quantise a model in place as the daemon plays it on a CPU: folded, with the ranges in int8.json."""
    found = {**read_int8(target / "unet"), **read_int8(target / "vae")}
    fold_vae(model.autoencoder)
    fold_upsampling(model.autoencoder.decoder)
    fold_upsampling(model.unet)
    quantise(UNetPass(model.unet), found["denoiser"])
    quantise(VaeEncoder(model.autoencoder), found["encoder"])
    quantise(VaeDecoder(model.autoencoder), found["decoder"])


def load_pipeline(target: Path) -> LatentConsistency:
    """Load the model folder as the daemon plays it on a CPU, without an accelerator."""
    recipe = load_recipe("builtin")
    loras = tuple(replace(lora, model=str(target / "loras" / Path(lora.model).name)) for lora in recipe.loras)
    controlnets = tuple(replace(control, model=str(target / "controlnet")) for control in recipe.controlnets)
    recipe = replace(recipe, model=str(target), loras=loras, controlnets=controlnets, size=SIZE, device="cpu",
                     dtype="float32", accelerate="none")
    pipeline = LatentConsistency(recipe, SIZE)
    pipeline.load(lambda line: None)
    return pipeline


def show(pictures: int, seed: int) -> Iterator[tuple[np.ndarray[Any, Any], Values]]:
    """Yield pictures (h, w, 4) with what a show might play them with."""
    chance = random.Random(seed)
    painted, _ = paint_shard(seed, -(-pictures // BATCH))
    opaque = np.concatenate([painted, np.full((*painted.shape[:3], 1), 255, np.uint8)], 3)
    for number, picture in enumerate(opaque[:pictures]):
        words = (chance.choice([*COLOURS]), chance.choice([*SUBJECTS]), chance.choice([*STYLES]))
        values: Values = {
            "prompt": "{} {}, {}".format(*words), "strength": chance.uniform(0.2, 0.9), "seed": chance.randrange(1000),
            "steps": chance.choice((1, 2, 2, 2, 4)), "mode": "text" if number % 6 == 5 else "image",
            "lora/neon": chance.choice((0.0, 0.0, 0.5, 1.0)), "lora/ink": chance.choice((0.0, 0.0, 0.5, 1.0)),
            "control/edges/weight": chance.choice((0.0, 0.0, 0.5, 1.0))}
        yield np.ascontiguousarray(picture), values


def play(pipeline: LatentConsistency, picture: np.ndarray[Any, Any], values: Values) -> np.ndarray[Any, Any]:
    """Render one frame: float64 (h, w, 3) from 0 to 255."""
    out = np.zeros_like(picture)
    pipeline.render(picture, {**pipeline.recipe.start_values(), "mix": 1.0, **values}, out)
    return out[..., :3].astype(np.float64)


def quantised(module: nn.Module, int8: Int8) -> nn.Module:
    """Return a quantised copy that shares the weights."""
    shared: dict[int, Any] = {id(tensor): tensor for tensor in (*module.parameters(), *module.buffers())}
    made = copy.deepcopy(module, shared)
    quantise(made, int8)
    return made


def _watch(ranges: dict[str, tuple[float, float]], path: str) -> Any:
    def watch(layer: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        low, high = (float(end) for end in arguments[0].aminmax())
        before = ranges.get(path, (low, high))
        ranges[path] = min(before[0], low), max(before[1], high)

    return watch


def _keep(inputs: list[tuple[Tensor | None, ...]]) -> Any:
    def keep(module: nn.Module, arguments: tuple[Tensor | None, ...]) -> None:
        inputs.append(tuple(None if each is None else each.clone() for each in arguments))

    return keep


@torch.inference_mode()
def _distance(module: nn.Module, ranges: dict[str, tuple[float, float]],
              inputs: list[tuple[Tensor | None, ...]]) -> float:
    """SPARE times the largest distance from the float module's output, relative to its norm."""
    rounded = quantised(module, Int8(ranges, 0.0))
    distances = []
    for arguments in inputs[:: max(len(inputs) // 24, 1)]:
        wanted = module(*arguments)
        distances.append(float((rounded(*arguments) - wanted).norm() / wanted.norm()))
    print("distances", [round(each, 3) for each in sorted(distances)])
    return round(SPARE * max(distances), 3)
