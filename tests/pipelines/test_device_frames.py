"""Frames of a CUDA device, on a stand-in that runs late, replays what was recorded and refuses what torch refuses."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lcm_daemon.core.errors import EngineError
from lcm_daemon.core.frame import Pixels, Size, solid
from lcm_daemon.core.live_values import Blend
from tests.pipelines.conftest import Values, make_picture, values
from tests.rigs.lazy_imports import lazy_imports
from tests.rigs.tiny import recipe_of

with lazy_imports(globals()):
    import torch

    from lcm_daemon.pipelines import frame_transfer
    from lcm_daemon.pipelines.latent_consistency import LatentConsistency
    from tests.rigs.card import Card, unplugged
    from tests.rigs.card_streams import CardEvent

SIZE = (64, 64)
Checkpoint = Callable[[str], Path]


def load(folder: Path, size: Size = SIZE, **changes: Any) -> LatentConsistency:
    pipeline = LatentConsistency(recipe_of(folder, **{"device": "cuda", **changes}), size)
    pipeline.load(lambda line: None)
    return pipeline


@pytest.fixture(scope="module")
def recorded(card: Card, checkpoint: Checkpoint) -> LatentConsistency:
    """Three frames may be under way."""
    return load(checkpoint("epsilon"), in_flight=3)


@pytest.fixture(autouse=True)
def _diligent(card: Card) -> Iterator[None]:
    """Nothing of one test is left for the next."""
    yield
    card.lazy.clear()
    card.drain()
    card.log.clear()


def paint(pipeline: LatentConsistency, pixels: Pixels, settings: Values) -> Pixels:
    out = solid(pipeline.size)
    pipeline.render(pixels, settings, out)
    return out


def forget(pipeline: LatentConsistency) -> None:
    with torch.inference_mode():
        pipeline.renderer._clear()


MOVES: list[Values] = [
    {}, {"strength": 0.4}, {"seed": 5}, {"seed": Blend(((1, 0.3), (2, 0.7)))}, {"prompt": "deep ocean"},
    {"prompt": Blend((("fire", 0.4), ("deep blue", 0.6)))}, {"feedback": 0.5, "smooth": 0.6}, {"feedback": 0.3},
    {"smooth": 0.9}, {"steps": 1}, {"steps": 2}, {"mode": "text"}, {"seed": 8}, {"mode": "image"}, {"guidance": 2.0},
    {"guidance": 3.5, "negative_prompt": "fire"}, {"guidance": 1.0}, {"feedback": 0.0}, {"mix": 0.5},
    {"noise": "walking", "noise_speed": 0.0}, {"mix": 0.0}, {"mix": 1.0, "smooth": 0.0}, {"smooth": 0.5},
    {"steps": 5}, {"steps": 2, "smooth": 0.0, "steady": 0.7}, {"feedback": 0.5}, {"steady": 0.3}, {"steady": 0.0},
]


@pytest.mark.slow
@pytest.mark.parametrize("record", [True, False])
def test_frames_on_the_card_equal_those_of_the_cpu(record: bool, card: Card, checkpoint: Checkpoint) -> None:
    """Each change lasts long enough to warm up, record and replay; state advances by one a frame."""
    changes: dict[str, Any] = {"guidance": "classifier_free", "recorded": record}
    ours, plain = (load(checkpoint("epsilon"), device=device, **changes) for device in ("cuda", "cpu"))
    settings, moves = values(steps=2, prompt="red lava"), [move for move in MOVES for _ in range(3 if record else 1)]
    card.log.clear()
    for number, move in enumerate(moves):
        settings.update(move)
        pixels = make_picture(SIZE, seed=number % 3)
        found = paint(ours, pixels, settings).astype(int)
        with unplugged():
            expected = paint(plain, pixels, settings).astype(int)
        assert np.abs(found - expected).max() <= 1, f"frame {number}, {move}"
    replays = card.counts().get("replay", 0)
    assert replays > 60 if record else not replays


@pytest.mark.slow
def test_scaled_frames_on_the_card_are_near_those_of_the_cpu(card: Card, checkpoint: Checkpoint) -> None:
    """The CPU scales bytes, and rounds once more. Alpha passes through."""
    size = (96, 72)
    ours, plain = (load(checkpoint("epsilon"), size, device=device, recorded=False) for device in ("cuda", "cpu"))
    for seed, mix in ((0, 1.0), (1, 0.5)):
        frame = make_picture(size, seed), values(steps=1, strength=0.3, mix=mix)
        found = paint(ours, *frame).astype(int)
        with unplugged():
            expected = paint(plain, *frame).astype(int)
        assert np.array_equal(found[..., 3], expected[..., 3])
        assert np.abs(found - expected).max() <= 4
        assert np.abs(found - expected).mean() < 0.5


@pytest.mark.slow
def test_an_enlarged_frame_has_a_recording_of_its_own_and_equals_that_of_the_cpu(
    card: Card, checkpoint: Checkpoint
) -> None:
    size = (128, 128)
    ours, plain = (load(checkpoint("epsilon"), size, device=device) for device in ("cuda", "cpu"))
    recordings = ours.renderer.recordings
    for upscale in (1, 2, 2, 2, 2, 1, 2):
        settings = values(steps=1, strength=0.3, upscale=upscale)
        found = paint(ours, make_picture(size), settings).astype(int)
        with unplugged():
            expected = paint(plain, make_picture(size), settings).astype(int)
        assert np.abs(found - expected).max() <= 2
    assert (ours.renderer.recordings, ours.renderer.refused) == (recordings + 1, "")


# --- several under way ---


@pytest.mark.slow
@pytest.mark.parametrize("lazy", [(0,), (2,), (0, 1, 2)], ids=str)
def test_frames_under_way_do_not_disturb_each_other(lazy: tuple[int, ...], card: Card,
                                                    recorded: LatentConsistency) -> None:
    """Whichever of computation, upload and download lags behind, each frame has its own input, values and place."""
    frames = [(make_picture(SIZE, number), values(steps=1 + number % 2, strength=0.2 + number / 20, seed=number,
                                                  feedback=0.5, smooth=0.3, mix=1.0 - number / 20))
              for number in range(6)]
    forget(recorded)
    expected = [paint(recorded, *frame) for frame in frames]
    forget(recorded)
    card.drain()
    streams = [card.current, *_copy_streams(recorded)]
    card.lazy.update(streams[number].name for number in lazy)
    found, waiting = [], []
    for pixels, settings in frames:
        out, given = solid(SIZE), pixels.copy()
        waiting.append((recorded.submit(given, settings, out), given, out))
        if len(waiting) == 3:
            found.append(_take(*waiting.pop(0)))
    found += [_take(*each) for each in waiting]
    assert all(np.array_equal(*pair) for pair in zip(found, expected, strict=True))


def _copy_streams(pipeline: LatentConsistency) -> tuple[Any, Any]:
    assert pipeline.renderer.on_device is not None
    transfer = pipeline.renderer.on_device.transfer
    return transfer._up, transfer._down


def _take(pending: Any, given: Pixels, out: Pixels) -> Pixels:
    pending.wait()
    given[:] = 99  # it belongs to the caller again
    return out


@pytest.mark.slow
def test_more_frames_than_allowed_are_refused(card: Card, recorded: LatentConsistency) -> None:
    assert recorded.frames_in_flight == 3
    waiting = [recorded.submit(make_picture(SIZE), values(), solid(SIZE)) for _ in range(3)]
    with pytest.raises(EngineError, match="more frames are under way"):
        recorded.submit(make_picture(SIZE), values(), solid(SIZE))
    for pending in waiting:
        assert list(pending.wait()) == ["frame"]


@pytest.mark.slow
def test_the_input_and_skipped_frames_take_their_turn(card: Card, recorded: LatentConsistency) -> None:
    """They wait for the frames before them, whose result a skipped frame shows."""
    picture, still = make_picture(SIZE), values(similarity_skip=4.0)
    shown = [paint(recorded, picture, still) for _ in range(12)][-1]
    card.lazy.add(card.current.name)
    first, second, third = solid(SIZE), solid(SIZE), solid(SIZE)
    moved = make_picture(SIZE, 5)
    waiting = [recorded.submit(moved, still, first), recorded.submit(moved, {**still, "mix": 0.0}, second),
               recorded.submit(moved, still, third)]
    for pending in waiting:
        pending.wait()
    assert not np.array_equal(first, shown)
    assert np.array_equal(second, moved)
    assert np.array_equal(third, paint(recorded, moved, still))


# --- transfers ---


def registered(pipeline: LatentConsistency, count: int) -> Pixels:
    """Frames in one block that the pipeline knows."""
    slots = np.zeros((count, SIZE[1], SIZE[0], 4), np.uint8)
    pipeline.use_memory(slots.reshape(-1))
    return slots


@pytest.mark.slow
def test_frames_in_registered_memory_are_copied_directly(card: Card, recorded: LatentConsistency,
                                                         monkeypatch: pytest.MonkeyPatch) -> None:
    expected = paint(recorded, make_picture(SIZE), values())
    slots = registered(recorded, 2)
    slots[0] = make_picture(SIZE)
    monkeypatch.setattr(np, "copyto", lambda *arguments: pytest.fail("the host copies a frame"))
    card.log.clear()
    recorded.render(slots[0], values(), slots[1])
    assert np.array_equal(slots[1], expected)
    assert not [entry for entry in card.log if "pageable" in entry.what]
    assert [entry.kind for entry in card.log if entry.kind != "order"] == [
        "upload", "upload", "replay", "download", "download", "wait"]
    assert card.registered
    recorded.close()
    recorded.close()
    assert not card.registered


@pytest.mark.slow
def test_memory_that_cannot_be_registered_is_reported_and_works(
        card: Card, recorded: LatentConsistency, caplog: pytest.LogCaptureFixture,
        monkeypatch: pytest.MonkeyPatch) -> None:
    expected = paint(recorded, make_picture(SIZE), values())
    monkeypatch.setattr(card, "refuses_registration", True)
    slots = registered(recorded, 2)
    slots[0] = make_picture(SIZE)
    recorded.render(slots[0], values(), slots[1])
    recorded.close()
    assert np.array_equal(slots[1], expected)
    paint(recorded, slots[0], values(prompt="a text that is encoded first here"))  # launches do not report it again
    assert "of frames cannot be registered with the driver (error 2)" in caplog.messages[0]


@pytest.mark.slow
def test_windows_is_asked_for_each_frame_at_once(card: Card, recorded: LatentConsistency,
                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    """WDDM holds work back. While the frame before is waited for, the next one would not begin."""
    asked: list[str] = []
    monkeypatch.setattr(CardEvent, "query", lambda event: bool(asked.append("query")) or True)
    monkeypatch.setattr(frame_transfer.sys, "platform", "win32")
    pending = recorded.submit(make_picture(SIZE), values(), solid(SIZE))
    assert asked
    monkeypatch.undo()
    pending.wait()


@pytest.mark.slow
def test_another_thread_waits_on_the_pipelines_own_card(card: Card, recorded: LatentConsistency,
                                                        monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread starts on the first card, where CUDA may open a context of half a gigabyte."""
    current: list[Any] = []
    monkeypatch.setattr(torch.cuda, "set_device", current.append)
    assert recorded.renderer.on_device is not None
    transfer = recorded.renderer.on_device.transfer
    for device in (torch.device("cuda"), torch.device("cuda", 1)):
        pending = recorded.submit(make_picture(SIZE), values(), solid(SIZE))
        monkeypatch.setattr(transfer, "_device", device)
        pending.wait()
    assert current == [torch.device("cuda", 1)]


