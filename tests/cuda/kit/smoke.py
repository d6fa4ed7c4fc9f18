"""Whether it renders at all: the card, and the built-in model eager and recorded, compared with the CPU in float32."""

from __future__ import annotations

import math
import time

import numpy as np

from tests.cuda.kit.common import DEVICE, SMALL, figures, left, make_cards, put, recipe_of, trying, values_of


def about() -> None:
    import diffusers
    import huggingface_hub
    import torch
    import transformers
    put("versions", torch=torch.__version__, cuda=torch.version.cuda, diffusers=diffusers.__version__,
        transformers=transformers.__version__, hub=huggingface_hub.__version__, numpy=np.__version__)
    if not SMALL:
        card = torch.cuda.get_device_properties(0)
        put("card", name=card.name, sm=card.multi_processor_count, gib=card.total_memory / 2**30,
            cudnn=torch.backends.cudnn.version())


def loaded(**changes):
    from lcm_daemon.pipelines.latent_consistency import LatentConsistency
    recipe = recipe_of("builtin", **changes)
    pipeline = LatentConsistency(recipe, recipe.size)
    begun = time.perf_counter()
    report = pipeline.load(lambda line: None)
    put("load " + report.device + " " + report.dtype + " " + recipe.accelerate, seconds=time.perf_counter() - begun)
    return pipeline


MOVES = [{}, {"strength": 0.4}, {"seed": 5}, {"prompt": "ocean, deep blue"}, {"lora/neon": 0.8}, {"feedback": 0.5},
         {"smooth": 0.6, "feedback": 0.0}, {"steps": 3}, {"steps": 2}, {"mode": "text"}, {"mode": "image"},
         {"control/edges/weight": 1.0}, {"control/edges/weight": 0.0, "smooth": 0.0}, {"mix": 0.5}, {"lora/neon": 0.0}]


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
    eager = trying("eager", lambda: loaded(accelerate="none"))
    found = trying("eager renders", lambda: render(eager, frames)) if eager else None
    if found:
        put("eager", broken=eager.renderer._converter.broken, **figures(found[1]))
    recorded = trying("recorded", lambda: loaded(accelerate="none" if SMALL else "auto"))
    again = trying("recorded renders", lambda: render(recorded, frames)) if recorded else None
    if again:
        graphs = recorded.renderer._graphs
        put("recorded", broken=recorded.renderer._converter.broken, graphs=len(graphs._recordings) if graphs else 0,
            REFUSED=bool(graphs and graphs._is_disabled), **figures(again[1]))
    if found and again:
        compare("recorded against eager", again[0], found[0], 45.0)
    if left() < 15 or SMALL:  # without a card, the reference is what has just been compared
        return
    reference = trying("reference", lambda: loaded(device="cpu", dtype="float32", accelerate="none"))
    if reference and found:
        expected = trying("reference renders", lambda: render(reference, frames))
        if expected:
            compare(f"{DEVICE} against the CPU in float32", found[0], expected[0], 30.0)


if __name__ == "__main__":
    main()
