"""Scaling where the device has no antialiasing: done on the host, with the same result."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.rigs.lazy_imports import lazy_imports

with lazy_imports(globals()):
    import torch
    from torch.nn import functional

    from lcm_daemon.pipelines import scaling
    from lcm_daemon.pipelines.preprocessors.model_input import resize
    from lcm_daemon.pipelines.scaling import scale
    from tests.rigs.torch_stand_ins import MpsTensor

REAL = functional.interpolate


@pytest.fixture(autouse=True)
def _asked_anew() -> Iterator[None]:
    scaling._supports_antialias.cache_clear()
    yield
    scaling._supports_antialias.cache_clear()


def test_a_device_without_antialiasing_uses_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def interpolate(picture: torch.Tensor, size: Any, **named: Any) -> torch.Tensor:
        if named["antialias"] and picture.shape == (1, 1, 4, 4):
            asked.append(named["mode"])
        if named["antialias"] and (isinstance(picture, MpsTensor) or picture.shape == (1, 1, 4, 4)):
            raise NotImplementedError("The operator 'aten::_upsample_bilinear2d_aa.out' is not currently implemented "
                                      "for the MPS device.")
        return REAL(picture, size, **named)

    monkeypatch.setattr(functional, "interpolate", interpolate)
    picture = torch.rand(1, 3, 32, 24)
    for _ in range(3):
        for mode in ("bilinear", "bicubic"):
            found = scale(MpsTensor.on(picture), (16, 8), mode, antialias=True)
            expected = REAL(picture, (16, 8), mode=mode, align_corners=False, antialias=True)
            torch.testing.assert_close(found, expected)
    assert asked == ["bilinear", "bicubic"]
    torch.testing.assert_close(resize(MpsTensor.on(picture), (16, 8)),
                               REAL(picture, (16, 8), mode="bicubic", align_corners=False, antialias=True))
    grown = scale(MpsTensor.on(picture), (64, 48), "bilinear", antialias=False)
    assert isinstance(grown, MpsTensor), "what does not shrink stays on the device"


def test_a_device_with_antialiasing_scales_itself() -> None:
    picture = MpsTensor.on(torch.rand(1, 3, 32, 24))
    assert isinstance(scale(picture, (16, 8), "bilinear", antialias=True), MpsTensor)
