"""Arguments of the commands for shows that are left alone: `service` and `doctor`. Imports nothing else of ours."""

from __future__ import annotations

import argparse
from typing import Any


def add_commands(commands: Any) -> None:
    """Add the commands. commands: What `ArgumentParser.add_subparsers` returns."""
    _add_doctor(commands.add_parser(
        "doctor", help="check this machine; with SHOW: also whether the show can open",
        epilog="Exit code: 0; with SHOW: 1 if the show is not ready to open."))
    _add_service(commands.add_parser("service", help="start a show with the machine"))


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


def _doctor(options: argparse.Namespace) -> int:
    from lcm_daemon.commands.doctor import doctor

    return doctor(options.show, options.overrides, not options.no_run)


def _service(options: argparse.Namespace) -> int:
    from lcm_daemon.commands.service.command import service

    return service(options)
