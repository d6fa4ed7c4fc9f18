"""Triton kernels of the recorded form. Importing this module imports Triton.

Images have their channels together: an image (n, channels, h, w) is read as n x pixels rows of channels.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from lcm_daemon.pipelines.group_norm_plan import Plan, power_of_two

COLUMNS = 1024  # elements that one program of an element-wise kernel computes
FLOAT8_MAX: float = torch.finfo(torch.float8_e4m3fn).max
QUANTISE_BLOCK = 4096
MAX_PARTS = 1024  # programs that share the largest value of one tensor


def group_norm(image: Tensor, groups: int, weight: Tensor, bias: Tensor, eps: float, silu: bool,
               before: Tensor | None = None, shift: Tensor | None = None) -> Tensor:
    """Normalise; `before` (channels,) and `shift` (n, channels) are added first. Channels must lie together."""
    count, channels = image.shape[:2]
    pixels = image.numel() // (count * channels)
    plan = Plan.of(pixels, channels, groups)
    out = torch.empty_like(image)
    shift = None if shift is None else shift.contiguous()
    # An absent tensor needs a pointer, which is not read.
    shared = (image, out, weight, bias, image if before is None else before, image if shift is None else shift)
    sizes = (pixels, channels, channels // groups)
    switches = {"BEFORE": before is not None, "SHIFT": shift is not None}
    if plan.is_whole:
        _whole_group[(count, groups)](*shared, *sizes, eps, SILU=silu, ROWS=plan.rows, WIDTH=plan.width, **switches,
                                      num_warps=8)
        return out
    blocks = -(-groups // plan.groups)
    partial = torch.empty(count, plan.splits, 2, groups, device=image.device)
    tile = {"ROWS": plan.rows, "GROUPS": plan.groups, "WIDTH": plan.width, **switches}
    grid = (plan.splits, blocks, count)
    _statistics[grid](image, shared[4], shared[5], partial, *sizes, groups, plan.rows_per_program, **tile)
    _apply[grid](*shared, partial, *sizes, groups, plan.splits, plan.rows_per_program, eps, SILU=silu,
                 SPLITS=power_of_two(plan.splits), **tile)
    return out


def add(image: Tensor, other: Tensor, bias: Tensor, second: Tensor | None = None) -> Tensor:
    """image + other + bias + second, where the last two are (channels,). Channels must lie together in both images."""
    out = torch.empty_like(image)
    _add[(-(-image.numel() // COLUMNS),)](image, other, out, bias, bias if second is None else second, image.numel(),
                                          image.shape[1], SECOND=second is not None, COLUMNS=COLUMNS)
    return out


def geglu(hidden: Tensor) -> Tensor:
    """Multiply the first half of the last dimension with GELU of the second half (Shazeer, arXiv:2002.05202)."""
    width = hidden.shape[-1] // 2
    hidden = hidden.contiguous()
    out = hidden.new_empty(*hidden.shape[:-1], width)
    _geglu[(out.numel() // width, -(-width // COLUMNS))](hidden, out, width, COLUMNS=COLUMNS)
    return out


def to_float8(tensor: Tensor) -> tuple[Tensor, Tensor]:
    """Quantise to e4m3 by the largest value: (float8, scale), `tensor` is about `float8 * scale`. Nothing waits."""
    tensor = tensor.contiguous()
    size = tensor.numel()
    parts = min(-(-size // QUANTISE_BLOCK), MAX_PARTS)
    largest = torch.empty(parts, device=tensor.device)
    quantised, scale = torch.empty_like(tensor, dtype=torch.float8_e4m3fn), torch.empty((), device=tensor.device)
    _largest[(parts,)](tensor, largest, size, BLOCK=QUANTISE_BLOCK)
    _quantise[(-(-size // QUANTISE_BLOCK),)](tensor, quantised, scale, largest, size, parts, FLOAT8_MAX,
                                             BLOCK=QUANTISE_BLOCK, PARTS=power_of_two(parts))
    return quantised, scale


@triton.jit
def _added(values: Any, before: Any, shift: Any, image: Any, channels: Any, channel: Any, inside: Any,
           BEFORE: tl.constexpr, SHIFT: tl.constexpr) -> Any:  # noqa: N803
    if BEFORE:
        values += tl.load(before + channel, mask=inside, other=0.0).to(tl.float32)
    if SHIFT:
        values += tl.load(shift + image * channels + channel, mask=inside, other=0.0).to(tl.float32)
    return values


@triton.jit
def _finished(values: Any, weight: Any, bias: Any, channel: Any, inside: Any, SILU: tl.constexpr) -> Any:  # noqa: N803
    values = values * tl.load(weight + channel, mask=inside, other=0.0).to(tl.float32)
    values += tl.load(bias + channel, mask=inside, other=0.0).to(tl.float32)
    if SILU:
        values = values / (1.0 + tl.exp(-values))
    return values


@triton.jit
def _whole_group(image_ptr: Any, out_ptr: Any, weight: Any, bias: Any, before: Any, shift: Any, pixels: Any,
                 channels: Any, width: Any, eps: Any, BEFORE: tl.constexpr, SHIFT: tl.constexpr,  # noqa: N803
                 SILU: tl.constexpr, ROWS: tl.constexpr, WIDTH: tl.constexpr) -> None:  # noqa: N803
    """One program for each group of each image."""
    image, group = tl.program_id(0), tl.program_id(1)
    rows, columns = tl.arange(0, ROWS)[:, None], tl.arange(0, WIDTH)[None, :]
    channel = group * width + columns
    inside = (rows < pixels) & (columns < width)
    offsets = image.to(tl.int64) * pixels * channels + rows * channels + channel
    values = tl.load(image_ptr + offsets, mask=inside, other=0.0).to(tl.float32)
    values = _added(values, before, shift, image, channels, channel, columns < width, BEFORE, SHIFT)
    count = 1.0 * pixels * width  # Triton hands a 1 over as a constant, which has no type
    mean = tl.sum(tl.sum(tl.where(inside, values, 0.0), 1), 0) / count
    centred = tl.where(inside, values - mean, 0.0)
    variance = tl.sum(tl.sum(centred * centred, 1), 0) / count
    values = _finished(centred / tl.sqrt(variance + eps), weight, bias, channel, columns < width, SILU)
    tl.store(out_ptr + offsets, values.to(out_ptr.dtype.element_ty), mask=inside)


@triton.jit
def _statistics(image_ptr: Any, before: Any, shift: Any, partial: Any, pixels: Any, channels: Any, width: Any,
                groups: Any, rows_per_program: Any, BEFORE: tl.constexpr, SHIFT: tl.constexpr,  # noqa: N803
                ROWS: tl.constexpr, GROUPS: tl.constexpr, WIDTH: tl.constexpr) -> None:  # noqa: N803
    """Mean and sum of squared distances of some groups, over some pixels."""
    split, block, image = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    group = block * GROUPS + tl.arange(0, GROUPS)
    columns = tl.arange(0, WIDTH)[None, None, :]
    channel = group[None, :, None] * width + columns
    known = (group[None, :, None] < groups) & (columns < width)
    base = image.to(tl.int64) * pixels * channels
    first = split * rows_per_program
    last = tl.minimum(first + rows_per_program, pixels)
    mean = tl.zeros([GROUPS], tl.float32)
    squares = tl.zeros([GROUPS], tl.float32)
    seen = tl.zeros([GROUPS], tl.float32)
    for start in range(first, last, ROWS):
        rows = start + tl.arange(0, ROWS)[:, None, None]
        inside = known & (rows < last)
        values = tl.load(image_ptr + base + rows * channels + channel, mask=inside, other=0.0).to(tl.float32)
        values = _added(values, before, shift, image, channels, channel, known, BEFORE, SHIFT)
        more = tl.zeros([GROUPS], tl.float32) + (tl.minimum(start + ROWS, last) - start) * width
        own_mean = tl.sum(tl.sum(tl.where(inside, values, 0.0), 2), 0) / more
        centred = tl.where(inside, values - own_mean[None, :, None], 0.0)
        distance = own_mean - mean
        total = seen + more
        squares += tl.sum(tl.sum(centred * centred, 2), 0) + distance * distance * (seen * more / total)
        mean += distance * (more / total)
        seen = total
    place = partial + (image * tl.num_programs(0) + split) * 2 * groups + group
    tl.store(place, mean, mask=group < groups)
    tl.store(place + groups, squares, mask=group < groups)


@triton.jit
def _apply(image_ptr: Any, out_ptr: Any, weight: Any, bias: Any, before: Any, shift: Any, partial: Any, pixels: Any,
           channels: Any, width: Any, groups: Any, splits: Any, rows_per_program: Any, eps: Any,
           BEFORE: tl.constexpr, SHIFT: tl.constexpr, SILU: tl.constexpr, SPLITS: tl.constexpr,  # noqa: N803
           ROWS: tl.constexpr, GROUPS: tl.constexpr, WIDTH: tl.constexpr) -> None:  # noqa: N803
    """Merge what `_statistics` found, and normalise some pixels of some groups."""
    split, block, image = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    group = block * GROUPS + tl.arange(0, GROUPS)
    part = tl.arange(0, SPLITS)[:, None]
    valid = (part < splits) & (group[None, :] < groups)
    place = partial + (image * splits + part) * 2 * groups + group[None, :]
    means = tl.load(place, mask=valid, other=0.0)
    squares = tl.load(place + groups, mask=valid, other=0.0)
    rows_of_part = tl.minimum(tl.maximum(pixels - part * rows_per_program, 0), rows_per_program)
    shares = tl.where(valid, rows_of_part, 0) / (1.0 * pixels)
    mean = tl.sum(means * shares, 0)
    distance = means - mean[None, :]
    variance = tl.sum(squares, 0) / (1.0 * pixels * width) + tl.sum(distance * distance * shares, 0)
    factor = 1.0 / tl.sqrt(variance + eps)
    columns = tl.arange(0, WIDTH)[None, None, :]
    channel = group[None, :, None] * width + columns
    known = (group[None, :, None] < groups) & (columns < width)
    base = image.to(tl.int64) * pixels * channels
    first = split * rows_per_program
    last = tl.minimum(first + rows_per_program, pixels)
    for start in range(first, last, ROWS):
        rows = start + tl.arange(0, ROWS)[:, None, None]
        inside = known & (rows < last)
        offsets = base + rows * channels + channel
        values = tl.load(image_ptr + offsets, mask=inside, other=0.0).to(tl.float32)
        values = _added(values, before, shift, image, channels, channel, known, BEFORE, SHIFT)
        values = (values - mean[None, :, None]) * factor[None, :, None]
        values = _finished(values, weight, bias, channel, known, SILU)
        tl.store(out_ptr + offsets, values.to(out_ptr.dtype.element_ty), mask=inside)


@triton.jit
def _add(image: Any, other: Any, out: Any, bias: Any, second: Any, size: Any, channels: Any,
         SECOND: tl.constexpr, COLUMNS: tl.constexpr) -> None:  # noqa: N803
    offsets = tl.program_id(0).to(tl.int64) * COLUMNS + tl.arange(0, COLUMNS)
    inside = offsets < size
    channel = offsets % channels
    values = tl.load(bias + channel, mask=inside, other=0.0).to(tl.float32)
    if SECOND:
        values += tl.load(second + channel, mask=inside, other=0.0).to(tl.float32)
    values += tl.load(image + offsets, mask=inside, other=0.0).to(tl.float32)
    values += tl.load(other + offsets, mask=inside, other=0.0).to(tl.float32)
    tl.store(out + offsets, values.to(out.dtype.element_ty), mask=inside)


@triton.jit
def _geglu(hidden: Any, out: Any, width: Any, COLUMNS: tl.constexpr) -> None:  # noqa: N803
    row = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    inside = column < width
    linear = tl.load(hidden + row * 2 * width + column, mask=inside, other=0.0).to(tl.float32)
    gate = tl.load(hidden + row * 2 * width + width + column, mask=inside, other=0.0).to(tl.float32)
    gate = 0.5 * gate * (1.0 + tl.math.erf(gate * 0.7071067811865476))
    tl.store(out + row * width + column, (linear * gate).to(out.dtype.element_ty), mask=inside)


@triton.jit
def _largest(tensor: Any, largest: Any, size: Any, BLOCK: tl.constexpr) -> None:  # noqa: N803
    found = tl.zeros([BLOCK], tl.float32)
    for start in range(tl.program_id(0) * BLOCK, size, tl.num_programs(0) * BLOCK):
        offsets = start + tl.arange(0, BLOCK)
        found = tl.maximum(found, tl.abs(tl.load(tensor + offsets, mask=offsets < size, other=0.0).to(tl.float32)))
    tl.store(largest + tl.program_id(0), tl.max(found, 0))


@triton.jit
def _quantise(tensor: Any, quantised: Any, scale: Any, largest: Any, size: Any, parts: Any, most: Any,
              BLOCK: tl.constexpr, PARTS: tl.constexpr) -> None:  # noqa: N803
    part = tl.arange(0, PARTS)
    step = tl.maximum(tl.max(tl.load(largest + part, mask=part < parts, other=0.0), 0) / most, 1e-12)
    offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    values = tl.load(tensor + offsets, mask=offsets < size, other=0.0).to(tl.float32) / step
    values = tl.minimum(tl.maximum(values, -most), most)
    tl.store(quantised + offsets, values.to(quantised.dtype.element_ty), mask=offsets < size)
    tl.store(scale, step)
