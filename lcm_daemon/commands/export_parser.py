"""Arguments of `lcm-daemon export`. Imports nothing of ours before the command runs."""

from __future__ import annotations

import argparse
from typing import Any

LIST = "list"  # in place of an export: print them
DEFAULT_SHOW = "demo"


def add_commands(commands: Any) -> None:
    """Add the command. commands: What `ArgumentParser.add_subparsers` returns."""
    parser = commands.add_parser(
        "export", help="write a file with which another program controls a show: TouchDesigner, TouchOSC, ...")
    parser.set_defaults(command=_export)
    parser.add_argument("what", metavar="WHAT", help="an export that `export list` prints, or list")
    parser.add_argument("show", nargs="?", default=DEFAULT_SHOW, metavar="SHOW",
                        help="a YAML file, or a name that `list shows` prints")
    parser.add_argument("-o", "--output", default="", metavar="FILE", help="where to write it; - is standard output "
                        "(in this folder, named after the show)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides",
                        help="replace a value of the show, such as osc.port=9100; may be repeated")


def _export(options: argparse.Namespace) -> int:
    from lcm_daemon.commands.export import export, list_exports

    if options.what == LIST:
        return list_exports()
    return export(options.what, options.show, options.overrides, options.output)
