"""Whether the audio device of a show is here."""

from __future__ import annotations

from collections.abc import Iterator

from lcm_daemon.commands.readiness.finding import NOTE, Finding
from lcm_daemon.controllers.audio.config import AudioConfig
from lcm_daemon.controllers.audio.device import AudioError, choose, load, look
from lcm_daemon.core.audio_names import SECTION
from lcm_daemon.core.errors import MissingIntegration
from lcm_daemon.shows.show import Show


def audio_device(show: Show) -> Iterator[Finding]:
    """Look for the device; nothing for a show without audio. It is not opened: something else may use it now."""
    options = show.controllers.get(SECTION)
    if options is None:
        return
    config = AudioConfig.of(options)
    try:
        found = choose(look(load()), config.device, config.backend)
    except (AudioError, MissingIntegration) as error:
        text = str(error).removeprefix(f"{SECTION}: ")
        yield Finding(SECTION, f"{text}; the show plays without sound until it is there", NOTE)
        return
    if missing := config.missing_channels(found.channels):
        yield Finding(SECTION, f"{found.name} has {found.channels} channels, and the show uses number {missing[0]}",
                      NOTE)
    else:
        yield Finding(SECTION, f"{found.name}: {found.channels} channels, {found.rate:.0f} Hz")
