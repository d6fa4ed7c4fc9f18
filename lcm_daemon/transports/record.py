"""Record: what is shown, into a video file that is playable up to its last second whatever ends it."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from itertools import count
from pathlib import Path
from typing import IO, Any

import numpy as np

from lcm_daemon.core.errors import TransportError
from lcm_daemon.core.frame import Frame, Size
from lcm_daemon.core.schema import Choice, Field, Number, Text
from lcm_daemon.transports import pyav
from lcm_daemon.transports.base import Sink, Transport

TICK = Fraction(1, 60_000)  # of the time stamps; MPEG-4 allows no more than 65,535 a second
PART = 1.0  # seconds: what a power cut can cost, besides what the encoder still holds
MIB = 1 << 20

_log = logging.getLogger(__name__)

# Fragments instead of one index at the end; a Matroska file is made of clusters anyway.
_FRAGMENTS = {"movflags": "frag_keyframe+empty_moov+default_base_moof", "frag_duration": str(int(PART * 1e6))}
_CLUSTERS = {"cluster_time_limit": str(int(PART * 1e3))}
CONTAINERS: Mapping[str, tuple[str, Mapping[str, str]]] = {
    ".mkv": ("matroska", _CLUSTERS),
    ".mov": ("mov", _FRAGMENTS),
    ".mp4": ("mp4", _FRAGMENTS),
}


def _rate_factor(quality: float) -> dict[str, str]:
    """x264's constant rate factor: 51 is the worst; 18, at quality 75, is hard to tell from the original.

    Superfast, and without B-frames: the processor is the engine's, and the encoder holds few pictures back.
    """
    return {"crf": f"{51 - 0.44 * quality:.0f}", "preset": "superfast", "bf": "0"}


def _quantizer(quality: float) -> dict[str, str]:
    """MPEG-4's quantizer, 31 to 2."""
    scale = f"{31 - 0.29 * quality:.0f}"
    return {"qmin": scale, "qmax": scale}


@dataclass(frozen=True)
class Encoder:
    """An FFmpeg encoder, and its options for a quality from 0 to 100."""

    name: str
    options: Callable[[float], dict[str, str]]


_MPEG4 = Encoder("mpeg4", _quantizer)
CODECS: Mapping[str, tuple[Encoder, ...]] = {  # the first that FFmpeg was built with
    "h264": (Encoder("libx264", _rate_factor), _MPEG4),
    "mpeg4": (_MPEG4,),
}


class RecordSink(Sink):
    """Writes frames with the times at which they were made. Another picture size begins another file."""

    fields = {
        "path": Field(Text(), "recordings/{date}_{time}.mp4", "a .mp4, .mov or .mkv file; may hold {date} and {time}"),
        "codec": Field(Choice(tuple(CODECS)), "h264", "how pictures are compressed"),
        "quality": Field(Number(0, 100), 75.0, "0 is small and poor, 100 large and without visible loss"),
        "keep_free": Field(Number(0, 1e9), 256.0, "stop when less than so many MiB of the disk are free"),
    }

    def __init__(self, options: Mapping[str, Any], today: Callable[[], datetime] = datetime.now) -> None:
        super().__init__(options)
        self._today = today
        self._fps = 30.0
        self._recording: _Recording | None = None

    def _open_sink(self, size: Size, fps: float) -> None:
        self._fps = fps
        self._recording = self._begin(size)

    def _write(self, frame: Frame) -> None:
        assert self._recording is not None
        if frame.size != self._recording.size:
            self._finish()
            self._recording = self._begin(frame.size)
        self._recording.write(frame)

    def _begin(self, size: Size) -> _Recording:
        path = Path(fill_in(self.options["path"], self._today()))
        if path.suffix.lower() not in CONTAINERS:
            raise TransportError(f"record: {path} must end in one of {', '.join(CONTAINERS)}")
        av = pyav.load("record")
        encoder = choose(self.options["codec"], av.codecs_available)
        keep_free = int(self.options["keep_free"] * MIB)
        return _Recording(path, size, self._fps, encoder, self.options["quality"], keep_free)

    def _close(self) -> None:
        self._finish()

    def _finish(self) -> None:
        if self._recording is not None:
            self._recording.finish()
        self._recording = None