@pytest.mark.slow
def test_text_mode_uploads_no_picture_and_keeps_alpha(card: Card, recorded: LatentConsistency) -> None:
    picture, text = make_picture(SIZE), values(mode="text")
    paint(recorded, make_picture(SIZE, 3), values())  # what lies in the buffer has another alpha
    card.log.clear()
    out = paint(recorded, picture, text)
    assert not [entry for entry in card.log if entry.kind == "upload" and entry.what.startswith(str(picture.nbytes))]
    assert np.array_equal(out[..., 3], picture[..., 3])
    opaque = picture.copy()
    opaque[..., 3] = 255
    assert np.array_equal(paint(recorded, opaque, text)[..., 3], opaque[..., 3])
    card.log.clear()
    mixed = paint(recorded, picture, {**text, "mix": 0.25}).astype(float)
    assert [entry for entry in card.log if entry.kind == "upload" and entry.what.startswith(str(picture.nbytes))]
    assert np.abs(mixed - (0.25 * out + 0.75 * picture)).max() <= 1.0


# --- broken frames ---


@pytest.mark.slow
def test_after_a_broken_frame_the_last_one_stays_without_a_trace(card: Card, checkpoint: Checkpoint) -> None:
    """As when half precision overflows: no black frame, and no effect on the next good one."""
    pipeline, other = (load(checkpoint("epsilon")) for _ in range(2))
    settings, picture = values(feedback=0.5, smooth=0.5), make_picture(SIZE)
    for _ in range(3):
        shown = paint(pipeline, picture, settings)
        assert np.array_equal(shown, paint(other, picture, settings))
    drawn = pipeline.renderer.model.noise._table  # type: ignore[attr-defined]
    with torch.inference_mode():
        whole = drawn.clone()
        drawn.fill_(float("nan"))
        for number in range(2):
            given = make_picture(SIZE, 7 + number)
            out = paint(pipeline, given, settings)
            assert np.array_equal(out[..., :3], shown[..., :3])
            assert np.array_equal(out[..., 3], given[..., 3])
        drawn.copy_(whole)
        assert pipeline.renderer.broken.count == 2
        assert np.array_equal(paint(pipeline, picture, settings), paint(other, picture, settings))
        paint(pipeline, picture, {**settings, "mix": 0.0})
        drawn.fill_(float("nan"))
        assert np.array_equal(paint(pipeline, picture, settings), picture), "something else was seen since"


