"""A MIDI device as a process: `python -m tests.rigs.midi_peer NAME [COUNT RATE]`.

It sends the messages that it reads from standard input as lines of hexadecimal digits, and prints the messages that it
receives in the same way. With COUNT and RATE, it sends COUNT 14-bit pitch bends after the first line, RATE a second,
and prints the time of each.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Any

from lcm_daemon.controllers.midi.rtmidi_library import load_rtmidi


def main(name: str, count: int = 0, rate: int = 1) -> None:
    rtmidi = load_rtmidi()
    sender = rtmidi.MidiOut(rtmidi.api("UNIX_JACK"), name)
    sender.open_virtual_port(name)
    receiver = rtmidi.MidiIn(rtmidi.api("UNIX_JACK"), name)
    receiver.ignore_types(timing=False)
    rtmidi.set_callback(receiver, lambda data: print(bytes(data).hex(), flush=True))
    receiver.open_virtual_port(f"{name} in")
    print("ready", flush=True)
    for line in sys.stdin:
        if count:
            return send_pitch_bends(sender, count, rate)
        sender.send_message(bytes.fromhex(line))
    return None


def send_pitch_bends(sender: Any, count: int, rate: int) -> None:
    times = []
    begin = time.perf_counter()
    for i in range(1, count + 1):
        time.sleep(max(0.0, begin + i / rate - time.perf_counter()))
        times.append(time.perf_counter())
        sender.send_message([0xE0, i & 127, i >> 7])
    time.sleep(1.0)
    print(" ".join(f"{t:.7f}" for t in times), flush=True)


if __name__ == "__main__":
    arguments: Sequence[str] = sys.argv[1:]
    main(arguments[0], *map(int, arguments[1:]))
