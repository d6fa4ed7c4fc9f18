"""How steady pictures are, and how late: `steady` beside `smooth` on four clips whose motion is known.

    python -m tests.measure.steadiness [RECIPE] [--prompt forest] [--clip FILE.webp]

Warp error: the mean difference between a picture and the one before it, which is moved along the true motion, in levels
of 255. Pixels that only one of them shows and the frame of the change do not count. Sharpness: the mean difference of
neighbouring pixels, as a share of that without either parameter.

Lag: each clip has a real change (a lamp lights up, a cut), and is also played without it. What the change does to the
plain pictures is the whole change; the lag is the sum of the shares of it that are still missing in each frame. For an
average with the share a of the last picture it is a / (1 - a) frames.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from lcm_daemon.core.frame import Pixels, solid
from lcm_daemon.pipelines.latent_consistency import LatentConsistency
from lcm_daemon.pipelines.optical_flow import warp
from lcm_daemon.recipes.reader import load_recipe
from tests.measure.clips import BEFORE, SIDE, Clip, clips

SIZE = (SIDE, SIDE)
SMOOTH = 0.2, 0.4, 0.6, 0.8
STEADY = 0.25, 0.5, 0.75, 1.0
FIRST = 2  # frames that do not count: the averages begin there
FEEDBACK, OTHER_PROMPT = 0.8, "lava"
COMPILE_TIMEOUT = 300.0  # seconds
WEBP_QUALITY, WEBP_DURATION = 55, 80  # of the clip; milliseconds a frame
PANELS = "input", "plain", "smooth 0.8", "steady 1"

Settings = Mapping[str, float | str]
Picture = NDArray[np.float32]  # (3, SIDE, SIDE), levels of 255


@dataclass(frozen=True)
class Played:
    """The pictures of one clip: with its change, and from the change on without it."""

    changed: Sequence[Picture]
    unchanged: Sequence[Picture]
    seconds: float  # a frame, the median


@dataclass(frozen=True)
class Figures:
    """Figures of one clip with one setting. difference: of consecutive pictures, in levels of 255."""

    warp_error: float
    lag: float
    sharpness: float
    difference: float

    def __str__(self) -> str:
        return f"{self.warp_error:.2f} / {self.lag:.2f} / {self.sharpness:.2f} / {self.difference:.2f}"


class Player:
    """Plays clips through one pipeline. accelerate: as of a recipe."""

    def __init__(self, recipe: str, prompt: str, accelerate: str) -> None:
        found = load_recipe(recipe)
        self._pipeline = LatentConsistency(replace(found, accelerate=accelerate or found.accelerate), SIZE)
        print(self._pipeline.load(lambda line: None), flush=True)
        self._pipeline.compiled(COMPILE_TIMEOUT)
        self._start = {**self._pipeline.recipe.start_values(), "prompt": prompt}

    def play(self, clip: Clip, settings: Settings, prompt: str = "") -> Played:
        """Play a clip in a session of its own, to the change once, and from there on both ways.

        prompt: The change is another prompt, and the input stays as it is without the clip's own change.
        """
        parts, times = self._pipeline.renderer.model.remembering, list[float]()
        begun = [self._render(frame, settings, times) for frame in clip.frames[:BEFORE]]
        with torch.inference_mode():
            saved = [part.save() for part in parts]
        unchanged = [self._render(frame, settings, times) for frame in clip.unchanged]
        with torch.inference_mode():
            for part, each in zip(parts, saved, strict=True):
                part.restore(each)
        frames = clip.frames[BEFORE:]
        if prompt:
            frames, settings = clip.unchanged, {**settings, "prompt": prompt}
        changed = [self._render(frame, settings, times) for frame in frames]
        self._pipeline.end_session("clip")
        return Played(begun + changed, unchanged, float(np.median(times)))

    def _render(self, frame: Pixels, settings: Settings, times: list[float]) -> Picture:
        out, begun = solid(SIZE), time.perf_counter()
        self._pipeline.render(frame, {**self._start, **settings}, out, session="clip")
        times.append(time.perf_counter() - begun)
        return out[..., :3].transpose(2, 0, 1).astype(np.float32)


def judge(clip: Clip, plain: Played, played: Played) -> Figures:
    """Judge what was played against the same clip with neither parameter."""
    counted = [i for i in range(FIRST, len(played.changed)) if i != BEFORE]
    return Figures(fmean(_warp_error(clip, played.changed, i) for i in counted), _lag(plain, played),
                   fmean(map(_detail, played.changed)) / fmean(map(_detail, plain.changed)),
                   fmean(_mean(played.changed[i] - played.changed[i - 1]) for i in counted))


def _warp_error(clip: Clip, pictures: Sequence[Picture], number: int) -> float:
    before, flow = torch.from_numpy(pictures[number - 1])[None], torch.from_numpy(clip.flows[number].copy())[None]
    moved = warp(before, flow, "bicubic")[0].numpy()
    return _mean((moved - pictures[number])[:, clip.visible[number]])


def _lag(plain: Played, played: Played) -> float:
    lag = 0.0
    for number, without in enumerate(plain.unchanged):
        whole = plain.changed[BEFORE + number] - without
        shown = played.changed[BEFORE + number] - played.unchanged[number]
        lag += 1.0 - float((shown * whole).sum() / (whole * whole).sum())
    return lag


def _detail(picture: Picture) -> float:
    return _mean(np.diff(picture, axis=2)) + _mean(np.diff(picture, axis=1))


def _mean(difference: NDArray[np.float32]) -> float:
    return float(np.abs(difference).mean())


def measure(player: Player, drawn: Sequence[Clip]) -> dict[str, dict[str, Played]]:
    """Play every clip with every setting: by name of the clip, by name of the setting."""
    settings: dict[str, Settings] = {"plain": {}}
    settings |= {f"smooth {amount:g}": {"smooth": amount} for amount in SMOOTH}
    settings |= {f"steady {amount:g}": {"steady": amount} for amount in STEADY}
    return {clip.name: {name: player.play(clip, each) for name, each in settings.items()} for clip in drawn}


def print_tables(drawn: Sequence[Clip], results: Mapping[str, Mapping[str, Played]]) -> bool:
    """Print all figures, and the comparison at equal lag. Returns whether `steady` has the lower warp error in all."""
    names = [clip.name for clip in drawn]
    figures = {clip.name: {name: judge(clip, results[clip.name]["plain"], played)
                           for name, played in results[clip.name].items()} for clip in drawn}
    print("\nwarp error / lag in frames / sharpness / difference of consecutive pictures\n")
    print(f"| | {' | '.join(names)} |\n|---|{'---|' * len(names)}")
    for setting in results[names[0]]:
        print(f"| {setting} | {' | '.join(str(figures[name][setting]) for name in names)} |")
    print("\nwarp error at equal lag: smooth / the best steady that lags no more\n")
    print(f"| | {' | '.join(names)} |\n|---|{'---|' * len(names)}")
    is_better = True
    for amount in SMOOTH:
        cells = []
        for name in names:
            smooth = figures[name][f"smooth {amount:g}"]
            equal = [f.warp_error for key, f in figures[name].items()
                     if key.startswith("steady") and f.lag <= smooth.lag]
            best = min(equal, default=float("inf"))
            is_better &= best < smooth.warp_error
            cells.append(f"{smooth.warp_error:.2f} / {best:.2f}")
        print(f"| smooth {amount:g} | {' | '.join(cells)} |")
    return is_better


def print_prompt(player: Player, shaken: Clip) -> None:
    """Print the lag behind another prompt, with the strongest of each setting."""
    plain = player.play(shaken, {}, OTHER_PROMPT)
    for name, amount in (("smooth", SMOOTH[-1]), ("steady", STEADY[-1])):
        lag = _lag(plain, player.play(shaken, {name: amount}, OTHER_PROMPT))
        print(f"{shaken.name}, another prompt, {name} {amount:g}: lag {lag:.2f}")


def print_feedback(player: Player, shaken: Clip) -> None:
    """Print what one pixel of shake does to feedback, with and without `steady`."""
    plain = player.play(shaken, {})
    for name, settings in (("neither", {}), (f"feedback {FEEDBACK}", {"feedback": FEEDBACK}),
                           (f"feedback {FEEDBACK}, steady 1", {"feedback": FEEDBACK, "steady": 1.0})):
        played = player.play(shaken, settings)
        found = judge(shaken, plain, played)
        print(f"{shaken.name}, {name}: warp error {found.warp_error:.2f}, difference {found.difference:.2f}, "
              f"{1000 * played.seconds:.0f} ms a frame")


def write_clip(path: Path, drawn: Sequence[Clip], results: Mapping[str, Mapping[str, Played]]) -> None:
    """Write an animated WebP: the shaking still above the turning object, in columns named by PANELS."""
    chosen = [clip for clip in drawn if clip.name in ("shaking still", "turning object")]
    images = []
    for number in range(FIRST, len(chosen[0].frames)):
        rows = [np.concatenate([clip.frames[number][..., :3], *(
            results[clip.name][panel].changed[number].transpose(1, 2, 0).astype(np.uint8) for panel in PANELS[1:])], 1)
            for clip in chosen]
        image = Image.fromarray(np.concatenate(rows))
        for place, panel in enumerate(PANELS):
            ImageDraw.Draw(image).text((place * SIDE + 6, 4), panel, fill="white", stroke_width=2, stroke_fill="black")
        images.append(image)
    images[0].save(path, save_all=True, append_images=images[1:], duration=WEBP_DURATION, loop=0,
                   quality=WEBP_QUALITY, method=4)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", nargs="?", default="builtin", help="a recipe (builtin)")
    parser.add_argument("--prompt", default="forest", help="the prompt (forest)")
    parser.add_argument("--accelerate", default="", help="another accelerator than the recipe's")
    parser.add_argument("--clip", type=Path, help="write an animated WebP here")
    arguments = parser.parse_args()
    player, drawn = Player(arguments.recipe, arguments.prompt, arguments.accelerate), clips()
    results = measure(player, drawn)
    is_better = print_tables(drawn, results)
    print()
    shaken = next(clip for clip in drawn if clip.name == "shaking still")
    print_feedback(player, shaken)
    print_prompt(player, shaken)
    if arguments.clip:
        write_clip(arguments.clip, drawn, results)
    print(f"steady has the lower warp error at equal lag: {'everywhere' if is_better else 'NOT everywhere'}")
    return 0 if is_better else 1


if __name__ == "__main__":
    raise SystemExit(main())
