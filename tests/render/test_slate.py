"""The slate: any picture file, upright and in its colours; read again when it changes."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lcm_daemon.core import picture_watch
from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.render.failsafe import Failsafe, FailsafeConfig
from lcm_daemon.render.slate import Slate, draw_slate
from tests.core.test_pictures import bomb
from tests.rigs import icc

SIZE = (32, 16)


def test_a_card_is_painted_with_the_title() -> None:
    card = draw_slate((320, 180), "mirror")
    assert card.shape == (180, 320, 4)
    assert card[..., 3].min() == 255
    assert card[80:100, :, :3].max() > 180, "the title is bright"
    assert card[:60, :, :3].max() < 120, "the ground is quiet"
    assert (Slate("", (320, 180), "mirror").pixels == card).all()


def test_a_slate_is_an_image_file_that_fills_the_size(tmp_path: Path) -> None:
    image = Image.new("RGB", (100, 100), (10, 200, 30))
    image.paste((255, 255, 255), (0, 0, 100, 20))
    image.save(tmp_path / "slate.png")
    assert (Slate(str(tmp_path / "slate.png"), SIZE, "").pixels == (10, 200, 30, 255)).all()


def test_a_slate_is_upright_and_in_srgb(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.new("RGB", (64, 128), (200, 100, 50))
    image.paste((0, 0, 0), (0, 64, 64, 128))  # below, that is on the left once it is upright
    image.save(tmp_path / "a.png", exif=exif, icc_profile=icc.rgb_profile(icc.DISPLAY_P3, None))
    pixels = Slate(str(tmp_path / "a.png"), (32, 16), "").pixels
    assert pixels[8, 4].tolist() == [0, 0, 0, 255]
    assert np.abs(pixels[8, 28].astype(int) - (215, 93, 31, 255)).max() <= 1


def test_a_slate_of_16_bits(tmp_path: Path) -> None:
    Image.fromarray(np.full((16, 32), 100 * 257, np.uint16)).save(tmp_path / "a.png")
    assert (Slate(str(tmp_path / "a.png"), SIZE, "").pixels[..., :3] == 100).all()


def test_a_slate_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"no picture")
    for path, text in (("broken.png", "it is not a picture"), ("absent.png", "it does not exist")):
        with pytest.raises(LcmDaemonError, match=rf"^slate: cannot read .*{path}: {text}"):
            Slate(str(tmp_path / path), SIZE, "")
    with pytest.raises(LcmDaemonError, match=r"^slate: cannot read .*: 20000 x 20000 pixels are too many"):
        Slate(str(bomb(tmp_path / "bomb.png", 20_000)), SIZE, "")


def test_a_changed_slate_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picture_watch.PictureFollower.start, "__defaults__", (0.01,))
    path = tmp_path / "a.png"
    Image.new("RGB", SIZE, (9, 8, 7)).save(path)
    slate, arrived = Slate(str(path), SIZE, ""), threading.Event()
    failsafe = Failsafe(FailsafeConfig(), SIZE, slate.pixels)

    def show(pixels: np.ndarray) -> None:
        failsafe.show_slate(pixels)
        arrived.set()

    slate.start(show)
    Image.new("RGB", (64, 32), (90, 80, 70)).save(path)
    assert arrived.wait(5.0)
    slate.stop()
    assert failsafe.choose(None, 0.0, None)[5, 5].tolist() == [90, 80, 70, 255]
