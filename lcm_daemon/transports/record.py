"""Record sink: writes the output to a video file that stays playable almost to its last second, even after a kill."""

from __future__ import annotations

import logging
import os
import re
import shutil
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from fractions import Fraction
from itertools import count
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from lcm_daemon.core.alpha import opaque, over_black
from lcm_daemon.core.errors import TransportError
from lcm_daemon.core.frame import Frame, Size
from lcm_daemon.core.schema import Boolean, Choice, Field, Number, Text
from lcm_daemon.transports import pyav
from lcm_daemon.transports.base import Sink, Transport
from lcm_daemon.transports.placement import ALPHA

if TYPE_CHECKING:
    from lcm_daemon.core.audio_ring import AudioRing
    from lcm_daemon.transports.sound_track import SoundTrack

TIME_BASE = Fraction(1, 60_000)  # seconds per time stamp unit; MPEG-4 allows at most 65,535 units per second
FRAGMENT_SECONDS = 1.0  # what a power cut can cost, besides the frames that the encoder still holds
MIB = 1 << 20
PLACEHOLDERS: Mapping[str, str] = {"date": "%Y-%m-%d", "time": "%H-%M-%S"}  # of a path, as strftime writes them
DEFAULT_PATH = "recordings/{date}_{time}.mp4"  # .mov for a codec that .mp4 cannot hold

_log = logging.getLogger(__name__)

# Fragments instead of one index at the end. A Matroska file consists of clusters anyway.
_FRAGMENT = {"frag_duration": str(int(FRAGMENT_SECONDS * 1e6))}
_FRAGMENTS = {"movflags": "frag_keyframe+empty_moov+default_base_moof", **_FRAGMENT}
# Fragments while it is written, one index once it is complete: programs that edit video read no fragments.
_EDITING = {"movflags": "hybrid_fragmented", **_FRAGMENT}
_CLUSTERS = {"cluster_time_limit": str(int(FRAGMENT_SECONDS * 1e3))}
CONTAINERS: Mapping[str, tuple[str, Mapping[str, str]]] = {
    ".mkv": ("matroska", _CLUSTERS),
    ".mov": ("mov", _FRAGMENTS),
    ".mp4": ("mp4", _FRAGMENTS),
}


def _x264_options(quality: float) -> dict[str, str]:
    """x264's constant rate factor: 51 is the worst; 18, at quality 75, is hard to distinguish from the original.

    Superfast, without B-frames: the processor belongs to the engine, and the encoder holds back few frames.
    """
    return {"crf": f"{51 - 0.44 * quality:.0f}", "preset": "superfast", "bf": "0"}


def _mpeg4_options(quality: float) -> dict[str, str]:
    """MPEG-4's quantizer, 31 to 2."""
    scale = f"{31 - 0.29 * quality:.0f}"
    return {"qmin": scale, "qmax": scale}


@dataclass(frozen=True)
class VideoEncoder:
    """An FFmpeg encoder.

    Attributes:
        name: its name in FFmpeg.
        options: returns its options for a quality from 0 to 100.
        pixels: the pixel format that it gets.
        suffixes: the files that can hold its video.
        side: width and height must be multiples of this.
        threads: how many frames it encodes at the same time, and so holds back.
        keeps_alpha: whether transparent pixels stay transparent.
        editing: for editing: a .mov file becomes one without fragments.
    """

    name: str
    options: Callable[[float], dict[str, str]]
    pixels: str = "yuv420p"
    suffixes: tuple[str, ...] = (".mkv", ".mov", ".mp4")
    side: int = 2
    threads: int = 0
    keeps_alpha: bool = False
    editing: bool = False


def _prores(name: str, profile: str, alpha: bool = False) -> VideoEncoder:
    """ProRes: its quality is the profile's. Anatoliy's encoder (aw) takes half the time of Kostya's (ks)."""
    options = {"profile": profile, "vendor": "apl0", **({"alpha_bits": "16"} if alpha and name == "prores_ks" else {})}
    pixels = "yuva444p10le" if alpha else "yuv422p10le"
    return VideoEncoder(name, lambda quality: options, pixels, (".mkv", ".mov"), 2, 4, alpha, editing=True)


