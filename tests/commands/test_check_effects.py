"""What `check` says of prompts that a recipe does not take."""

from __future__ import annotations

from pathlib import Path

import pytest

from lcm_daemon.cli import main

SHOW = """
recipe: {recipe}
parameters: {{prompt: "a (red:1.3) cube", negative_prompt: blurred}}
cues: [{{name: dawn, set: {{negative_prompt: dark}}}}, {{name: dusk, set: {{prompt: plain}}}}]
osc: false
panel: false
"""


@pytest.mark.parametrize(("recipe", "lines"), [
    ("sd15-lcm", []),
    ("sana-sprint", [
        "at the start: negative_prompt has no effect: the recipe sana-sprint plays, which takes no negative prompt",
        "in cue dawn: negative_prompt has no effect: the recipe sana-sprint plays, which takes no negative prompt"]),
    ("z-image-turbo", [
        "at the start: negative_prompt has no effect: the recipe z-image-turbo plays, which takes no negative prompt",
        "at the start: prompt: Z-Image reads the words without their emphasis",
        "in cue dawn: negative_prompt has no effect: the recipe z-image-turbo plays, which takes no negative prompt"]),
    ("passthrough", []),
])
def test_what_a_recipe_does_not_take_is_said(
    recipe: str, lines: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "show.yaml").write_text(SHOW.format(recipe=recipe))
    assert main(["check", str(tmp_path / "show.yaml")]) == 0
    said = [line.split(maxsplit=1)[1] for line in capsys.readouterr().out.splitlines() if line.startswith("  prompt ")]
    assert said == lines
