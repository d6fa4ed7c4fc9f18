"""NDI programs of other vendors, for the tests: plain NDIlib calls, without lcm_daemon.

python ndi_peer.py send NAME WIDTH HEIGHT FPS    sends grey frames that count: grey = number % 200
python ndi_peer.py receive PART SECONDS          prints "WIDTH HEIGHT r g b a" of the centre of each frame
"""

from __future__ import annotations

import sys
import time

import NDIlib
import numpy as np


def send(name: str, width: int, height: int, fps: float) -> None:
    sender = NDIlib.send_create(NDIlib.SendCreate(name, None, False, False))
    video = NDIlib.VideoFrameV2()
    video.FourCC = NDIlib.FOURCC_VIDEO_TYPE_RGBA
    start, number = time.perf_counter(), 0
    print("sending", flush=True)
    while True:
        pixels = np.full((height, width, 4), number % 200, np.uint8)
        pixels[..., 3] = 255
        video.data = pixels
        NDIlib.send_send_video_v2(sender, video)
        number += 1
        time.sleep(max(0.0, start + number / fps - time.perf_counter()))


def receive(part: str, seconds: float) -> None:
    finder = NDIlib.find_create_v2(NDIlib.FindCreate())
    until, found = time.perf_counter() + seconds, []
    while not found and time.perf_counter() < until:
        NDIlib.find_wait_for_sources(finder, 100)
        found = [source for source in NDIlib.find_get_current_sources(finder) if part in source.ndi_name]
    settings = NDIlib.RecvCreateV3(found[0], NDIlib.RECV_COLOR_FORMAT_BGRX_BGRA)
    receiver = NDIlib.recv_create_v3(settings)
    while time.perf_counter() < until:
        kind, video, _, _ = NDIlib.recv_capture_v2(receiver, 100, True, False, False)
        if kind == NDIlib.FRAME_TYPE_VIDEO:
            blue, green, red, alpha = video.data[video.yres // 2, video.xres // 2]
            print(video.xres, video.yres, red, green, blue, alpha, flush=True)
            NDIlib.recv_free_video_v2(receiver, video)


if __name__ == "__main__":
    NDIlib.initialize()
    if sys.argv[1] == "send":
        send(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5]))
    else:
        receive(sys.argv[2], float(sys.argv[3]))
