"""A real Chromium without a window, driven over the Chrome DevTools protocol."""

from __future__ import annotations

import asyncio
import itertools
import json
import shutil
import subprocess
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from tests.rigs.panel import PATIENCE

NAMES = ("chromium", "chromium-browser", "google-chrome")
SHIFT = 8  # the DevTools protocol's bit
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--remote-debugging-port=0",
    "--use-fake-device-for-media-stream=device-count=2", "--use-fake-ui-for-media-stream",  # green, with a clock
)


def find() -> str | None:
    return next(filter(None, map(shutil.which, NAMES)), None)


@contextmanager
def running(folder: Path) -> Iterator[str]:
    """Run a browser with an empty profile in `folder`; yields the host:port of its DevTools."""
    with (folder / "log").open("wb") as log:
        command = [find() or "", *FLAGS, f"--user-data-dir={folder / 'profile'}", "about:blank"]
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    try:
        yield f"127.0.0.1:{_port(folder / 'profile' / 'DevToolsActivePort', process)}"
    finally:
        process.terminate()
        process.wait(PATIENCE)


def _port(file: Path, process: subprocess.Popen[bytes]) -> int:
    """The port of DevTools. Chromium writes it to `file` when it listens."""
    async def wait() -> int:
        async with asyncio.timeout(6 * PATIENCE):
            while not (file.exists() and "\n" in file.read_text()):
                assert process.poll() is None, "the browser has ended"
                await asyncio.sleep(0.02)
        return int(file.read_text().splitlines()[0])
    return asyncio.run(wait())


class Tab:
    """One tab. `requests` holds every URL it requested, `troubles` every error it logged."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self.requests: list[str] = []
        self.troubles: list[str] = []

    async def listen(self) -> None:
        async for text in self._socket:
            message = json.loads(text)
            if (waiting := self._answers.pop(message.get("id"), None)) is not None:
                waiting.set_result(message)
            elif message["method"] == "Network.requestWillBeSent":
                self.requests.append(message["params"]["request"]["url"])
            elif message["method"] == "Network.webSocketCreated":
                self.requests.append(message["params"]["url"])
            elif _is_trouble(message):
                self.troubles.append(json.dumps(message["params"]))

    async def call(self, method: str, **parameters: Any) -> Any:
        number = next(self._numbers)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        await self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        async with asyncio.timeout(PATIENCE):
            message = await answer
        assert "error" not in message, message
        return message["result"]

    async def js(self, expression: str) -> Any:
        """The value of a JavaScript expression."""
        done = await self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in done, (expression, done)
        return done["result"].get("value")

    async def until(self, expression: str) -> Any:
        """Wait until a JavaScript expression is true; return its value."""
        value = None
        try:
            async with asyncio.timeout(PATIENCE):
                while not (value := await self.js(expression)):
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise AssertionError(f"the page did not reach: {expression}") from None
        return value

    async def open(self, url: str, width: int = 1280, height: int = 800, touch: bool = False) -> None:
        await self._set_window(width, height, touch)
        await self.call("Page.navigate", url=url)
        await self.until("document.querySelector('[data-link=online]') !== null")

    async def resize(self, width: int, height: int, touch: bool = False) -> None:
        """Change the size of the open page's window and wait for the new layout."""
        await self._set_window(width, height, touch)
        await self.until(f"innerWidth === {width} && innerHeight === {height}"
                         f" && matchMedia('(pointer: coarse)').matches === {json.dumps(touch)}")
        await self.js("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")

    async def _set_window(self, width: int, height: int, touch: bool) -> None:
        window = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": touch}
        await self.call("Emulation.setDeviceMetricsOverride", **window)
        await self.call("Emulation.setTouchEmulationEnabled", enabled=touch)

    async def place(self, selector: str, x: float = 0.5, y: float = 0.5) -> tuple[float, float]:
        """A point of an element in pixels of the window. x and y go from 0 to 1 across the element."""
        box = await self.js(
            f"(() => {{ const e = document.querySelector({selector!r}); e.scrollIntoView({{block: 'center'}});"
            " const b = e.getBoundingClientRect(); return [b.x, b.y, b.width, b.height] })()")
        return box[0] + x * box[2], box[1] + y * box[3]

    async def mouse(self, kind: str, x: float, y: float, clicks: int = 1, modifiers: int = 0) -> None:
        buttons = 0 if kind == "mouseReleased" else 1
        await self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", buttons=buttons,
                        clickCount=clicks, modifiers=modifiers)

    async def click(self, selector: str, times: int = 1) -> None:
        x, y = await self.place(selector)
        for n in range(1, times + 1):
            await self.mouse("mousePressed", x, y, n)
            await self.mouse("mouseReleased", x, y, n)

    async def key(self, key: str, modifiers: int = 0) -> None:
        """Press and release a key. A key of one character types it."""
        text = {"Enter": "\r"}.get(key, key if len(key) == 1 else "")
        code = {" ": "Space"}.get(key, key)
        number = {"windowsVirtualKeyCode": 27} if key == "Escape" else {}  # without it no popover closes
        await self.call("Input.dispatchKeyEvent", type="keyDown", key=key, code=code, text=text, modifiers=modifiers,
                        **number)
        await self.call("Input.dispatchKeyEvent", type="keyUp", key=key, code=code, modifiers=modifiers)

    async def write(self, selector: str, text: str) -> None:
        """Focus a field and replace its content."""
        await self.js(f"document.querySelector({selector!r}).focus(), document.querySelector({selector!r}).select()")
        await self.call("Input.insertText", text=text)

    async def touch(self, kind: str, *points: tuple[float, float]) -> None:
        await self.call("Input.dispatchTouchEvent", type=kind, touchPoints=[{"x": x, "y": y} for x, y in points])


