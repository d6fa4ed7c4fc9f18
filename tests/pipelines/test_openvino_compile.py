"""OpenVINO's compiler in its own process."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from lcm_daemon.pipelines.accelerators.base import AcceleratorError
from tests.conftest import need
from tests.rigs.daemon import wait_for
from tests.rigs.lazy_imports import lazy_imports

with lazy_imports(globals()):
    import torch

    from lcm_daemon.pipelines.accelerators import openvino_trace


def test_a_disk_without_room_is_found_before_torch_ends_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, module = tmp_path / "work" / "traced.pt", torch.nn.Linear(512, 1024)
    file.parent.mkdir()
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=66 << 20))
    place = re.escape(str(tmp_path))
    with pytest.raises(AcceleratorError, match=rf"cache folder {place} has 66 MiB free, .* needs 68; "):
        openvino_trace.trace(module, (torch.zeros(1, 512),), file)
    assert not file.exists()
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=70 << 20))
    openvino_trace.trace(module, (torch.zeros(1, 512),), file)
    assert file.exists()


@pytest.mark.compile
@pytest.mark.skipif(sys.platform == "win32", reason="the stand-in for the compiler is a shell's script")
def test_a_compiler_does_not_outlive_its_engine(tmp_path: Path) -> None:
    need(importlib.util.find_spec("openvino") is not None, "openvino is not installed")
    script = tmp_path / "python"  # the real one, with a module that takes for ever to load
    script.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid.new; mv {tmp_path}/pid.new {tmp_path}/pid\n"
                      f"exec {sys.executable} -c 'import sys, time\n"
                      "from lcm_daemon.pipelines.accelerators import openvino_compile as compiler\n"
                      "compiler.torch.load = lambda path: time.sleep(3600)\n"
                      "compiler.main(*sys.argv[3:])' \"$@\"\n")
    script.chmod(0o755)
    engine = subprocess.Popen([sys.executable, "-c", "import sys\nfrom pathlib import Path\n"
                               "from lcm_daemon.pipelines.accelerators import openvino\n"
                               f"sys.executable = {str(script)!r}\n"
                               "openvino._run_compiler(Path('folder'), [])"])
    try:
        wait_for((tmp_path / "pid").exists, 60, "the compiler")
        compiler = psutil.Process(int((tmp_path / "pid").read_text()))
    finally:
        engine.kill()
        engine.wait()
    try:
        compiler.wait(60)
    except psutil.TimeoutExpired:
        compiler.kill()
        pytest.fail("the compiler plays on")


def test_the_converter_does_not_report_its_use() -> None:
    need(importlib.util.find_spec("openvino") is not None, "openvino is not installed")
    done = subprocess.run(
        [sys.executable, "-c", "import sys; from lcm_daemon.pipelines.accelerators import openvino_compile\n"
                               "print('openvino_telemetry.main' in sys.modules, sys.modules['openvino_telemetry'])"],
        capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.strip() == "False None"
