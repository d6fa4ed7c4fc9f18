"""Optical flow against motions that are known because the test draws them."""

from __future__ import annotations

import math

import pytest

from tests.rigs.lazy_imports import lazy_imports

with lazy_imports(globals()):
    import torch

    from lcm_daemon.pipelines.optical_flow import (
        _sample_inside,
        consistency,
        flow,
        flow_size,
        inside,
        positions,
        resize_flow,
        to_luma,
        warp,
    )

SIDE = 128
MIDDLE = slice(16, -16)  # far from the edges, where the motion shows what was outside


def texture(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """A picture that is known at every position, in pixels: waves of several lengths, (1, 3, h, w) from 0 to 1."""
    waves = [(0.21, 0.05, 0.3), (-0.07, 0.17, 1.1), (0.11, 0.13, 2.0), (0.05, -0.09, 0.7), (0.31, -0.22, 0.2)]
    planes = [torch.stack([torch.sin(a * x + b * y + c + channel) for a, b, c in waves]).sum(0) for channel in range(3)]
    return torch.stack(planes)[None] * 0.1 + 0.5


def flow_between(first: torch.Tensor, second: torch.Tensor, side: int) -> torch.Tensor:
    return flow(to_luma(first, (side, side)), to_luma(second, (side, side)))


def grid() -> tuple[torch.Tensor, torch.Tensor]:
    y, x = torch.meshgrid(torch.arange(SIDE).float(), torch.arange(SIDE).float(), indexing="ij")
    return x, y


@pytest.mark.parametrize("shift", [(0.25, 0.0), (1.0, -0.5), (3.0, 2.0), (-6.0, 4.0)])
def test_flow_finds_a_shift(shift: tuple[float, float]) -> None:
    x, y = grid()
    first, second = texture(x, y), texture(x + shift[0], y + shift[1])
    found = flow_between(first, second, SIDE)
    error = (found - torch.tensor(shift)[None, :, None, None])[:, :, MIDDLE, MIDDLE].norm(dim=1)
    assert error.median() < 0.05
    assert error.quantile(0.9) < 0.2


def test_flow_finds_a_rotation() -> None:
    x, y = grid()
    angle, centre = math.radians(3.0), (SIDE - 1) / 2
    dx, dy = x - centre, y - centre
    before = (centre + math.cos(angle) * dx - math.sin(angle) * dy,
              centre + math.sin(angle) * dx + math.cos(angle) * dy)
    found = flow(to_luma(texture(x, y), (SIDE, SIDE)), to_luma(texture(*before), (SIDE, SIDE)))
    error = (found - torch.stack((before[0] - x, before[1] - y))[None])[:, :, MIDDLE, MIDDLE].norm(dim=1)
    assert error.median() < 0.25


def test_the_warped_first_image_looks_like_the_second_one_at_another_resolution_too() -> None:
    x, y = grid()
    first, second = texture(x, y), texture(x + 2.0, y + 1.0)
    small = flow_between(first, second, SIDE // 2)
    assert small.shape == (1, 2, SIDE // 2, SIDE // 2)
    moved = warp(first, small, "bicubic")
    left, before = ((image - second)[..., MIDDLE, MIDDLE].abs().mean() for image in (moved, first))
    assert left < 0.05 * before


@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
def test_edges_are_repeated_where_the_device_does_not_repeat_them(mode: str) -> None:
    x, y = grid()
    moved = torch.stack((7.3 * torch.sin(y / 9), 5.1 * torch.cos(x / 7)))[None]
    image = texture(x, y)
    torch.testing.assert_close(_sample_inside(image, positions(moved), mode), warp(image, moved, mode),
                               atol=1e-3, rtol=0)


def test_a_flow_of_zero_changes_nothing() -> None:
    x, y = grid()
    image = texture(x, y)
    torch.testing.assert_close(warp(image, torch.zeros(1, 2, SIDE, SIDE)), image, atol=1e-5, rtol=0)
    assert flow(to_luma(image, (SIDE, SIDE)), to_luma(image, (SIDE, SIDE))).abs().max() < 1e-6


def test_a_flat_image_has_no_motion_and_no_nan() -> None:
    flat = torch.full((1, 1, SIDE, SIDE), 0.5)
    assert flow(flat, flat + 0.1).abs().max() < 1e-3


def test_noise_is_not_motion() -> None:
    """A wall before a noisy camera: the picture that is painted over it must not tremble."""
    x, y = grid()
    wall = (0.4 + 0.001 * x + 0.0005 * y).expand(1, 1, SIDE, SIDE)
    first, second = (wall + 0.01 * torch.randn(wall.shape, generator=torch.Generator().manual_seed(i)) for i in (0, 1))
    assert flow(first, second).norm(dim=1).mean() < 0.02


def test_beside_a_lamp_that_lights_up_nothing_moves() -> None:
    x, y = grid()
    first = to_luma(texture(x, y), (SIDE, SIDE))
    second = first + 0.5 * (((x - 64) ** 2 + (y - 64) ** 2) < 15**2)
    found = flow(first, second).norm(dim=1)[0]
    assert found[(x - 64).abs() > 32].max() < 0.05


def test_what_comes_from_outside_is_known() -> None:
    moved = torch.zeros(1, 2, 8, 8)
    moved[:, 0] = 3.0
    assert inside(moved)[0, 0, 0].tolist() == [1.0] * 5 + [0.0] * 3


def test_flows_that_disagree_are_inconsistent() -> None:
    forward, backward = torch.zeros(1, 2, 8, 8), torch.zeros(1, 2, 8, 8)
    forward[:, 0], backward[:, 0] = 1.0, -1.0
    assert consistency(forward, backward)[0, 0, :, 2:].min() > 0.99
    assert consistency(backward, backward)[0, 0, :, 2:].max() < 0.05


def test_flow_scales_with_the_image() -> None:
    assert resize_flow(torch.ones(1, 2, 4, 4), (8, 12))[0, :, 0, 0].tolist() == [3.0, 2.0]
    assert flow_size((1024, 512)) == (128, 64)
    assert flow_size((64, 32)) == (64, 32)


def test_flow_can_be_recorded() -> None:
    """On the meta device nothing can be read, so a read or a branch on a value fails."""
    image = torch.zeros(1, 3, 96, 130, device="meta")
    found = flow(to_luma(image, (65, 48)), to_luma(image, (65, 48)))
    assert warp(image, found).shape == image.shape
    assert found.shape == (1, 2, 48, 65)
    assert consistency(found, found).shape == (1, 1, 48, 65)
