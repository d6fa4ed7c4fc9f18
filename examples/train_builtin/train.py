"""Train the built-in model from scratch: `python -m examples.train_builtin.train all --work DIR`."""

from __future__ import annotations

import argparse
import json
import logging
import math
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from examples.train_builtin import (
    controlnet,
    data,
    decoder,
    diffusion,
    distillation,
    finishing,
    fresh_evaluation,
    fresh_judge,
    int8,
    loras,
    reward,
    runs,
    text,
    vae,
    workers,
)
from examples.train_builtin.adoption import adopt
from examples.train_builtin.evaluation import Model, evaluate
from examples.train_builtin.export import export
from examples.train_builtin.latents import encode, encode_foreign
from examples.train_builtin.live import evaluate_live
from examples.train_builtin.looks import LOOKS

TARGET = Path(__file__).parents[2] / "lcm_daemon" / "models" / "builtin"


def run_adoption(options: argparse.Namespace) -> None:
    adopt(TARGET, options.work)


def run_data(options: argparse.Namespace) -> None:
    data.write_shards(options.work, options.shards, options.threads)


def run_vae(options: argparse.Namespace) -> None:
    vae.train(options.work, 60 * options.vae_minutes)


def run_decoder(options: argparse.Namespace) -> None:
    decoder.train(options.work, 60 * options.decoder_minutes)


def run_autoencoder(options: argparse.Namespace) -> None:
    decoder.train(options.work, 60 * options.decoder_minutes, joint=True, held=options.held)


def run_judge(options: argparse.Namespace) -> None:
    print(json.dumps(fresh_judge.train(options.threads), indent=1))


def run_text(options: argparse.Namespace) -> None:
    text.train(options.work)


def run_latents(options: argparse.Namespace) -> None:
    encode(options.work, 2)
    encode(options.work, 1)
    encode_foreign(options.work)


def run_diffusion(options: argparse.Namespace) -> None:
    workers.run(diffusion.train, options.threads, options.work, 60 * options.small_minutes, 60 * options.whole_minutes)


def run_reward(options: argparse.Namespace) -> None:
    reward.train(options.work)


def run_distillation(options: argparse.Namespace) -> None:
    workers.run(distillation.train, options.threads, options.work, 60 * options.distillation_minutes)


def run_finishing(options: argparse.Namespace) -> None:
    controlnet.train_probe(options.work)
    student = options.student
    for name in options.passes:
        runs.check_time()
        seconds = 60 * options.finishing_minutes
        workers.run(finishing.train, options.threads, options.work, seconds, student, name)
        student = name


def run_controlnet(options: argparse.Namespace) -> None:
    controlnet.train_probe(options.work)
    workers.run(controlnet.train, options.threads, options.work, 60 * options.controlnet_minutes, options.checkpoint)


def run_loras(options: argparse.Namespace) -> None:
    for name in LOOKS:
        loras.train(options.work, name, 60 * options.lora_minutes, options.checkpoint)


def run_evaluation(options: argparse.Namespace) -> None:
    folder = options.work / "sheets"
    folder.mkdir(exist_ok=True)
    parts = diffusion.load(options.work / options.checkpoint), vae.load(options.work), text.Captions(options.work)
    model = Model(*parts)
    if options.int8:
        int8.quantise_model(model, options.target)
    figures = evaluate(model, options.work, folder)
    figures["fresh_judge"], pictures = fresh_evaluation.measure(model)
    fresh_evaluation.draw_fresh(pictures, folder / "subjects.jpg")
    if not options.int8:  # LoRAs and ControlNets are loaded into float layers
        figures |= evaluate_live(model, options.work, folder, options.checkpoint)
    name = "evaluation-int8.json" if options.int8 else "evaluation.json"
    (folder / name).write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    for name, figure in figures.items():
        print(name, figure)


def run_int8(options: argparse.Namespace) -> None:
    found = int8.calibrate(options.target)
    for part, each in found.items():
        print(f"{part}: {len(each.ranges)} layers, tolerance {each.tolerance}")
    print(int8.compare(options.target, found))


def run_export(options: argparse.Namespace) -> None:
    print(f"{export(options.work, options.target, options.checkpoint)} bytes in {options.target}")


