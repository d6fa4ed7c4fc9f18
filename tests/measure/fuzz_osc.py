"""Send random and mutated OSC packets to the OSC controller: `python -m tests.measure.fuzz_osc --packets 1000000`.

The longest turn is the time for which the event loop's other work was delayed at most: the page, MIDI, other ports.
The slowest batch is the time in which 128 packets were handled, with such turns in between.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import random
import socket
import struct
import time

from lcm_daemon.controllers.osc.controller import Osc
from lcm_daemon.controllers.osc_protocol.aliases import PROFILES, MapEntry
from lcm_daemon.core.control_state import ControlState
from lcm_daemon.core.metrics import Metrics
from lcm_daemon.core.parameter_table import TABLE

ADDRESSES = [
    *(f"/lcm/{name}" for name in TABLE), "/lcm/panic", "/lcm/get", "/lcm/subscribe", "/lcm/unsubscribe", "/",
    *(alias.address for aliases in PROFILES.values() for alias in aliases), "/1/fader3", "/3/xy",
    "/lcm/*", "/*/{strength,seed}", "/lcm/[a-z]*", "/lcm/[!a-m]?*", "/lcm/*a*a*a*a*a*b", "/lcm/{", "/lcm/[", "/prompt",
]
BATCH = 128
OPTIONS = {
    "port": 0, "tcp": 0, "profiles": tuple(PROFILES),
    "map": (MapEntry("/1/fader3", "strength", (0.2, 0.9), None, "exp"), MapEntry("/3/xy", "mix", argument=1)),
}


def padded(data: bytes) -> bytes:
    return data + b"\0" * (4 - len(data) % 4)


def argument(rng: random.Random) -> tuple[bytes, bytes]:
    """A type tag and its data."""
    tag = rng.choice(b"iiffffsshdbtrmTFNIScX[]")
    data = {
        b"S": lambda: padded(b"symbol"),
        b"s": lambda: padded(rng.choice([b"lava", b"", "über".encode(), b"0.5", b"127.0.0.1:9", b"nan", b"x" * 300,
                                         b'[["ocean", 0.7], ["lava", 0.3]]', b"[[[[", b"txt2img"])),
        b"b": lambda: struct.pack(">i", 5) + b"12345\0\0\0",
        b"f": lambda: struct.pack(">f", rng.choice([0.0, 1.0, rng.random(), 1e30, float("nan"), float("inf")])),
    }.get(bytes([tag]), lambda: rng.randbytes(8 if tag in b"hdt" else 0 if tag in b"TFNI[]" else 4))()
    return bytes([tag]), data


def message(rng: random.Random) -> bytes:
    arguments = [argument(rng) for _ in range(rng.choice([0, 1, 1, 1, 1, 2, 7]))]
    tags = b"," + b"".join(tag for tag, _ in arguments)
    return padded(rng.choice(ADDRESSES).encode()) + padded(tags) + b"".join(data for _, data in arguments)


def bundle(rng: random.Random, depth: int) -> bytes:
    inside = [packet(rng, depth - 1) for _ in range(rng.randrange(4))]
    soon = int((time.time() + 2_208_988_800 + rng.uniform(-1.0, 2.0)) * 2**32)
    tag = rng.choice([struct.pack(">Q", 1), struct.pack(">Q", soon), rng.randbytes(8)])
    return b"#bundle\0" + tag + b"".join(struct.pack(">i", len(each)) + each for each in inside)


def packet(rng: random.Random, depth: int = 3) -> bytes:
    """A well-formed packet."""
    return bundle(rng, depth) if depth and rng.random() < 0.25 else message(rng)


def mutated(rng: random.Random) -> bytes:
    """A well-formed packet with a few bytes changed, removed or inserted; sometimes random bytes only."""
    if rng.random() < 0.1:
        return rng.randbytes(rng.randrange(0, 96))
    data = bytearray(packet(rng))
    for _ in range(rng.randrange(4)):
        at = rng.randrange(len(data) + 1)
        size = rng.choice([0, 1, 4, 4])
        data[at:at + size] = rng.choice([b"", b"\xff" * size, rng.randbytes(size), b"\0" * size, struct.pack(">i", -4)])
    return bytes(data)


class LineCounter(logging.Handler):
    """Counts log lines."""

    count = 0

    def emit(self, record: logging.LogRecord) -> None:
        self.count += 1


async def fuzz(packets: int, seed: int) -> dict[str, float]:
    """Send packets to an Osc in batches, and wait for each batch.

    Returns:
        The counters, and the seconds of the slowest batch ("slowest") and of the longest turn ("turn").
    """
    rng, metrics, slowest, turn = random.Random(seed), Metrics(), 0.0, 0.0
    osc = Osc(ControlState(TABLE, {n: p.default for n, p in TABLE.items()}, metrics, lambda: None), OPTIONS)
    await osc.start()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(("127.0.0.1", osc.port))
        for sent in range(0, packets, BATCH):
            batch = [mutated(rng) for _ in range(min(BATCH, packets - sent))]
            begun = time.perf_counter()
            for each in batch:
                sock.send(each)
            while metrics.counts().get("osc/packets", 0) + metrics.counts().get("osc/failed", 0) < sent + len(batch):
                left = time.perf_counter()
                await asyncio.sleep(0)
                turn = max(turn, time.perf_counter() - left)
            osc.controls.pop_requests()
            slowest = max(slowest, time.perf_counter() - begun)
    await osc.stop()
    return {**metrics.counts(), "slowest": slowest, "turn": turn}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--packets", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    lines, begun = LineCounter(), time.perf_counter()
    logging.basicConfig(handlers=[lines], force=True)
    counts = asyncio.run(fuzz(arguments.packets, arguments.seed))
    seconds = time.perf_counter() - begun
    print(f"{arguments.packets} packets in {seconds:.1f} s ({arguments.packets / seconds:.0f}/s), "
          f"{lines.count} log lines, slowest batch of {BATCH}: {1000 * counts['slowest']:.1f} ms, "
          f"longest turn: {1000 * counts['turn']:.1f} ms")
    for path, count in sorted(counts.items()):
        print(f"  {path}: {count:g}")
    raise SystemExit(1 if counts.get("osc/failed") else 0)


if __name__ == "__main__":
    main()
