"""Runs the command line: python -m lcm_daemon."""

from __future__ import annotations

import sys

from lcm_daemon.cli import main

if __name__ == "__main__":
    sys.exit(main())
