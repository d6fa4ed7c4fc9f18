"""The panel controller: one web page with the live output and a control for every parameter."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from lcm_daemon.controllers.allowlist import NETWORK
from lcm_daemon.controllers.base import Controller
from lcm_daemon.core.control_state import ControlState
from lcm_daemon.core.frame import Frame
from lcm_daemon.core.paths import state_folder
from lcm_daemon.core.schema import Field, Fields, Items, Number, Text
from lcm_daemon.web.address import browser_url

if TYPE_CHECKING:  # loading the web server takes time, and `check` and `list` do not need it
    from lcm_daemon.controllers.panel.camera import FrameSink
    from lcm_daemon.controllers.panel.server import PanelServer
    from lcm_daemon.exports.surface import Surface
    from lcm_daemon.web.certificate import ServerCertificate

log = logging.getLogger(__name__)

CAMERA_SIZE, CAMERA_FPS = (640, 480), 30.0  # of a page's camera; the sink grows when larger frames come


class PageCamera:
    """The sink that the browser source `name` reads. It opens with its first frame."""

    def __init__(self, name: str) -> None:
        from lcm_daemon.transports.browser import PageSink

        self._sink, self._lock = PageSink({"name": name}), threading.Lock()  # a thread writes, another one closes

    def write(self, frame: Frame) -> None:
        """Raises LcmDaemonError, for example if another daemon has a source of this name."""
        with self._lock:
            if not self._sink.is_open:
                self._sink.open(CAMERA_SIZE, CAMERA_FPS)
            self._sink.write(frame)

    def close(self) -> None:
        with self._lock:
            self._sink.close()


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
        "output_quality": Field(Number(1, 100, whole=True), 90, "JPEG quality of /output and /view"),
        "monitors": Field(Items(NETWORK), (), "addresses and networks that may read /metrics without the pin"),
    }

    def __init__(
        self, controls: ControlState, options: Mapping[str, Any],
        open_sink: Callable[[str], FrameSink] = PageCamera,
    ) -> None:
        """As Controller. The stage adds the show's sources, sinks and ports under "surface"."""
        super().__init__(controls, {key: value for key, value in options.items() if key != "surface"})
        self._surface: Surface | None = options.get("surface")
        self.port = int(self.options["port"])
        self._open_sink = open_sink
        self._sink: FrameSink | None = None
        self._server: PanelServer | None = None

    @property
    def address(self) -> str:
        """URL of the page for a browser on this machine, for example "http://127.0.0.1:8000"."""
        return browser_url(str(self.options["host"]), self.port, self.controls.network.tls is not None)

    async def start(self) -> None:
        """Listen and serve. Raises LcmDaemonError, for example if the port is in use."""
        from lcm_daemon.controllers.panel.server import PanelServer

        if self._server is not None:
            return
        if self.controls.browser_source:
            self._sink = self._open_sink(self.controls.browser_source)
        certificate = await asyncio.to_thread(self._open_certificate)
        self._server = PanelServer(self.controls, self.options, self._sink, certificate, self._surface)
        self.port = await self._server.start()
        log.info("panel: serving the page at %s", self.address)

    def _open_certificate(self) -> ServerCertificate | None:
        from lcm_daemon.web.certificate import ServerCertificate

        return ServerCertificate(self.controls.network, state_folder()) if self.controls.network.tls else None

    async def stop(self) -> None:
        """Close the port, all connections and the sink. Safe to call at any time, also twice."""
        server, self._server = self._server, None
        sink, self._sink = self._sink, None
        if server is not None:
            await server.stop()
        if sink is not None:
            sink.close()
