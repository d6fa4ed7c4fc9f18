"""Runs programs that a show names, and ends those of ours. Both may take long: call them on a thread that may wait."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from lcm_daemon.core.errors import LcmDaemonError


class ProgramFailed(LcmDaemonError):
    """A program could not be started, took too long, or ended with an error."""


def run_program(words: Sequence[str], environment: Mapping[str, str], seconds: float, given: str = "") -> None:
    """Run a program to its end, without a shell. Its output is discarded.

    Args:
        words: The program and its arguments.
        environment: Variables in addition to those of this process.
        seconds: How long it may take; then it is killed, with those that it has started.
        given: Its standard input.

    Raises:
        ProgramFailed: It did not end with the exit code 0.
    """
    try:
        process = subprocess.Popen(
            list(words), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env={**os.environ, **environment}, start_new_session=True)
    except (OSError, ValueError) as error:
        raise ProgramFailed(f"it cannot be started: {getattr(error, 'strerror', '') or error}") from error
    try:
        process.communicate(given.encode("utf-8", "replace"), seconds)
    except subprocess.TimeoutExpired as error:
        _kill(process)
        raise ProgramFailed(f"it did not end within {seconds:g} s") from error
    if process.returncode:
        raise ProgramFailed(f"exit code {process.returncode}")


def _kill(process: subprocess.Popen[bytes]) -> None:
    if sys.platform == "win32":
        process.kill()
    else:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def end_program(process: subprocess.Popen[Any], seconds: float) -> None:
    """Let a program end in order, for up to `seconds`; then kill it."""
    process.terminate()
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