class _Recording:
    """One file."""

    def __init__(self, path: Path, size: Size, fps: float, encoder: Encoder, quality: float, keep_free: int) -> None:
        av = pyav.load("record")
        self.size, self._keep_free = size, keep_free
        self._errors = (av.FFmpegError, OSError, ValueError)
        self._path, self._file = create(path)
        self._begun: float | None = None  # the time of the first frame
        self._stamp = -1  # of the last frame
        self._saved = 0.0  # when the file was last brought to the disk
        try:
            self._check_room()
            format_, options = CONTAINERS[path.suffix.lower()]
            self._container = av.open(self._file, "w", format=format_, options=dict(options))
            self._stream = self._container.add_stream(encoder.name, rate=max(1, round(fps)))
            self._stream.options = encoder.options(quality)
            _shape(self._stream, size, fps)
        except (*self._errors, TransportError) as error:
            self._discard()
            raise self._failure(error) from error
        self._new_frame = av.VideoFrame.from_ndarray
        self._reformatter = av.video.reformatter.VideoReformatter()

    def write(self, frame: Frame) -> None:
        if self._begun is None:
            self._begun = self._saved = frame.time
        self._stamp = max(self._stamp + 1, round((frame.time - self._begun) / TICK))
        # 4:2:0 wants even sides.
        pixels = np.ascontiguousarray(frame.pixels[: self._stream.height, : self._stream.width])
        try:
            picture = self._reformatter.reformat(
                self._new_frame(pixels, format="rgba"), format="yuv420p", dst_colorspace="ITU709"
            )
            picture.pts, picture.time_base = self._stamp, TICK
            self._container.mux(self._stream.encode(picture))
            if frame.time - self._saved >= PART:
                self._saved = frame.time
                self._save()
        except self._errors as error:
            raise self._failure(error) from error

    def finish(self) -> None:
        """Write what the encoder still holds, and close. What has been written stays, whatever happens here."""
        try:
            if self._begun is not None:
                self._container.mux(self._stream.encode())
            self._container.close()
            self._save()
        except (*self._errors, TransportError) as error:
            _log.warning("%s", self._failure(error))
        self._discard()

    def _save(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._check_room()

    def _check_room(self) -> None:
        free = shutil.disk_usage(self._path.parent).free
        if free < self._keep_free:
            wanted = f"{self._keep_free // MIB} MiB are to be kept free"
            raise TransportError(f"record: {self._path}: the disk has {free // MIB} MiB left, and {wanted}")

    def _discard(self) -> None:
        """Close the file; take it away if nothing was written."""
        try:
            self._file.close()
        except OSError:
            _log.debug("record: the end of %s is lost", self._path)
        if self._begun is None:
            self._path.unlink(missing_ok=True)

    def _failure(self, error: Exception) -> TransportError:
        if isinstance(error, TransportError):
            return error
        return TransportError(f"record: cannot write {self._path}: {pyav.reason(error)}")


def _shape(stream: Any, size: Size, fps: float) -> None:
    """Size, time base and colours (BT.709, limited range: ITU-T H.273 code points 1 and 1) of a stream."""
    stream.width, stream.height = (side - side % 2 for side in size)
    stream.pix_fmt = "yuv420p"
    context = stream.codec_context
    context.time_base, context.gop_size = TICK, max(1, round(fps * PART))
    context.colorspace = context.color_primaries = context.color_trc = context.color_range = 1


def fill_in(pattern: str, now: datetime) -> str:
    """A path with its {date} (2026-01-31) and {time} (23-59-59)."""
    return pattern.replace("{date}", f"{now:%Y-%m-%d}").replace("{time}", f"{now:%H-%M-%S}")


def create(path: Path) -> tuple[Path, IO[bytes]]:
    """A new file at `path`, or at `path` with -2, -3, ... where one is there already; raises TransportError."""
    if path.parent.exists() and not path.parent.is_dir():
        raise TransportError(f"record: {path.parent} is not a folder")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for number in count(1):
            free = path if number == 1 else path.with_stem(f"{path.stem}-{number}")
            try:
                return free, open(free, "xb")
            except FileExistsError:
                continue
    except OSError as error:
        raise TransportError(f"record: cannot write {path}: {pyav.reason(error)}") from error
    raise AssertionError


def choose(codec: str, available: set[str]) -> Encoder:
    """The encoder for a codec that this FFmpeg has; raises TransportError."""
    for encoder in CODECS[codec]:
        if encoder.name in available:
            if encoder is not CODECS[codec][0]:
                _log.warning("record: PyAV has no %s here; %s takes its place", CODECS[codec][0].name, encoder.name)
            return encoder
    raise TransportError(f"record: PyAV has none of {', '.join(encoder.name for encoder in CODECS[codec])} here")


TRANSPORT = Transport(source=None, sink=RecordSink, probe=pyav.probe)
