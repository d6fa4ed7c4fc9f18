"""SeatPixels: frames of visitors' cameras on their way to the stage, and pictures on their way to the pages."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from lcm_daemon.audience.camera_frames import decode
from lcm_daemon.audience.kept_pictures import KeptPictures
from lcm_daemon.audience.lobby import Lobby
from lcm_daemon.audience.messages import PictureRead, SeatFrame, SeatPicture
from lcm_daemon.audience.sessions import VisitorSession
from lcm_daemon.audience.visitor_page import VisitorPage
from lcm_daemon.controllers.panel.preview import encode_frame
from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.core.frame import Pixels
from lcm_daemon.core.metrics import LogThrottle
from lcm_daemon.processes.channel import ChildChannel

QUALITY = 80  # of the pictures for pages
MOST_FPS = 15.0  # frames a second of one camera; further ones are dropped
SLOT_SECONDS = 0.5  # how long a frame waits for the stage to read the one before


class SeatPixels:
    """Copies pixels between the slots and the pages. On the server's event loop; JPEG is coded in two threads.

    Args:
        lobby: Says which session has which seat.
        throttle: Logs frames that are refused.
        kept: Where the last picture of each session goes at its end.
        now: Monotonic seconds, as frames are stamped with.
    """

    def __init__(
        self, channel: ChildChannel, lobby: Lobby, throttle: LogThrottle, kept: KeptPictures,
        now: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._channel, self._lobby, self._throttle, self._kept, self._now = channel, lobby, throttle, kept, now
        self._unread: set[int] = set()  # seats whose frame the stage has not read
        self._read = asyncio.Event()
        self._numbers: dict[int, tuple[int, float]] = {}  # the number and the time of each session's last frame
        self._newest: dict[int, tuple[SeatPicture, Pixels]] = {}  # by seat
        self._fresh = asyncio.Event()
        self._decoder, self._encoder = ThreadPoolExecutor(1, "decoder"), ThreadPoolExecutor(1, "encoder")

    def forget(self, session: int) -> None:
        """A session has ended."""
        self._numbers.pop(session, None)
        self._newest = {seat: newest for seat, newest in self._newest.items() if newest[0].session != session}
        self._kept.keep(session)

    def close(self) -> None:
        """End the threads once they are idle."""
        self._decoder.shutdown(wait=False)
        self._encoder.shutdown(wait=False)

    # --- cameras ---

    async def receive(self, session: VisitorSession, jpeg: bytes) -> str:
        """Decode a frame of a session's camera and hand it to the stage. Returns why it was refused, or ""."""
        number, last = self._numbers.get(session.number, (-1, -1.0))
        if self._lobby.queue.seat_of(session.number) < 0 or not session.uses_camera:
            self._lobby.metrics.count("camera/without a turn")
            return ""
        if self._now() - last < 1 / MOST_FPS:
            self._lobby.metrics.count("camera/dropped")
            return ""
        self._numbers[session.number] = number + 1, self._now()
        size = self._channel.size
        try:
            pixels = await asyncio.get_running_loop().run_in_executor(self._decoder, decode, jpeg, size)
        except (ValueError, LcmDaemonError) as error:
            self._throttle.warn("refused/picture", "a visitor's camera frame was refused")
            return f"camera frame refused: {error}"
        await self._hand_over(session, number + 1, pixels)
        return ""

    async def _hand_over(self, session: VisitorSession, number: int, pixels: Pixels) -> None:
        seat = self._lobby.queue.seat_of(session.number)
        deadline = self._now() + SLOT_SECONDS
        while seat in self._unread and self._now() < deadline:
            self._read.clear()
            try:
                async with asyncio.timeout(SLOT_SECONDS):
                    await self._read.wait()
            except TimeoutError:
                break
        if seat < 0 or seat in self._unread or self._lobby.queue.seat_of(session.number) != seat:
            self._lobby.metrics.count("camera/dropped")
            return
        self._unread.add(seat)
        self._channel.slots.outputs[seat][:] = pixels
        self._lobby.metrics.count("camera/frames")
        self._channel.send(SeatFrame(seat, session.number, number, self._now()))

    def on_frame_read(self, seat: int) -> None:
        """The stage has read the seat's frame."""
        self._unread.discard(seat)
        self._read.set()

    # --- pictures ---

    def on_picture(self, picture: SeatPicture) -> None:
        """Copy a picture out of its slot, and queue it for its session."""
        page = self._page(picture)
        is_wanted = page is not None and (page.accepts_picture or self._kept.is_on)
        if is_wanted and picture.verdict:
            self._newest[picture.seat] = picture, self._channel.slots.inputs[picture.seat].copy()
            self._fresh.set()
        elif page is not None and not picture.verdict:
            self._newest.pop(picture.seat, None)
            self._lobby.metrics.count("pictures/withheld")
            page.put("withheld", True)
        else:
            self._lobby.metrics.count("pictures/dropped")
        self._channel.send(PictureRead(picture.seat))

    async def encode_pictures(self) -> None:
        """Encode the newest picture of each seat and send it to its page, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await self._fresh.wait()
            self._fresh.clear()
            while self._newest:
                seat = next(iter(self._newest))
                picture, pixels = self._newest.pop(seat)
                jpeg = await loop.run_in_executor(self._encoder, encode_frame, pixels, QUALITY)
                page = self._page(picture)  # the seat may have been given to another session
                if page is None:
                    continue
                self._kept.remember(picture.session, jpeg)
                if page.accepts_picture:
                    self._lobby.metrics.count("pictures/sent")
                    page.put_picture(jpeg)

    def _page(self, picture: SeatPicture) -> VisitorPage | None:
        """The page that a picture is for; None if its session has another seat, or no connection."""
        connection = self._lobby.connection_in(picture.seat, picture.session)
        return connection if isinstance(connection, VisitorPage) else None
