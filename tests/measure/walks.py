"""Walks: the project files that a frame, an OSC value and a recipe change run through.

    python -m tests.measure.walks 320b698             one commit, or . for the working tree
    python -m tests.measure.walks 320b698 . --markdown

Each commit is exported to a temporary folder and run there as `python -m lcm_daemon run`. All three processes record
their calls with a profile hook (walks_recorder.py). A test card goes through a second, unrecorded daemon into shared
memory, so that the walk is from bus to bus. Files are those below lcm_daemon/; a file that two processes run counts
once. What a module does while it is imported does not count. A function is on a walk as follows.

Frame: in a steady window without controller input it is called in at least seven of ten rendered frames; calls within
    a twentieth of a second are one. A loop that runs through the whole window is on it by the calls it makes. So the
    tick's upkeep is counted too (it runs as often as a frame), what runs twice a second is not. The desk is listed,
    not counted: it gets previews, no frame.
OSC value: numbers are sent one by one, each only once. A function is on the walk if for at least half of them it
    - holds the number: as argument, local variable, return value, packet, or inside a list, mapping or dataclass, or
    - runs because of it (stage and desk): without holding it, and at least twice as often as in any steady window.
    Only what happens in the desk until the stage has the number counts, in the stage until the engine has it, and in
    the engine until a function gets the number alone as an argument: there it is used, and whatever gets it alone is
    counted too. The slower half of the numbers is left out: other work crosses those. The echo is another walk.
Recipe change: from the other recipe to --recipe, from the message until the new picture is faded in, done twice. In
    both the function is called at least once more than its time in steady play explains, and at least twice as often.
    Steady play is that of the old recipe and of the new one, at a full minute, and while no input comes, as happens
    on a busy machine. Files of pipelines/ load the model and are listed apart.

Acceleration and the spare engine are off, so that a machine without OpenVINO counts the same: --set accelerate=auto
and --set engine.spare=true switch them on.
"""

from __future__ import annotations

import argparse
import os
import signal
import struct
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from tests.measure.walks_daemon import ROLES, Daemon, MeasureError, Window
from tests.measure.walks_rules import Walk, change_walk, frame_walk, frames_of, message_walk

FPS = 15  # of source and output
LEAST_FPS = 4.0  # below, the frame rate is not far enough from the stage's status, twice a second
TRIES = 8  # windows until one has that rate
SIZE = 64  # pixels of the rendered picture's sides, so that a busy CPU still renders every input
SETTLE = 2.0  # seconds after a change before the next window
MESSAGE_PAUSE = 0.3  # seconds between two values
LOW, SPAN = 0.3137, 0.4  # of the values sent: none that a show has by itself


@dataclass(frozen=True)
class Measured:
    """What one commit showed."""

    commit: str
    fps: float
    walks: list[Walk]


def float32(number: float) -> float:
    """The nearest number that an OSC float carries exactly."""
    return float(struct.unpack(">f", struct.pack(">f", number))[0])


@contextmanager
def exported(commit: str, repository: Path) -> Iterator[Path]:
    """A folder with the files of a commit; the repository itself for "."."""
    if commit == ".":
        yield repository
        return
    archive = subprocess.run(["git", "archive", commit], cwd=repository, capture_output=True)
    if archive.returncode:
        raise MeasureError(archive.stderr.decode(errors="replace").strip())
    with tempfile.TemporaryDirectory(prefix="walks-") as folder:
        with tarfile.open(fileobj=BytesIO(archive.stdout)) as tar:
            tar.extractall(folder, filter="data")
        yield Path(folder).resolve()


def measure(commit: str, tree: Path, options: argparse.Namespace) -> Measured:
    bus, other = f"walks{os.getpid()}", "passthrough" if options.recipe != "passthrough" else "builtin"
    output = {"size": [2 * SIZE, 2 * SIZE], "fps": FPS}
    sender = {"recipe": "passthrough", "source": {"transport": "testcard"}, "engine": {"spare": False},
              "output": {"size": [320, 240], "fps": FPS}, "sinks": [{"transport": "memory", "name": f"{bus}a"}]}
    show: dict[str, Any] = {
        "recipe": other, "recipes": {"walked": {"base": options.recipe, "size": [SIZE, SIZE]}}, "accelerate": "none",
        "source": {"transport": "memory", "name": f"{bus}a"}, "sinks": [{"transport": "memory", "name": f"{bus}b"}],
        "output": {**output, "crossfade": 1.0}, "engine": {"deadline": 60, "spare": False}, "parameters": {"steps": 1},
        "resume": False,
    }
    with tempfile.TemporaryDirectory(prefix="walks-") as name:
        folder = Path(name)
        with Daemon(tree, folder / "sender", sender) as feed, Daemon(
            tree, folder / "walked", show, options.overrides, recorded=True
        ) as daemon:
            return _measure(commit, daemon, feed, other, options)


