"""A network namespace for tests: only `lo`, no way out, and senders are found by name (mDNS).

    from tests.rigs.network import namespace

    with namespace() as net:                                  # skips, with the reason, where there can be none
        sender = net.popen([sys.executable, "peer.py", "a"])  # a command inside; `sender.kill()` is a kill -9 of it
        child = net.start(function, 1, "x")                   # function(pipe, 1, "x") in a new Python process inside
        child.pipe.send("go"); answer = child.receive(10.0)   # raises what the function raised, or when it ended
        child.kill(); child.stop()
        result = net.call(function, 1, "x", seconds=30.0)     # start, receive the first message, stop
        with net.inside():                                    # this thread's new sockets and threads are inside
            ...

`function` is defined at the top level of an importable module (a test module will do). At the end of the context every
process is stopped and the namespace removed. `discovery=False` does without dbus and avahi.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import itertools
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from tests.conftest import need

CLONE_NEWNET = 0x40000000  # linux/sched.h
BUS = "DBUS_SYSTEM_BUS_ADDRESS"
DBUS_CONFIGURATION = """\
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <listen>unix:path={folder}/bus</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/> <allow own="*"/> <allow send_destination="*"/> <allow receive_sender="*"/>
  </policy>
</busconfig>
"""
AVAHI_CONFIGURATION = """\
[server]
host-name=stage
use-ipv6=no
allow-interfaces=lo
[publish]
publish-workstation=no
"""
# Avahi's pid file has a fixed place: a private one lets several daemons run on one machine.
AVAHI = "mkdir -p /run/avahi-daemon && mount -t tmpfs none /run/avahi-daemon && exec avahi-daemon --no-drop-root \
--no-rlimits --no-chroot -f"

_numbers = itertools.count()
_spawn = multiprocessing.get_context("spawn")


class Child:
    """A Python process inside, and the pipe to it."""

    def __init__(self, process: Any, pipe: Connection) -> None:
        self.process, self.pipe = process, pipe

    @property
    def pid(self) -> int:
        return int(self.process.pid)

    def receive(self, seconds: float) -> Any:
        """Return the function's next message; AssertionError with its traceback if it failed instead."""
        if not self.pipe.poll(seconds):
            os.kill(self.pid, signal.SIGUSR1)  # it prints its stacks; one that has not started yet ends
            self.process.join(1)
            raise AssertionError(f"the child sent nothing for {seconds} s (exit code {self.process.exitcode})")
        try:
            message = self.pipe.recv()
        except EOFError:
            raise AssertionError("the child has ended") from None
        assert not isinstance(message, _Failure), str(message)
        return message

    def kill(self) -> None:
        """kill -9, and wait for the end."""
        self.process.kill()
        self.process.join(10)

    def stop(self) -> None:
        """Close the pipe, which ends the child; kill it if it does not end."""
        self.pipe.close()
        self.process.join(3)
        self.kill()


class _Failure(str):
    """A traceback, as a child sends it."""


