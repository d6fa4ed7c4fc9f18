"""SessionMemories: what one remembers from frame to frame never reaches the pictures of another."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from lcm_daemon.core.frame import Pixels, solid
from lcm_daemon.recipes.parts import ControlNet, ImagePrompt, Lora
from lcm_daemon.recipes.recipe import Recipe
from tests.pipelines import test_preprocessors
from tests.pipelines.conftest import make_picture
from tests.rigs import tiny
from tests.rigs.lazy_imports import lazy_imports
from tests.rigs.tiny_loras import make_lora, write_kohya

with lazy_imports(globals()):
    import torch
    from diffusers import UNet2DConditionModel
    from transformers import CLIPTextModel

    from lcm_daemon.pipelines import frame_model, latent_consistency, weights
    from lcm_daemon.pipelines.latent_consistency import LatentConsistency
    from lcm_daemon.pipelines.safety import GREY
    from lcm_daemon.pipelines.session_memory import SessionMemories
    from tests.rigs.card import Card

SIZE = (64, 64)
Settings = dict[str, Any]
Frame = tuple[Pixels, Settings]


# --- which session is the current one ---


class Part:
    """Remembers one number."""

    def __init__(self) -> None:
        self.number: int | None = None

    def save(self) -> int | None:
        return self.number

    def restore(self, saved: int | None) -> None:
        self.number = saved


def test_contents_are_exchanged_with_the_session() -> None:
    part, made = Part(), itertools.count()
    sessions = SessionMemories([part], lambda: next(made))
    assert sessions.enter("") == 0
    part.number = 7
    assert sessions.enter("1") == 1
    assert part.number is None, "a new session starts from nothing"
    part.number = 8
    assert (sessions.enter(""), part.number) == (0, 7)
    assert (sessions.enter("1"), part.number) == (1, 8)
    sessions.end("1")
    assert part.number is None, "nothing of it is left"
    assert (sessions.enter("1"), part.number) == (2, None)


def test_one_session_exchanges_nothing() -> None:
    part = Part()
    sessions = SessionMemories([part], object)
    sessions.enter("")
    part.save = part.restore = lambda *arguments: pytest.fail("exchanged")  # type: ignore[method-assign, assignment]
    for _ in range(3):
        sessions.enter("")
    sessions.end("9")


def test_the_session_that_was_idle_longest_is_dropped() -> None:
    part = Part()
    sessions = SessionMemories([part], object, kept=3)
    for name in ("", "1", "2"):
        sessions.enter(name)
        part.number = len(sessions)
    sessions.enter("")
    sessions.enter("3")
    assert len(sessions) == 3
    found = {}
    for name in ("", "2"):
        sessions.enter(name)
        found[name] = part.number
    sessions.enter("1")
    assert (found, part.number) == ({"": 1, "2": 3}, None)


# --- pictures ---


@dataclass
class Player:
    """Renders the frames of several sessions in turn. Each session's noise walks by its own clock."""

    pipeline: LatentConsistency
    clock: dict[str, float]
    pictures: dict[str, list[Pixels]] = field(default_factory=dict)

    def play(self, turns: str, scripts: Mapping[str, Sequence[Frame]]) -> dict[str, list[Pixels]]:
        """turns: names of sessions, "s" for the stage's own picture; each renders the next frame of its script."""
        places = {name: iter(enumerate(script)) for name, script in scripts.items()}
        waiting = []
        self.pictures = {name: [] for name in scripts}
        for name in turns:
            number, (pixels, settings) = next(places[name])
            self.clock["now"] = number * 0.7 + ord(name)
            out, given = solid(SIZE, (1, 2, 3, 4)), pixels.copy()
            session = "" if name == "s" else name
            waiting.append((name, self.pipeline.submit(given, settings, out, session=session), out, given))
            if len(waiting) == self.pipeline.frames_in_flight:
                self._take(*waiting.pop(0))
        for each in waiting:
            self._take(*each)
        return self.pictures

    def _take(self, name: str, pending: Any, out: Pixels, given: Pixels) -> None:
        pending.wait()
        given[:] = 255
        self.pictures[name].append(out.copy())

    def clear(self) -> None:
        with torch.inference_mode():
            self.pipeline.renderer.sessions.clear()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    found = {"now": 0.0}
    monkeypatch.setattr(frame_model, "time", SimpleNamespace(perf_counter=lambda: found["now"]))
    return found


