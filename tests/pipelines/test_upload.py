"""What goes to a device that computes beside the host goes without a wait: a blocking copy drains MPS's whole queue."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.rigs.lazy_imports import lazy_imports

with lazy_imports(globals()):
    import torch

    from lcm_daemon.pipelines.image_io import FrameConverter
    from lcm_daemon.pipelines.noise import Noise
    from lcm_daemon.pipelines.numbers import Numbers
    from lcm_daemon.pipelines.upload import upload
    from tests.rigs.torch_stand_ins import Copies


@contextmanager
def copies_to_a_device() -> Iterator[list[bool]]:
    """Whether each copy from the host to another device (`meta` takes the place of MPS) does not block."""
    with Copies() as mode:
        yield mode.to_device


def send_numbers() -> None:
    numbers = Numbers(torch.device("meta"))
    numbers.reserve(4).write(2.0)
    numbers.send()


WAYS: dict[str, Callable[[], Any]] = {
    "numbers": send_numbers,
    "noise": lambda: Noise(4, 8, 8, torch.device("meta")).blend(((1, 0.5), (2, 0.5)), 2),
    "small things": lambda: upload(torch.ones(3), torch.device("meta")),
    "the frame": lambda: FrameConverter((64, 64), (64, 64), torch.device("meta"), torch.float32).to_image(
        torch.zeros(64, 64, 4, dtype=torch.uint8).numpy()),
}


@pytest.mark.parametrize("way", WAYS)
def test_no_copy_to_the_device_waits(way: str) -> None:
    with copies_to_a_device() as copies:
        WAYS[way]()
    assert copies
    assert all(copies)