# --- recordings ---


@pytest.mark.slow
def test_cudnn_does_not_search_once_a_pipeline_is_loaded(card: Card, checkpoint: Checkpoint,
                                                         monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    load(checkpoint("epsilon"), recorded=False)
    assert not torch.backends.cudnn.benchmark


@pytest.mark.slow
def test_the_first_prompts_of_a_show_are_replays(card: Card, recorded: LatentConsistency) -> None:
    """The blend of their texts, with the keys and values, and the frame. Only a new text itself is encoded."""
    for share in (0.2, 0.6):
        card.log.clear()
        paint(recorded, make_picture(SIZE), values(prompt=Blend((("a", share), ("b", 1.0 - share)))))
        assert card.counts()["replay"] == 2
    assert not card.counts().get("launch")


@pytest.mark.slow
def test_recordings_exist_when_the_show_starts(card: Card, recorded: LatentConsistency) -> None:
    """For every number of steps that is recorded at load, in both modes; faders need no other one."""
    paint(recorded, make_picture(SIZE), values())  # the prompt may be another test's
    card.log.clear()
    for mode, steps, fader in itertools.product(("image", "text"), (1, 2), (
            {}, {"feedback": 0.5}, {"smooth": 0.5}, {"strength": 0.3}, {"mix": 0.4}, {"noise": "walking"})):
        before = card.counts().get("replay", 0)
        paint(recorded, make_picture(SIZE), values(mode=mode, steps=steps, **fader))
        assert card.counts()["replay"] == before + 1
    assert not card.counts().get("launch")


@pytest.mark.slow
def test_recording_is_switched_off_by_its_own_setting(card: Card, checkpoint: Checkpoint) -> None:
    assert load(checkpoint("epsilon"), accelerate="none").renderer.on_device.graphs is not None  # type: ignore[union-attr]
    pipeline = load(checkpoint("epsilon"), recorded=False)
    card.log.clear()
    seconds = pipeline.render(make_picture(SIZE), values(), solid(SIZE))
    assert list(seconds) == ["encode", "denoise", "decode"]
    assert "replay" not in card.counts()