def _hap(format_: str, alpha: bool = False) -> VideoEncoder:
    """HAP, for media servers: textures in blocks of 4x4 pixels, which the graphics card reads as they are."""
    options = {"format": format_, "chunks": "4"}
    return VideoEncoder("hap", lambda quality: options, "rgba", (".mov",), 4, keeps_alpha=alpha, editing=True)


_MPEG4 = VideoEncoder("mpeg4", _mpeg4_options)
CODECS: Mapping[str, tuple[VideoEncoder, ...]] = {  # the first one that FFmpeg was built with is used
    "h264": (VideoEncoder("libx264", _x264_options), _MPEG4),
    "mpeg4": (_MPEG4,),
    "prores": (_prores("prores_aw", "3"), _prores("prores_ks", "hq")),  # 422 HQ
    "prores4444": (_prores("prores_aw", "4", True), _prores("prores_ks", "4444", True)),
    "hap": (_hap("hap"),),
    "hap_alpha": (_hap("hap_alpha", True),),
    "hap_q": (_hap("hap_q"),),
}


@dataclass(frozen=True)
class Take:
    """A recording under way: its file, its length in seconds, and the free bytes of its disk."""

    path: Path
    seconds: float
    free: int


class RecordSink(Sink):
    """Writes frames with their own times. A frame of another size starts another file."""

    fields = {
        "path": Field(Text(), DEFAULT_PATH, "a .mp4, .mov or .mkv file; may hold {date} and {time}"),
        "codec": Field(Choice(tuple(CODECS), "codec"), "h264", "video codec; prores is 422 HQ, prores4444 keeps alpha"),
        "quality": Field(Number(0, 100), 75.0, "of h264 and mpeg4: 0 is small and poor, 100 without visible loss"),
        "keep_free": Field(Number(0, 1e9), 256.0, "stop when the disk has less free space than this, in MiB"),
        "alpha": ALPHA,
        "sound": Field(Boolean(), False, "record the sound of the show's key `audio` too"),
    }

    def __init__(self, options: Mapping[str, Any], now: Callable[[], datetime] = datetime.now) -> None:
        super().__init__(options)
        self._now = now
        self._fps = 30.0
        self._recording: _Recording | None = None
        self.ring: AudioRing | None = None  # of the audio input; the stage sets it

    @property
    def take(self) -> Take | None:
        """The recording under way; may be asked for on any thread. Reads no disk."""
        recording = self._recording
        return recording.take if recording is not None else None

    def _open_sink(self, size: Size, fps: float) -> None:
        self._fps = fps
        self._recording = self._start_recording(size)

    def _write(self, frame: Frame) -> None:
        if self.options["alpha"] == "premultiplied" and not CODECS[self.options["codec"]][0].keeps_alpha:
            frame = replace(frame, pixels=opaque(frame.pixels))  # on black already
        if self._recording is None or frame.size != self._recording.size:
            self._finish_recording()
            self._recording = self._start_recording(frame.size)
        self._recording.write(frame)

    @classmethod
    def option_problems(cls, options: Mapping[str, Any]) -> Mapping[str, str]:
        pattern = _pattern(options)
        problem = _placeholder_problem(pattern) or _path_problem(pattern, options["codec"])
        return {"path": problem} if problem else {}

    def _start_recording(self, size: Size) -> _Recording:
        path = Path(expand_path(_pattern(self.options), self._now()))
        if problem := _path_problem(str(path), self.options["codec"]):
            raise TransportError(f"record: {problem}")
        av = pyav.load("record")
        encoder = choose_encoder(self.options["codec"], available_encoders(av))
        keep_free = int(self.options["keep_free"] * MIB)
        ring = (lambda: self.ring) if self.options["sound"] else None
        return _Recording(path, size, self._fps, encoder, self.options["quality"], keep_free, ring)

    def _close(self) -> None:
        self._finish_recording()

    def _finish_recording(self) -> None:
        recording, self._recording = self._recording, None
        if recording is not None:
            recording.finish()


