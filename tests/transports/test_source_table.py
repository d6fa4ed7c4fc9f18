"""SourceTable: names become sources by look-up, never by opening what a name says."""

from __future__ import annotations

import pytest

from lcm_daemon.core.errors import TransportError
from lcm_daemon.core.parameters import Refused
from lcm_daemon.transports.camera import CameraSource
from lcm_daemon.transports.endpoint import EndpointConfig
from lcm_daemon.transports.source_table import OWN, SourceTable, split_listed

WIDE = EndpointConfig("file", {"path": "/clips/wide.mp4"})
OWN_SOURCE = EndpointConfig("testcard", {})
TABLE = SourceTable(OWN_SOURCE, {"wide": WIDE})


@pytest.mark.parametrize(("name", "expected"), [
    ("ndi CAM 1", ("ndi", "CAM 1")), ("ndi: STAGE (CAM 1)", ("ndi", "STAGE (CAM 1)")),
    ("  NDI   CAM 1 ", ("ndi", "CAM 1")),
    ("syphon: Resolume Arena: Composition", ("syphon", "Resolume Arena: Composition")), ("testcard", ("testcard", "")),
    ("/etc/passwd", ("", "")), ("", ("", "")), ("ndi:CAM", ("ndi", "CAM")),
])
def test_a_listed_name_has_a_transport_and_a_label(name: str, expected: tuple[str, str]) -> None:
    assert split_listed(name) == expected


@pytest.mark.parametrize(("name", "transport", "options"), [
    ("wide", "file", {"path": "/clips/wide.mp4"}),
    (OWN, "testcard", {}),
    ("ndi CAM 1", "ndi", {"name": "CAM 1"}),
    ("ndi: STAGE (CAM 1)", "ndi", {"name": "STAGE (CAM 1)"}),
    ("spout TDSyphonSpoutOut", "spout", {"name": "TDSyphonSpoutOut"}),
    ("syphon: Resolume Arena: Composition", "syphon", {"app": "Resolume Arena", "name": "Composition"}),
    ("syphon Composition", "syphon", {"name": "Composition"}),
    ("memory ../../etc/passwd", "memory", {"name": "../../etc/passwd"}),  # the transport hashes such a name
    ("testcard", "testcard", {}),
    ("testcard testcard", "testcard", {}),
])
def test_names_that_are_found(name: str, transport: str, options: dict[str, str]) -> None:
    assert TABLE.problem(name) == ""
    found = TABLE.find(name)
    assert found is not None
    assert (found.transport, dict(found.options)) == (transport, options)


@pytest.mark.parametrize(("name", "problem"), [
    ("file /etc/passwd", "a source of the transport file needs an entry in `sources`"),
    ("record out.mp4", "a source of the transport record needs an entry in `sources`"),
    ("browser page", "a source of the transport browser needs an entry in `sources`"),
    ("wid", "did you mean 'wide'?"),
    ("/etc/passwd", "no source '/etc/passwd'"),
    ("", "no source ''"),
])
def test_names_that_are_refused(name: str, problem: str) -> None:
    assert problem in TABLE.problem(name)
    with pytest.raises(Refused, match="source"):
        TABLE.find(name)


@pytest.mark.parametrize("name", ["camera /dev/video7", "camera video=secret", "camera 0", "ndi", "testcard x"])
def test_a_label_that_no_list_has_is_an_error(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A camera's `device` may be a path; a name from the network may not."""
    monkeypatch.setattr(CameraSource, "discover", classmethod(lambda cls, seconds: ["HD Webcam"]))
    with pytest.raises(TransportError, match="no source is listed as"):
        TABLE.find(name)
    found = TABLE.find("camera HD Webcam")
    assert found is not None
    assert found.options == {"device": "HD Webcam"}


def test_a_show_without_a_source_of_its_own() -> None:
    assert SourceTable().find(OWN) is None
