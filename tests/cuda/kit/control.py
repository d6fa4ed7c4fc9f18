"""What a ControlNet costs, beside what its operations let expect: both as a share of a frame without one.

    python -m tests.cuda.kit.control [RECIPE] [--frames N]
"""

from __future__ import annotations

import argparse
import statistics

import torch

from tests.cuda.kit.common import SMALL, loading, make_cards, put, recipe_of, state_of, trying, values_of


def count_operations(pipeline) -> dict[str, float]:
    """Floating-point operations of one pass of each module, in GFLOP, as torch counts them."""
    from torch.utils.flop_counter import FlopCounterMode
    components = pipeline.renderer.components
    unet, vae, device, dtype = components.unet, components.vae, components.device, components.dtype
    width, height = pipeline.recipe.size
    picture = torch.zeros(1, 3, height, width, device=device, dtype=dtype)
    latents = torch.zeros(1, unet.config.in_channels, height // 8, width // 8, device=device, dtype=dtype)
    states = torch.zeros(1, 77, unet.config.cross_attention_dim, device=device, dtype=dtype)
    step = torch.tensor([999.0], device=device)
    works = {"unet": lambda: unet(latents, step, states), "encoder": lambda: vae.encoder(picture),
             "decoder": lambda: vae.decoder(latents)}
    for name, net in components.controlnets.items():
        works[f"controlnet {name}"] = lambda net=net: net(latents, step, states, (picture + 1) / 2)
    found = {}
    with torch.inference_mode():
        for name, work in works.items():
            with FlopCounterMode(display=False) as counter:
                work()
            found[name] = counter.get_total_flops() / 1e9
    return found


def measure(name: str, frames: int) -> None:
    """Blocks of frames without and with the ControlNet, alternately, in flight as in an engine."""
    from lcm_daemon.pipelines.bench_forms import TimedPipeline
    from lcm_daemon.pipelines.latent_consistency import LatentConsistency
    recipe = recipe_of(name, accelerate="none" if SMALL else "auto")
    pipeline = LatentConsistency(recipe, recipe.size, loading())
    pipeline.load(lambda line: print(f"  {line}", flush=True))
    timed, card, depth = TimedPipeline(pipeline), make_cards(recipe.size, 1)[0], pipeline.frames_in_flight
    weights = [f"control/{control.name}/weight" for control in recipe.controlnets]
    forms = {on: values_of(recipe, steps=1, **dict.fromkeys(weights, on)) for on in (0.0, 1.0)}
    times = {on: [] for on in forms}
    for values in forms.values():
        timed.play(card, values, 2 if SMALL else 20)
    for _ in range(1 if SMALL else 10):
        for on, values in forms.items():
            times[on] += [row["frame"] for row in timed.play(card, values, frames + depth)[depth:]]
    plain, controlled = (statistics.median(times[on]) for on in forms)
    operations = count_operations(pipeline)
    nets = sum(count for part, count in operations.items() if part.startswith("controlnet"))
    share, cost = nets / (sum(operations.values()) - nets), controlled / plain - 1
    put(f"{name}: operations", **{f"{part}_gflop": count for part, count in operations.items()})
    put(f"{name}: what the ControlNet adds", time_share=cost, operations_share=share, plain_ms=plain * 1000,
        controlled_ms=controlled * 1000, in_flight=depth, ok=SMALL or cost <= share, **state_of(pipeline))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("recipe", nargs="?", default="sd-turbo-canny")
    parser.add_argument("--frames", type=int, default=1 if SMALL else 20)
    arguments = parser.parse_args()
    trying(arguments.recipe, measure, arguments.recipe, arguments.frames)


if __name__ == "__main__":
    main()
