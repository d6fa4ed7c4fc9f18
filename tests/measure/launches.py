"""List what a frame launches on a CUDA device: every operation, copy, replay and wait outside of its recording.

    python -m tests.measure.launches [--json FILE]

No card is needed: a stand-in counts (`tests/rigs/card.py`), and the models are tiny. What a frame launches does not
depend on the size of a model. A LoRA, the strength, the prompt and the seed move in every frame.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lcm_daemon.core.frame import Pixels
from lcm_daemon.core.live_values import Blend
from lcm_daemon.core.parameters import Values
from lcm_daemon.recipes.parts import ControlNet, Lora
from tests.pipelines.conftest import make_picture
from tests.rigs.lazy_imports import lazy_imports, resolve
from tests.rigs.tiny import recipe_of, write_checkpoint, write_controlnet
from tests.rigs.tiny_loras import make_lora, write_kohya

with lazy_imports(globals()):
    from diffusers import UNet2DConditionModel
    from transformers import CLIPTextModel

    from lcm_daemon.pipelines import device as devices
    from lcm_daemon.pipelines import latent_consistency
    from lcm_daemon.pipelines.latent_consistency import LatentConsistency
    from tests.rigs.card import Card, Entry, plugged_in

SIZE = (64, 64)
STEPS = 2
SETTLE, FRAMES = 10, 8  # frames until everything is recorded, and frames that are counted
WORK = ("launch", "upload", "download", "replay")  # what the card has to do; the rest orders it or waits for it
CASES: Mapping[str, Mapping[str, Any]] = {
    "plain": {}, "ControlNet": {"controlnets": True}, "stream batch": {"stream_batch": True},
}


@dataclass(frozen=True)
class Count:
    """What a frame launches outside of its recording.

    most: The largest number of launches and copies of a frame.
    waits: The largest number of times that the host waits in a frame, the wait for the picture included.
    recorded: Operations inside the recordings that a frame replays.
    listed: The frame that launched the most, with the number of each entry.
    """

    most: int
    waits: int
    recorded: int
    listed: Mapping[str, int]


def moves(number: int) -> Values:
    """Values of a frame in which everything moves."""
    share = 0.1 + 0.8 * ((number * 7) % 50) / 50
    return {"steps": STEPS, "strength": 0.4 + share / 4, "lora/ink": share, "noise": "walking", "noise_speed": 0.1,
            "prompt": Blend((("red lava", 1 - share), ("deep ocean", share))),
            "seed": Blend(((1, 1 - share), (2, share)))}


def play(pipeline: LatentConsistency, frames: Iterable[int], **changes: Any) -> None:
    """Render frames, one after the other."""
    out: Pixels = np.zeros((SIZE[1], SIZE[0], 4), np.uint8)
    for number in frames:
        values = {**pipeline.recipe.start_values(), **moves(number), **changes}
        pipeline.render(make_picture(SIZE, number % 3), values, out)


def load(folder: Path, case: str) -> LatentConsistency:
    """Load a tiny model with a LoRA on the card."""
    model = folder / "model"
    if not model.exists():
        write_checkpoint(model)
        write_controlnet(folder / "control", model)
        parts = (UNet2DConditionModel.from_pretrained(model / "unet"),
                 CLIPTextModel.from_pretrained(model / "text_encoder"))
        write_kohya(make_lora(parts), folder / "ink.safetensors", parts)
    changes = dict(CASES[case])
    if changes.pop("controlnets", False):
        changes["controlnets"] = (ControlNet("edges", str(folder / "control"), weight=1.0, preprocessor="canny"),)
    recipe = recipe_of(model, device="cuda", loras=(Lora(str(folder / "ink.safetensors"), 0.0, "ink"),), **changes)
    pipeline = LatentConsistency(recipe, SIZE)
    pipeline.load(lambda line: None)
    return pipeline


def count(card: Card, pipeline: LatentConsistency) -> Count:
    """Count the launches of frames in which everything moves."""
    play(pipeline, range(SETTLE))
    found: list[list[Entry]] = []
    for number in range(SETTLE, SETTLE + FRAMES):
        card.log.clear()
        play(pipeline, [number])
        found.append(card.log[:])
    frame = max(found, key=_work)
    recorded = sum(int(entry.what.split()[0]) for entry in frame if entry.kind == "replay")
    return Count(_work(frame), max(sum(entry.kind == "wait" for entry in log) for log in found), recorded,
                 Counter(f"{entry.kind}: {entry.what}" for entry in frame if entry.kind != "order"))


def _work(log: Iterable[Entry]) -> int:
    return sum(entry.kind in WORK for entry in log)


def measure(folder: Path) -> dict[str, Count]:
    """Count for each case."""
    with pytest.MonkeyPatch.context() as patch, plugged_in(patch) as card:
        patch.setattr(devices, "configure", lambda *arguments, **named: None)
        patch.setitem(devices._AVAILABLE, "cuda", lambda: True)
        patch.setattr(latent_consistency, "RECORDED_STEPS", (STEPS,))  # the others take their time
        return {case: count(card, load(folder, case)) for case in CASES}


def main() -> None:
    """Print the counts, and write them to a file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the counts to this file")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    resolve(sys.modules[__name__], {})
    with tempfile.TemporaryDirectory() as folder:
        counts = measure(Path(folder))
    for case, found in counts.items():
        print(f"{case}: at most {found.most} launches and copies and {found.waits} waits a frame, "
              f"{found.recorded} operations recorded")
        for what, number in found.listed.items():
            print(f"  {number:4d}  {what}")
    if arguments.json:
        table = {case: {"launches": found.most, "waits": found.waits, "recorded": found.recorded,
                        "listed": dict(found.listed)} for case, found in counts.items()}
        arguments.json.write_text(json.dumps(table, indent=1) + "\n")


if __name__ == "__main__":
    main()
