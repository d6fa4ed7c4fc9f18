"""GroupNorm on channels_last: how it is divided, and Triton's kernels in its interpreter, where Triton is installed."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys

import pytest

from tests.rigs.lazy_imports import lazy_imports

with lazy_imports(globals()):
    import torch
    from torch import nn

    from lcm_daemon.pipelines import group_norm
    from lcm_daemon.pipelines.group_norm import channels_last
    from lcm_daemon.pipelines.group_norm_plan import ONE_PASS, Plan, power_of_two

# Pixels, channels, groups: those of SD-Turbo at 512, of the full VAE, and odd ones.
SHAPES = [(4096, 320, 32), (4096, 960, 32), (1024, 640, 32), (1024, 1920, 32), (256, 1280, 32), (64, 2560, 32),
          (262144, 128, 32), (65536, 512, 32), (77, 96, 3), (1, 8, 4), (2080, 30, 5), (300, 4096, 1)]


@pytest.mark.parametrize(("pixels", "channels", "groups"), SHAPES)
def test_a_plan_covers_every_pixel_and_channel_once(pixels: int, channels: int, groups: int) -> None:
    plan = Plan.of(pixels, channels, groups)
    assert channels // groups <= plan.width < 2 * (channels // groups)
    assert all(number == power_of_two(number) for number in (plan.width, plan.rows, plan.groups))
    if plan.is_whole:
        assert plan.rows >= pixels
        assert plan.rows * plan.width <= ONE_PASS
    else:
        assert plan.rows_per_program % plan.rows == 0
        assert plan.splits * plan.rows_per_program >= pixels
        assert (plan.splits - 2) * plan.rows_per_program < pixels


@pytest.mark.parametrize("shape", [(2, 6, 5, 7), (2, 6, 5), (1, 6, 1, 1)])
def test_the_layout_is_kept_or_made(shape: tuple[int, ...]) -> None:
    image = torch.randn(shape)
    made = channels_last(image)
    assert torch.equal(made, image)
    assert made.movedim(1, -1).is_contiguous()
    assert channels_last(made) is made


def test_what_is_added_before_is_added_to_every_pixel() -> None:
    torch.manual_seed(0)
    image, norm, bias, shift = torch.randn(2, 6, 3, 4), nn.GroupNorm(3, 6), torch.randn(6), torch.randn(2, 6)
    with torch.no_grad():
        found = group_norm.plain(image, norm, True, bias, shift)
        expected = nn.functional.silu(norm(image + bias[None, :, None, None] + shift[:, :, None, None]))
    torch.testing.assert_close(found, expected)


@pytest.mark.slow
def test_the_kernels_compute_what_torch_computes() -> None:
    """In a process of its own: Triton decides on import whether it interprets. One of its threads is the GPU."""
    if importlib.util.find_spec("triton") is None:
        pytest.skip("Triton is not installed: pip install triton, 250 MB, runs these kernels without a GPU")
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    done = subprocess.run([sys.executable, "-m", "tests.rigs.interpreted_kernels"], env=environment, text=True,
                          capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
