"""What the page /output draws: frames a second, and the time from the memory bus to the drawn frame.

    python -m tests.measure.output_page [--seconds 10] [--fps 60] [--size 512x512]

A process writes frames into shared memory. Each has a stamp: its number, as black and white squares. A daemon with the
recipe `passthrough` shows them, and /output draws them in headless Chromium, where a script reads the stamp of each
frame that was drawn. Before that, a page without a daemon draws JPEG files of the same frames, which a server sends as
fast as the page takes them, up to the same rate: what this machine's browser can do.

The time ends when the canvas holds the frame; a screen shows it at its next refresh. Both clocks are the system's.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import tempfile
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from itertools import pairwise
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg
from websockets.asyncio.server import ServerConnection, serve

from lcm_daemon.core.frame import Frame, Pixels, Size
from lcm_daemon.core.metrics import quantile_of
from lcm_daemon.transports.shared_memory import MemorySink
from tests.rigs.browser import Tab, running, tab
from tests.rigs.daemon import Daemon

SQUARE, BITS = 16, 16  # pixels of a stamp's square, and how many there are
WARM_UP = 2.0  # seconds that do not count
QUALITY = 90  # of the bare page's files, as /output has it
IN_FLIGHT = 2
CYCLE = 64  # different files of the bare page

# Reads the stamp of each frame that is drawn: [number, milliseconds since 1970].
WATCH = f"""
    window.drawn = [];
    const stamps = new OffscreenCanvas({BITS}, 1).getContext("2d", {{willReadFrequently: true}});
    stamps.imageSmoothingEnabled = false;
    const draw = ImageBitmapRenderingContext.prototype.transferFromImageBitmap;
    ImageBitmapRenderingContext.prototype.transferFromImageBitmap = function (bitmap) {{
      draw.call(this, bitmap);
      const at = performance.timeOrigin + performance.now();
      stamps.drawImage(this.canvas, 0, 0, {BITS * SQUARE}, {SQUARE}, 0, 0, {BITS}, 1);
      const pixels = stamps.getImageData(0, 0, {BITS}, 1).data;
      let number = 0;
      for (let bit = 0; bit < {BITS}; bit += 1) number = number * 2 + (pixels[bit * 4 + 1] > 127 ? 1 : 0);
      window.drawn.push([number, at]);
    }};
"""
BARE_PAGE = """
    document.body.innerHTML = "<canvas></canvas>";
    const context = document.querySelector("canvas").getContext("bitmaprenderer");
    const socket = new WebSocket("ws://127.0.0.1:%d");
    socket.onmessage = async (event) => {
      context.transferFromImageBitmap(await createImageBitmap(event.data));
      socket.send("ack");
    };
