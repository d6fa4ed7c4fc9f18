"""torch.compile on a card: the compiled frames are close to the eager ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from lcm_daemon.core.frame import Pixels
from tests.cuda.rig import Place, cards, loaded, psnr, values_of
from tests.rigs.lazy_imports import lazy_imports
from tests.rigs.tiny import recipe_of

with lazy_imports(globals()):
    from tests.rigs import tiny

pytestmark = pytest.mark.slow

ENOUGH = 30.0  # dB, in half precision: the order of summation differs
SIZE = (64, 64)


def test_compiled_frames_are_close_to_eager_ones(place: Place, tmp_path: Path) -> None:
    """A small model of the real classes: a real one takes minutes, which the kit measures."""
    folder = tiny.write_checkpoint(tmp_path)
    name = "compile" if place.is_card else "none"
    same = {"device": place.device, "dtype": "auto", "size": SIZE}
    eager = loaded(recipe_of(folder, accelerate="none", recorded=False, **same))
    compiled = loaded(recipe_of(folder, accelerate=name, **same))
    assert compiled.renderer.acceleration.wait(300)
    pictures = cards(SIZE, 4)
    for steps in (1, 2):
        ours, theirs = list[Pixels](), list[Pixels]()
        for pipeline, found in ((compiled, ours), (eager, theirs)):
            for picture in pictures:
                out = picture.copy()
                pipeline.render(picture, values_of(pipeline.recipe, steps=steps, prompt="red lava"), out)
                found.append(out)
        level = psnr(ours, theirs)
        print(f"{steps} steps: {level:.1f} dB")
        assert level >= ENOUGH
    assert set(compiled.renderer.acceleration.active_names().values()) == {name}
    assert compiled.renderer.refused == ""
