"""Files of an installed package, also of those that are missing."""

from __future__ import annotations

from importlib.metadata import PathDistribution
from pathlib import Path

from lcm_daemon.core.recorded_files import recorded_files

RECORD = """pack/__init__.py,sha256=abc,3
"pack/a, b.bin",sha256=def,4
../../bin/pack,,
"""


def test_missing_files_are_listed(tmp_path: Path) -> None:
    info = tmp_path / "pack-1.0.dist-info"
    info.mkdir()
    assert list(recorded_files(PathDistribution(info))) == []
    (info / "RECORD").write_text(RECORD)
    files = list(recorded_files(PathDistribution(info)))
    assert [str(file) for file in files] == ["pack/__init__.py", "pack/a, b.bin", "../../bin/pack"]
    assert [file.hash.value if file.hash else None for file in files] == ["abc", "def", None]
    assert Path(str(files[0].locate())) == tmp_path / "pack/__init__.py"
