"""A show that a lighting desk plays: levels by sACN, cues at the timecode of Art-Net, packets of another package."""

from __future__ import annotations

import socket
import statistics
import time
from pathlib import Path
from typing import Any

from lcm_daemon.core.timecode import FrameRate
from tests.conftest import need_module
from tests.rigs.daemon import Daemon, free_port, wait_for

PAL = FrameRate(25)
SHOW: dict[str, Any] = {
    "recipe": "passthrough", "output": {"size": [64, 64], "fps": 60}, "resume": False, "parameters": {"strength": 0.2},
    "cues": [{"name": "intro", "at": "00:00:10:00", "set": {"strength": 0.4}},
             {"name": "drop", "at": "00:00:11:00", "set": {"strength": 0.8}}],
}


def test_levels_and_timecode_of_a_lighting_desk(tmp_path: Path) -> None:
    packets = need_module("sacn.messages.data_packet", "sacn")
    artnet, sacn = free_port(socket.SOCK_DGRAM), free_port(socket.SOCK_DGRAM)
    dmx = {"host": "127.0.0.1", "artnet_port": artnet, "sacn_port": sacn, "timecode": True,
           "map": [{"channel": 1, "to": "mix"}]}
    with (Daemon(tmp_path, {**SHOW, "dmx": dmx}) as daemon,
          socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as console):
        def send_level(level: int) -> None:
            packet = packets.DataPacket(tuple(range(16)), "Desk", 1, (level,), sequence=level)
            console.sendto(bytes(packet.getBytes()), ("127.0.0.1", sacn))

        def send_frame(index: int) -> None:
            timecode = PAL.timecode(index)
            console.sendto(b"Art-Net\0\0\x97\0\x0e\0\0" + bytes(
                [timecode.frames, timecode.seconds, timecode.minutes, timecode.hours, 1]), ("127.0.0.1", artnet))

        waits = []
        for level in range(10, 210, 20):
            begun = time.perf_counter()
            send_level(level)
            while daemon.values().get("mix") != level / 255:
                assert time.perf_counter() - begun < 5.0
            waits.append(time.perf_counter() - begun)
        print(f"from a packet to the value on /health: {1000 * statistics.median(waits):.1f} ms, median")

        begun = time.perf_counter()
        for number in range(36):  # from 00:00:09:20 on
            time.sleep(max(0.0, begun + number / 25 - time.perf_counter()))
            send_frame(245 + number)
            if number == 29:
                assert daemon.status()["cue"] == "intro"
        wait_for(lambda: daemon.status()["cue"] == "drop", 2.0, "the second cue")
        assert daemon.values()["strength"] == 0.8
        wait_for(lambda: daemon.status()["timecode"].endswith("stopped"), 5.0, "the end of the timecode")

        daemon.kill_desk()
        wait_for(lambda: daemon.values().get("mix") == 190 / 255, 10.0, "the value that the desk before has set")

        def moves() -> bool:
            send_level(255)
            return bool(daemon.values().get("mix") == 1.0)
        wait_for(moves, 10.0, "a level after the desk was replaced")
