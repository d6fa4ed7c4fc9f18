"""The command line: `lcm-daemon run`, `check`, `list`, `schema`, `pull`, `prepare`, `doctor`, `bench`, and others.

This module parses arguments and hands them to a module of `lcm_daemon.commands`, which it imports only when the command
runs: help and errors are there at once.

Exit codes: 0 success; 1 `pull --offline` found a missing file, `prepare` could not compile a recipe, the daemon refused
what `send` sent, `health` found no daemon that plays, or the output cannot be written; 2 wrong arguments, a mistake in
a file, or a missing integration; 130 ended by Ctrl-C.
"""

from __future__ import annotations

import argparse
import gc
import io
import logging
import math
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from lcm_daemon import __version__
from lcm_daemon.commands import export_parser, unattended_parser
from lcm_daemon.commands.bundle import arguments as bundle_arguments
from lcm_daemon.commands.listing import LISTS, list_parameters
from lcm_daemon.core.errors import LcmDaemonError

DEFAULT_SHOW = "demo"
LOG_LEVELS = ("debug", "info", "warning", "error")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. Errors that the user can fix are printed without a traceback.

    arguments: the command line without the program's name; None takes that of the process.
    """
    if os.getpid() == 1:  # the first process of a container: Linux drops signals that it has no handler for
        signal.signal(signal.SIGTERM, lambda number, frame: os._exit(128 + number))  # `run` sets another one
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # None if it is closed
            stream.reconfigure(errors="backslashreplace")  # for characters that the terminal cannot show
    options = build_parser().parse_args(arguments)
    try:
        code: int = options.command(options)
        print(end="", flush=True)
        return code
    except LcmDaemonError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except OSError as error:
        if not _is_output_error(error):
            raise
        return 1


def _is_output_error(error: OSError) -> bool:
    """Return whether standard output cannot be written. If so, report it and discard all further output.

    A reader that closes the pipe early, such as `| head`, is not an error to report. Windows reports it as an invalid
    argument.
    """
    try:
        print(flush=True)
    except OSError:
        if not isinstance(error, BrokenPipeError) and sys.platform != "win32":
            print(f"standard output cannot be written: {error.strerror}", file=sys.stderr)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return True
    return False


# --- arguments ---


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands. Each parsed command has a function `command(options) -> exit code`."""
    parser = argparse.ArgumentParser(
        prog="lcm-daemon", description="Live textures in, repainted by a latent consistency model, live textures out."
    )
    parser.add_argument("--version", action="version", version=f"lcm-daemon {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    _add_run(commands.add_parser("run", help="play a show (without SHOW: the demo)"), serves=False)
    _add_run(commands.add_parser("serve", help="let visitors play a show from their phones, without sinks and without "
                                               "a picture of its own"), serves=True)

    check = commands.add_parser("check", help="check a show and print every mistake with its line and column")
    check.set_defaults(command=_check)
    _add_show(check)

    _add_list(commands.add_parser("list", help="list sources, displays, recipes, parameters, commands, "
                                           "transports, shows, prompts or keys"))

    schema = commands.add_parser("schema", help="print the JSON Schema of shows, for editors")
    schema.set_defaults(command=_schema)

    pull = commands.add_parser("pull", help="download the models that shows or recipes need")
    pull.set_defaults(command=_pull)
    _add_pull(pull)

    prepare = commands.add_parser("prepare", help="compile every recipe and size of a show ahead, on an idle card",
                                   epilog="Exit code: 0 if everything is compiled, 1 if something could not be.")
    prepare.set_defaults(command=_prepare)
    _add_show(prepare)

    unattended_parser.add_commands(commands)
    bundle_arguments.add_commands(commands)
    export_parser.add_commands(commands)

    _add_health(commands.add_parser("health", help="tell whether a running daemon plays: exit code 0 or 1"))

    pin = commands.add_parser("pin", help="print the hash of a pin, for network.access of a show")
    pin.set_defaults(command=_pin)

    bench = commands.add_parser("bench", help="measure the stage and the model of a recipe on this machine")
    bench.set_defaults(command=_bench)
    _add_bench(bench)

    _add_midi(commands.add_parser("midi", help="learn the MIDI mapping of a show, list the ports, or print messages"))

    send = commands.add_parser("send", help="send one OSC message to a running daemon, and print its answer")
    send.set_defaults(command=_send)
    _add_send(send)
    return parser


def _add_health(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(command=_health)
    parser.add_argument("--host", default="127.0.0.1", help="host of the daemon's panel (127.0.0.1)")
    parser.add_argument("--port", type=int, help="port of the daemon's panel (LCM_DAEMON__PANEL__PORT, or 8000)")


def _add_send(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("address", help="such as /lcm/strength")
    parser.add_argument("values", nargs="*", metavar="VALUE", help="text as it is typed where that is wanted, such as "
                        "a prompt or a cue's name; elsewhere numbers, true, false, or text")
    parser.add_argument("--host", default="127.0.0.1", help="host of the daemon (127.0.0.1)")
    parser.add_argument("--port", type=int, default=9000, help="OSC port of the daemon (9000)")


def _add_run(parser: argparse.ArgumentParser, serves: bool) -> None:
    parser.set_defaults(command=_run, serves=serves)
    _add_show(parser)
    parser.add_argument("--seconds", type=_seconds, metavar="N", help="end after N seconds")
    parser.add_argument("--watch", action="store_true", help="reload the show whenever its file changes")
    parser.add_argument("--open", action="store_true", help="open the show's page in your browser")
    parser.add_argument("-v", "--verbose", action="store_true", help="log debug messages of every module")
    parser.add_argument("--log", action="append", default=[], type=_log_level, metavar="LOGGER=LEVEL",
                        dest="log_levels", help="log level of one module, such as lcm_daemon.render=debug; may be "
                        "repeated. Levels: " + ", ".join(LOG_LEVELS))


def _add_list(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(command=_list)
    parser.add_argument("what", choices=tuple(LISTS))
    parser.add_argument("recipe", nargs="?", metavar="RECIPE", help="with `parameters`: include those of this recipe")
    parser.add_argument("--live", action="store_true", help="with `parameters`: ask a running daemon for its values "
                        "and for what set each of them last")
    parser.add_argument("--host", default="127.0.0.1", help="with --live: host of the daemon's panel (127.0.0.1)")
    parser.add_argument("--port", type=int, default=8000, help="with --live: port of the daemon's panel (8000)")


def _add_midi(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(required=True, metavar="learn|list|monitor")
    learn = commands.add_parser("learn", help="go through the parameters and write the mapping into the show")
    learn.set_defaults(command=_midi_learn)
    learn.add_argument("show", metavar="SHOW", help="a YAML file")
    ports = commands.add_parser("list", help="print the ports, and the numbers of devices of one name")
    ports.set_defaults(command=_midi_list)
    monitor = commands.add_parser("monitor", help="print every message of every device")
    monitor.set_defaults(command=_midi_monitor)
    for command in (ports, monitor):
        command.add_argument("--backend", default="auto", help="MIDI system, as in a show; "
                             "use jack without a sound card")


def _add_pull(pull: argparse.ArgumentParser) -> None:
    pull.add_argument("what", nargs="+", metavar="SHOW|RECIPE")
    pull.add_argument("--offline", action="store_true", help="download nothing; list missing and damaged files")
    pull.add_argument("--on-engines", action="store_true", help="on every node of the Ray clusters that a show names")


def _add_show(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("show", nargs="?", default=DEFAULT_SHOW, metavar="SHOW",
                        help="a YAML file, or a name that `list shows` prints")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides",
                        help="replace a value of the show, such as output.fps=60; may be repeated")


def _add_bench(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipe", nargs="?", default="builtin", metavar="RECIPE")
    parser.add_argument("--json", metavar="FILE", help="also write the figures to this file")
    parser.add_argument("--html", metavar="FILE", help="also write them to this file, as a page")
    parser.add_argument("--frames", type=int, default=60, metavar="N", help="frames to measure for each figure (60)")
    parser.add_argument("--steps", type=int, choices=range(1, 9), metavar="N", help="measure N steps only (1, 2 and 4)")
    parser.add_argument("--size", type=_size, metavar="WxH", help="render at this size instead of the recipe's")
    parser.add_argument("--accelerate", metavar="NAME", help="use this accelerator, or none, instead of the recipe's; "
                        "two in one process slow each other down")
    parser.add_argument("--random-weights", action="store_true",
                        help="use the model's architecture with random weights, without a download")
    parser.add_argument("--engines", type=int, choices=range(1, 65), metavar="N", help="measure 1, 2, 4, ... N engines "
                        "that take 50 ms a frame without a processor, and nothing else")


def _size(text: str) -> tuple[int, int]:
    """Read "512x384" as (512, 384)."""
    from lcm_daemon.core.render_size import RULE, is_render_size  # imports NumPy, which would delay every help text

    sides = [int(side) for side in text.split("x") if side.isdecimal()]
    if len(sides) != 2 or not is_render_size(*sides):
        raise argparse.ArgumentTypeError(f"{text!r} is not a size such as 512x384: {RULE}")
    return sides[0], sides[1]


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds such as 60")
    return seconds


def _log_level(text: str) -> tuple[str, int]:
    """Read "lcm_daemon.render=debug" as the logger's name and its level."""
    name, _, level = text.partition("=")
    if not name or level.lower() not in LOG_LEVELS:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not LOGGER=LEVEL, such as lcm_daemon.render=debug; levels are {', '.join(LOG_LEVELS)}")
    top, *parts = name.split(".")
    path = Path(__file__).parent.joinpath(*parts)
    if top == __package__ and not (path.is_dir() or path.with_suffix(".py").is_file()):
        raise argparse.ArgumentTypeError(f"no module {name!r}; loggers have the names of modules, such as "
                                         "lcm_daemon.render or lcm_daemon.controllers.osc.controller")
    return name, logging.getLevelNamesMapping()[level.upper()]


# --- commands ---


def _run(options: argparse.Namespace) -> int:
    from lcm_daemon.desk.spare_desk import start_desk_process

    gc.disable()  # a start leaves nothing to collect, and looking takes a tenth of its time; the stage turns it on
    interrupted = _note_interrupts()
    desk = start_desk_process()  # it imports on another core, while this process imports the stage
    try:
        from lcm_daemon.commands.run import SERVE, run

        overrides = [*(SERVE if options.serves else ()), *options.overrides]
        return run(options.show, overrides, options.seconds, options.verbose, dict(options.log_levels), desk,
                   options.watch, interrupted, options.open)
    except (RuntimeError, ImportError) as error:  # an import may turn Ctrl-C into one, as __set_name__ does in 3.11
        if interrupted:
            raise KeyboardInterrupt from error
        raise
    finally:
        desk.end_unused()


def _note_interrupts() -> list[int]:
    """Note each Ctrl-C, which also raises KeyboardInterrupt: a library that is being imported may catch that."""
    noted: list[int] = []

    def interrupt(number: int, frame: object) -> None:
        noted.append(number)
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, interrupt)
    return noted


def _check(options: argparse.Namespace) -> int:
    from lcm_daemon.commands.check import check

    return check(options.show, options.overrides)


def _list(options: argparse.Namespace) -> int:
    if options.live and (options.what != "parameters" or options.recipe):
        raise LcmDaemonError("--live goes with `list parameters` and without a recipe: the daemon knows what it plays")
    if options.live:
        from lcm_daemon.commands.list_live import list_live

        lines = list_live(options.host, options.port)
    elif options.what == "parameters":
        lines = list_parameters(options.recipe)
    else:
        lines = LISTS[options.what]()
    for line in lines:
        print(line)
    return 0


def _schema(options: argparse.Namespace) -> int:
    from lcm_daemon.commands.list_keys import show_schema

    print(show_schema())
    return 0


def _pull(options: argparse.Namespace) -> int:
    from lcm_daemon.commands.pull import pull

    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # ask the hub for files and send it nothing else
    if options.on_engines:
        from lcm_daemon.commands.engine_nodes import pull_on_engines

        return max(pull_on_engines(show, options.offline) for show in options.what)
    return pull(options.what, options.offline)


def _prepare(options: argparse.Namespace) -> int:
    from lcm_daemon.commands.prepare import prepare

    return prepare(options.show, options.overrides)


def _health(options: argparse.Namespace) -> int:
    from lcm_daemon.commands.health import health

    return health(options.host, options.port)


def _pin(options: argparse.Namespace) -> int:
    from lcm_daemon.commands.pin import print_hash

    return print_hash()


def _bench(options: argparse.Namespace) -> int:
    from lcm_daemon.commands.bench import bench, bench_engines, task_for
    from lcm_daemon.commands.bench_task import BENCH_SIZE, STEPS

    if options.engines:
        return bench_engines(options.engines, options.size or BENCH_SIZE, options.json)
    steps = (options.steps,) if options.steps else STEPS
    task = task_for(options.recipe, options.frames, steps, options.size, options.accelerate, options.random_weights)
    return bench(task, options.json, options.html)


def _midi_learn(options: argparse.Namespace) -> int:
    from lcm_daemon.commands.midi_learn import learn

    return learn(options.show)


def _midi_list(options: argparse.Namespace) -> int:
    from lcm_daemon.commands.midi_list import backend_opener, list_ports

    for line in list_ports(backend_opener(options.backend)):
        print(line)
    return 0


def _midi_monitor(options: argparse.Namespace) -> int:
    from lcm_daemon.commands.midi_monitor import monitor

    return monitor(options.backend)


def _send(options: argparse.Namespace) -> int:
    from lcm_daemon.commands.send import send_message

    return send_message(options.address, options.values, options.host, options.port)
