"""The desk's part of the audio input: its meter on the page, its tempo, its timecode.

    audio: {device: "Scarlett*", channels: [1, 2]}       # levels for modulators: {wave: audio, band: low}
    audio: {tempo: true}                                 # the show follows the tempo of the music
    audio: {ltc: 3}                                      # timecode on the third channel starts cues

The device is opened by a process of its own, which the stage starts; this controller reads what it writes.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from lcm_daemon.controllers.audio.config import DEFAULT_CHANNELS
from lcm_daemon.controllers.base import Controller
from lcm_daemon.core.audio_names import AUTO, BACKENDS, SECTION
from lcm_daemon.core.control_state import ControlState
from lcm_daemon.core.document import Node, Problems
from lcm_daemon.core.schema import Boolean, Choice, Custom, Field, Fields, Items, Number, Text
from lcm_daemon.core.schema_shapes import Either
from lcm_daemon.core.tempo import MAX_BPM, MIN_BPM, ExternalTempo, Tempo

if TYPE_CHECKING:  # a show without audio needs neither
    from lcm_daemon.controllers.timecode.ltc import LtcDecoder
    from lcm_daemon.core.audio_ring import AudioRing, RingReader

log = logging.getLogger(__name__)

MAX_CHANNEL = 64
METER_INTERVAL = 0.05  # seconds between two levels of the page's meter
LTC_INTERVAL = 0.02  # the same between two reads of timecode
TEMPO_SHARE = 0.002  # of the tempo, and
TEMPO_BEATS = 0.02  # of a beat: what the show's tempo may differ before it gets the tempo that is heard again
LIST = "audio"  # the meter: one row for each band


def _read_gain(node: Node, problems: Problems) -> float | None:
    """Decibels; `auto` is None."""
    if node.value == "auto":
        return None
    gain: float | None = Number(-40, 60).read(node, problems)
    return gain


_CHANNEL = Number(1, MAX_CHANNEL, whole=True)


class Audio(Controller):
    """The controller for the show's `audio`. It opens nothing: it reads the ring of the audio process."""

    fields: ClassVar[Fields] = {
        "device": Field(Text(), "", "name of the input device, a pattern such as Scarlett*, or a part of the name; "
                                    "default: the system's"),
        "backend": Field(Choice((AUTO, *BACKENDS)), AUTO, "audio system; jack lists programs as devices too"),
        "channels": Field(Items(_CHANNEL), DEFAULT_CHANNELS, "channels that are measured and recorded"),
        "ltc": Field(_CHANNEL, None, "channel with linear timecode (LTC), which starts cues"),
        "rate": Field(Number(8000, 192_000, whole=True), None, "samples a second; default: the device's"),
        "gain": Field(Custom(_read_gain, "decibels, or auto", Either((Number(-40, 60), Choice(("auto",))))), None,
                      "decibels that are added before the levels, or auto: the loudest of the last seconds is full"),
        "gate": Field(Number(-90, 0), -60.0, "decibels of full scale below which everything is silence"),
        "tempo": Field(Boolean(), False, "follow the tempo of the music"),
    }

    def __init__(self, controls: ControlState, options: Mapping[str, Any]) -> None:
        super().__init__(controls, options)
        self._ring: AudioRing | None = None
        self._reader: RingReader | None = None
        self._decoder: LtcDecoder | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._tempo_number = 0
        self._published: Tempo | None = None

    async def start(self) -> None:
        """Open the ring that the stage has named. Without shared memory it has named none, and has said why."""
        from lcm_daemon.core.audio_ring import AudioRing, RingReader, attach

        if self._tasks:
            return
        try:
            self._ring = AudioRing(attach(str(self.controls.kept.get(SECTION, ""))))
        except (OSError, ValueError):
            log.debug("%s: the stage has no ring", SECTION)
            return
        self._reader = RingReader(self._ring)
        self._tasks = [asyncio.create_task(self._show_levels(self._ring), name="audio meter")]
        if self.options["ltc"] is not None:
            self._tasks.append(asyncio.create_task(self._decode(self._reader), name="audio timecode"))

    async def stop(self) -> None:
        """Close the ring."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        ring, self._ring = self._ring, None
        if ring is not None:
            ring.close()

    async def _show_levels(self, ring: AudioRing) -> None:
        while True:
            self.update(ring, time.perf_counter())
            await asyncio.sleep(METER_INTERVAL)

    def update(self, ring: AudioRing, now: float) -> None:
        """Replace the meter's list and publish the tempo, if they have changed. now: Seconds of perf_counter."""
        self.controls.set_list(LIST, tuple(
            {"name": band, "level": round(level, 2)} for band, level in ring.levels(now).items()))
        number, tempo = ring.tempo()
        if self.options["tempo"] and number != self._tempo_number and MIN_BPM <= tempo.bpm <= MAX_BPM:
            self._tempo_number = number
            if _differs(self._published, tempo):
                self._published = tempo
                self.controls.keep_for_restart("tempo", ExternalTempo(tempo, SECTION))

    async def _decode(self, reader: RingReader) -> None:
        while True:
            self.decode(reader)
            await asyncio.sleep(LTC_INTERVAL)

    def decode(self, reader: RingReader) -> None:
        """Decode the timecode in the samples that are new. After a gap it begins again."""
        from lcm_daemon.controllers.timecode.ltc import LtcDecoder
        from lcm_daemon.core.audio_ring import TIMECODE

        sound = reader.read()
        if sound is None:
            return
        if sound.gap or self._decoder is None:
            self._decoder = LtcDecoder(sound.rate)
        for report in self._decoder.feed(sound.samples[:, TIMECODE].copy(), sound.end):
            self.controls.timecode.receive(report)


def _differs(published: Tempo | None, tempo: Tempo) -> bool:
    if published is None or abs(published.bpm / tempo.bpm - 1.0) > TEMPO_SHARE:
        return True
    return abs(tempo.beat - published.beat_at(tempo.time)) > TEMPO_BEATS
