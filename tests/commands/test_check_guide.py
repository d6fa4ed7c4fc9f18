"""What `check` says of a show whose guide is wanted but absent."""

from __future__ import annotations

from pathlib import Path

import pytest

from lcm_daemon.cli import main

WANTS = """
parameters: {inpaint: 0.5}
recipe: {base: builtin, controlnets: [{name: shape, model: some/where, source: guide}]}
cues: [{name: mask, set: {inpaint: 1}}]
osc: false
panel: false
"""


@pytest.mark.parametrize(("guide", "lines"), [
    ("", ["the ControlNet shape of builtin has no effect: the show has no guide",
          "inpaint has no effect: the show has no guide", "inpaint in cue mask has no effect: the show has no guide"]),
    ("guide: {transport: testcard}\n", []),
])
def test_what_needs_a_guide_is_said(
    guide: str, lines: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "show.yaml").write_text(WANTS + guide)
    assert main(["check", str(tmp_path / "show.yaml")]) == 0
    said = [line.split(maxsplit=1)[1] for line in capsys.readouterr().out.splitlines() if "  guide    " in line
            and "no effect" in line]
    assert said == lines
