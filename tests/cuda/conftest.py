"""Each test here runs on a card where torch finds one, and as a dry run on the CPU."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cuda.rig import CARD, DRY_RUN, Place


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Two threads make tiny models no faster, and beside another job they spend their time waiting for each other."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(params=["card", "dry run"])
def place(request: pytest.FixtureRequest) -> Place:
    """The card, or the CPU. Without a card that half is skipped, under CI too: no test machine has to have one."""
    if request.param == "dry run":
        return DRY_RUN
    import torch

    if not torch.cuda.is_available():
        pytest.skip(f"no CUDA device: torch {torch.__version__} finds none")
    return CARD
