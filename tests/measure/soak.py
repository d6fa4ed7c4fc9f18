"""`lcm-daemon soak` on a network of its own, where NDI senders have names and no other program answers.

    python -m tests.measure.soak demo --hours 0.1 --transport ndi

Arguments are those of `lcm-daemon soak`. Linux, as root. It prints gaps, growth, and the time from the sender to the
output (p50 and p99); with --faults it causes faults. On a machine with mDNS, `lcm-daemon soak` does the same.
"""

from __future__ import annotations

import sys

from tests.rigs.network import namespace


def main() -> int:
    with namespace() as net:
        return int(net.popen([sys.executable, "-m", "lcm_daemon", "soak", *sys.argv[1:]]).wait())


if __name__ == "__main__":
    sys.exit(main())
