"""Arguments of the commands for shows that are left alone: `service`, `doctor`, `soak`, ... Imports nothing of ours."""

from __future__ import annotations

import argparse
import datetime
import signal
from typing import Any

MOST_DAYS = 3660
FIRST, LAST = datetime.date(1980, 1, 1), datetime.date(8000, 1, 1)  # within what Python and Windows can compute


def add_commands(commands: Any) -> None:
    """Add the commands. commands: What `ArgumentParser.add_subparsers` returns."""
    _add_doctor(commands.add_parser(
        "doctor", help="check this machine; with SHOW: also whether the show can open",
        epilog="Exit code: 0; with SHOW: 1 if the show is not ready to open."))
    _add_service(commands.add_parser("service", help="start a show with the machine"))
    _add_schedule(commands.add_parser("schedule", help="print what a show does by the time of day: opening hours, "
                                      "playlist, cues, recycling"))
    _add_alarms(commands.add_parser("alarms", help="send a trial alarm to everyone whom a show names in `alarms`",
                                    epilog="Exit code: 0 if all were notified, else 1."))
    _add_soak(commands.add_parser(
        "soak", help="play a copy of a show for hours, with faults if you like, and write a report",
        epilog="Exit code: 0 if everything was as expected, else 1."))


def add_show(parser: argparse.ArgumentParser) -> None:
    """Add the show that a command is about."""
    parser.add_argument("show", metavar="SHOW", help="a YAML file, or a name that `list shows` prints")


def add_overrides(parser: argparse.ArgumentParser) -> None:
    """Add `--set`, as `run` has it."""
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides",
                        help="replace a value of the show, such as output.fps=60; may be repeated")


def _add_doctor(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(command=_doctor)
    parser.add_argument("show", nargs="?", metavar="SHOW", help="also check what this show needs, read every byte of "
                        "its weights, and play a copy of it for ten seconds")
    parser.add_argument("--no-run", action="store_true", help="with SHOW: do not play the copy")
    add_overrides(parser)


def _add_service(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(required=True, metavar="install|status|uninstall", dest="action")
    for action, text in (("install", "install the service of a show and start it; again: bring it up to date"),
                         ("status", "tell whether a show is installed and plays: exit code 0 or 1"),
                         ("uninstall", "end the service of a show and remove it; the show's files stay")):
        one = actions.add_parser(action, help=text)
        one.set_defaults(command=_service, kiosk=False, dry_run=False, overrides=[], user="")
        add_show(one)
        one.add_argument("--system", action="store_true", help="start with the machine, before anyone has logged in; "
                         "needs an administrator")
        one.add_argument("--name", default="", help="name of the service, for two shows of one file name "
                         "(lcm-daemon-FILE)")
        if action != "status":
            one.add_argument("--dry-run", action="store_true", help="change nothing; print the files and commands")
        if action == "install":
            one.add_argument("--kiosk", action="store_true", help="also fill this machine's display with the picture, "
                             "in a browser")
            one.add_argument("--user", default="", metavar="NAME", help="with --system: the user that the show runs "
                             "as (the one who called sudo)")
            add_overrides(one)


def _add_schedule(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(command=_schedule)
    add_show(parser)
    parser.add_argument("--days", type=_days, default=7, metavar="N", help="how many days (7)")
    parser.add_argument("--from", type=_date, metavar="DATE", dest="first", help="the first day, such as 2026-12-24 "
                        "(today)")
    add_overrides(parser)


def _add_alarms(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(command=_alarms)
    add_show(parser)
    add_overrides(parser)


def _days(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MOST_DAYS:
        raise argparse.ArgumentTypeError(f"{text!r:.40} is not a number of days from 1 to {MOST_DAYS}")
    return int(text)


def _date(text: str) -> datetime.date:
    try:
        found = datetime.date.fromisoformat(text)
    except ValueError:
        found = datetime.date.min
    if not FIRST <= found <= LAST:
        raise argparse.ArgumentTypeError(f"{text!r:.40} is not a date such as 2026-12-24")
    return found


def _add_soak(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(command=_soak)
    add_show(parser)
    parser.add_argument("--hours", type=_hours, default=1.0, metavar="N", help="how long it plays (1); 0.25 is a "
                        "quarter of an hour")
    parser.add_argument("--faults", action="store_true", help="cause faults one after the other: processes that are "
                        "killed, sources that vanish, floods, full disks, clocks that are set")
    parser.add_argument("--only", action="append", default=[], metavar="FAULT", help="cause this fault only; may be "
                        "repeated")
    parser.add_argument("--report", default="soak.html", metavar="FILE", help="the report, a page (soak.html)")
    parser.add_argument("--transport", choices=("memory", "ndi"), default="memory", help="how frames go in and out "
                        "(memory)")
    parser.add_argument("--own-source", action="store_true", help="play the show's own source, and not test cards")
    add_overrides(parser)


def _hours(text: str) -> float:
    try:
        hours = float(text)
    except ValueError:
        hours = 0.0
    if not 0 < hours <= 24 * 366:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of hours such as 24")
    return hours


def _doctor(options: argparse.Namespace) -> int:
    from lcm_daemon.commands.doctor import doctor

    return doctor(options.show, options.overrides, not options.no_run)


def _alarms(options: argparse.Namespace) -> int:
    from lcm_daemon.commands.try_alarms import try_alarms

    return try_alarms(options.show, options.overrides)


def _schedule(options: argparse.Namespace) -> int:
    from lcm_daemon.commands.schedule import schedule

    return schedule(options.show, options.overrides, options.days, options.first)


def _service(options: argparse.Namespace) -> int:
    from lcm_daemon.commands.service.command import service

    return service(options)


def _soak(options: argparse.Namespace) -> int:
    from lcm_daemon.commands.soak.course import soak

    for number in (signal.SIGINT, signal.SIGTERM):  # each ends it early, with a report; a shell hides the first from
        signal.signal(number, signal.default_int_handler)  # what it starts in the background
    return soak(options.show, options.overrides, options.hours, options.faults, options.only, options.report,
                options.transport, options.own_source)
