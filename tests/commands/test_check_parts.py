"""`check` places what is wrong with a recipe's parts: two of one name, another family, another kind."""

from __future__ import annotations

from pathlib import Path

import pytest

from lcm_daemon.cli import main
from tests.pipelines.test_weight_fit import lora, write, write_model

SHOW = """\
recipe:
  base: sd15-lcm
  model: ./model
  loras:
    - {name: ink, model: ./sdxl.safetensors}
    - ./vae.safetensors
    - {name: NAME, weight: 0.5, model: ./sd15.safetensors}
osc: false
panel: false
"""


@pytest.fixture
def show(tmp_path: Path) -> Path:
    write_model(tmp_path / "model", "SD 1.x")
    write(tmp_path / "sdxl.safetensors", lora("SDXL"))
    write(tmp_path / "sd15.safetensors", lora("SD 1.x"))
    write(tmp_path / "vae.safetensors", {"encoder.down.0.block.0.conv1.weight": (1, 1, 3, 3)})
    return tmp_path / "show.yaml"


def checked(show: Path, name: str, capsys: pytest.CaptureFixture[str]) -> list[str]:
    show.write_text(SHOW.replace("NAME", name))
    assert main(["check", str(show)]) != 0
    return capsys.readouterr().err.splitlines()


def test_another_family_and_another_kind(show: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = show.parent
    assert checked(show, "paper", capsys) == [
        f"{show}:5:26: lora ink at {folder / 'sdxl.safetensors'}: it is for SDXL (context 2048), "
        "this model is SD 1.x (768)",
        f"{show}:6:7: lora at {folder / 'vae.safetensors'}: it is a VAE, not a LoRA"]


def test_two_loras_of_one_name(show: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = checked(show, "ink", capsys)
    assert [line.partition(";")[0] for line in lines] == [
        f"{show}:5:14: another LoRA is named 'ink', at 7:14", f"{show}:7:14: another LoRA is named 'ink', at 5:14"]
