"""A run of the training: bounded by time, continued from its checkpoint, on one device."""

from __future__ import annotations

import json
import signal
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from tests.rigs.lazy_imports import lazy_imports

with lazy_imports(globals()):
    import numpy as np
    import torch

    from examples.train_builtin import data, decoder, diffusion, latents, painter, runs, scenes, text, train, vae
    from examples.train_builtin.adoption import adopt
    from examples.train_builtin.noise import Noise
    from examples.train_builtin.train import TARGET

pytestmark = pytest.mark.training


@pytest.fixture(autouse=True)
def run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings of a run that a test may change; afterwards they are as before."""
    monkeypatch.setattr(runs, "_current", runs.Run(compiled=False))
    monkeypatch.setattr(runs, "start", lambda run: monkeypatch.setattr(runs, "_current", run))


def end_after(monkeypatch: pytest.MonkeyPatch, steps: int) -> None:
    """Let the time of the run be over when it was asked for this number of times."""
    answers = iter([False] * (steps - 1))
    monkeypatch.setattr(runs, "over", lambda: next(answers, True))


def test_a_step_that_the_time_ends_continues_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "STEPS", 5)
    monkeypatch.setattr(text, "BATCH", 4)
    end_after(monkeypatch, 3)
    with pytest.raises(runs.OutOfTimeError):
        text.train(tmp_path)
    state = torch.load(tmp_path / "text.training.pt", weights_only=True)
    assert state["step"] == 3
    assert state["plan"]["last_epoch"] == 3
    asked = []
    monkeypatch.setattr(runs, "over", lambda: asked.append(1) is not None)
    text.train(tmp_path)
    assert len(asked) == 2, "the two steps that were left"
    assert not (tmp_path / "text.training.pt").exists()
    assert text.Captions(tmp_path).encode(["fire"]).isfinite().all()


def test_a_checkpoint_is_written_every_ten_minutes_and_a_pause_is_not_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, computed = [0.0], [0.0]
    monkeypatch.setattr(runs.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(runs.time, "thread_time", lambda: computed[0])
    layer, path = torch.nn.Linear(2, 2), tmp_path / "x.training.pt"
    progress = runs.Progress(path, layer=layer)
    clock[0], computed[0] = 20.0, 15.0
    progress.count()
    assert not path.exists()
    clock[0], computed[0] = 700.0, 18.0  # the process was stopped
    progress.count()
    assert progress.spent == 18
    again = torch.nn.Linear(2, 2)
    continued = runs.Progress(path, layer=again)
    assert (continued.step, continued.spent) == (2, progress.spent)
    assert torch.equal(again.weight, layer.weight)


def test_the_denoisers_training_saves_when_the_time_is_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layer = torch.nn.Conv2d(1, 1, 1)
    state = diffusion.Training(tmp_path / "x.pt", layer)
    end_after(monkeypatch, 2)
    steps = 0
    while state.lasts(1000):
        state.update(layer(torch.ones(1, 1, 1, 1)).sum(), 1e-3, 0.9)
        steps += 1
    assert steps == 2 * diffusion.TOGETHER
    state.save()
    assert diffusion.Training(tmp_path / "x.pt", torch.nn.Conv2d(1, 1, 1)).step == steps


def test_the_command_ends_with_its_minutes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    done: list[str] = []
    monkeypatch.setattr(runs, "stop_on_signals", lambda: None)
    names = ["data", "vae", "text"]
    monkeypatch.setattr(train, "STEPS", {name: lambda options, name=name: done.append(name) for name in names})
    monkeypatch.setattr(sys, "argv", ["train", "all", "--work", str(tmp_path), "--last", "text", "--minutes", "5"])
    end_after(monkeypatch, 4)
    train.main()
    assert done == ["data", "vae"]
    assert "the time is over in step vae; all is saved, and the same command continues" in capsys.readouterr().out


def test_an_interruption_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    handlers: dict[int, Any] = {}
    monkeypatch.setattr(runs.signal, "signal", handlers.__setitem__)
    runs.stop_on_signals()
    progress = runs.Progress(tmp_path / "x.training.pt")
    progress.count()
    handlers[signal.SIGINT](signal.SIGINT, None)
    with pytest.raises(runs.OutOfTimeError):
        progress.count()
    assert (tmp_path / "x.training.pt").exists()
    assert handlers.keys() == {signal.SIGINT, signal.SIGTERM}


@pytest.mark.parametrize(("arguments", "wanted"), [
    ([], ("cpu", 1, 0, True)), (["--device", "cuda"], ("cuda", 16, 4, True)),
    (["--device", "cuda", "--batch", "3", "--fresh", "0", "--no-compile"], ("cuda", 3, 0, False)),
])
def test_a_card_gets_large_batches_and_fresh_images(
    arguments: list[str], wanted: tuple[str, int, int, bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["train", "all", "--work", ".", *arguments])
    run = train.settings(train.parse())
    assert (run.device, run.batch, run.fresh, run.compiled) == wanted


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another device than the CPU, without memory: an operation on tensors of two devices fails."""
    monkeypatch.setattr(runs, "_current", runs.Run(device="meta"))
    monkeypatch.setattr(runs, "generator", lambda seed: None)
    monkeypatch.setattr(runs, "autocast", runs.nullcontext)


