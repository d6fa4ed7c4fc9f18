"""Decoder of a video file: packet by packet, so that a damaged one does not end the video."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

from lcm_daemon.core.errors import TransportError
from lcm_daemon.transports import pyav
from lcm_daemon.transports.clip import ReportDamage

DEFAULT_RATE = 30.0  # frames per second of a video that does not declare its rate
MOST_RATE = 1000.0  # a file that declares more has no rate: the cover picture of a song has 90,000
DAMAGE_SECONDS = 1.0  # after more damage than this without a frame, the pass ends, unless a later keyframe is good
DAMAGE_AT_START = 30.0  # the same in seconds, before the first frame
SHOW_DAMAGED = 1 << 3  # AV_CODEC_FLAG_OUTPUT_CORRUPT; without it, HEVC shows nothing until the next keyframe
READ_FAILURES = 25  # after that many in succession, the pass ends

# FFmpeg's own decoders of these codecs ignore alpha, which is a second picture in each packet.
ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}


class TimedFrame(NamedTuple):
    """A frame (`av.VideoFrame`), and its time in the file in seconds, None if unknown."""

    time: float | None
    frame: Any


class VideoDecoder:
    """The first video stream of a file. Damaged packets are skipped, and reported once a pass.

    Attributes:
        rate: frames per second.
        pixel_aspect: width of a pixel divided by its height; None if the file does not say.
        problem: why the pass has no frame; "" if it has.

    Raises:
        TransportError: the file cannot be opened, or has no video.
    """

    def __init__(self, path: Path, report: ReportDamage) -> None:
        self._av = pyav.load("file")
        self._path, self._report = path, report
        self.problem = ""
        self._open()
        stream = self._stream
        has_times = stream.average_rate and self._container.format.name not in ("h264", "hevc")
        rate = float((stream.average_rate if has_times else stream.guessed_rate) or DEFAULT_RATE)
        self.rate = rate if rate <= MOST_RATE else DEFAULT_RATE
        self.pixel_aspect: Fraction | None = stream.sample_aspect_ratio or self.context.sample_aspect_ratio
        self._is_rewind_due, self._can_seek = False, True
        self._first_time: float | None = None  # of the first frame of the first pass
        self._shown = 0.0  # seconds of the file that were decoded in this pass
        self._damaged = 0.0  # seconds of damage since the last frame

    @property
    def context(self) -> Any:
        """`av.VideoCodecContext` of the stream, with the colour tags of the container."""
        return self._stream.codec_context

    def frames(self) -> Iterator[TimedFrame]:
        """Yield each frame of one pass, from the start of the file."""
        is_sought = self._is_rewind_due and self._seek()
        if self._is_rewind_due and not is_sought:
            self._reopen()
        self._is_rewind_due = True
        frames = self._decode()
        first = next(frames, None)
        if is_sought and (first is None or first.time != self._first_time):
            # Files without an index or times, such as raw H.264, cannot seek to their start.
            self._can_seek = False
            self._reopen()
            frames = self._decode()
            first = next(frames, None)
        if first is not None:
            self._first_time = first.time
            yield first
            yield from frames

    def close(self) -> None:
        self._container.close()

    def _open(self) -> None:
        try:
            # Files only: a playlist must not send the daemon to the network.
            self._container = self._av.open(f"file:{self._path}", options={"protocol_whitelist": "file"})
        except (self._av.FFmpegError, OSError, ValueError) as error:
            raise TransportError(f"file: cannot open {self._path}: {pyav.reason(error)}") from error
        with ExitStack() as on_failure:
            on_failure.callback(self._container.close)
            if not self._container.streams.video:
                raise TransportError(f"file: {self._path} has no video stream")
            self._stream = self._container.streams.video[0]
            self._codec = self._choose_codec()
            self._codec.thread_type = "AUTO"
            on_failure.pop_all()

    def _choose_codec(self) -> Any:
        context = self._stream.codec_context
        name = ALPHA_DECODERS.get(context.name)
        if name is None or self._stream.metadata.get("alpha_mode") != "1":
            return context
        try:
            return self._av.CodecContext.create(name, "r")
        except (self._av.FFmpegError, ValueError):
            self._report(self._path, f"file: {self._path} has alpha, but this FFmpeg lacks {name}; it plays opaque")
            return context

    def _seek(self) -> bool:
        """Go to the start of the file; False where that is known to fail."""
        if not self._can_seek or self._first_time is None:
            return False
        try:
            self._container.seek(0)
            self._codec.flush_buffers()
        except self._av.FFmpegError:
            return False
        return True

    def _reopen(self) -> None:
        self._container.close()
        self._open()

    def _decode(self) -> Iterator[TimedFrame]:
        """Yield the frames of one pass, from where the file is."""
        self.problem, self._shown, self._damaged = "", 0.0, 0.0
        start: float | None = None
        patience, is_last_try = DAMAGE_AT_START, False
        # What comes before the first keyframe of a cut stream is not shown. Later frames are, though parts are missing.
        self._codec.flags &= ~SHOW_DAMAGED
        for packet in self._packets():
            is_keyframe = packet is not None and packet.is_keyframe
            if self._damaged > patience and packet is not None:
                if not is_keyframe:
                    continue  # AV1 decodes nothing until the next keyframe, which may be many seconds away
                self._codec.flush_buffers()  # else it has errors of earlier packets
                self._damaged, is_last_try = 0.0, True
            for frame in self._decode_packet(packet):
                if self.problem:
                    self._tell("the damaged part is skipped")
                # Not `frame.time`: the decoder's last frames lack its time base.
                time = None if frame.pts is None else float(frame.pts * self._stream.time_base)
                if time is not None:
                    start = time if start is None else start
                    self._shown = time - start
                self._damaged, patience, is_last_try = 0.0, DAMAGE_SECONDS, False
                self._codec.flags |= SHOW_DAMAGED
                yield TimedFrame(time, frame)
            if self._damaged > patience and (is_keyframe or is_last_try):
                break
        if self.problem and patience == DAMAGE_SECONDS:
            self._tell("it plays up to there")

    def _tell(self, consequence: str) -> None:
        self._report(self._path, f"file: {self._path} is damaged after {self._shown:.1f} s: {self.problem}; "
                                 f"{consequence}")
        self.problem = ""

    def _packets(self) -> Iterator[Any]:
        """Yield every packet with data, then None, which makes the decoder release what it holds."""
        failures = 0
        while failures < READ_FAILURES:
            try:
                for packet in self._container.demux(self._stream):
                    failures = 0
                    if packet.size:  # an empty one repeats the frame before it, or is the last
                        yield packet
                break
            except self._av.FFmpegError as error:
                self.problem = pyav.reason(error)
                failures += 1
        yield None

    def _decode_packet(self, packet: Any) -> list[Any]:
        try:
            found: list[Any] = self._codec.decode(packet)
        except self._av.FFmpegError as error:
            self.problem = pyav.reason(error)
            if packet is not None:
                self._damaged += float(packet.duration * packet.time_base) if packet.duration else 1 / self.rate
            return []
        return found
