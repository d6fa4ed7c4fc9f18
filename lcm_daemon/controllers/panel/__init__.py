"""The web panel: one page with the live picture and a control for every parameter. Its keys in a show stand here."""

from __future__ import annotations

from lcm_daemon.core.schema import Field, Fields, Number, Text

FIELDS: Fields = {
    "port": Field(Number(0, 65535, whole=True), 8000, "TCP port of the page; 0 takes any free one"),
    "host": Field(Text(), "127.0.0.1", "address to listen on; 0.0.0.0 opens the panel to the whole network"),
    "preview_fps": Field(Number(0.1, 120), 15, "most pictures a second that a browser is sent"),
    "preview_quality": Field(Number(1, 100, whole=True), 80, "JPEG quality of those pictures"),
}