@pytest.mark.slow  # torch imports its decompositions first
@pytest.mark.usefixtures("elsewhere")
def test_painting_stays_on_the_device() -> None:
    with torch.device("meta"):
        subjects = ("stars", "flowers", "wood", "zebra", "sunset", "bricks")
        for subject, style in zip(subjects, painter.STYLES, strict=True):
            assert painter.paint(subject, "blue", style, Noise(2, 64, 1)).device.type == "meta"
        label = data.Label("fire", "rainbow", "halftone", structured=True)
        assert data.paint_again(label, 1).shape == (data.BATCH, 3, data.SIZE, data.SIZE)
        assert scenes.Scenes(64, 1).draw(2).device.type == "meta"


@pytest.mark.usefixtures("elsewhere")
def test_the_losses_of_the_autoencoder_stay_on_the_device() -> None:
    with torch.device("meta"):
        model, rgb = vae.build(), torch.rand(2, 3, 32, 32)
        latents = model.encoder(vae.recolour(rgb) * 2 - 1)
        assert vae.latent_loss(latents, vae.to_ycc(rgb)).device.type == "meta"
        assert decoder.error_loss(model.decoder(latents), rgb).device.type == "meta"


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A work folder with two shards of twelve small images, an autoencoder and a text encoder."""
    monkeypatch.setattr(data, "SIZE", 32)
    monkeypatch.setattr(latents, "SIZE", 32)
    adopt(TARGET, tmp_path)
    labels = [asdict(data.Label(name, "red", "plain", structured=False)) for name in ("dots", "fire") for _ in range(6)]
    (tmp_path / "pictures").mkdir()
    for number in (1, 2):
        shades = np.random.default_rng(number).integers(0, 256, (12, 32, 32, 3), np.uint8)
        np.save(tmp_path / "pictures" / f"{number:05}.npy", shades)
        (tmp_path / "pictures" / f"{number:05}.json").write_text(json.dumps(labels))
    return tmp_path


def test_encoding_continues_with_the_next_shard(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    end_after(monkeypatch, 2)
    with pytest.raises(runs.OutOfTimeError):
        latents.encode(work, 1)
    assert [path.name for path in work.glob("latents_32.*")] == ["latents_32.0000.npy"]
    monkeypatch.setattr(runs, "over", lambda: False)
    encoded = np.load(latents.encode(work, 1))
    assert [path.name for path in work.glob("latents_32*")] == ["latents_32.npy"]
    last = np.load(work / "pictures" / "00002.npy")[-1:].astype(np.float32)
    wanted = vae.load(work).encoder(torch.from_numpy(last).permute(0, 3, 1, 2) / 127.5 - 1)
    assert torch.allclose(torch.from_numpy(encoded[-1:]).float(), wanted, atol=0.05)


def test_images_are_painted_again_during_the_training(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = latents.Samples(work, 1, 1)
    before = samples.latents.clone()
    samples.renew()
    assert torch.equal(samples.latents, before), "as the run has it: no fresh images"
    monkeypatch.setattr(runs, "_current", runs.Run(fresh=1))
    samples.renew()
    changed = (samples.latents != before).flatten(1).any(dim=1).nonzero().flatten().tolist()
    assert len(changed) == data.BATCH
    assert changed[0] % data.BATCH == 0, "images of one label"


def test_painting_again_gives_other_images_of_the_same_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "SIZE", 32)
    label = data.Label("dots", "red", "plain", structured=True)
    first, other = (data.paint_again(label, seed) for seed in (1, 2))
    assert first.shape == (data.BATCH, 3, 32, 32)
    assert not torch.equal(first, other)
