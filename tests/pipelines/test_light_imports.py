"""An engine's imports, each in a process of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

from lcm_daemon.pipelines.light_imports import light_imports

AFTERWARDS = """
import sys
from lcm_daemon.pipelines import warm_imports
warm_imports("latent_consistency")
assert "diffusers" in sys.modules and "transformers" in sys.modules
assert not {"peft", "scipy"} & set(sys.modules), "imported, or still hidden"
from diffusers.utils import is_peft_available, is_scipy_available
assert is_peft_available() and is_scipy_available()
import transformers
assert transformers.utils.is_scipy_available() and transformers.utils.is_peft_available()
import scipy.ndimage
print("done")
"""


@pytest.mark.slow
def test_an_engine_imports_neither_peft_nor_scipy_and_finds_both_later() -> None:
    done = subprocess.run([sys.executable, "-c", AFTERWARDS], capture_output=True, text=True, timeout=120, check=False)
    assert (done.stdout.strip(), done.returncode) == ("done", 0), done.stderr


def test_what_is_imported_already_stays() -> None:
    import scipy

    with light_imports():
        assert sys.modules["scipy"] is scipy
    assert sys.modules["scipy"] is scipy