def _measure(commit: str, daemon: Daemon, feed: Daemon, other: str, options: argparse.Namespace) -> Measured:
    changes, steady = [], [_watch_silence(daemon, feed), _watch_full_minute(daemon)]
    for place in range(2):
        daemon.watch(SETTLE)
        if place == 0:
            steady.append(_watch(daemon, options.seconds))
        daemon.open_window()
        daemon.send("/lcm/recipe", "walked")
        daemon.wait_playing("walked")
        changes.append(daemon.open_window())
        daemon.watch(SETTLE)
        if place == 0:
            steady.append(_watch(daemon, options.seconds))
            daemon.send("/lcm/recipe", other)
            daemon.wait_playing(other)
    frames, fps = _watch_frames(daemon, options.seconds)
    time.sleep(options.seconds)
    values = [float32(LOW + SPAN * place / options.messages) for place in range(options.messages)]
    idle = daemon.open_window(values)
    sent = []
    for value in values:
        sent.append(time.monotonic())
        daemon.send(options.address, value)
        time.sleep(max(MESSAGE_PAUSE, 2.5 / fps))
    messages = daemon.open_window()
    if not any(report.functions for report in idle.of("stage")):
        raise MeasureError("the stage ran no file of this commit's lcm_daemon/")
    steady += [frames, idle]
    walks = [frame_walk(frames), message_walk(messages, steady, sent), change_walk(changes, steady)]
    return Measured(commit, fps, walks)


def _watch(daemon: Daemon, seconds: float) -> Window:
    """A steady window."""
    daemon.open_window()
    daemon.watch(seconds)
    return daemon.open_window()


def _watch_silence(daemon: Daemon, feed: Daemon) -> Window:
    """A window in which no input comes."""
    daemon.open_window()
    feed.process.send_signal(signal.SIGSTOP)
    try:
        daemon.watch(SETTLE)
    finally:
        feed.process.send_signal(signal.SIGCONT)
    return daemon.open_window()


def _watch_full_minute(daemon: Daemon) -> Window:
    """A short window around the next full minute of the wall clock, when the stage looks at its schedule."""
    time.sleep(max(0.0, 60.0 - time.time() % 60.0 - SETTLE / 2))
    return _watch(daemon, 2 * SETTLE)


def _watch_frames(daemon: Daemon, seconds: float) -> tuple[Window, float]:
    """A steady window with enough frames, and their rate; on a busy machine it may take a few tries."""
    for _ in range(TRIES):
        window = _watch(daemon, seconds)
        fps = frames_of(window) / window.seconds
        if fps >= LEAST_FPS:
            return window, fps
    raise MeasureError(f"{fps:.1f} rendered frames a second; {LEAST_FPS:g} are needed: the machine is too busy")


def show_lists(measured: Measured, options: argparse.Namespace) -> Iterator[str]:
    yield f"{measured.commit}: recipe {options.recipe}, {measured.fps:.1f} rendered frames a second"
    for walk in measured.walks:
        yield f"\n{walk.name}: {len(walk.all)} files ({walk.note})"
        for role in ROLES:
            files = [file for file in walk.files[role] if file not in walk.room]
            counted = "" if role in walk.counted else ", not counted"
            yield f"  {role} ({len(files)}{counted}): {' '.join(files)}"
        if walk.apart:
            yield f"  {walk.apart} ({len(walk.room)}, not counted): {' '.join(sorted(walk.room))}"
        else:
            yield f"  of which pipelines/: {sum(file.startswith('pipelines/') for file in walk.all)}"
        if options.chain:
            yield from (f"    {line}" for line in walk.chain())


def show_table(measured: Sequence[Measured], markdown: bool) -> Iterator[str]:
    if markdown:
        yield f"| walk, in files | {' | '.join(one.commit for one in measured)} |"
        yield f"|---|{'---|' * len(measured)}"
    for walks in zip(*(one.walks for one in measured), strict=True):
        counts = [str(len(walk.all)) for walk in walks]
        yield f"| {walks[0].name} | {' | '.join(counts)} |" if markdown else f"{walks[0].name}: {' -> '.join(counts)}"


def main() -> int:
    parser = argparse.ArgumentParser(description="Project files that a frame, an OSC value and a recipe change run.")
    parser.add_argument("commits", nargs="+", metavar="COMMIT", help="one or two commits, or . for the working tree")
    parser.add_argument("--repo", type=Path, default=Path.cwd(), metavar="FOLDER", help="the git checkout (.)")
    parser.add_argument("--recipe", default="builtin", help="the recipe that renders (builtin)")
    parser.add_argument("--address", default="/lcm/strength", help="where the values are sent (/lcm/strength)")
    parser.add_argument("--seconds", type=float, default=5.0, metavar="N", help="length of each steady window (5)")
    parser.add_argument("--messages", type=int, default=40, metavar="N", help="values sent (40)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides",
                        help="override a key of the show, as the daemon's own --set")
    parser.add_argument("--markdown", action="store_true", help="print the counts as a Markdown table")
    parser.add_argument("--chain", action="store_true", help="print every walk's functions in order of first call")
    options = parser.parse_args()
    if len(options.commits) > 2:
        parser.error("one or two commits")
    measured = []
    try:
        for commit in options.commits:
            with exported(commit, options.repo.resolve()) as tree:
                measured.append(measure(commit, tree, options))
            print("\n".join(show_lists(measured[-1], options)), end="\n\n", flush=True)
    except MeasureError as error:
        print(error, file=sys.stderr)
        return 1
    print("\n".join(show_table(measured, options.markdown)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