"""


@dataclass(frozen=True)
class PageFigures:
    """Figures of one page.

    Attributes:
        rate: Different frames drawn a second.
        latency: Seconds from the memory bus to the canvas: median and 99th percentile; None for the bare page.
        gap: The longest time between two frames, in seconds.
    """

    name: str
    rate: float
    gap: float
    latency: tuple[float, float] | None

    def __str__(self) -> str:
        latency = "" if self.latency is None else (
            f", memory bus to canvas {1000 * self.latency[0]:.1f} ms (p99 {1000 * self.latency[1]:.1f})")
        return f"{self.name}: {self.rate:.1f} frames/s, longest gap {1000 * self.gap:.0f} ms{latency}"


def stamped(base: Pixels, number: int) -> Pixels:
    """A copy of a picture with the number as squares at the top left, the highest bit first."""
    pixels = base.copy()
    for bit in range(BITS):
        pixels[:SQUARE, bit * SQUARE:(bit + 1) * SQUARE, :3] = 255 if number >> (BITS - 1 - bit) & 1 else 0
    return pixels


def picture(size: Size) -> Pixels:
    """A picture with soft and with fine structure, as a painting has it; RGBA."""
    width, height = size
    x, y = np.meshgrid(np.linspace(0, 9, width), np.linspace(0, 9, height))
    planes = [127 + 80 * np.sin(x + phase) * np.cos(y - phase) + 30 * np.sin(7 * x * y + phase) for phase in (0, 2, 4)]
    return np.stack([*planes, np.full_like(x, 255)], -1).clip(0, 255).astype(np.uint8)


def send_frames(name: str, size: Size, fps: float, pipe: Connection) -> None:
    """Write stamped frames until the pipe says so; then send it when each was written, in seconds since 1970."""
    sink, base = MemorySink({"name": name}), picture(size)
    sink.open(size, fps)
    written: dict[int, float] = {}
    due, number = time.perf_counter(), 0
    while not pipe.poll():
        number = number % (2**BITS - 1) + 1
        pixels = stamped(base, number)
        due = max(due + 1 / fps, time.perf_counter())
        time.sleep(max(due - time.perf_counter(), 0))
        written[number] = time.time()
        sink.write(Frame(pixels, number, time.perf_counter()))
    sink.close()
    pipe.send(written)


def serve_bare(size: Size, fps: float, pipe: Connection) -> None:
    """Send JPEG files to a page until the process is ended."""
    base = picture(size)
    files = [simplejpeg.encode_jpeg(stamped(base, number), QUALITY, "RGBA", "420") for number in range(CYCLE)]

    async def send(page: ServerConnection) -> None:
        room = asyncio.Semaphore(IN_FLIGHT)

        async def acknowledge() -> None:
            async for _ in page:
                room.release()

        reading, due = asyncio.create_task(acknowledge()), time.perf_counter()
        for number in range(10**9):
            await room.acquire()
            due = max(due + 1 / fps, time.perf_counter())
            await asyncio.sleep(due - time.perf_counter())
            await page.send(files[number % CYCLE])
        await reading

    async def run() -> None:
        async with serve(send, "127.0.0.1", 0) as server:
            pipe.send(server.sockets[0].getsockname()[1])
            await asyncio.Future()

    asyncio.run(run())


async def watch(page: Tab, seconds: float) -> list[tuple[int, float]]:
    """The frames that a page draws within these seconds: number, and when, in seconds since 1970."""
    await page.until("window.drawn.length > 0")
    await asyncio.sleep(WARM_UP)
    await page.js("window.drawn.length = 0")
    await asyncio.sleep(seconds)
    return [(int(number), at / 1000) for number, at in await page.js("window.drawn")]


def figures(name: str, drawn: Sequence[tuple[int, float]], written: dict[int, float] | None = None) -> PageFigures:
    """What the frames say. written: when each was written, by its number."""
    new = [frame for before, frame in pairwise(drawn) if before[0] != frame[0]]
    times = [at for _, at in new]
    gaps = [b - a for a, b in pairwise(times)]
    latency = None
    if written is not None:
        latencies = sorted(at - written[number] for number, at in new if number in written)
        latency = quantile_of(latencies, 0.5), quantile_of(latencies, 0.99)
    return PageFigures(name, len(gaps) / (times[-1] - times[0]), max(gaps), latency)


async def measure_output(devtools: str, folder: Path, size: Size, fps: float, seconds: float) -> PageFigures:
    """Play a show and draw its /output."""
    name = f"output-page-{time.time_ns()}"
    near, far = multiprocessing.Pipe()
    sender = multiprocessing.get_context("spawn").Process(target=send_frames, args=(name, size, fps, far))
    show: dict[str, Any] = {"recipe": "passthrough", "resume": False, "source": {"transport": "memory", "name": name},
                            "output": {"size": list(size), "fps": fps}, "sinks": []}
    sender.start()
    try:
        with Daemon(folder, show) as daemon:
            daemon.wait_rendering()
            async with tab(devtools) as page:
                await page.call("Page.addScriptToEvaluateOnNewDocument", source=WATCH)
                await page.call("Page.navigate", url=f"http://127.0.0.1:{daemon.panel_port}/output")
                drawn = await watch(page, seconds)
        near.send("stop")
        return figures("/output", drawn, near.recv())
    finally:
        sender.kill()
        sender.join()


async def measure_bare(devtools: str, size: Size, fps: float, seconds: float) -> PageFigures:
    """Draw the same frames in a page without a daemon."""
    near, far = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve_bare, args=(size, fps, far))
    server.start()
    try:
        async with tab(devtools) as page:
            await page.js(WATCH)
            await page.js(BARE_PAGE % near.recv())
            return figures("bare page", await watch(page, seconds))
    finally:
        server.kill()
        server.join()


async def measure(size: Size, fps: float, seconds: float) -> list[PageFigures]:
    """Both pages, one after the other."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as text:
        folder = Path(text)
        async with AsyncExitStack() as stack:
            devtools = await asyncio.to_thread(stack.enter_context, running(folder))
            return [await measure_bare(devtools, size, fps, seconds),
                    await measure_output(devtools, folder, size, fps, seconds)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10.0, help="how long each page is watched (10)")
    parser.add_argument("--fps", type=float, default=60.0, help="rate of the frames (60)")
    parser.add_argument("--size", default="512x512", help="size of the frames (512x512)")
    parser.add_argument("--json", help="also write the figures to this file")
    arguments = parser.parse_args()
    width, height = map(int, arguments.size.split("x"))
    bare, page = asyncio.run(measure((width, height), arguments.fps, arguments.seconds))
    print(bare, page, f"share of the bare page: {page.rate / bare.rate:.2f}", sep="\n")
    if arguments.json:
        Path(arguments.json).write_text(json.dumps({
            "size": arguments.size, "fps": arguments.fps, "bare page": bare.rate, "output page": page.rate,
            "share": page.rate / bare.rate, "latency": page.latency}, indent=1))


if __name__ == "__main__":
    main()
