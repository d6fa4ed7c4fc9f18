"""Why a child was replaced, in one word and in words."""

from __future__ import annotations

import pytest

from lcm_daemon.processes.ends import DIED, HANGS, cause_of, describe_exit
from lcm_daemon.processes.protocol import Failed


@pytest.mark.parametrize(("failed", "cause"), [
    (Failed(DIED), "died"), (Failed(HANGS), "hung"), (Failed("CUDA out of memory", memory=True), "memory"),
    (Failed("gone", lost=True), "lost"), (Failed("its last 5 pictures are NaN or infinity"), "nan"),
    (Failed("KeyError: 'unet'"), "error"),
])
def test_a_cause_is_one_word(failed: Failed, cause: str) -> None:
    assert cause_of(failed) == cause


def test_exit_codes_in_words() -> None:
    assert [describe_exit(code) for code in (None, 0, 1, -11, -9, -250)] == [
        "it has not ended yet", "exit code 0", "exit code 1", "signal SIGSEGV", "signal SIGKILL", "signal 250"]
