"""Names of the audio input: the levels that are measured in a sound, and the systems that devices belong to."""

from __future__ import annotations

from collections.abc import Mapping

LEVEL = "level"  # the loudness of the whole
ONSET = "onset"
BANDS = ("low", "mid", "high", LEVEL, ONSET)
SILENCE: Mapping[str, float] = dict.fromkeys(BANDS, 0.0)
SECTION = "audio"  # the key of a show, its controller, and the name in what desks keep
AUTO = "auto"  # any backend
BACKENDS: Mapping[str, str] = {  # by PortAudio's names of its host APIs
    "alsa": "ALSA", "asio": "ASIO", "coreaudio": "Core Audio", "directsound": "Windows DirectSound",
    "jack": "JACK Audio Connection Kit", "mme": "MME", "pulse": "PulseAudio", "wasapi": "Windows WASAPI",
}

