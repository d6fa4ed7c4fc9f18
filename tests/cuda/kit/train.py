"""Training the built-in model on the card: every step for a short time, stopped in the middle and continued.

    python -m tests.cuda.kit.train [--minutes N] [--scale S]

The steps share about N minutes (`--minutes`, 6 by default). The first run is bounded to a third of it, so that it stops
in the middle; the second one continues and finishes. Painting, training and distillation run on the card. Results: how
long each step takes and how many samples a second it trains on. The checkpoints come back in $OUT/builtin.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import re
import shutil
import sys
import time
from pathlib import Path

from tests.cuda.kit.common import DEVICE, SMALL, WORK, left, memory, put, trying

# Of the time, by option; and how often the command trains for that long
SHARES = {
    "vae": 2, "decoder": 2, "small": 3, "whole": 5, "distillation": 5, "finishing": 1, "controlnet": 1, "lora": 0.5,
}
OFTEN = {"decoder": 2, "finishing": 3, "lora": 2}
TIMES = sum(share * OFTEN.get(name, 1) for name, share in SHARES.items())
LAST = "loras"  # the evaluation and the export follow on the machine that has the photographs
KEPT = ("*.pt", "loras/*", "text_encoder/*", "tokenizer/*")


class Watched(io.TextIOBase):
    """Standard output that notes when each step began and the last line of each training."""

    def __init__(self, out) -> None:
        self.out, self.begun, self.lines = out, {}, {}

    def write(self, text: str) -> int:
        self.out.write(text)
        if found := re.match(r"step (\w+) on", text):
            self.begun[found[1]] = time.monotonic()
        elif found := re.match(r"(\S+(?: \S+)?) (\d+)/\d+ s step (\d+)", text):
            self.lines[found[1]] = int(found[2]), int(found[3]), text.strip()
        return len(text)

    def flush(self) -> None:
        self.out.flush()


def shrink() -> None:
    """Make every step tiny: it must run on a CPU within a minute or two."""
    from examples.train_builtin import controlnet, data, decoder, latents, loras, reward, text
    data.SHARD, text.STEPS, reward.STEPS = 25, 3, 2
    latents.BATCH, latents.FOREIGN = 6, 6
    decoder.POOL, decoder.CROP, controlnet.FOREIGN_POOL = 4, 64, 48
    loras.PAIRS, loras.CHUNK = 4, 4
    data.structure_pool = lambda seed, count=6, pool=data.structure_pool: pool(seed, min(count, 6))
    controlnet.train_probe.__defaults__ = (2, 8)


def train(minutes: float, bound: float, scale: int) -> Watched:
    """Run the command `all` with these times, in minutes; stop after `bound`."""
    from examples.train_builtin import train as command
    times = [part for name, share in SHARES.items() for part in (f"--{name}-minutes", f"{minutes * share / TIMES:.4f}")]
    device = ["--device", DEVICE, "--batch", str(scale), "--fresh", "1", "--threads", "1" if SMALL else "8"]
    small = ["--shards", "2", *(["--no-compile"] if scale == 1 else [])]
    sys.argv = ["train", "all", "--work", str(WORK / "builtin"), "--last", LAST, "--minutes", f"{bound:.4f}",
                *times, *device, *small]
    watched = Watched(sys.stdout)
    with contextlib.redirect_stdout(watched):
        command.main()
    return watched


def both_runs(minutes: float, scale: int) -> None:
    begun = time.monotonic()
    first = train(minutes, minutes / 3, scale)
    put("training: stopped", seconds=time.monotonic() - begun, bound_s=20 * minutes, in_step=list(first.begun)[-1])
    second = train(minutes, max((left() - 20) / 60, 0.1), scale)
    ends = [*list(second.begun.values())[1:], time.monotonic()]
    for (name, start), end in zip(second.begun.items(), ends, strict=True):
        put(f"training: step {name}", seconds=end - start)
    for name, (seconds, steps, line) in second.lines.items():
        put(f"training: {name}", steps=steps, steps_a_second=steps / max(seconds, 1), line=line, **memory())
    put("training: finished", ok=LAST in second.begun, seconds=time.monotonic() - begun, batch=scale)
    keep()


def keep() -> None:
    """Copy the checkpoints to the folder that comes back."""
    target = Path(os.environ.get("OUT") or WORK / "out") / "builtin"
    for pattern in KEPT:
        for path in (WORK / "builtin").glob(pattern):
            there = target / path.relative_to(WORK / "builtin")
            there.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, there)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=0.2 if SMALL else 6)
    parser.add_argument("--scale", type=int, default=1 if SMALL else 16, help="how many times as large the batches are")
    arguments = parser.parse_args()
    if SMALL:
        shrink()
    trying("training", both_runs, arguments.minutes, arguments.scale)


if __name__ == "__main__":
    main()