STEPS: dict[str, Callable[[argparse.Namespace], None]] = {
    "data": run_data,
    "vae": run_vae,
    "decoder": run_decoder,
    "autoencoder": run_autoencoder,
    "text": run_text,
    "latents": run_latents,
    "diffusion": run_diffusion,
    "reward": run_reward,
    "distillation": run_distillation,
    "finishing": run_finishing,
    "controlnet": run_controlnet,
    "loras": run_loras,
    "evaluation": run_evaluation,
    "export": run_export,
    "int8": run_int8,
}
MORE = {"adoption": run_adoption, "judge": run_judge}  # not part of `all`
ON_THE_CPU = ("adoption", "evaluation", "export", "int8", "judge")  # figures of different runs are then comparable


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("step", choices=[*STEPS, "all", *MORE])
    parser.add_argument("--work", type=Path, required=True, help="folder of images and checkpoints; every step resumes")
    parser.add_argument("--target", type=Path, default=TARGET, help="where to write the model folder")
    parser.add_argument(
        "--threads", type=int, default=2, help="worker processes with one thread each; threads of other steps"
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--minutes", type=float, default=math.inf,
                        help="stop after this time, with everything saved; the same command continues")
    parser.add_argument("--last", choices=tuple(STEPS), default=list(STEPS)[-1], help="where `all` ends")
    parser.add_argument("--batch", type=int, help="how many times as large batches are: 1, on cuda 16")
    parser.add_argument("--fresh", type=int, help="times six images painted again at each step: 0, on cuda 4")
    parser.add_argument("--no-compile", action="store_true", help="do not compile the denoiser")
    parser.add_argument("--shards", type=int, default=16, help="number of shards; each has 960 images")
    parser.add_argument("--vae-minutes", type=float, default=20)
    parser.add_argument("--decoder-minutes", type=float, default=20,
                        help="for the decoder alone, and again for both halves of the autoencoder")
    parser.add_argument("--held", type=float, default=0.0, help="weight of the distance from the old latents in the "
                        "step autoencoder; 0: the denoiser will be trained on new ones")
    parser.add_argument("--small-minutes", type=float, default=40, help="diffusion on half-size images")
    parser.add_argument("--whole-minutes", type=float, default=60, help="diffusion on full-size images")
    parser.add_argument("--distillation-minutes", type=float, default=30)
    parser.add_argument("--finishing-minutes", type=float, default=45, help="for each of the passes")
    parser.add_argument("--passes", nargs="+", choices=tuple(finishing.PASSES), default=tuple(finishing.PASSES))
    parser.add_argument("--controlnet-minutes", type=float, default=20)
    parser.add_argument("--lora-minutes", type=float, default=8, help="for each LoRA")
    parser.add_argument("--student", default="distillation.pt", help="checkpoint that the finishing starts from")
    parser.add_argument("--checkpoint", default="finishing.pt", help="checkpoint that the later steps use")
    parser.add_argument("--int8", action="store_true", help="evaluate the model as its int8.json quantises it")
    return parser.parse_args()


def settings(options: argparse.Namespace) -> runs.Run:
    """Return what all steps share. A card gets larger batches and images that are painted during the training."""
    card = options.device != "cpu"
    return runs.Run(
        device=options.device,
        ends=time.time() + 60 * options.minutes,
        batch=options.batch or (16 if card else 1),
        compiled=not options.no_compile,
        fresh=(4 if card else 0) if options.fresh is None else options.fresh,
    )


def every_step(last: str) -> list[str]:
    """Return the steps of `all`, up to and including the last one."""
    names = list(STEPS)
    return names[: names.index(last) + 1]


def run_step(step: str, options: argparse.Namespace, run: runs.Run) -> None:
    """Run one step on its device. Raise OutOfTimeError if the time is over before or after it."""
    runs.start(replace(run, device="cpu") if step in ON_THE_CPU else run)
    runs.check_time()
    print(f"step {step} on {runs.current().device}", flush=True)
    {**STEPS, **MORE}[step](options)
    runs.check_time()


def main() -> None:
    options = parse()
    options.work.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(options.threads)
    logging.getLogger("transformers").setLevel(logging.ERROR)
    run = settings(options)
    runs.stop_on_signals()
    for step in every_step(options.last) if options.step == "all" else [options.step]:
        try:
            run_step(step, options, run)
        except runs.OutOfTimeError:
            print(f"the time is over in step {step}; all is saved, and the same command continues", flush=True)
            return


if __name__ == "__main__":
    main()
