"""Whether it renders at all: the card, and the built-in model eager and recorded, compared with the CPU in float32."""

from __future__ import annotations

import math
import shutil
import subprocess
import time

import numpy as np

from tests.cuda.kit.common import (
    DEVICE,
    SMALL,
    figures,
    left,
    make_cards,
    put,
    recipe_of,
    state_of,
    trying,
    values_of,
)
from tests.cuda.rig import MOVES


def about() -> None:
    import diffusers
    import huggingface_hub
    import torch
    import transformers
    put("versions", torch=torch.__version__, cuda=torch.version.cuda, diffusers=diffusers.__version__,
        transformers=transformers.__version__, hub=huggingface_hub.__version__, numpy=np.__version__)
    if not SMALL:
        card = torch.cuda.get_device_properties(0)
        ask = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        asked = subprocess.run(ask, capture_output=True, text=True, check=False) if shutil.which(ask[0]) else None
        put("card", name_of_card=card.name, sm=card.multi_processor_count, gib=card.total_memory / 2**30,
            cudnn=torch.backends.cudnn.version(), driver=asked.stdout.strip() if asked else "unknown")


def loaded(**changes):
    from lcm_daemon.pipelines.latent_consistency import LatentConsistency
    recipe = recipe_of("builtin", **changes)
    pipeline = LatentConsistency(recipe, recipe.size)
    begun = time.perf_counter()
    report = pipeline.load(lambda line: None)
    put("load " + report.device + " " + report.dtype + " " + recipe.accelerate, seconds=time.perf_counter() - begun)
    return pipeline


def render(pipeline, frames: int) -> tuple[list[np.ndarray], list[float]]:
    settings, cards = values_of(pipeline.recipe, prompt="lava, glowing red", mix=1.0), make_cards(pipeline.size)
    found, times = [], []
    for move in MOVES:
        settings.update(move)
        for number in range(frames):
            out = np.zeros((pipeline.size[1], pipeline.size[0], 4), np.uint8)
            begun = time.perf_counter()
            pipeline.render(cards[number % len(cards)], settings, out)
            times.append(time.perf_counter() - begun)
            found.append(out)
    return found, times


def compare(name: str, ours: list[np.ndarray], theirs: list[np.ndarray], enough: float) -> None:
    """Compare frames by their PSNR; `enough`: dB that the worst move must reach."""
    each = len(ours) // len(MOVES)
    worst, of = math.inf, {}
    for place, move in enumerate(MOVES):
        span = slice(place * each, (place + 1) * each)
        pairs = zip(ours[span], theirs[span], strict=True)
        apart = np.mean([(a[..., :3].astype(float) - b[..., :3]) ** 2 for a, b in pairs])
        level = 10 * math.log10(255**2 / max(apart, 1e-9))
        if level < worst:
            worst, of = level, move
    put(name, worst_psnr_db=worst, at_move=str(of), ok=worst >= enough,
        grey=float(np.mean([one[..., :3].std() for one in ours])))


def main() -> None:
    trying("about", about)
    frames = 1 if SMALL else 6
    eager = trying("eager", lambda: loaded(accelerate="none", recorded=False))
    found = trying("eager renders", lambda: render(eager, frames)) if eager else None
    if found:
        put("eager", **state_of(eager), **figures(found[1]))
    recorded = trying("recorded", lambda: loaded(accelerate="none", recorded=True))
    again = trying("recorded renders", lambda: render(recorded, frames)) if recorded else None
    if again:
        put("recorded", **state_of(recorded), **figures(again[1]))
    if found and again:
        compare("recorded against eager", again[0], found[0], 45.0)
    if left() < 15 or SMALL:  # without a card, the others are what has just been compared
        return
    best = trying("auto", lambda: loaded(accelerate="auto"))
    chosen = trying("auto renders", lambda: render(best, frames)) if best and found else None
    if chosen:
        put("auto", **state_of(best), plays=str(best.renderer.acceleration.active_names()), **figures(chosen[1]))
        compare("accelerate: auto against eager", chosen[0], found[0], 35.0)
    reference = trying("reference", lambda: loaded(device="cpu", dtype="float32", accelerate="none", recorded=False))
    if reference and found:
        expected = trying("reference renders", lambda: render(reference, frames))
        if expected:
            compare(f"{DEVICE} against the CPU in float32", found[0], expected[0], 30.0)


if __name__ == "__main__":
    main()
