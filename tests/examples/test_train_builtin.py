"""The cheap parts of the built-in model's training: painter, captions, tokenizer, word list, order of the latents."""

from __future__ import annotations

import random

import pytest
import yaml

from examples.train_builtin import words
from tests.rigs.lazy_imports import lazy_imports

with lazy_imports(globals()):
    import torch

    from examples.train_builtin import data, text, vae
    from examples.train_builtin.diffusion import TIMES, Noising, draw_times
    from examples.train_builtin.evaluation import fixed_prompts
    from examples.train_builtin.export import write_words
    from examples.train_builtin.judges import judge_colours
    from examples.train_builtin.noise import Noise
    from examples.train_builtin.painter import PAINTERS, STYLES, paint

pytestmark = pytest.mark.training


def test_every_word_has_its_painter():
    assert set(PAINTERS) == set(words.SUBJECTS)
    assert set(STYLES) == set(words.STYLES)
    assert {subject.colour for subject in words.SUBJECTS.values()} <= set(words.COLOURS)


@pytest.mark.parametrize("subject", list(words.SUBJECTS))
def test_the_painter_is_deterministic_and_never_flat(subject):
    first, again, other = (paint(subject, "blue", "plain", Noise(2, 64, seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.shape == (2, 3, 64, 64)
    assert first.std(dim=(1, 2, 3)).min() > 0.05


@pytest.mark.parametrize("style", list(words.STYLES))
def test_a_style_changes_the_drawing(style):
    plain, drawn = (paint("checker", "red", name, Noise(1, 64, 3)) for name in ("plain", style))
    assert drawn.isfinite().all()
    assert torch.equal(plain, drawn) == (style == "plain")


def test_an_unknown_subject_is_named():
    with pytest.raises(KeyError, match="unicorn"):
        paint("unicorn", "red", "plain", Noise(1, 32, 1))


def test_a_shard_is_the_same_every_time(monkeypatch):
    monkeypatch.setattr(data, "SIZE", 64)
    (first, labels), (again, same) = (data.paint_shard(5, 2) for _ in range(2))
    assert (first == again).all()
    assert labels == same
    assert first.shape == (2 * data.BATCH, data.SIZE, data.SIZE, 3)


def test_captions_are_known_words_and_fit(tmp_path):
    tokenizer = text.write_tokenizer(tmp_path)
    chance = random.Random(1)
    for subject in words.SUBJECTS:
        for colour in words.COLOURS:
            caption = words.write_caption(subject, colour, chance.choice(list(words.STYLES)), chance)
            assert len(tokenizer(caption).input_ids) <= words.MAX_TOKENS
            assert all(token.endswith("</w>") for token in tokenizer.tokenize(caption)), caption


def test_an_unknown_word_still_tokenises(tmp_path):
    tokenizer = text.write_tokenizer(tmp_path)
    ids = text.tokenize(tokenizer, ["zyqx fire", ""])
    assert ids.shape == (2, words.MAX_TOKENS)
    assert ids.max() < len(tokenizer)


def test_tidy_drops_what_empty_words_leave():
    assert words.tidy("  red fire, ") == "red fire"
    assert words.tidy("fire in , ") == "fire"
    assert words.tidy("fire, , pixelated") == "fire, pixelated"


def test_words_yaml_covers_the_tables(tmp_path):
    write_words(tmp_path / "words.yaml")
    read = yaml.safe_load((tmp_path / "words.yaml").read_text(encoding="utf-8"))
    assert list(read["subjects"]) == list(words.SUBJECTS)
    assert list(read["colours"]) == list(words.COLOURS)
    assert list(read["styles"]) == [name for name in words.STYLES if name != "plain"]
    assert read["subjects"]["fire"] == "flames that rise from a bright base; also: flames, burning flames"
    assert all(isinstance(line, str) and line for table in read.values() for line in table.values())


def test_there_are_100_prompts_of_every_subject_and_colour():
    prompts = fixed_prompts()
    assert len({prompt.text for prompt in prompts}) == 100
    assert {prompt.subject for prompt in prompts} == set(words.SUBJECTS)
    assert {prompt.colour for prompt in prompts} == set(words.COLOURS)


@pytest.mark.parametrize("colour", list(words.COLOURS))
def test_the_colour_judge_knows_a_painted_colour(colour):
    picture = paint("clouds", colour, "plain", Noise(1, 128, 4))
    assert list(words.COLOURS)[judge_colours(picture)[0]] == colour


def test_recolouring_keeps_the_brightness():
    rgb = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(1)) * 0.3 + 0.35
    assert (vae.to_ycc(vae.recolour(rgb))[:, 0] - vae.to_ycc(rgb)[:, 0]).abs().max() < 0.05


def test_known_latents_are_cell_means():
    grey = torch.full((1, 3, 16, 16), 0.45)
    assert vae.known_latents(vae.to_ycc(grey)).abs().max() < 1e-5


def test_velocity_and_its_parts_agree():
    noising, times = Noising(), torch.tensor([0, 499, 999])
    clean, noise = torch.randn(2, 3, 8, 4, 4, generator=torch.Generator().manual_seed(1))
    noisy = noising.add(clean, noise, times)
    found_clean, found_noise = noising.split(noisy, noising.velocity(clean, noise, times), times)
    torch.testing.assert_close(found_clean, clean, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(found_noise, noise, atol=1e-4, rtol=1e-4)
    assert noising.alpha[999] == 0  # zero terminal SNR


@pytest.mark.parametrize("kind", range(3))
def test_every_kind_stays_within_its_times(kind):
    low, high = TIMES[kind]
    times = draw_times(torch.full((500,), kind))
    assert low <= times.min() < times.max() < high
