"""ControlNets, LoRAs, prompts, guidance, image prompts and stream batches: recorded frames equal frames that run."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from lcm_daemon.core.live_values import Blend
from lcm_daemon.pipelines.base import FrameValues
from lcm_daemon.recipes.parts import ControlNet, ImagePrompt, Lora
from tests.pipelines.conftest import inference_mode, make_picture
from tests.rigs.lazy_imports import lazy_imports
from tests.rigs.tiny import recipe_of, write_controlnet, write_image_encoder, write_ip_adapter
from tests.rigs.tiny_loras import make_lora, write_full, write_kohya

with lazy_imports(globals()):
    import torch
    from diffusers import UNet2DConditionModel
    from torch import Tensor
    from transformers import CLIPTextModel

    from lcm_daemon.pipelines import image_prompt, stable_diffusion
    from lcm_daemon.pipelines.components import load_components
    from lcm_daemon.pipelines.cuda_graph import WARM_UPS, CudaGraphs
    from lcm_daemon.pipelines.frame_model import FrameModel
    from tests.rigs.cuda import Machine, install

SIZE = (64, 64)
HALF_A_LEVEL = 1 / 255  # of the range from -1 to 1; sums may round differently on other memory
Checkpoint = Callable[[str], Path]
Moves = list[dict[str, Any]]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.setattr(stable_diffusion, "fold_upsampling", lambda *arguments, **named: None)  # for the CPU alone
    return install(monkeypatch)


class Player:
    """A model whose frames are launched as on CUDA, with recordings or without, and its pictures."""

    def __init__(self, folder: Path, recorded: bool, changes: Mapping[str, Any]) -> None:
        recipe = recipe_of(folder, accelerate="none", **changes)
        with torch.inference_mode():
            self.model = FrameModel(recipe, load_components, torch.device("cpu"), torch.float32, lambda line: None,
                                    always=True)
        self.model.conditioner._live._is_cached = False
        self.graphs, self.change_graphs = (CudaGraphs(torch.device("cuda"), 64) if recorded else None for _ in range(2))
        self.input, self.image, self.guide = (torch.zeros(1, 3, *SIZE) for _ in range(3))
        self.keys: list[Hashable] = []
        self.settings: dict[str, Any] = {**recipe.start_values(), "strength": 0.7, "prompt": "red lava"}

    @inference_mode
    def paint(self, values: FrameValues, picture: int, has_guide: bool) -> Tensor:
        for target, seed in ((self.input, picture), (self.guide, picture + 50)):
            target.copy_(torch.from_numpy(make_picture(SIZE, seed)[..., :3]).permute(2, 0, 1) / 127.5 - 1)
        plan = self.model.prepare(values, values.strength, has_guide)
        self.keys.append(plan.key)
        for key, work in self.model.changes():
            if self.change_graphs is None or key is None:
                work()
            else:
                self.change_graphs.launch(key, work)

        def run() -> Tensor:
            return self.model.run(plan, self.image.copy_(self.input), self.guide, lambda part: None)

        return (run() if self.graphs is None else self.graphs.launch(plan.key, run)).clone()


def play(folder: Path, machine: Machine, moves: Moves, frames: int = 5, **changes: Any) -> Player:
    """Play the moves with recordings and without; every frame must be equal. Returns the player with recordings.

    frames: for each move; 5 are a warm-up, a recording and a replay.
    """
    ours, plain = (Player(folder, recorded, changes) for recorded in (True, False))
    settings, number = ours.settings, 0
    for move in moves:
        has_guide = bool(move.pop("guide", False))
        settings.update(move)
        for _ in range(frames):
            values = FrameValues.of(settings)
            found, expected = (player.paint(values, number % 3, has_guide) for player in (ours, plain))
            assert (found - expected).abs().max() < HALF_A_LEVEL, f"frame {number}, {move}"
            number += 1
    assert machine.log.count("replay") > 0
    return ours


@pytest.mark.compile
def test_controlnets(checkpoint: Checkpoint, machine: Machine, tmp_path: Path) -> None:
    """Weights, start and end, intervals, a second source. Faders that are numbers make no recording."""
    files = [str(write_controlnet(tmp_path / name, checkpoint("epsilon"), seed))
             for seed, name in enumerate(("edges", "depth"))]
    nets = (ControlNet("edges", files[0], "none"), ControlNet("depth", files[1], "none", weight=0.0, source="guide"))
    player = play(checkpoint("epsilon"), machine, [
        {"steps": 2}, {"control/edges/weight": 0.3, "control/edges/start": 0.5}, {"control/edges/end": 0.4},
        {"control/edges/interval": 3, "control/edges/end": 1.0}, {"control/edges/weight": 1.7},
        {"control/edges/weight": 0.0, "control/depth/weight": 0.5, "guide": True}, {"control/depth/weight": 0.0},
    ], controlnets=nets)
    assert len(set(player.keys)) <= 6
    assert len(set(player.keys[:15])) == 1, "weight, start and end are numbers"


@pytest.mark.compile
def test_loras_prompts_and_guidance(checkpoint: Checkpoint, machine: Machine, tmp_path: Path) -> None:
    """Each change lasts for one frame, and the same kinds of changes come again: then they are replays."""
    model = checkpoint("epsilon")
    parts = UNet2DConditionModel.from_pretrained(model / "unet"), CLIPTextModel.from_pretrained(model / "text_encoder")
    files = [write_kohya(lora, tmp_path / f"{number}.safetensors", parts)
             for number, lora in enumerate((make_lora(parts, 1), make_lora(parts, 2).of("unet")))]
    loras = Lora(str(files[0]), 0.0, "ink"), Lora(str(files[1]), 0.5, "oil")
    moves: Moves = []
    for number in range(WARM_UPS + 2):
        share = number / 20
        moves += [
            {"lora/oil": 0.1 + share}, {"prompt": Blend((("red lava", 1 - share), ("blue ocean", share)))},
            {"lora/ink": 0.5 + share}, {"lora/ink": 0.0}, {"guidance": 2.0 + number, "negative_prompt": "fire"},
            {"guidance": 1.0},
        ]
    player = play(model, machine, moves, frames=1, loras=loras, guidance="classifier_free")
    assert player.change_graphs is not None
    machine.log.clear()
    for move in ({"lora/oil": 0.9}, {"lora/ink": 0.9}):
        player.settings.update(move)
        player.paint(FrameValues.of(player.settings), 0, has_guide=False)
    # Each the weights, the prompt's keys and values with the prompt where it has changed, and the frame.
    assert machine.log == ["replay"] * (3 + 3)


@pytest.mark.compile
def test_loras_that_change_weights_in_full(checkpoint: Checkpoint, machine: Machine, tmp_path: Path) -> None:
    """They are written with the same recordings; at 0 the picture is that of the model without them."""
    model = checkpoint("epsilon")
    parts = UNet2DConditionModel.from_pretrained(model / "unet"), CLIPTextModel.from_pretrained(model / "text_encoder")
    files = [write(lora, tmp_path / f"{write.__name__}.safetensors", parts)
             for write, lora in ((write_full, make_lora(parts, 1)), (write_kohya, make_lora(parts, 2).of("unet")))]
    loras = Lora(str(files[0]), 0.0, "ink"), Lora(str(files[1]), 0.5, "oil")
    moves: Moves = [move for number in range(WARM_UPS + 2) for move in (
        {"lora/ink": 0.5 + number / 20}, {"lora/oil": 0.1 + number / 20}, {"lora/ink": 0.0}, {"lora/oil": 0.0},
        {"lora/ink": 0.3}, {"lora/ink": 0.0})]
    player = play(model, machine, moves, frames=1, loras=loras)
    machine.log.clear()
    shown = []
    for weight in (0.8, 0.0):
        player.settings["lora/ink"] = weight
        shown.append(player.paint(FrameValues.of(player.settings), 0, has_guide=False))
    assert set(machine.log) == {"replay"}
    bare = Player(model, recorded=False, changes={})
    expected = bare.paint(FrameValues.of({**bare.settings, "steps": player.settings["steps"]}), 0, has_guide=False)
    assert torch.equal(shown[1], expected)
    assert (shown[0] - shown[1]).abs().max() > HALF_A_LEVEL


@pytest.mark.compile
def test_stream_batch(checkpoint: Checkpoint, machine: Machine) -> None:
    """The first frame of a batch takes more passes; batches of each number of steps keep their memory."""
    player = play(checkpoint("epsilon"), machine, [
        {"steps": 2}, {"strength": 0.4}, {"seed": 5}, {"steps": 3}, {"steps": 2}, {"guidance": 2.0}, {"mode": "text"},
    ], stream_batch=True, guidance="classifier_free")
    assert machine.log.count("begin") == 4
    assert len(set(player.keys)) == 6, "four, and two of them with a first frame"


@pytest.mark.compile
def test_live_image_prompt(checkpoint: Checkpoint, machine: Machine, tmp_path: Path,
                           monkeypatch: pytest.MonkeyPatch) -> None:
    """Its weight is a number; every few frames the input is embedded."""
    model = checkpoint("epsilon")
    prompt = ImagePrompt(str(write_ip_adapter(tmp_path / "adapter.safetensors", model)),
                         str(write_image_encoder(tmp_path / "encoder")), "")
    monkeypatch.setattr(image_prompt, "EMBED_INTERVAL", 2)
    player = play(model, machine, [{"image_prompt": 0.5}, {"image_prompt": 0.9}, {"image_prompt": 0.0},
                                   {"image_prompt": 0.7}], image_prompt=prompt)
    assert len(set(player.keys)) == 2


@pytest.mark.compile
def test_several_image_prompts(checkpoint: Checkpoint, machine: Machine, tmp_path: Path,
                               monkeypatch: pytest.MonkeyPatch) -> None:
    """One of a file and one of the live input: their weights are numbers, and they lie in one tensor."""
    model = checkpoint("epsilon")
    Image.fromarray(make_picture((48, 48), 9)[..., :3]).save(tmp_path / "still.png")
    live = ImagePrompt(str(write_ip_adapter(tmp_path / "adapter.safetensors", model)),
                       str(write_image_encoder(tmp_path / "encoder")), "", name="live")
    monkeypatch.setattr(image_prompt, "EMBED_INTERVAL", 2)
    player = play(model, machine, [{"image_prompt/still": 0.5}, {"image_prompt/live": 0.0}, {"image_prompt/live": 0.7}],
                  image_prompts=(replace(live, name="still", image=str(tmp_path / "still.png")), live))
    assert len(set(player.keys)) == 2
