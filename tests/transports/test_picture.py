"""A picture that a page has sent, as a source."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from PIL import Image

from lcm_daemon.core.errors import TransportError
from lcm_daemon.core.picture_store import PictureStore
from lcm_daemon.transports.base import Source
from lcm_daemon.transports.picture import PictureSource
from lcm_daemon.transports.source_table import SourceTable
from tests.rigs.transport_contract import SOURCES


def red() -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (64, 48), (250, 0, 0)).save(out, "PNG")
    return out.getvalue()


@contextmanager
def alone() -> Iterator[Source]:
    store = PictureStore(Path(os.environ["LCM_DAEMON_STATE"]) / "contract")
    yield PictureSource({"name": str(store.add(red()))}, store=store)


SOURCES["picture"] = alone


def test_a_picture_is_a_source_by_its_number_and_stays_when_it_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LCM_DAEMON_STATE", str(tmp_path))
    store = PictureStore()
    assert PictureSource.discover(0.0) == []
    assert store.add(red()) == 1
    assert PictureSource.discover(0.0) == ["1"]
    config = SourceTable().find("picture 1")
    assert config is not None
    source = PictureSource(config.options)
    source.open()
    frame = source.read(1.0)
    assert frame is not None
    assert frame.pixels[20, 20, 0] > 240
    store.remove(1)
    assert source.read(1.0) is not None
    source.close()
    with pytest.raises(TransportError, match="'1' does not exist"):
        source.open()


@pytest.mark.parametrize("name", ["2", "../1", "/etc/passwd", "", "one"])
def test_nothing_else_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("LCM_DAEMON_STATE", str(tmp_path))
    PictureStore().add(red())
    with pytest.raises(TransportError, match="no source is listed"):
        SourceTable().find(f"picture {name}")
    with pytest.raises(TransportError, match="does not exist"):
        PictureSource({"name": name}).open()
