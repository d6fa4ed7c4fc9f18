"""The commands of `lcm-daemon`.

Exit codes: 0 done, 1 `pull --offline` found something missing or what is printed cannot be written, 2 what was asked
for is wrong, 130 ended by Ctrl-C.
"""

from __future__ import annotations

import argparse
import io
import logging
import math
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType

from lcm_daemon import __version__
from lcm_daemon.core.errors import LcmDaemonError

DEMO = "demo"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; errors that a user can mend are printed as they are, without a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # None where it is closed
            stream.reconfigure(errors="backslashreplace")  # a word that this terminal has no letters for
    options = _parser().parse_args(arguments)
    try:
        code = _COMMANDS[options.command](options)
        print(end="", flush=True)
        return code
    except LcmDaemonError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except OSError as error:
        if not _is_unheard(error):
            raise
        return 1


def _is_unheard(error: OSError) -> bool:
    """Whether the error is that what we print cannot be written; then the rest goes nowhere.

    Who reads our lines may have enough, as `| head` does, and that is no fault. Windows calls that an invalid argument.
    """
    try:
        print(flush=True)
    except OSError:
        if not isinstance(error, BrokenPipeError) and sys.platform != "win32":
            print(f"what is printed cannot be written: {error.strerror}", file=sys.stderr)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return True
    return False


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lcm-daemon", description="Live textures in, repainted by a latent consistency model, live textures out."
    )
    parser.add_argument("--version", action="version", version=f"lcm-daemon {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    run = commands.add_parser("run", help="play a show (the demo if none is named)")
    _add_show(run)
    run.add_argument("--seconds", type=_seconds, metavar="N", help="end after N seconds")
    run.add_argument("-v", "--verbose", action="store_true", help="log more")

    _add_show(commands.add_parser("check", help="check a show and print every mistake with its place"))

    listing = commands.add_parser("list", help="print what there is")
    listing.add_argument("what", choices=tuple(_LISTS))
    listing.add_argument("recipe", nargs="?", metavar="RECIPE", help="with `parameters`: a recipe's own as well")
    listing.add_argument("--live", action="store_true", help="with `parameters`: those of a running daemon, their "
                         "values, and who set them last")
    listing.add_argument("--host", default="127.0.0.1", help="with --live: where the daemon's panel is")
    listing.add_argument("--port", type=int, default=8000, help="with --live: the panel's port (8000)")

    pull = commands.add_parser("pull", help="fetch the models that a show or a recipe needs, or prove that all is here")
    pull.add_argument("what", nargs="+", metavar="SHOW|RECIPE")
    pull.add_argument("--offline", action="store_true", help="fetch nothing; list what is missing or damaged")

    commands.add_parser("doctor", help="check every integration and device: works, or what is missing")

    _add_bench(commands.add_parser("bench", help="measure the stage and a recipe's model on this machine"))

    midi = commands.add_parser("midi", help="learn a show's MIDI mapping, or print what arrives")
    midi_commands = midi.add_subparsers(dest="midi_command", required=True, metavar="learn|monitor")
    learn = midi_commands.add_parser("learn", help="walk through the parameters and write the mapping into the show")
    learn.add_argument("show", metavar="SHOW", help="a YAML file")
    monitor = midi_commands.add_parser("monitor", help="print every message of every device")
    monitor.add_argument("--backend", default="auto", help="the MIDI system, as in a show; jack without a sound card")

    send = commands.add_parser("send", help="send one OSC message to a running daemon")
    send.add_argument("address", help="for example /lcm/strength")
    send.add_argument("values", nargs="*", metavar="VALUE", help="numbers, true, false, or text")
    send.add_argument("--host", default="127.0.0.1")
    send.add_argument("--port", type=int, default=9000)
    return parser


def _add_bench(bench: argparse.ArgumentParser) -> None:
    bench.add_argument("recipe", nargs="?", default="builtin", metavar="RECIPE")
    bench.add_argument("--json", metavar="FILE", help="write the figures there as well")
    bench.add_argument("--frames", type=int, default=60, metavar="N", help="frames to time for each figure (60)")
    bench.add_argument("--steps", type=int, choices=range(1, 9), metavar="N", help="with N steps alone (1, 2 and 4)")
    bench.add_argument("--size", type=_size, metavar="WxH", help="render at this size instead of the recipe's")
    bench.add_argument("--accelerate", metavar="NAME", help="with this accelerator, or none, instead of the recipe's: "
                       "two in one process slow each other")
    bench.add_argument("--random-weights", action="store_true", help="the model's architecture, without a download")


def _add_show(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("show", nargs="?", default=DEMO, metavar="SHOW", help="a YAML file, or a name of `list shows`")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides", help="override, as output.fps=60"
    )


def _run(options: argparse.Namespace) -> int:
    from lcm_daemon.core.paths import state_folder
    from lcm_daemon.processes.bootstrap import begin_logging, ending_signals
    from lcm_daemon.shows.reader import load_show
    from lcm_daemon.stage.resume_file import ResumeFile
    from lcm_daemon.stage.stage import Stage

    show = load_show(options.show, options.overrides)
    begin_logging(logging.DEBUG if options.verbose else logging.INFO)
    stage = Stage(show, resume_file=ResumeFile(Path(show.file), state_folder()) if show.resume else None)

    def end(number: int, frame: FrameType | None) -> None:
        if stage.stopping and number == signal.SIGINT:  # Ctrl-C once more: at once; others may come in pairs
            stage.kill()
            os._exit(130)
        stage.stop()

    for number in ending_signals():
        signal.signal(number, end)
    stage.run(options.seconds, opened=lambda: print(stage.describe(), flush=True))
    return 0


def _midi(options: argparse.Namespace) -> int:
    from lcm_daemon.commands import midi_learn

    return midi_learn.learn(options.show) if options.midi_command == "learn" else midi_learn.monitor(options.backend)


def _check(options: argparse.Namespace) -> int:
    from lcm_daemon.shows.reader import load_show

    show = load_show(options.show, options.overrides)
    print(f"{show.file}: in order\n{show.describe()}")
    return 0


def _list(options: argparse.Namespace) -> int:
    if options.live and (options.what != "parameters" or options.recipe):
        raise LcmDaemonError("--live goes with `list parameters` alone: they are those of the daemon that is running")
    for line in _list_live(options.host, options.port) if options.live else _LISTS[options.what](options.recipe):
        print(line)
    return 0


def _list_live(host: str, port: int) -> list[str]:
    from lcm_daemon.commands.list_live import list_live

    return list_live(host, port)


def _pull(options: argparse.Namespace) -> int:
    from lcm_daemon.commands.pull import run

    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # the hub is asked for files and for nothing else
    return run(options.what, options.offline, lambda line: print(line, flush=True))


def _doctor(options: argparse.Namespace) -> int:
    from lcm_daemon.commands.doctor import examine

    for line in examine():
        print(line, flush=True)
    return 0


def _bench(options: argparse.Namespace) -> int:
    from dataclasses import replace

    from lcm_daemon.commands.bench import STEPS, Task, bench
    from lcm_daemon.commands.pull import find_recipes
    from lcm_daemon.recipes.recipe import ACCELERATORS

    recipe = find_recipes(options.recipe)[0]
    where = recipe.name if recipe.name == options.recipe else str(Path(options.recipe).absolute())
    if options.accelerate not in (None, *ACCELERATORS):
        raise LcmDaemonError(f"no accelerator {options.accelerate!r}; there are {', '.join(ACCELERATORS)}")
    recipe = replace(recipe, size=options.size or recipe.size, accelerate=options.accelerate or recipe.accelerate)
    steps = (options.steps,) if options.steps else STEPS
    return bench(Task(recipe, options.frames, steps, options.random_weights, where), options.json)


def _size(text: str) -> tuple[int, int]:
    """ "512x384" as (512, 384), for argparse."""
    sides = [int(side) for side in text.split("x") if side.isdecimal()]
    if len(sides) != 2 or not all(64 <= side <= 2048 and side % 8 == 0 for side in sides):
        raise argparse.ArgumentTypeError("a size is from 64x64 to 2048x2048, in multiples of 8 pixels")
    return sides[0], sides[1]


def _seconds(text: str) -> float:
    """For argparse."""
    seconds = float(text)
    if not 0 <= seconds < math.inf:
        raise argparse.ArgumentTypeError("a number of seconds is wanted, such as 60")
    return seconds


def _send(options: argparse.Namespace) -> int:
    from lcm_daemon.controllers.osc.sender import send

    send(options.address, options.values, options.host, options.port)
    return 0


def _list_sources(recipe: str | None) -> list[str]:
    from lcm_daemon import transports

    lines = []
    for name in transports.TRANSPORTS:
        source = transports.load(name).source
        try:
            lines += [f"{name}: {found}" for found in source.discover(2.0)] if source else []
        except LcmDaemonError as error:
            lines.append(f"{name}: {error}")
    return lines or ["no sources found (testcard and file need none)"]


def _list_recipes(recipe: str | None) -> list[str]:
    from lcm_daemon.commands.list_live import tabulate
    from lcm_daemon.recipes.reader import load_recipe, recipe_names

    rows = [("NAME", "TITLE", "STEPS", "DOWNLOAD", "VRAM", "LICENCE")]
    for known in map(load_recipe, recipe_names()):
        steps = "-" if known.pipeline == "passthrough" else str(known.start()["steps"])
        rows.append((known.name, known.title, steps, known.download, known.vram, known.licence))
    return tabulate(rows)


def _list_parameters(recipe: str | None) -> list[str]:
    from lcm_daemon.commands.pull import find_recipes
    from lcm_daemon.core.parameter_table import TABLE

    table = find_recipes(recipe)[0].table() if recipe else TABLE
    return [parameter.describe() for parameter in table.values()]


def _list_transports(recipe: str | None) -> list[str]:
    from lcm_daemon import transports

    lines = []
    for name in transports.TRANSPORTS:
        transport = transports.load(name)
        for end, kind in (("source", transport.source), ("sink", transport.sink)):
            if kind:
                lines.append(f"{name} ({end})")
                lines += [f"    {key:10} {spec.kind.describe()}. {spec.help}" for key, spec in kind.fields.items()]
    return lines


def _list_prompts(recipe: str | None) -> list[str]:
    import yaml

    from lcm_daemon.recipes.reader import load_recipe

    file = Path(load_recipe("builtin").model) / "words.yaml"
    try:
        known = yaml.safe_load(file.read_text("utf-8"))
    except OSError as error:
        raise LcmDaemonError(f"{file}: cannot be read: {error.strerror}") from error
    lines = ["The words that the built-in model knows; any other does no harm."]
    for kind, words in known.items():
        lines += ["", kind, *(f"    {word:20} {meaning}" for word, meaning in words.items())]
    return lines


def _list_shows(recipe: str | None) -> list[str]:
    from lcm_daemon.shows.library import show_files

    return [path.stem for path in show_files()]


_LISTS: Mapping[str, Callable[[str | None], list[str]]] = {
    "sources": _list_sources,
    "recipes": _list_recipes,
    "parameters": _list_parameters,
    "transports": _list_transports,
    "shows": _list_shows,
    "prompts": _list_prompts,
}
_COMMANDS: Mapping[str, Callable[[argparse.Namespace], int]] = {
    "run": _run,
    "check": _check,
    "list": _list,
    "pull": _pull,
    "doctor": _doctor,
    "bench": _bench,
    "midi": _midi,
    "send": _send,
}
