"""The limit of open files is raised, and connections leave some for everything else."""

from __future__ import annotations

import subprocess
import sys

import pytest

CODE = """
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (256, {hard}))
from lcm_daemon.core.file_limit import most_connections, raise_file_limit
print(raise_file_limit(), resource.getrlimit(resource.RLIMIT_NOFILE)[0], most_connections(4))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
@pytest.mark.parametrize(("hard", "printed"), [(4096, "4096 4096 976"), (256, "256 256 16")])
def test_the_limit_is_raised_as_far_as_the_system_allows(hard: int, printed: str) -> None:
    found = subprocess.run([sys.executable, "-c", CODE.format(hard=hard)], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == printed
