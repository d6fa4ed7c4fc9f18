"""Arguments of `bundle` and `unbundle`. Imports nothing of ours."""

from __future__ import annotations

import argparse
from typing import Any


def add_commands(commands: Any) -> None:
    """Add the commands. commands: What `ArgumentParser.add_subparsers` returns."""
    bundle = commands.add_parser(
        "bundle", help="pack a show, its files, its models and all packages into one file, for a machine without a "
        "network", epilog="The other machine needs the same system and the same version of Python, and nothing else: "
        "python3 FILE sets the show up there.")
    bundle.set_defaults(command=_bundle)
    bundle.add_argument("show", metavar="SHOW", help="a YAML file, or a name that `list shows` prints")
    bundle.add_argument("-o", "--output", default="", metavar="FILE", help="the file to write (SHOW.pyz)")
    unbundle = commands.add_parser("unbundle", help="set up the show of a bundle, without a network")
    unbundle.set_defaults(command=_unbundle)
    unbundle.add_argument("file", metavar="FILE", help="what `bundle` has written")
    unbundle.add_argument("folder", nargs="?", default="", metavar="DIR", help="the folder to make (the name of the "
                          "show, in this folder)")


def _bundle(options: argparse.Namespace) -> int:
    from lcm_daemon.commands.bundle.command import bundle

    return bundle(options.show, options.output)


def _unbundle(options: argparse.Namespace) -> int:
    from lcm_daemon.commands.bundle.unpack import unbundle

    return unbundle(options.file, options.folder)
