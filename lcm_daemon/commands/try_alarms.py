"""`lcm-daemon alarms SHOW`: sends a trial to the receivers of a show's alarms, so that mistakes are found."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from lcm_daemon.commands.output import print_line
from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.shows.reader import load_show
from lcm_daemon.stage.alarm_policy import BEGINS, AlarmMessage
from lcm_daemon.stage.alarm_receivers import AlarmNotSent, OscReceiver, receivers_of

TRIAL = AlarmMessage("trial", "this is a trial, nothing is wrong", BEGINS, 0.0)


def try_alarms(name: str, overrides: Sequence[str] = ()) -> int:
    """Notify each receiver, and print a line about it. Return 1 if one could not be notified, else 0.

    Args:
        name: A show file, or the name of a packaged show.
        overrides: `KEY=VALUE` pairs that replace values of the show file.

    Raises:
        LcmDaemonError: The show has mistakes, or names no receiver.
    """
    show = load_show(name, overrides)
    options = show.unattended.alarms
    if options is None:
        raise LcmDaemonError(f"{show.file}: its section alarms names no receiver: osc, webhook or command")
    failed = 0
    for receiver in receivers_of(options):
        try:
            receiver.send(show.name, TRIAL)
        except AlarmNotSent as error:
            print(f"{receiver.name}: could not be notified: {error}", file=sys.stderr)
            failed += 1
        else:
            is_confirmed = not isinstance(receiver, OscReceiver)
            print_line(f"{receiver.name}: {'notified' if is_confirmed else 'sent; UDP does not confirm it'}")
    return 1 if failed else 0