class Network:
    """A namespace and what runs in it."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.folder = name, folder
        self.environment: dict[str, str] = {}
        self._ending = contextlib.ExitStack()

    def popen(self, command: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
        """Run a command inside; `options` as for subprocess.Popen."""
        environment = {**(options.pop("env", None) or os.environ), **self.environment}
        process = subprocess.Popen(["ip", "netns", "exec", self.name, *command], env=environment, **options)
        self._ending.callback(_end, process)
        return process

    def start(self, function: Callable[..., Any], *arguments: Any) -> Child:
        """Run function(pipe, *arguments) in a new Python process inside."""
        ours, theirs = _spawn.Pipe()
        process = _spawn.Process(target=_run, args=(self.name, self.environment, theirs, function, arguments))
        process.start()
        theirs.close()
        child = Child(process, ours)
        self._ending.callback(child.kill)
        return child

    def call(self, function: Callable[..., Any], *arguments: Any, seconds: float = 60.0) -> Any:
        """Run function(pipe, *arguments) inside and return its first message."""
        child = self.start(function, *arguments)
        try:
            return child.receive(seconds)
        finally:
            child.stop()

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """Move this thread inside, for libraries that are used in the tests' own process.

        A library reads the bus's address once: in one process, enter one namespace only.
        """
        os.environ.update(self.environment)
        with open("/proc/thread-self/ns/net", "rb") as home:
            _enter(self.name)
            try:
                yield
            finally:
                _set_namespace(home.fileno())

    def add_network(self, interface: str, *addresses: str) -> None:
        """Connect another network that nothing else is on; addresses as in "10.77.0.1/24"."""
        far_end = f"{interface}-far"
        _ip("-n", self.name, "link", "add", interface, "type", "veth", "peer", "name", far_end)
        for end in (interface, far_end):
            _ip("-n", self.name, "link", "set", end, "up")
        for address in addresses:
            _ip("-n", self.name, "address", "add", address, "dev", interface, *(["nodad"] if ":" in address else []))

    def discover(self) -> None:
        """Start a private dbus and avahi."""
        bus, avahi = self.folder / "dbus.conf", self.folder / "avahi.conf"
        bus.write_text(DBUS_CONFIGURATION.format(folder=self.folder))
        avahi.write_text(AVAHI_CONFIGURATION)
        self.environment[BUS] = f"unix:path={self.folder}/bus"
        with open(self.folder / "log", "wb") as log:
            self.popen(["dbus-daemon", "--nofork", f"--config-file={bus}"], stdout=log, stderr=log)
            _wait(lambda: (self.folder / "bus").exists(), self._said)
            self.popen(["sh", "-c", f"{AVAHI} {avahi}"], stdout=log, stderr=log)
        _wait(lambda: "New relevant interface lo" in self._said(), self._said)

    def _said(self) -> str:
        return (self.folder / "log").read_text()

    def close(self) -> None:
        self._ending.close()


@contextlib.contextmanager
def namespace(discovery: bool = True) -> Iterator[Network]:
    """A new namespace whose `lo` is up; with `discovery`, mDNS works in it."""
    reason = missing(discovery)
    need(not reason, reason)
    name = f"lcm-test-{os.getpid()}-{next(_numbers)}"
    _ip("netns", "add", name)
    with tempfile.TemporaryDirectory(prefix="lcm-net-") as folder:
        net = Network(name, Path(folder))
        try:
            for words in ("link set lo up", "link set lo multicast on", "route add 224.0.0.0/4 dev lo"):
                _ip("-n", name, *words.split())
            if discovery:
                net.discover()
            yield net
        finally:
            net.close()
            _ip("netns", "delete", name)


def missing(discovery: bool = True) -> str:
    """Reason why this system cannot make a namespace, or an empty string."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "a network namespace needs Linux and root"
    tools = ("ip", "sh", "mount", "dbus-daemon", "avahi-daemon") if discovery else ("ip",)
    absent = [tool for tool in tools if not shutil.which(tool)]
    if absent:
        return f"a network namespace needs {', '.join(absent)} (apt install iproute2 dbus avahi-daemon)"
    trial = f"lcm-test-{os.getpid()}-trial"
    made = subprocess.run(["ip", "netns", "add", trial], capture_output=True, text=True, check=False)
    if made.returncode == 0:
        _ip("netns", "delete", trial)
    return made.stderr.strip()


def _run(
    name: str, environment: dict[str, str], pipe: Connection, function: Callable[..., Any], arguments: tuple[Any, ...]
) -> None:
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    os.environ.update(environment)
    try:
        _enter(name)
        function(pipe, *arguments)
    except (EOFError, BrokenPipeError):
        pass  # the other side closed the pipe: this is how a child is stopped
    except BaseException:  # noqa: BLE001 - the test on the other side shows it
        with contextlib.suppress(OSError):
            pipe.send(_Failure(traceback.format_exc()))


def _enter(name: str) -> None:
    with open(f"/run/netns/{name}", "rb") as there:
        _set_namespace(there.fileno())


def _set_namespace(descriptor: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


def _wait(true: Callable[[], bool], said: Callable[[], str]) -> None:
    until = time.perf_counter() + 10
    while not true():
        assert time.perf_counter() < until, f"dbus or avahi does not start: {said()}"
        time.sleep(0.01)


def _end(process: subprocess.Popen[Any]) -> None:
    process.kill()
    process.wait(10)
