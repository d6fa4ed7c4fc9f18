"""Several one-thread processes that train together. On a busy machine they are faster than one with many threads."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor

from examples.train_builtin import runs


def run(job: Callable[..., None], workers: int, work: Path, *arguments: Any) -> None:
    """Call job(work, *arguments) in `workers` processes, connected by gloo over the loopback interface.

    On a graphics card, one process does the work.
    """
    if workers == 1 or runs.current().device != "cpu":
        job(work, *arguments)
        return
    meeting = work / "rendezvous"
    meeting.unlink(missing_ok=True)
    mp.spawn(_enter, (workers, meeting, runs.current(), job, work, arguments), nprocs=workers)


def _enter(
    rank: int, workers: int, meeting: Path, run: runs.Run, job: Callable[..., None], work: Path,
    arguments: tuple[Any, ...],
) -> None:
    runs.start(run)
    runs.stop_on_signals()
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=meeting.as_uri(), rank=rank, world_size=workers)
    job(work, *arguments)
    dist.destroy_process_group()


def rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def average(tensors: list[Tensor]) -> None:
    """Replace each tensor by its mean over all workers."""
    if not dist.is_initialized():
        return
    flat = torch.cat([tensor.flatten() for tensor in tensors])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    for tensor, part in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
        tensor.copy_(part.view_as(tensor))
