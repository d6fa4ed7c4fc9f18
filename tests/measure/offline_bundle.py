"""A bundle from its making to its first rendered picture, in a network that has no way out: times, sizes, requests.

    python -m tests.measure.offline_bundle [SHOW] [--python FILE] [--keep FOLDER] [--trace]

Needs root (a network namespace). --trace lists every address that a process connects to or sends to, by strace, which
makes it several times as slow.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

from tests.rigs.network import Network, namespace

ADDRESS = re.compile(r'sin6?_port=htons\((\d+)\), (?:sin_addr=inet_addr\("([^"]+)"\)|'
                     r'.*?inet_pton\(AF_INET6, "([^"]+)")')
HEALTH = ("import json, urllib.request as r; "
          "print(json.dumps(json.load(r.urlopen('http://127.0.0.1:8000/health', timeout=2))['status']))")
MOST_SECONDS = 120.0  # from the start of the show to its first rendered picture


def traced(log: Path | None, command: Sequence[str]) -> list[str]:
    """The command, watched by strace if there is a log for it."""
    if log is None:
        return list(command)
    return ["strace", "-f", "-qq", "-e", "trace=connect,sendto,sendmsg,sendmmsg", "-o", str(log), *command]


def addresses(log: Path) -> list[str]:
    """Every address outside of this machine in a log of strace."""
    text = log.read_text(errors="replace")
    found = {f"{v4 or v6}:{port}" for port, v4, v6 in ADDRESS.findall(text)}
    return sorted(each for each in found if not each.startswith(("127.", "::1")))


def first_picture(net: Network, folder: Path, started: float) -> tuple[float, dict[str, object]]:
    """Ask the show until it has rendered. Returns seconds since `started`, and its status."""
    while time.perf_counter() - started < MOST_SECONDS:
        asked = net.popen([sys.executable, "-c", HEALTH], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        answer = asked.communicate()[0]
        status = json.loads(answer) if answer.strip() else {}
        if (status.get("fps") or 0) > 0:
            return time.perf_counter() - started, status
        time.sleep(0.2)
    raise SystemExit(f"nothing is rendered: {(folder / 'run.log').read_text()[-3000:]}")


def size_of(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*"))


def measure(show: str, python: str, folder: Path, traces: bool) -> None:
    logs = {name: folder / f"{name}.strace" if traces else None for name in ("unbundle", "run")}
    bundle, there = folder / "show.pyz", folder / "there"
    started = time.perf_counter()
    subprocess.run([sys.executable, "-P", "-m", "lcm_daemon", "bundle", show, "-o", str(bundle)], check=True)
    print(f"bundle: {time.perf_counter() - started:.0f} s, {bundle.stat().st_size / 1e6:.0f} MB", flush=True)
    plain = {"HOME": str(folder), "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}
    with namespace(discovery=False) as net:
        started = time.perf_counter()
        made = net.popen(traced(logs["unbundle"], [python, str(bundle), str(there)]), env=plain)
        if made.wait():
            raise SystemExit("it cannot be set up")
        print(f"unbundle: {time.perf_counter() - started:.0f} s, {size_of(there) / 1e6:.0f} MB on the disk", flush=True)
        with (folder / "run.log").open("wb") as log:
            started = time.perf_counter()
            run = net.popen(traced(logs["run"], [str(there / "run")]), env=plain, stdout=log, stderr=log)
            seconds, status = first_picture(net, folder, started)
        print(f"first rendered picture after {seconds:.1f} s: engine {status['engine']}, {status['fps']} pictures a "
              f"second, output {status['output_fps']}", flush=True)
        own = psutil.Process(run.pid).children() if traces else [run]  # strace would leave the show behind
        for process in own:
            process.terminate()
        run.wait(60)
    for name, traced_to in logs.items():
        if traced_to is not None:
            print(f"{name}: addresses outside of this machine: {addresses(traced_to) or 'none'}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("show", nargs="?", default="demo")
    parser.add_argument("--python", default=os.path.join(sys.base_prefix, "bin", "python3"))
    parser.add_argument("--keep", help="a folder that is not removed")
    parser.add_argument("--trace", action="store_true")
    options = parser.parse_args()
    if options.keep:
        Path(options.keep).mkdir(parents=True, exist_ok=True)
        measure(options.show, options.python, Path(options.keep).resolve(), options.trace)
        return
    with tempfile.TemporaryDirectory(prefix="offline-bundle-") as folder:
        measure(options.show, options.python, Path(folder), options.trace)


if __name__ == "__main__":
    main()
