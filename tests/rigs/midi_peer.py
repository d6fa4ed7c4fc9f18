"""A MIDI device as a process: `python -m tests.rigs.midi_peer NAME [COUNT RATE]`.

Lines of hexadecimal on the standard input are sent, what comes is printed in the same way. With COUNT and RATE it sends
that many 14-bit pitch bends by itself after the first line, RATE a second, and prints the time of each.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

import rtmidi


def main(name: str, count: int = 0, rate: int = 1) -> None:
    sender = rtmidi.MidiOut(rtmidi.API_UNIX_JACK, name)
    sender.open_virtual_port(name)
    hearer = rtmidi.MidiIn(rtmidi.API_UNIX_JACK, name)
    hearer.set_callback(lambda data, _: print(bytes(data[0]).hex(), flush=True))
    hearer.open_virtual_port(f"{name} in")
    print("ready", flush=True)
    for line in sys.stdin:
        if count:
            return play(sender, count, rate)
        sender.send_message(bytes.fromhex(line))
    return None


def play(sender: rtmidi.MidiOut, count: int, rate: int) -> None:
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
