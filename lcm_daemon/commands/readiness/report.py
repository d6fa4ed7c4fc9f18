"""The report of `lcm-daemon doctor SHOW`: whether a show can open on this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from lcm_daemon.commands.engine_nodes import examine_nodes
from lcm_daemon.commands.output import PrintLine
from lcm_daemon.commands.panel_answer import NoEntryError, read_health
from lcm_daemon.commands.readiness import machine, parts
from lcm_daemon.commands.readiness.audio import audio_device
from lcm_daemon.commands.readiness.finding import FAULT, NOTE, OK, Finding, verdict
from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.shows.reader import inspect_show
from lcm_daemon.shows.show import Show
from lcm_daemon.transports.ndi_discovery import use_servers

HOST = "127.0.0.1"

Section = tuple[str, Callable[[], Iterable[Finding]]]


def examine_show(name: str, overrides: Sequence[str], plays: bool, print_line: PrintLine) -> int:
    """Print the report on a show as it comes. Returns the exit code: 0 if the show is ready to open, else 1.

    Args:
        name: Its file or name.
        overrides: Values that replace those of the show.
        plays: Whether a copy of it is played.
        print_line: Receives the output.

    Raises:
        LcmDaemonError: The show cannot be read.
    """
    reading = inspect_show(name, overrides)
    findings = list(_print("show", parts.mistakes(reading), print_line))
    show = reading.show
    if show is not None and not any(one.grade == FAULT for one in findings):
        for title, find in sections(show, overrides, plays, print_line, findings):
            findings += _print(title, find(), print_line)
    print_line(f"\n{verdict(show.name if show else name, findings)}")
    return 1 if any(one.grade == FAULT for one in findings) else 0


def _print(title: str, found: Iterable[Finding], print_line: PrintLine) -> Iterator[Finding]:
    print_line(f"\n{title}")
    for one in found:
        print_line(str(one))
        yield one


def sections(
    show: Show, overrides: Sequence[str], plays: bool, print_line: PrintLine, before: Sequence[Finding]
) -> Iterator[Section]:
    """The parts of the report, each with what finds it out, in an order in which quick ones come first.

    before: What was found so far, which grows while the parts are used.
    """
    playing = plays_now(show)
    use_servers(show.network.ndi_discovery)
    yield "machine", lambda: (*machine.clock(), *machine.memory(show), *machine.real_time(show),
                              *machine.driver(show))
    yield "disks", lambda: machine.disks(show)
    yield "ports", lambda: machine.ports(show, playing is not None)
    yield "outputs", lambda: (*machine.ndi_servers(show), *parts.sinks(show), *parts.programs(show))
    if any(group.ray for group in show.engines):
        yield "nodes", lambda: nodes(show)
    yield "weights", lambda: parts.weights(show)
    if playing is not None:
        yield "the running show", lambda: running(show, playing)
        return
    yield "sources in sight", lambda: (*parts.sources(show), *audio_device(show))
    if plays and any(one.grade == FAULT and one.subject == parts.subject_of(show.recipe) for one in before):
        yield "a copy", lambda: [Finding("dry run", f"not played: the files of {show.recipe.name} are not here", NOTE)]
    elif plays:
        from lcm_daemon.commands.readiness.dry_run import SECONDS, dry_run

        yield f"{SECONDS:.0f} seconds of a copy, without the internet", lambda: dry_run(
            show, overrides, on_load=lambda text: print_line(f"  ...      {'engine':16} {text}"))


def nodes(show: Show) -> Iterator[Finding]:
    """The nodes of the Ray clusters that the show's engines are on."""
    for name, works, text in examine_nodes(show.file):
        yield Finding(name, text, OK if works else FAULT)


def plays_now(show: Show) -> dict[str, object] | None:
    """The status of this show if it plays on this machine now; None if it does not."""
    panel = show.controllers["panel"]
    if panel is None or not panel["port"]:
        return None
    try:
        status = read_health(HOST, panel["port"])["status"]
    except NoEntryError:
        return {}
    except LcmDaemonError:
        return None
    return status if status.get("show") == show.name else None


def running(show: Show, status: dict[str, object]) -> Iterator[Finding]:
    """What the running show says of itself: a copy beside it would take its camera and its card."""
    if not status:
        yield Finding("status", "a daemon answers at the show's port, and tells its status only with the pin", NOTE)
        return
    yield Finding("output", f"{status.get('output_fps')} of {show.fps:g} frames a second")
    yield Finding("rendered", f"{status.get('fps')} pictures a second, engine {status.get('engine')}",
                  OK if status.get("engine") == "rendering" else FAULT)
    yield Finding("source", str(status.get("source")), NOTE if status.get("no_input") else OK)
    if status.get("alarm"):
        yield Finding("alarm", str(status["alarm"]), FAULT)
