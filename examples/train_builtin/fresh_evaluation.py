"""What the fresh judge sees in a model's pictures: 20 of each subject, 500 in all.

    python -m examples.train_builtin.fresh_evaluation FOLDER [--json FILE]

measures a model folder, such as `lcm_daemon/models/builtin`: a trained set of weights can be compared with another.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from examples.train_builtin import diffusion, fresh_judge, text, vae
from examples.train_builtin.adoption import adopt
from examples.train_builtin.data import paint_shard
from examples.train_builtin.evaluation import Model, draw_sheet, photographs
from examples.train_builtin.sampler import decode, encode
from examples.train_builtin.words import COLOURS, STYLES, SUBJECTS

STEPS, SEED = 2, 4321
RIGHT_IN_MOST, LEAST = 20, 0.4  # the bar: subjects of the 25 that are right in most pictures; the least share of any
PSNR = 29.0  # the bar of the autoencoder, dB on the photographs
TAUGHT_SEED, TAUGHT_BATCHES = 95_000, 100  # drawn as the training images are, without shapes under the material


def fresh_prompts() -> list[tuple[str, str]]:
    """Return 20 prompts of each subject, with the subject: three times alone, in all colours, in all styles."""
    prompts = []
    colours, styles = list(COLOURS), list(STYLES)[1:]
    for number, name in enumerate(SUBJECTS):
        prompts += [(name, name)] * 3 + [(f"{colour} {name}", name) for colour in colours]
        prompts += [(f"{colours[(number + 5 * n) % len(colours)]} {name}, {style}", name)
                    for n, style in enumerate(styles)]
    return prompts


def measure_fresh(model: Model) -> tuple[dict[str, Any], Tensor]:
    """Return the judge's answers by subject, whether they meet the bar, and the pictures (500, 3, 256, 256)."""
    prompts = fresh_prompts()
    pictures = torch.cat([model.paint([text for text, _ in prompts[begin : begin + 25]], STEPS, SEED + begin)
                          for begin in range(0, len(prompts), 25)])
    numbers = torch.tensor([fresh_judge.NAMES.index(subject) for _, subject in prompts])
    figures = fresh_judge.by_subject(fresh_judge.load(), pictures, numbers)
    return figures | summary(figures["subjects"]) | {"own": fresh_judge.read_figures()["held_out"]["all"]}, pictures


def summary(shares: dict[str, float]) -> dict[str, Any]:
    """Return how many subjects are right in most of their pictures, the least share, and whether both meet the bar."""
    most, least = sum(share > 0.5 for share in shares.values()), min(shares.values())
    return {"right_in_most": most, "least": least, "meets": most >= RIGHT_IN_MOST and least >= LEAST}


def measure_taught() -> dict[str, Any]:
    """Return the judge's answers on images that are drawn as the model's training images are: what it can reach."""
    pictures, labels = paint_shard(TAUGHT_SEED, TAUGHT_BATCHES, whole=True)
    numbers = torch.tensor([fresh_judge.NAMES.index(label.subject) for label in labels])
    shrunk = torch.nn.functional.avg_pool2d(torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255, 4)
    figures = fresh_judge.by_subject(fresh_judge.load(), shrunk, numbers)
    return figures | summary(figures["subjects"])


@torch.inference_mode()
def measure_autoencoder(model: Model) -> dict[str, Any]:
    """Return the PSNR on each photograph, the mean, and whether it meets the bar."""
    shots = photographs()
    rebuilt = decode(model.autoencoder, encode(model.autoencoder, shots))
    each = -10 * (rebuilt - shots).square().mean(dim=(1, 2, 3)).log10()
    return {"psnr": each.mean().item(), "each": [round(value, 2) for value in each.tolist()],
            "meets": each.mean().item() >= PSNR}


def draw_fresh(pictures: Tensor, path: Path) -> None:
    """Draw one row for each subject: alone, in six colours, in the five styles."""
    rows = pictures.unflatten(0, (len(SUBJECTS), 20))
    draw_sheet(rows[:, [0, 1, 3, 5, 7, 9, 11, *range(15, 20)]], 64, path)


def table(before: dict[str, Any], after: dict[str, Any]) -> str:
    """Return a Markdown table of two results of `measure`, subject by subject."""
    rows = ["| subject | before | after |", "|---|---|---|"]
    first, second = before["subjects"], after["subjects"]
    rows += [f"| {name} | {first['subjects'][name]:.0%} | {second['subjects'][name]:.0%} |" for name in SUBJECTS]
    rows.append(f"| right in most pictures (bar: {RIGHT_IN_MOST}) | {first['right_in_most']} | "
                f"{second['right_in_most']} |")
    rows.append(f"| autoencoder, photographs (bar: {PSNR:.0f} dB) | {before['autoencoder']['psnr']:.1f} dB | "
                f"{after['autoencoder']['psnr']:.1f} dB |")
    return "\n".join(rows)


def measure(model: Model) -> tuple[dict[str, Any], Tensor]:
    """Return all figures of this module and the judged pictures."""
    subjects, pictures = measure_fresh(model)
    return {"subjects": subjects, "autoencoder": measure_autoencoder(model), "taught": measure_taught()}, pictures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="a model folder in the layout of diffusers")
    parser.add_argument("--json", type=Path, help="write the figures here, and the sheet beside it")
    parser.add_argument("--before", type=Path, help="figures of another model: print a table of both")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        adopt(options.folder, work)
        model = Model(diffusion.load(work / "distillation.pt"), vae.load(work), text.Captions(work))
        figures, pictures = measure(model)
    print(json.dumps(figures, indent=1))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
        draw_fresh(pictures, options.json.with_suffix(".jpg"))
    if options.before:
        print(table(json.loads(options.before.read_text("utf-8")), figures))


if __name__ == "__main__":
    main()
