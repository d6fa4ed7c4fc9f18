"""The panel controller: one web page with the live output and a control for every parameter."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from lcm_daemon.controllers.base import Controller
from lcm_daemon.core.control_state import ControlState
from lcm_daemon.core.schema import Field, Fields, Number, Text
from lcm_daemon.web.address import browser_url

if TYPE_CHECKING:  # loading the web server takes time, and `check` and `list` do not need it
    from lcm_daemon.controllers.panel.camera import FrameSink
    from lcm_daemon.controllers.panel.server import PanelServer

log = logging.getLogger(__name__)

CAMERA_SIZE, CAMERA_FPS = (640, 480), 30.0  # of a page's camera; the sink grows when larger frames come


def open_page_sink(name: str) -> FrameSink:
    """Open the sink that the show's browser source `name` reads."""
    from lcm_daemon.transports.browser import PageSink

    sink = PageSink({"name": name})
    sink.open(CAMERA_SIZE, CAMERA_FPS)
    return sink


class Panel(Controller):
    """Serves the page, its WebSocket and the preview. Rejected messages are counted under "panel/".

    In a show with a browser source, the panel also receives the frames of a page's camera and writes them to a sink.
    """

    on_by_default: ClassVar[bool] = True
    fields: ClassVar[Fields] = {
        "port": Field(Number(0, 65535, whole=True), 8000, "TCP port of the page; 0 takes any free one"),
        "host": Field(Text(), "127.0.0.1", "address to listen on; 0.0.0.0 opens the panel to the whole network"),
        "preview_fps": Field(Number(0.1, 120), 15, "highest number of preview frames per second that a browser gets"),
        "preview_quality": Field(Number(1, 100, whole=True), 80, "JPEG quality of the preview"),
    }

    def __init__(
        self, controls: ControlState, options: Mapping[str, Any],
        open_sink: Callable[[str], FrameSink] = open_page_sink,
    ) -> None:
        super().__init__(controls, options)
        self.port = int(self.options["port"])
        self._open_sink = open_sink
        self._sink: FrameSink | None = None
        self._server: PanelServer | None = None

    @property
    def address(self) -> str:
        """URL of the page for a browser on this machine, for example "http://127.0.0.1:8000"."""
        return browser_url(str(self.options["host"]), self.port)

    async def start(self) -> None:
        """Listen and serve. Raises LcmDaemonError, for example if the port is in use."""
        from lcm_daemon.controllers.panel.server import PanelServer

        if self._server is not None:
            return
        if self.controls.browser_source:
            self._sink = self._open_sink(self.controls.browser_source)
        self._server = PanelServer(self.controls, self.options, self._sink)
        self.port = await self._server.start()
        log.info("panel: serving the page at %s", self.address)

    async def stop(self) -> None:
        """Close the port, all connections and the sink. Safe to call at any time, also twice."""
        server, self._server = self._server, None
        sink, self._sink = self._sink, None
        if server is not None:
            await server.stop()
        if sink is not None:
            sink.close()
