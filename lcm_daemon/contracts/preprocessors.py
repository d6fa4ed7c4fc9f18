"""What every preprocessor has to do, see `lcm_daemon.pipelines.preprocessors.base`."""

from __future__ import annotations

from pathlib import Path

import torch

from lcm_daemon.contracts.refusals import check_refusal
from lcm_daemon.pipelines.preprocessors.base import Preprocessor, PreprocessorConfig


def check_preprocessor(kind: type[Preprocessor], detector: Path | None = None, size: tuple[int, int] = (64, 48),
                       device: str = "cpu") -> None:
    """Maps have the image's shape and dtype and lie from 0 to 1; the image is kept; `save` and `restore` repeat a map.

    Args:
        kind: The class.
        detector: Folder or file of its own model, if it needs one.
        size: Width and height of the images.
        device: Where they are, such as "cuda:0".
    """
    assert isinstance(kind, type), f"{kind!r} is not a class"
    assert issubclass(kind, Preprocessor), f"{kind.__name__} is not a Preprocessor"
    assert bool(kind.detector) <= (detector is not None), f"{kind.__name__} needs a detector such as {kind.detector}"
    made = kind.load(PreprocessorConfig(detector, torch.device(device), torch.float32))
    assert isinstance(made, Preprocessor), f"`load` returns {made!r}"
    images = torch.rand(2, 1, 3, size[1], size[0], generator=torch.Generator().manual_seed(1)).mul(2).sub(1).to(device)
    with torch.inference_mode():
        _check_map(made, images[0])
        saved = made.save()
        wanted = _check_map(made, images[1])
        made.restore(saved)
        assert torch.equal(_check_map(made, images[1]), wanted), "after `restore` it makes another map"
    check_refusal(lambda: made.map(images[0][0]), ValueError, "(1, 3, h, w)",
                  "it accepts an image that is not (1, 3, h, w)")


def _check_map(made: Preprocessor, image: torch.Tensor) -> torch.Tensor:
    before = image.clone()
    found = made.map(image)
    assert torch.equal(image, before), "the image was written to"
    assert found.shape == image.shape, f"the map is {tuple(found.shape)}, the image {tuple(image.shape)}"
    assert found.dtype == image.dtype, f"the map is {found.dtype}, the image {image.dtype}"
    assert float(found.min()) >= 0.0, "the map goes below 0"
    assert float(found.max()) <= 1.0, "the map goes above 1"
    return found.clone()