class _Recording:
    """One video file. keep_free: bytes of the disk that must stay free; ring: as of SoundTrack, None for no sound."""

    def __init__(
        self, path: Path, size: Size, fps: float, encoder: VideoEncoder, quality: float, keep_free: int,
        ring: Callable[[], AudioRing | None] | None = None,
    ) -> None:
        av = pyav.load("record")
        self.size, self._keep_free, self._pixel_format = size, keep_free, encoder.pixels
        self._is_on_black = not encoder.keeps_alpha
        self._has_failed = False
        self._free = 0  # bytes, as last read
        self._errors = (av.FFmpegError, OSError, ValueError)
        self._path, self._file = create_file(path)
        self._first_time: float | None = None  # of the first frame, in monotonic seconds
        self._last_stamp = -1  # of the last frame, in units of TIME_BASE
        self._saved_time = 0.0  # time of the frame at which the file was last flushed to the disk
        with ExitStack() as on_failure:
            on_failure.callback(self._close_file)
            try:
                self._check_free_space()
                format_, options = CONTAINERS[path.suffix.lower()]
                if encoder.editing and format_ == "mov":
                    options = _EDITING
                self._container = av.open(self._file, "w", format=format_, options=dict(options))
                on_failure.callback(self._container.close)
                self._stream = self._container.add_stream(encoder.name, rate=max(1, round(fps)))
                self._stream.options = encoder.options(quality)
                _configure(self._stream, encoder, size, fps)
                self._track = _sound_track(self._container, ring, encoder.editing) if ring is not None else None
            except self._errors as error:
                raise self._to_transport_error(error) from error
            self._new_frame = av.VideoFrame.from_ndarray
            self._reformatter = av.video.reformatter.VideoReformatter()
            on_failure.pop_all()

    @property
    def take(self) -> Take:
        return Take(self._path, max(self._last_stamp, 0) * float(TIME_BASE), self._free)

    def write(self, frame: Frame) -> None:
        if self._first_time is None:
            self._first_time = self._saved_time = frame.time
        self._last_stamp = max(self._last_stamp + 1, round((frame.time - self._first_time) / TIME_BASE))
        # 4:2:0 needs even sides, HAP multiples of 4.
        shown = over_black(frame.pixels) if self._is_on_black else frame.pixels
        pixels = np.ascontiguousarray(shown[: self._stream.height, : self._stream.width])
        try:
            video_frame = self._reformatter.reformat(
                self._new_frame(pixels, format="rgba"), format=self._pixel_format, dst_colorspace="ITU709"
            )
            video_frame.pts, video_frame.time_base = self._last_stamp, TIME_BASE
            self._container.mux(self._stream.encode(video_frame))
            if self._track is not None:
                self._track.write(self._first_time, frame.time)
            if frame.time - self._saved_time >= FRAGMENT_SECONDS:
                self._saved_time = frame.time
                self._save()
        except self._errors as error:
            self._has_failed = True
            raise self._to_transport_error(error) from error

    def finish(self) -> None:
        """Write what the encoder still holds, and close. Data that is already in the file is kept in any case."""
        with ExitStack() as stack:
            stack.callback(self._close_file)
            try:
                try:
                    if self._first_time is not None:
                        self._container.mux(self._stream.encode())
                        if self._track is not None:
                            self._track.finish()
                finally:
                    self._container.close()
                self._save()
            except (*self._errors, TransportError) as error:
                level = logging.DEBUG if self._has_failed else logging.WARNING  # `write` has raised it already
                self._has_failed = True
                _log.log(level, "%s", self._to_transport_error(error))

    def _save(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._check_free_space()

    def _check_free_space(self) -> None:
        self._free = free = shutil.disk_usage(self._path.parent).free
        if free < self._keep_free:
            limit = f"keep_free is {self._keep_free // MIB} MiB"
            raise TransportError(f"record: {self._path}: the disk has {free // MIB} MiB left, and {limit}")

    def _close_file(self) -> None:
        """Close the file, and delete it if it holds no frame: a full disk leaves none, at every try."""
        try:
            self._file.close()
        except OSError:
            self._has_failed = True
            _log.debug("record: cannot write the end of %s", self._path)
        if self._first_time is None or (self._has_failed and not _holds_frame(self._path)):
            self._path.unlink(missing_ok=True)

    def _to_transport_error(self, error: Exception) -> TransportError:
        if isinstance(error, TransportError):
            return error
        return TransportError(f"record: cannot write {self._path}: {pyav.reason(error)}")


def _sound_track(container: Any, ring: Callable[[], AudioRing | None], for_editing: bool) -> SoundTrack:
    """The track with the sound of a ring. for_editing: As it is in files that are edited: not compressed."""
    from lcm_daemon.transports.sound_track import SoundTrack  # few recordings have one

    return SoundTrack(container, ring, "pcm_s16le" if for_editing else "aac")


def _configure(stream: Any, encoder: VideoEncoder, size: Size, fps: float) -> None:
    """Set a stream's size, time base and colours (BT.709, limited range: ITU-T H.273 code points 1 and 1)."""
    stream.width, stream.height = (side - side % encoder.side for side in size)
    stream.pix_fmt = encoder.pixels
    context = stream.codec_context
    if encoder.threads:
        context.thread_type, context.thread_count = "AUTO", encoder.threads
    context.time_base, context.gop_size = TIME_BASE, max(1, round(fps * FRAGMENT_SECONDS))
    context.colorspace = context.color_primaries = context.color_trc = context.color_range = 1


def _pattern(options: Mapping[str, Any]) -> str:
    """The path of a recording, before date and time are known."""
    pattern = str(options["path"])
    is_default = pattern.endswith(DEFAULT_PATH) and ".mp4" not in CODECS[options["codec"]][0].suffixes
    return pattern.removesuffix(".mp4") + ".mov" if is_default else pattern


def _placeholder_problem(pattern: str) -> str:
    """Which placeholder of a path is not known; "" if all are."""
    unknown = [name for name in re.findall(r"\{(\w*)\}", pattern) if name not in PLACEHOLDERS]
    known = " and ".join(f"{{{name}}}" for name in PLACEHOLDERS)
    return f"{pattern}: {{{unknown[0]}}} is not known; there are {known}" if unknown else ""


def _path_problem(path: str, codec: str) -> str:
    """Why no video of this codec can be written to `path`; "" if it can."""
    suffixes, suffix = CODECS[codec][0].suffixes, Path(path).suffix.lower()
    if suffix not in CONTAINERS:
        return f"{path} must end in one of {', '.join(suffixes)}"
    return "" if suffix in suffixes else f"{path}: {codec} is written to {' or '.join(suffixes)}, not to {suffix}"


def _holds_frame(path: Path) -> bool:
    """Whether a file that was not completed holds a frame that can be read."""
    av = pyav.load("record")
    try:
        with av.open(str(path)) as container:
            return any(packet.size for packet in container.demux(video=0))
    except (av.FFmpegError, OSError, ValueError, IndexError):
        return False


def expand_path(pattern: str, now: datetime) -> str:
    """Replace the PLACEHOLDERS in a path: {date} (2026-01-31) and {time} (23-59-59)."""
    for name, form in PLACEHOLDERS.items():
        pattern = pattern.replace(f"{{{name}}}", now.strftime(form))
    return pattern


def create_file(path: Path) -> tuple[Path, IO[bytes]]:
    """Create a new file at `path`, or with -2, -3, ... added to its stem if it exists; raises TransportError."""
    if path.parent.exists() and not path.parent.is_dir():
        raise TransportError(f"record: {path.parent} is not a folder")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for number in count(1):
            candidate = path if number == 1 else path.with_stem(f"{path.stem}-{number}")
            try:
                return candidate, open(candidate, "xb")
            except FileExistsError:
                continue
    except OSError as error:
        raise TransportError(f"record: cannot write {path}: {pyav.reason(error)}") from error
    raise AssertionError


def available_encoders(av: Any) -> set[str]:
    """Names of the encoders of CODECS that this FFmpeg has. It has decoders of the same names without an encoder."""
    found = set()
    for name in {encoder.name for encoders in CODECS.values() for encoder in encoders}:
        with suppress(av.codec.codec.UnknownCodecError):
            av.Codec(name, "w")
            found.add(name)
    return found


def choose_encoder(codec: str, available: set[str]) -> VideoEncoder:
    """Return the first encoder of a codec that this FFmpeg has; raises TransportError if it has none."""
    preferred, *_ = encoders = CODECS[codec]
    for encoder in encoders:
        if encoder.name in available:
            if encoder is not preferred:
                _log.warning("record: PyAV has no %s here; %s is used instead", preferred.name, encoder.name)
            return encoder
    raise TransportError(f"record: PyAV has none of {', '.join(encoder.name for encoder in encoders)} here")


TRANSPORT = Transport(source=None, sink=RecordSink, probe=pyav.probe, find=pyav.find)
