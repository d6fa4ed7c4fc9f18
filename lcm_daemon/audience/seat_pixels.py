"""SeatPixels: frames of visitors' cameras on their way to the stage, and pictures on their way to the pages."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from lcm_daemon.audience.camera_frames import decode_into
from lcm_daemon.audience.kept_pictures import KeptPictures
from lcm_daemon.audience.lobby import Lobby
from lcm_daemon.audience.messages import PictureRead, SeatFrame, SeatPicture
from lcm_daemon.audience.sessions import VisitorSession
from lcm_daemon.audience.visitor_page import VisitorPage
from lcm_daemon.controllers.panel.preview import encode_frame
from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.core.metrics import LogThrottle
from lcm_daemon.processes.channel import ChildChannel

QUALITY = 80  # of the pictures for pages
THREAD_BYTES = 768 * 768 * 4  # smaller pictures take 1 ms: on a busy machine, the way to a thread and back takes longer
MOST_FPS = 15.0  # frames a second of one camera; further ones are dropped
SLOT_SECONDS = 0.5  # how long a frame waits for the stage to read the one before


class SeatPixels:
    """Carries pixels between the slots and the pages.

    JPEG is coded straight from and into the slots: frames of cameras and large pictures in two threads, small pictures
    on the event loop.

    Args:
        send: Sends a message to the stage.
        lobby: Says which session has which seat.
        throttle: Logs frames that are refused.
        kept: Where the last picture of each session goes at its end.
        now: Monotonic seconds, as frames are stamped with.
    """

    def __init__(
        self, channel: ChildChannel, send: Callable[[Any], None], lobby: Lobby, throttle: LogThrottle,
        kept: KeptPictures, now: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._channel, self._send = channel, send
        self._lobby, self._throttle, self._kept, self._now = lobby, throttle, kept, now
        self._busy: set[int] = set()  # seats whose slot is written to, or holds a frame that the stage has not read
        self._freed = asyncio.Event()
        self._decoding: set[asyncio.Task[str]] = set()
        self._numbers: dict[int, tuple[int, float]] = {}  # the number and the time of each session's last frame
        self._waiting: dict[int, SeatPicture] = {}  # pictures to encode, by seat, in the order in which they came
        self._fresh = asyncio.Event()
        self._decoder, self._encoder = ThreadPoolExecutor(1, "decoder"), ThreadPoolExecutor(1, "encoder")

    def forget(self, session: int) -> None:
        """A session has ended."""
        self._numbers.pop(session, None)
        self._kept.keep(session)

    def close(self) -> None:
        """End the threads once they are idle."""
        self._decoder.shutdown(wait=False)
        self._encoder.shutdown(wait=False)

    # --- cameras ---

    async def receive(self, session: VisitorSession, jpeg: bytes) -> str:
        """Decode a frame of a session's camera for the stage. Returns why it was refused, or ""."""
        seat = self._lobby.queue.seat_of(session.number)
        number, last = self._numbers.get(session.number, (-1, -math.inf))
        if seat < 0 or not session.uses_camera:
            self._lobby.metrics.count("camera/without a turn")
            return ""
        if self._now() - last < 1 / MOST_FPS or not await self._is_free(seat):
            self._lobby.metrics.count("camera/dropped")
            return ""
        self._busy.add(seat)
        self._numbers[session.number] = number + 1, self._now()
        decoding = asyncio.create_task(self._decode(session, seat, number + 1, jpeg))
        self._decoding.add(decoding)
        decoding.add_done_callback(self._decoding.discard)
        return await asyncio.shield(decoding)  # its page may close: the slot is free only after the thread is done

    async def _decode(self, session: VisitorSession, seat: int, number: int, jpeg: bytes) -> str:
        """Decode a frame into its slot, and send it if its session still has the seat. Returns why not, or ""."""
        loop, is_sent = asyncio.get_running_loop(), False
        try:
            await loop.run_in_executor(self._decoder, decode_into, jpeg, self._channel.slots.outputs[seat])
            if self._lobby.queue.seat_of(session.number) == seat:  # else the seat may be another session's
                self._lobby.metrics.count("camera/frames")
                self._send(SeatFrame(seat, session.number, number, self._now()))
                is_sent = True
        except (ValueError, LcmDaemonError) as error:
            self._throttle.warn("refused/picture", "a visitor's camera frame was refused")
            return f"camera frame refused: {error}"
        finally:
            if not is_sent:
                self.on_frame_read(seat)
        return ""

    async def _is_free(self, seat: int) -> bool:
        """Wait a little for the stage to read the seat's last frame; return whether it has."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SLOT_SECONDS):
                while seat in self._busy:
                    self._freed.clear()
                    await self._freed.wait()
        return seat not in self._busy

    def on_frame_read(self, seat: int) -> None:
        """The seat's slot is free: the stage has read its frame."""
        self._busy.discard(seat)
        self._freed.set()

    # --- pictures ---

    def on_picture(self, picture: SeatPicture) -> None:
        """Queue a picture for its page. Its slot is answered for once it is encoded, or not wanted."""
        page = self._page(picture)
        if page is not None and not picture.verdict:
            self._lobby.metrics.count("pictures/withheld")
            page.put("withheld", True)
        elif page is not None and (page.accepts_picture or self._kept.is_on):
            self._waiting[picture.seat] = picture
            self._fresh.set()
            return
        else:
            self._lobby.metrics.count("pictures/dropped")
        self._send(PictureRead(picture.seat))

    async def encode_pictures(self) -> None:
        """Encode pictures and send them to their pages, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await self._fresh.wait()
            self._fresh.clear()
            while self._waiting:
                picture = self._waiting.pop(next(iter(self._waiting)))
                pixels = self._channel.slots.inputs[picture.seat]
                if pixels.size > THREAD_BYTES:
                    jpeg = await loop.run_in_executor(self._encoder, encode_frame, pixels, QUALITY)
                else:
                    jpeg = encode_frame(pixels, QUALITY)
                    await asyncio.sleep(0)
                self._send(PictureRead(picture.seat))
                self._deliver(picture, jpeg)

    def _deliver(self, picture: SeatPicture, jpeg: bytes) -> None:
        page = self._page(picture)  # the seat may have been given to another session
        if page is None:
            return
        self._kept.remember(picture.session, jpeg)
        if page.accepts_picture:
            self._lobby.metrics.count("pictures/sent")
            page.put_picture(jpeg)

    def _page(self, picture: SeatPicture) -> VisitorPage | None:
        """The page that a picture is for; None if its session has another seat, or no connection."""
        connection = self._lobby.connection_in(picture.seat, picture.session)
        return connection if isinstance(connection, VisitorPage) else None
