"""Kill a whole running show again and again while values move, and look at what the next run restores.

    python -m tests.measure.power_cuts [--cuts 200]

It prints how old the newest accepted value that was lost is, and fails if a value that was accepted more than 100 ms
before a cut is lost, or the whole look once.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from lcm_daemon.controllers.osc.sender import send
from tests.rigs.daemon import Daemon

SHOW = {"recipe": "passthrough", "output": {"size": [128, 128], "fps": 30}, "sinks": [], "engine": {"spare": False}}
LIMIT = 0.1  # seconds


class Cut(Daemon):
    """A daemon with a process group of its own, which is killed as a whole."""

    def cut(self) -> None:
        os.killpg(os.getpgid(self.process.pid), signal.SIGKILL)
        self.process.wait()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cuts", type=int, default=200)
    cuts = parser.parse_args().cuts
    chance, ages, lost, number, at = random.Random(1), list[float](), 0, 0, 0.0
    start = subprocess.Popen

    def in_own_group(*args: object, **kwargs: object) -> object:
        return start(*args, **kwargs, start_new_session=True)  # type: ignore[call-overload]

    subprocess.Popen = in_own_group  # type: ignore[assignment, misc]
    with tempfile.TemporaryDirectory() as folder:
        os.environ["LCM_DAEMON_STATE"] = f"{folder}/state"
        sent: dict[int, float] = {}
        for cut in range(cuts + 1):
            daemon = Cut(Path(folder), SHOW)
            daemon.__enter__()
            restored = int(daemon.values()["seed"])
            if cut:
                if restored not in sent:
                    lost += 1
                else:
                    following = sent.get(restored + 1)
                    ages.append(0.0 if following is None else at - following)
            until = time.monotonic() + chance.uniform(0.2, 0.6)
            sent = {restored: 0.0} if restored in sent else {}
            while time.monotonic() < until:
                number += 1
                sent[number] = time.monotonic()
                send("/lcm/seed", [str(number)], "127.0.0.1", daemon.osc_port)
                time.sleep(0.005)
            at = time.monotonic()
            daemon.cut()
    ages.sort()
    print(f"{cuts} cuts; looks lost: {lost}; oldest value lost was sent {1000 * ages[-1]:.0f} ms before the cut, "
          f"median {1000 * ages[len(ages) // 2]:.0f} ms")
    return int(lost > 0 or ages[-1] > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
