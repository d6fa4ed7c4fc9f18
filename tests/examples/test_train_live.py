"""The cheap parts of what is played live beside the prompt: edges, looks, the losses, the ControlNet's shape."""

from __future__ import annotations

import pytest

from tests.rigs.lazy_imports import lazy_imports

with lazy_imports(globals()):
    import torch

    from examples.train_builtin import controlnet, diffusion, vae
    from examples.train_builtin.distillation import structure_loss
    from examples.train_builtin.edges import agreement, find_edges, steepness, widen
    from examples.train_builtin.latents import paint_foreign
    from examples.train_builtin.looks import INK, LOOKS, PAPER
    from examples.train_builtin.noise import Noise
    from examples.train_builtin.painter import paint
    from examples.train_builtin.reward import Reader

pytestmark = pytest.mark.training


@pytest.fixture(scope="module")
def square():
    """A bright square on black, (1, 3, 64, 64)."""
    picture = torch.zeros(1, 3, 64, 64)
    picture[..., 16:48, 16:48] = 1
    return picture


def test_edges_are_the_outline_of_a_square(square):
    edges = find_edges(square)
    assert edges.shape == (1, 1, 64, 64)
    assert 100 < edges.sum() < 140  # its four sides of 32 pixels
    assert edges[..., 20:44, 20:44].sum() == 0


def test_a_map_agrees_with_itself_and_with_a_near_one(square):
    edges = find_edges(square)
    assert agreement(edges, edges).item() == pytest.approx(1)
    assert agreement(edges.roll(2, 3), edges).item() > 0.9
    assert agreement(edges.roll(8, 3), edges).item() < 0.8
    assert agreement(torch.zeros_like(edges), edges).item() == 0


def test_steepness_is_what_canny_sees(square):
    steep, edges = steepness(square[:, :1]), find_edges(square)
    assert steep[edges > 0].min() > controlnet.HIGH
    assert steep[widen(edges, 6) == 0].max() < controlnet.LOW


def test_the_edge_loss_wants_edges_where_they_are_asked_and_nowhere_else(square):
    light, edges = square[:, :1], find_edges(square)
    right = controlnet.edge_loss(light, edges)
    assert right < 0.05
    assert controlnet.edge_loss(1 - light, edges) == pytest.approx(right.item(), abs=1e-4)  # either side may be bright
    assert controlnet.edge_loss(torch.zeros_like(light), edges) > 0.9
    assert controlnet.edge_loss(light.roll(16, 3), edges) > 0.4


def test_every_look_stays_in_range_and_differs():
    pictures = paint("checker", "blue", "plain", Noise(2, 64, 1)).clamp(0, 1)
    for name, draw in LOOKS.items():
        drawn = draw(pictures)
        assert drawn.shape == pictures.shape, name
        assert drawn.min() >= 0, name
        assert drawn.max() <= 1, name
        assert (drawn - pictures).abs().mean() > 0.1, name


def test_neon_is_dark_and_ink_is_paper_where_nothing_is():
    even = torch.full((1, 3, 64, 64), 0.6)
    assert LOOKS["neon"](even).max() < 0.05
    assert torch.allclose(LOOKS["ink"](even)[0, :, 32, 32], torch.tensor(PAPER), atol=1e-3)
    assert sum(INK) < 0.2


def test_structure_counts_shapes_alone():
    cells = torch.randn(2, vae.CHANNELS, 8, 8, generator=torch.Generator().manual_seed(1))
    assert structure_loss(cells * 0.5 + 0.3, cells).item() == pytest.approx(0, abs=1e-4)
    assert structure_loss(-cells, cells).item() == pytest.approx(3, abs=1e-4)  # 2, and half of 2 for the detail
    assert structure_loss(cells.flip(3), cells) > 0.5


def test_stand_ins_for_photographs_have_edges_and_faded_colours():
    pictures = paint_foreign(Noise(4, 128, 2))
    assert pictures.min() >= 0
    assert pictures.max() <= 1
    assert find_edges(pictures).sum() > 100
    assert torch.equal(pictures, paint_foreign(Noise(4, 128, 2)))


def test_the_reader_gives_every_subject_a_score():
    reader, latents = Reader().eval(), torch.zeros(3, vae.CHANNELS, 32, 32)
    subjects, styles = reader(latents)
    assert subjects.shape == (3, 25)
    assert styles.shape == (3, 6)
    assert reader.loss(latents, torch.zeros(3).long(), torch.zeros(3).long()).isfinite()


def test_the_controlnet_begins_as_no_change():
    unet = diffusion.build()
    control = controlnet.build(unet)
    down, middle = control(
        torch.randn(1, vae.CHANNELS, 16, 16),
        999,
        torch.randn(1, 16, 128),
        torch.rand(1, 3, 128, 128),
        return_dict=False,
    )
    assert all(not part.any() for part in (*down, middle))
    assert torch.equal(control.conv_in.weight, unet.conv_in.weight)