@pytest.fixture(scope="module")
def parts(checkpoint: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A recipe's ControlNets, a live image prompt and a LoRA."""
    model, folder = checkpoint("epsilon"), tmp_path_factory.mktemp("parts")
    models = (UNet2DConditionModel.from_pretrained(model / "unet"),
              CLIPTextModel.from_pretrained(model / "text_encoder"))
    controlnet = str(tiny.write_controlnet(folder / "control", model))
    pose = str(test_preprocessors.write_pose(folder / "pose"))
    return {
        "guidance": "classifier_free",
        "controlnets": (ControlNet("pose", controlnet, preprocessor="pose", detector=pose, weight=0.8, interval=2),
                        ControlNet("map", controlnet, preprocessor="none", weight=0.5, interval=3)),
        "image_prompt": ImagePrompt(str(tiny.write_ip_adapter(folder / "adapter" / "ip.safetensors", model)),
                                    str(tiny.write_image_encoder(folder / "encoder"))),
        "loras": (Lora(str(write_kohya(make_lora(models), folder / "ink.safetensors", models)), 0.0, "ink"),),
    }


def script(recipe: Recipe, seed: int, count: int, *changes: Settings) -> list[Frame]:
    """Frames of a session; each of the changes holds from its frame on."""
    settings: Settings = {**recipe.start_values(), "steps": 2, "strength": 0.6}
    frames = []
    for number in range(count):
        settings = {**settings, **(changes[number] if number < len(changes) else {})}
        frames.append((make_picture(SIZE, 100 * seed + number), settings))
    return frames


STRONG: Settings = {"feedback": 0.9, "smooth": 0.9, "steady": 0.9, "noise": "walking", "noise_speed": 0.8}
FULL: Settings = {"control/pose/weight": 0.8, "control/map/weight": 0.5, "image_prompt": 0.7}


def scripts(recipe: Recipe) -> dict[str, list[Frame]]:
    """Three sessions with everything that is remembered, at values of their own; "3" has less and less of it."""
    own = [{name: value for name, value in each.items() if name in recipe.table()} for each in (
        {**STRONG, **FULL, "prompt": "red lava", "guidance": 2.0, "lora/ink": 0.6},
        {**STRONG, **FULL, "prompt": "deep ocean", "seed": 5, "noise_speed": 0.3, "smooth": 0.5, "steady": 0.4},
        {**STRONG, **FULL, "prompt": "fire", "seed": 9, "steps": 1},
    )]
    return {"s": script(recipe, 1, 6, own[0], {}, {"mode": "text"}, {"mode": "image", "steps": 3}),
            "2": script(recipe, 2, 8, own[1], {}, {}, {"strength": 0.4}, {"prompt": "blue clouds"}),
            "3": script(recipe, 3, 6, own[2], {}, {"feedback": 0.0}, {"smooth": 0.0, "noise": "fixed"}, {"mix": 0.0},
                        {"mix": 1.0, "feedback": 0.9})}


TURNS = "2s32s2s33s2s232s32"


def check(make: Callable[[], LatentConsistency], clock: dict[str, float]) -> None:
    """Every session's pictures equal, bit by bit, those of a pipeline that has rendered no other session."""
    together, alone = Player(make(), clock), Player(make(), clock)
    frames = scripts(together.pipeline.recipe)
    found = together.play(TURNS, frames)
    for name in frames:
        alone.clear()
        expected = alone.play(name * TURNS.count(name), {name: frames[name]})[name]
        for number, pair in enumerate(zip(found[name], expected, strict=True)):
            assert np.array_equal(*pair), f"session {name}, frame {number}"
        assert len({picture.tobytes() for picture in expected}) == len(expected)
    for session in ("", "2"):
        together.pipeline.end_session(session)
    again = together.play("22", {"2": frames["2"]})["2"]
    assert all(np.array_equal(*pair) for pair in zip(again, found["2"][:2], strict=True)), "its end leaves nothing"


def load(model: Path, **changes: Any) -> LatentConsistency:
    pipeline = LatentConsistency(tiny.recipe_of(model, **changes), SIZE)
    pipeline.load(lambda line: None)
    return pipeline


@pytest.mark.slow
def test_no_picture_depends_on_other_sessions(
    checkpoint: Callable[[str], Path], parts: Settings, clock: dict[str, float],
) -> None:
    check(lambda: load(checkpoint("epsilon"), **parts), clock)


@pytest.mark.slow
def test_frames_in_a_stream_batch_belong_to_their_session(
    checkpoint: Callable[[str], Path], clock: dict[str, float],
) -> None:
    check(lambda: load(checkpoint("epsilon"), stream_batch=True), clock)


@pytest.mark.slow
def test_no_recorded_picture_depends_on_other_sessions(
    card: Card, checkpoint: Callable[[str], Path], parts: Settings, clock: dict[str, float],
) -> None:
    """Three frames are under way; what the recordings remember stays at its addresses."""
    pipeline = load(checkpoint("epsilon"), device="cuda", in_flight=3, controlnets=parts["controlnets"][:1],
                    image_prompt=parts["image_prompt"])
    check(lambda: pipeline, clock)
    assert card.counts()["replay"] > 10


# --- pictures that take the place of others ---


@pytest.mark.slow
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_skipped_and_broken_frames_show_pictures_of_their_session(
    device: str, card: Card, checkpoint: Callable[[str], Path], clock: dict[str, float],
) -> None:
    pipeline = load(checkpoint("epsilon"), device=device)
    player = Player(pipeline, clock)
    still = script(pipeline.recipe, 4, 14, {"similarity_skip": 4.0})
    moving = script(pipeline.recipe, 5, 14, {"similarity_skip": 4.0, "prompt": "fire"})
    found = player.play("2s" * 14, {"2": [still[0]] * 14, "s": moving})
    with torch.inference_mode():
        assert pipeline.renderer.sessions.enter("2").similarity.skipped > 3
        assert pipeline.renderer.sessions.enter("").similarity.skipped == 0
    assert len({picture.tobytes() for picture in found["2"]}) == 1, "the stage's pictures are not shown again"
    noise: Any = pipeline.renderer.model.noise
    with torch.inference_mode():
        (noise._table if device == "cuda" else noise.values).fill_(float("nan"))
    for settings in ({}, {"mode": "text"}):
        for _ in range(3):
            assert not np.array_equal(player.play("s", {"s": [moving[0]]})["s"][0], moving[0][0])
        broken = [(pixels, {**values, **settings, "similarity_skip": 0.0}) for pixels, values in moving[:3]]
        shown = player.play("23s", {"2": still, "3": broken, "s": broken})
        assert np.array_equal(shown["3"][0], broken[0][0]), "a broken first picture shows the session's own input"
        assert np.array_equal(shown["2"][0][..., :3], found["2"][0][..., :3])
        pipeline.end_session("3")


class Limit:
    """Stands for the safety checker: rejects images that are brighter than `limit`, -1 to 1."""

    limit: Any = None

    def __init__(self, recipe: Recipe, device: Any, dtype: Any) -> None:
        Limit.limit = torch.full((), 2.0, device=device)

    def verdict(self, image: Any) -> Any:
        return image.float().mean() > self.limit


def brightness(picture: Pixels) -> float:
    return float(picture[..., :3].mean()) / 127.5 - 1.0


def filtered(pictures: Sequence[Pixels], limit: float) -> list[Pixels]:
    """What may be shown of one session."""
    shown, safe = [], solid(SIZE, GREY)
    for picture in pictures:
        safe = picture if brightness(picture) <= limit else safe
        shown.append(safe)
    return shown


@pytest.mark.slow
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_no_picture_is_shown_before_its_own_verdict(
    device: str, card: Card, checkpoint: Callable[[str], Path], clock: dict[str, float],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Frames of three sessions are under way on the card. The last safe picture of the same session is shown."""
    monkeypatch.setattr(latent_consistency, "SafetyFilter", Limit)
    monkeypatch.setattr(weights._Search, "_look_for_safety", lambda search, model: None)
    player = Player(load(checkpoint("epsilon"), device=device, safety=True, in_flight=3), clock)
    frames = {name: script(player.pipeline.recipe, ord(name), TURNS.count(name), {"feedback": 0.5}) for name in "s23"}
    every = player.play(TURNS, frames)
    levels = sorted(brightness(picture) for pictures in every.values() for picture in pictures)
    limit = max(itertools.pairwise(levels[3:-3]), key=lambda pair: pair[1] - pair[0])
    with torch.inference_mode():
        Limit.limit.fill_(sum(limit) / 2)
    player.clear()
    found = player.play(TURNS, frames)
    for name, pictures in every.items():
        expected = filtered(pictures, sum(limit) / 2)
        assert any(not np.array_equal(*pair) for pair in zip(expected, pictures, strict=True)), "some are rejected"
        assert all(np.array_equal(*pair) for pair in zip(found[name], expected, strict=True))



@pytest.mark.slow
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_visitors_input_is_judged_wherever_it_is_seen(
    device: str, card: Card, checkpoint: Callable[[str], Path], clock: dict[str, float],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(latent_consistency, "SafetyFilter", Limit)
    monkeypatch.setattr(weights._Search, "_look_for_safety", lambda search, model: None)
    player = Player(load(checkpoint("epsilon"), device=device, safety=True), clock)
    bright, dark = (solid(SIZE, (level, level, level, 255)) for level in (255, 5))
    start: Settings = {**player.pipeline.recipe.start_values(), "steps": 1}
    for settings in ({"mix": 0.0}, {"strength": 0.0}, {"mix": 0.05, "mode": "text"}):
        player.clear()
        with torch.inference_mode():
            Limit.limit.fill_(0.85)
        given = {**start, **settings}
        shown = player.play("2s2s", {name: [(dark, given), (bright, given)] for name in "2s"})
        assert brightness(shown["s"][1]) > 0.85, "the performer's own input is not judged"
        assert brightness(shown["2"][0]) < -0.85
        assert np.array_equal(shown["2"][1], shown["2"][0]), "the last safe picture stays"
