"""What the stages share: sizes, a model of real size with random weights, figures, one line of JSON per result.

DEVICE=cpu in the environment runs everything small, without a graphics card.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

DEVICE = os.environ.get("DEVICE", "cuda")
SMALL = DEVICE == "cpu"
WORK = Path(os.environ.get("KIT_WORK") or f"{os.environ.get('TMPDIR', '/tmp')}/lcm-cuda-kit")
RESULTS = Path(os.environ.get("KIT_RESULTS", WORK / "results.jsonl"))
DEADLINE = float(os.environ.get("KIT_DEADLINE", time.time() + 3600))
STAGE = os.environ.get("KIT_STAGE", Path(sys.argv[0]).stem)
SIDE = 128 if SMALL else 512  # of the daemon's output; below 128x112 a test card has no stamp, and no card is seen
RENDER = 64 if SMALL else 512  # of the rendered frames
PACE = 0.15 if SMALL else 1.0  # how long things are watched


def left() -> float:
    """Seconds until this stage has to be over."""
    return DEADLINE - time.time()


def put(name: str, **rows: object) -> None:
    """Print one result and append it to RESULTS."""
    shown = {k: round(v, 4) if isinstance(v, float) else v for k, v in rows.items()}
    print(f"{STAGE}: {name}: " + ", ".join(f"{k} {v}" for k, v in shown.items()), flush=True)
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    with RESULTS.open("a") as file:
        file.write(json.dumps({"stage": STAGE, "name": name, **shown}) + "\n")


def trying(name: str, work, *arguments, **named):
    """Call `work`; report an error as a result, so that the stage continues."""
    try:
        return work(*arguments, **named)
    except Exception as error:  # noqa: BLE001 - each stage is tried for itself
        import traceback
        traceback.print_exc()
        line = (str(error).strip().splitlines() or [""])[0]
        put(name, FAILED=f"{type(error).__name__}: {line}"[:300])
        return None


def figures(seconds) -> dict[str, float]:
    ordered = sorted(seconds)
    if not ordered:
        return {"frames": 0}
    def at(q):
        return ordered[min(len(ordered) - 1, int(q * len(ordered)))] * 1000
    return {"p50_ms": at(0.5), "p99_ms": at(0.99), "max_ms": ordered[-1] * 1000,
            "fps": 1 / max(statistics.mean(ordered), 1e-9), "frames": len(ordered)}


def sync() -> None:
    if not SMALL:
        import torch
        torch.cuda.synchronize()


def memory() -> dict[str, float]:
    """GiB: the most that torch reserved, and what is in use on the whole card."""
    if SMALL:
        return {}
    import torch
    free, total = torch.cuda.mem_get_info()
    return {"torch_gib": torch.cuda.max_memory_reserved() / 2**30, "card_gib": (total - free) / 2**30}


def shrink() -> None:
    """Shrink the architectures to a hundredth of their size, for the CPU."""
    from lcm_daemon.pipelines import random_weights
    table = dict(random_weights.ARCHITECTURES)
    for name, one in table.items():
        xl = one.second is not None
        heads = one.unet["attention_head_dim"]
        unet = {**one.unet, "block_out_channels": (32, 64, 64) if xl else (32, 64, 64, 64),
                "attention_head_dim": heads if isinstance(heads, int) else (1, 2, 2) if xl else (1, 2, 2, 2),
                "cross_attention_dim": 64 if xl else 32, "layers_per_block": 1}
        if xl:
            unet |= {"transformer_layers_per_block": (1, 1, 1), "projection_class_embeddings_input_dim": 6 * 256 + 32}
            unet.pop("reverse_transformer_layers_per_block", None)
        small = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
        text = {**one.text, **small}
        second = {**one.second, **small, "projection_dim": 32} if xl else None
        table[name] = replace(one, unet=unet, text=text, second=second)
    random_weights.ARCHITECTURES, random_weights.make_vae = table, make_small_vae


def make_small_vae(*_):
    import torch
    from diffusers import AutoencoderTiny
    with torch.device("meta"):
        return AutoencoderTiny(encoder_block_out_channels=(16,) * 4, decoder_block_out_channels=(16,) * 4)


def recipe_of(name: str, **changes):
    from lcm_daemon.recipes.reader import load_recipe
    recipe = replace(load_recipe(name), device=DEVICE)
    if SMALL:
        recipe = replace(recipe, size=(RENDER, RENDER))
    return replace(recipe, **changes)


def loading(lora: bool = False):
    """A loader of components with random weights; with `lora`, a live LoRA of rank 16 on all attention layers too."""
    from lcm_daemon.pipelines import random_weights
    if SMALL:
        shrink()

    def load(recipe, device, dtype, progress):
        parts = random_weights.random_components(recipe, device, dtype, progress)
        if not lora:
            return parts
        import torch

        from lcm_daemon.pipelines.lora_file import Factor
        from lcm_daemon.pipelines.loras import LiveLoras
        draw = torch.Generator().manual_seed(1)
        factors = {}
        for path, layer in parts.unet.named_modules():
            if isinstance(layer, torch.nn.Linear) and path.rsplit(".", 1)[-1] in ("to_q", "to_k", "to_v", "0") \
                    and ".attn" in path:
                out, into = layer.weight.shape
                factors[layer] = Factor(torch.randn(out, 16, generator=draw) * 0.01,
                                        torch.randn(16, into, generator=draw) * 0.01)
        return replace(parts, loras=LiveLoras(parts.unet, [], {"kit": factors}))

    return load


def make_cards(size, count: int = 8) -> list[np.ndarray]:
    """The test card at different times, each with a stamp."""
    from lcm_daemon.transports.testcard import Card, Stamp, write_stamp
    card, found = Card(size), []
    for number in range(count):
        pixels = card.draw(number * 0.7)
        write_stamp(pixels, Stamp(number, float(number)))
        found.append(pixels)
    return found


def state_of(pipeline) -> dict[str, object]:
    """How many recordings a pipeline holds, why one was refused, and how many frames overflowed."""
    renderer = pipeline.renderer
    return {"recordings": renderer.recordings, "REFUSED": renderer.refused or False, "broken": renderer.broken.count}


def values_of(recipe, **changes) -> dict:
    return {**recipe.start_values(), "mix": 1.0, "strength": 0.7, "mode": "image", **changes}
