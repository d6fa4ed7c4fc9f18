"""An audience server without visitors: it does what a test asks for by the performer's commands."""

from __future__ import annotations

import os
import time

from lcm_daemon.audience.config import ServerConfig
from lcm_daemon.audience.messages import (
    AudienceReport,
    FrameRead,
    Kept,
    Performer,
    PictureRead,
    SeatFrame,
    SeatPicture,
    SeatTaken,
    SharedTable,
)
from lcm_daemon.processes.bootstrap import LogLevels
from lcm_daemon.processes.channel import ChildChannel, ChildEndpoint
from lcm_daemon.processes.protocol import Credit, Failed, Ready

FAILS = "fails"  # a show of this name cannot be served


def run(endpoint: ChildEndpoint, config: ServerConfig, levels: LogLevels) -> None:
    """skip: end at once. block: answer no more. extend: report what has been read."""
    channel = ChildChannel(endpoint)
    if config.show == FAILS:
        channel.send(Failed("audience: cannot listen on 127.0.0.1 port 1"))
        return
    channel.send(Ready("http://10.0.0.5:8001/join"))
    channel.send(Credit(4))
    starts, read = 1 + (config.kept.state["starts"] if config.kept else 0), 0
    while (message := channel.receive()) is not None:
        match message:
            case SharedTable():
                channel.send(Credit())
                channel.send(Kept({"starts": starts}))
                channel.send(SeatTaken(0, starts, True))
                channel.slots.outputs[0][:] = 40 + starts
                channel.send(SeatFrame(0, starts, 0, time.perf_counter()))
            case FrameRead():
                channel.send(AudienceReport(f"frame read {message.seat}"))
            case SeatPicture():
                read += 1
                level = int(channel.slots.inputs[message.seat][0, 0, 0])
                channel.send(AudienceReport(f"picture {message.session} {message.number} {level}"))
                if read > 1 or level != 9:  # the first one of level 9 is never read
                    channel.send(PictureRead(message.seat))
            case Performer("skip"):
                os._exit(1)
            case Performer("block"):
                time.sleep(60)
