"""Receivers of alarms: OSC, webhooks, a command. They take their time, and run on threads of their own."""

from __future__ import annotations

import http.client
import json
import os
import socket
import urllib.error
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Protocol
from urllib.parse import urlsplit

from lcm_daemon import __version__
from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.processes.program import ProgramFailed, run_program
from lcm_daemon.shows.alarm_options import AlarmOptions
from lcm_daemon.stage.alarm_policy import ENDS, LASTS, AlarmMessage

OSC_ADDRESS = "/lcm/alarm"
STEP_SECONDS, REQUEST_SECONDS = 10.0, 30.0  # for each step of a request to a webhook, and for all of them
COMMAND_SECONDS = 30.0  # after which a command is ended


class AlarmNotSent(LcmDaemonError):
    """A receiver could not be notified."""


class Receiver(Protocol):
    """One of those who are notified.

    Attributes:
        name: What the log calls it; without secrets.
    """

    name: str

    def send(self, show: str, message: AlarmMessage) -> None:
        """Notify it, and wait until that is done. show: Name of the show. Raises AlarmNotSent."""


def receivers_of(options: AlarmOptions) -> list[Receiver]:
    """All that a show names."""
    command: list[Receiver] = [CommandReceiver(options.command)] if options.command else []
    return [*(OscReceiver(*each) for each in options.osc), *map(WebhookReceiver, options.webhooks), *command]


def describe(show: str, message: AlarmMessage) -> str:
    """A message as one sentence: "mirror on gallery-pc: disk: 0.4 GB are left"."""
    where = f"{show} on {socket.gethostname()}: {message.cause}"
    if message.state == ENDS:
        return f"{where}: over ({message.text})"
    more = [f"for {message.seconds / 60:.0f} min already"] if message.state == LASTS else []
    more += [f"{message.times} times since the last message"] if message.times > 1 else []
    return f"{where}: {message.text}" + (f" ({', '.join(more)})" if more else "")


class OscReceiver:
    """Gets `/lcm/alarm cause text state` over UDP. host: Its name or address. port: Its UDP port."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port, self.name = host, port, f"osc {host}:{port}"

    def send(self, show: str, message: AlarmMessage) -> None:
        """UDP does not confirm the arrival."""
        from lcm_daemon.controllers.osc_protocol.encoder import encode  # few runs need it

        try:
            packet = encode(OSC_ADDRESS, (message.cause, message.text, message.state))
            found = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_DGRAM)
            # Most programs listen on IPv4 alone, and systems such as Debian 13 put ::1 of "localhost" first.
            family, kind, protocol, _, address = min(found, key=lambda each: each[0] != socket.AF_INET)
            with socket.socket(family, kind, protocol) as sender:
                sender.sendto(packet, address)
        except (OSError, ValueError, LcmDaemonError) as error:  # ValueError: no host has such a name
            raise AlarmNotSent(getattr(error, "strerror", "") or str(error)) from error


class WebhookReceiver:
    """Gets a POST request with JSON, whose `text` chat services show. url: Its address, which may hold a secret."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._url, self.name = url, f"webhook {parts.scheme}://{parts.hostname}"

    def send(self, show: str, message: AlarmMessage) -> None:
        """Any answer of 200 to 299 is good."""
        from lcm_daemon.stage.webhook import post  # few runs need it

        headers = {"Content-Type": "application/json", "User-Agent": f"lcm-daemon/{__version__}"}
        try:
            post(self._url, json.dumps(describe_json(show, message)).encode(), headers, STEP_SECONDS, REQUEST_SECONDS)
        except urllib.error.HTTPError as error:
            raise AlarmNotSent(f"the answer is {_describe_status(error.code)}") from error
        except http.client.HTTPException as error:
            raise AlarmNotSent("the answer is not HTTP") from error
        except (OSError, ValueError) as error:
            raise AlarmNotSent(str(getattr(error, "reason", "") or error)) from error


class CommandReceiver:
    """Starts a program, with the message in its environment and the sentence on its standard input.

    words: The program and its arguments.
    """

    def __init__(self, words: Sequence[str]) -> None:
        self._words, self.name = list(words), f"command {os.path.basename(words[0])}"

    def send(self, show: str, message: AlarmMessage) -> None:
        """Exit code 0 is good. A program that does not end is killed, with those that it has started."""
        try:
            run_program(self._words, describe_environment(show, message), COMMAND_SECONDS,
                        f"{describe(show, message)}\n")
        except ProgramFailed as error:
            raise AlarmNotSent(str(error)) from error


def _describe_status(code: int) -> str:
    """A status code with its standard phrase: the server's own may hold anything."""
    try:
        return f"{code} {HTTPStatus(code).phrase}"
    except ValueError:
        return str(code)


def describe_json(show: str, message: AlarmMessage) -> dict[str, Any]:
    """What a webhook gets."""
    return {"text": describe(show, message), "show": show, "host": socket.gethostname(), "cause": message.cause,
            "alarm": message.text, "state": message.state, "seconds": round(message.seconds, 1),
            "times": message.times, "version": __version__}


def describe_environment(show: str, message: AlarmMessage) -> Mapping[str, str]:
    """What a command gets."""
    return {"LCM_ALARM_SHOW": show, "LCM_ALARM_CAUSE": message.cause, "LCM_ALARM_TEXT": message.text,
            "LCM_ALARM_STATE": message.state, "LCM_ALARM_SECONDS": f"{message.seconds:.0f}",
            "LCM_ALARM_TIMES": str(message.times)}
