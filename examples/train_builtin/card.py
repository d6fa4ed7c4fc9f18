"""Write the model card from the figures of the last evaluation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from examples.train_builtin import controlnet, diffusion, finishing, runs
from examples.train_builtin.evaluation import PHOTOGRAPHS, REPAINTS

CARD = Path(__file__).with_name("card.md")


def write_card(work: Path, folder: Path) -> None:
    """Write README.md of the model folder: `card.md` with the figures, or a line that says that none exist yet."""
    path = work / "sheets" / "evaluation.json"
    figures = json.loads(path.read_text()) if path.exists() else None
    table = figure_table(figures) if figures else "Not evaluated yet."
    rounds = sum(count_steps(work / name) for name in finishing.PASSES) // finishing.UPDATES
    parts = {
        "{figures}": table,
        "{told}": f"{rounds * sum(finishing.TOLD):,}",
        "{kept}": f"{rounds * sum(finishing.KEPT):,}",
        "{shaped}": f"{rounds * sum(finishing.SHAPED):,}",
        "{denoised}": f"{count_steps(work / 'diffusion.pt') * diffusion.BATCH[1]:,}",
        "{controlled}": f"{count_steps(work / 'controlnet.pt', 1) * controlnet.BATCH:,}",
        "{photographs}": "; ".join(f"{name} ({licence})" for name, licence in PHOTOGRAPHS.items()),
        "{repaints}": ", ".join(f"`{text}`" for text in REPAINTS),
    }
    text = CARD.read_text(encoding="utf-8")
    for mark, part in parts.items():
        text = text.replace(mark, part)
    (folder / "README.md").write_text(text, encoding="utf-8")


def count_steps(path: Path, workers: int = 2) -> int:
    """Return the number of steps that led to a checkpoint, summed over all workers."""
    return int(runs.read(path)["step"]) * workers if path.exists() else 0


def figure_table(figures: dict[str, Any]) -> str:
    """Return a Markdown table of the targets and the measured figures."""
    rows = ["| | target | measured |", "|---|---|---|"]
    for steps in (1, 2, 4):
        entry = figures[f"prompts_{steps}_steps"]
        colour, subject = (
            f"{entry[kind]:.0%} (chance {entry[kind + '_chance']:.0%}, judge {entry[kind + '_judge']:.0%})"
            for kind in ("colour", "subject")
        )
        wanted = (">= 85 %", ">= 70 %") if steps == 2 else ("", "")
        rows.append(f"| colour of 100 prompts, {steps} steps | {wanted[0]} | {colour} |")
        rows.append(f"| subject of 100 prompts, {steps} steps | {wanted[1]} | {subject} |")
    for strength, entry in figures["photographs"].items():
        wanted = (">= .80", ">= .21") if strength == "0.5" else ("", "")
        rows.append(
            f"| photographs, strength {strength}: luma correlation | {wanted[0]} | {entry['luma_correlation']:.2f} |"
        )
        rows.append(
            f"| photographs, strength {strength}: colour movement | {wanted[1]} | {entry['colour_movement']:.2f} |"
        )
    rows += live_rows(figures["controlnet"], figures["loras"])
    steady, speed = figures["steadiness"], figures["speed"]
    rows.append(f"| still input, fixed seed: difference | 0 | {steady['still']:.3g} |")
    rows.append(f"| panning input: largest change of mean luma a frame | <= 2 % | {steady['panning']:.1%} |")
    if fresh := figures.get("fresh_judge"):
        seen = fresh["subjects"]
        rows.append(f"| fresh judge: subjects right in most of 20 pictures | >= 20 of 25 | {seen['right_in_most']} |")
        rows.append(f"| fresh judge: the least share of any subject | >= 40 % | {seen['least']:.0%} |")
    rows.append(f"| autoencoder on the photographs | >= 29 dB | {figures['autoencoder_psnr_photographs']:.1f} dB |")
    times = " / ".join(f"{speed[name + '_ms']:.1f}" for name in ("encode", "unet", "decode"))
    rows.append(f"| encode / UNet / decode at 256x256, eager float32, two cores | | {times} ms |")
    return "\n".join(rows)


def live_rows(control: dict[str, Any], loras: dict[str, dict[str, float]]) -> list[str]:
    """Return the rows of the ControlNet and the LoRAs."""
    rows = [
        "| photographs, strength 1.0, ControlNet at 1.0: edge F1 | >= .5 "
        f"| {control['f1']:.2f} (without it {control['f1_without']:.2f}) |"
    ]
    for name, entry in loras.items():
        rows.append(
            f"| LoRA `{name}` at 1.0: correlation with its filter | "
            f"| {entry['near']:.2f} (without it {entry['before']:.2f}) |"
        )
    return rows