def _is_trouble(message: dict[str, Any]) -> bool:
    logged = message["params"].get("entry", {}) if message["method"] == "Log.entryAdded" else {}
    return message["method"] == "Runtime.exceptionThrown" or logged.get("level") == "error"


async def _read_json(url: str, method: str = "GET") -> Any:
    request = urllib.request.Request(url, method=method)
    return json.loads(await asyncio.to_thread(lambda: urllib.request.urlopen(request).read()))


@asynccontextmanager
async def context(devtools: str) -> AsyncIterator[Tab]:
    """Open a tab in a context of its own, as another person's browser: it shares no cookies with other tabs."""
    about = await _read_json(f"http://{devtools}/json/version")
    async with connect(about["webSocketDebuggerUrl"], max_size=None, proxy=None) as socket:
        browser = Tab(socket)
        listening = asyncio.create_task(browser.listen())
        made = await browser.call("Target.createBrowserContext", disposeOnDetach=True)
        target = await browser.call("Target.createTarget", url="about:blank", **made)
        async with _attached(f"ws://{devtools}/devtools/page/{target['targetId']}") as new:
            yield new
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)


@asynccontextmanager
async def tab(devtools: str) -> AsyncIterator[Tab]:
    """Open a new tab of a running browser."""
    target = await _read_json(f"http://{devtools}/json/new?about:blank", "PUT")
    async with _attached(target["webSocketDebuggerUrl"]) as new:
        yield new


@asynccontextmanager
async def _attached(address: str) -> AsyncIterator[Tab]:
    """Control a tab, and close it at the end."""
    async with connect(address, max_size=None, proxy=None) as socket:
        new = Tab(socket)
        listening = asyncio.create_task(new.listen())
        for domain in ("Runtime", "Log", "Network", "Page"):
            await new.call(f"{domain}.enable")
        await new.call("Emulation.setFocusEmulationEnabled", enabled=True)
        try:
            yield new
        finally:
            await new.call("Page.close")
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
