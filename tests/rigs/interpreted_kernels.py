"""Checks the Triton kernels without a GPU: TRITON_INTERPRET=1 python -m tests.rigs.interpreted_kernels

It needs the package triton. With --all also the sizes of SD-Turbo, which takes minutes: each program is interpreted.
"""

from __future__ import annotations

import itertools
import sys

import torch
from torch import Tensor, nn

from lcm_daemon.pipelines import fused_kernels, group_norm
from lcm_daemon.pipelines.float8 import quantise
from lcm_daemon.pipelines.group_norm_plan import Plan

# n, channels, height, width, groups
SMALL = [(1, 32, 8, 8, 8), (2, 60, 7, 5, 6), (1, 8, 1, 1, 4), (2, 12, 96, 90, 3), (1, 30, 70, 61, 1),
         (1, 96, 60, 80, 32)]
REAL = [(1, 320, 64, 64, 32), (2, 640, 32, 32, 32), (1, 1920, 32, 32, 32), (1, 1280, 16, 16, 32), (1, 2560, 8, 8, 32)]
TOLERANCES = {torch.float32: 2e-5, torch.float16: 2e-3, torch.bfloat16: 1.6e-2}  # of the largest value


def check_group_norm(shape: tuple[int, ...], dtype: torch.dtype, silu: bool, added: bool, offset: float) -> None:
    """Compare with torch's result in float64. offset: mean of the image, which must not cost precision."""
    count, channels, height, width, groups = shape
    image = (torch.randn(count, channels, height, width) * 2 + offset).to(dtype, memory_format=torch.channels_last)
    norm = nn.GroupNorm(groups, channels)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    norm = norm.to(dtype)
    bias, shift = (torch.randn(channels).to(dtype), torch.randn(count, channels).to(dtype)) if added else (None, None)
    found = fused_kernels.group_norm(image, groups, norm.weight, norm.bias, norm.eps, silu, bias, shift)
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert found.dtype == dtype
    exact = group_norm.plain(image.double(), norm.double(), silu, *(
        None if tensor is None else tensor.double() for tensor in (bias, shift)))
    report("group_norm", found, exact, TOLERANCES[dtype], f"{shape}, {Plan.of(height * width, channels, groups)}")


def check_element_wise() -> None:
    image, other = (torch.randn(2, 24, 5, 7).to(memory_format=torch.channels_last) for _ in range(2))
    bias, second = torch.randn(24), torch.randn(24)
    total = (image + other).double()
    report("add", fused_kernels.add(image, other, bias), total + bias.view(1, -1, 1, 1), 1e-6)
    report("add", fused_kernels.add(image, other, bias, second), total + (bias + second).view(1, -1, 1, 1), 1e-6)
    hidden = torch.randn(2, 7, 2 * 1280)
    linear, gate = hidden.double().chunk(2, -1)
    report("geglu", fused_kernels.geglu(hidden), linear * nn.functional.gelu(gate), 1e-6)


def check_float8() -> None:
    """The interpreter of Triton 3.8 loses the carry where a value is rounded up to a power of two; cards do not."""
    tensor = torch.randn(70, 321) * 5
    (found, scale), (expected, expected_scale) = fused_kernels.to_float8(tensor), quantise(tensor)
    report("to_float8: scale", scale, expected_scale.double(), 1e-6)
    values, wanted = found.float(), expected.float()
    step = (wanted.abs() / 8).clamp_min(2.0 ** -9)  # of e4m3 at this value: a quotient between two may go either way
    mantissa, _ = torch.frexp(wanted[(values - wanted).abs() > step])
    assert bool((mantissa.abs() == 0.5).all()), "values other than powers of two differ"
    assert float(fused_kernels.to_float8(torch.zeros(3, 16))[0].float().abs().max()) == 0.0


def report(name: str, found: Tensor, exact: Tensor, tolerance: float, what: str = "") -> None:
    error = float((found.double() - exact).abs().max() / exact.abs().max())
    print(f"{name} {what}: {error:.1e}", flush=True)
    if not error <= tolerance:
        raise SystemExit(f"{name} {what} differs by {error}, more than {tolerance}")


def main() -> None:
    torch.manual_seed(0)
    for number, shape in enumerate(SMALL):
        dtype = list(TOLERANCES)[number % 3]
        check_group_norm(shape, dtype, silu=number % 2 == 0, added=number % 4 < 2, offset=0.0)
    check_group_norm((1, 12, 96, 90, 3), torch.float32, silu=False, added=False, offset=100.0)
    check_element_wise()
    check_float8()
    if "--all" in sys.argv:
        for shape, dtype, silu in itertools.product(REAL, TOLERANCES, (False, True)):
            check_group_norm(shape, dtype, silu, added=silu, offset=0.0)


if __name__ == "__main__":
    with torch.inference_mode():
        main()
