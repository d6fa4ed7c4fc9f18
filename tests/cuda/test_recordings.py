"""CUDA graphs on a card: the recorded frames are those of eager modules, none is refused, and memory stays flat."""

from __future__ import annotations

import pytest

from lcm_daemon.core.frame import Pixels, solid
from tests.cuda.rig import MOVES, Place, cards, contrast, loaded, psnr, render_moves, used_memory, values_of
from tests.rigs.lazy_imports import lazy_imports

with lazy_imports(globals()):
    from lcm_daemon.pipelines.latent_consistency import LatentConsistency

pytestmark = pytest.mark.slow

ENOUGH = 45.0  # dB: both run the same kernels, but cuDNN may choose others, and half precision has 11 bits
GROWTH = 32.0  # MiB


def test_recorded_frames_equal_eager_ones_through_every_move(place: Place) -> None:
    """Steps, strength, seed, lengths of prompts, LoRA, ControlNet, mode, feedback, smoothing and mix."""
    eager = loaded(place.recipe(accelerate="none", recorded=False))
    expected = render_moves(eager, place)
    recorded = loaded(place.recipe(accelerate="none", recorded=True))
    found = render_moves(recorded, place)
    levels = [psnr(ours, theirs) for ours, theirs in zip(found, expected, strict=True)]
    for move, level in zip(place.moves, levels, strict=True):
        print(f"{level:5.1f} dB  {move!s:.90}")
    assert min(levels) >= ENOUGH
    assert all(contrast(pictures[-1]) > 5 for pictures in found), "no grey or black pictures"
    assert eager.renderer.broken.count == recorded.renderer.broken.count == 0, "frames that overflowed"
    assert recorded.renderer.refused == "", "why a recording was refused"
    assert (recorded.renderer.recordings > 0) == place.is_card
    assert eager.renderer.recordings == 0


def test_enlarged_frames_are_recorded_and_equal_eager_ones(place: Place) -> None:
    """Twice the size of what is rendered, by the package's network and without it."""
    found: list[list[Pixels]] = []
    for recorded in (False, True):
        recipe = place.recipe(accelerate="none", recorded=recorded)
        pipeline = LatentConsistency(recipe, (recipe.size[0] * 2, recipe.size[1] * 2))
        pipeline.load(lambda line: None)
        found.append([])
        for number in range(2 * place.frames):
            settings = values_of(recipe, prompt="lava, glowing red", upscale=1 + number // place.frames)
            found[-1].append(solid(pipeline.size))
            pipeline.render(cards(pipeline.size, 1)[0], settings, found[-1][-1])
        assert pipeline.renderer.refused == ""
    assert psnr(*found) >= ENOUGH
    assert psnr(found[0][:1], found[0][-1:]) < 99.0, "it has an effect"


def test_memory_stays_flat_while_everything_moves(place: Place) -> None:
    """2,000 frames; what is measured first is after every kind of frame has been recorded."""
    frames, warm = (2000, 600) if place.is_card else (30, 15)
    pipeline = loaded(place.recipe(accelerate="none"))
    pictures, out = cards(pipeline.size), cards(pipeline.size, 1)[0]
    settings, texts = values_of(pipeline.recipe), ("lava", "ocean, deep blue", "clouds", MOVES[4]["prompt"])
    before: dict[str, float] = {}
    for number in range(frames):
        settings |= {"seed": number, "strength": 0.3 + 0.5 * (number % 50) / 50, "lora/neon": (number % 40) / 40,
                     "prompt": texts[number // 40 % len(texts)], "steps": 1 + number // 20 % 3,
                     "feedback": 0.3 * (number // 60 % 2), "control/edges/weight": float(number // 160 % 2)}
        pipeline.render(pictures[number % len(pictures)], settings, out)
        before = used_memory(place) if number == warm else before
    after = used_memory(place)
    print({name: (round(before[name], 1), round(after[name], 1)) for name in after})
    assert all(after[name] - before[name] < GROWTH for name in after)
