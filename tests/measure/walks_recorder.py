"""Recorder of project calls, for `tests.measure.walks`. Standard library only.

A copy of this file, named sitecustomize.py, lies in a folder on PYTHONPATH: Python then imports it first in every
process of the daemon. With WALKS_FOLDER in the environment it records which functions below WALKS_ROOT are called.

The file `order` in that folder says which window is open: {"number": 3, "values": [0.3141...]}. When the number
changes, the process writes what it has counted to PID.NUMBER.json and starts the next window from zero. `values` are
the numbers to look for in arguments, local variables and return values.

Not counted: module and class bodies, and whatever they call while a module is being imported.
"""

from __future__ import annotations

import _thread
import json
import os
import struct
import sys
import threading
import time
from collections import deque
from types import CodeType, FrameType, MappingProxyType
from typing import Any

POLL = 0.01  # seconds between two looks at the order
SLOTS = 20  # a second: time is cut into slots, to tell one burst of many calls from calls in every frame
OPTIMIZED = 1  # code flag that functions have, and module and class bodies have not
RESUMED = 0x20 | 0x80 | 0x200  # code flags of generators and coroutines: each resumption is a call event
IMPORTER = "<frozen importlib._bootstrap>"
DEPTH = 8  # containers inside containers that are searched
ROOM = 500  # items searched for one call at most
PLAIN = frozenset({int, str, bool, type(None), CodeType, FrameType})  # what contains nothing, and is common
PACKET = 2000  # bytes: longer blocks are pixels


class Function:
    """One function in one window.

    made: calls of project functions that it made directly.   slots: in how many slots it was called or made one.
    """

    __slots__ = ("calls", "code", "first", "last", "made", "slots")

    def __init__(self, code: CodeType) -> None:
        self.code, self.calls, self.made, self.first = code, 0, 0, time.monotonic()
        self.slots, self.last = 0, -1

    def note(self, calls: int, made: int) -> None:
        slot = int(time.monotonic() * SLOTS)
        self.slots, self.last = self.slots + (slot != self.last), slot
        self.calls, self.made = self.calls + calls, self.made + made


class Window:
    """What is counted between two orders. Functions are keyed by the id of their code: equal code is not one file."""

    def __init__(self, number: int, values: list[float]) -> None:
        self.number = number
        self.functions: dict[int, Function] = {}
        self.values = {value: place for place, value in enumerate(values)}
        self.packets = {struct.pack(">f", value): place for place, value in enumerate(values)}
        self.holds: dict[tuple[int, int], float] = {}  # (code id, place of the value) -> first time
        self.alone: dict[tuple[int, int], float] = {}  # the same for calls with the value itself as an argument
        self.events: list[tuple[float, int]] = []  # (time, code id) of every call, where there are values

    def function(self, code: CodeType) -> Function:
        found = self.functions.get(id(code))
        return found or self.functions.setdefault(id(code), Function(code))

    def find(self, item: Any, depth: int, room: list[int]) -> int | None:
        """The place of a value that `item` is or contains; None if there is none."""
        kind = type(item)
        if kind is float:
            return self.values.get(item)
        if kind in PLAIN:
            return None
        room[0] -= 1
        if isinstance(item, bytes | bytearray):
            return self._find_packet(item) if len(item) <= PACKET else None
        if depth == 0 or room[0] <= 0:
            return None
        for part in _parts(item):
            if (place := self.find(part, depth - 1, room)) is not None:
                return place
        return None

    def _find_packet(self, item: bytes | bytearray) -> int | None:
        return next((place for packet, place in self.packets.items() if packet in item), None)

    def report(self, root: str) -> dict[str, Any]:
        functions = list(self.functions.items())
        places = {key: place for place, (key, _) in enumerate(functions)}
        return {
            "functions": [(f.code.co_filename[len(root):], f.code.co_qualname, f.calls, f.made, f.slots, f.first)
                          for _, f in functions],
            "holds": [(places[key], place, when) for (key, place), when in list(self.holds.items())],
            "alone": [(places[key], place, when) for (key, place), when in list(self.alone.items())],
            "events": [(when, places[key]) for when, key in list(self.events)],
        }


def _parts(item: Any) -> list[Any]:
    """What a container or a dataclass instance contains; of any other object nothing is searched."""
    if isinstance(item, dict | MappingProxyType):
        return list(item.values())
    if isinstance(item, list | tuple | deque | set | frozenset):
        return list(item)
    return [getattr(item, name, None) for name in getattr(type(item), "__dataclass_fields__", ())]


class Recorder:
    """Counts through the profile hook of every thread; a thread of its own, without the hook, follows the orders."""

    def __init__(self, folder: str, root: str) -> None:
        self.folder, self.root = folder, root
        self.window = self._next_window("")[1] or Window(0, [])

    def start(self) -> None:
        with open(os.path.join(self.folder, f"{os.getpid()}.begun"), "w"):
            pass
        _thread.start_new_thread(self._follow, ())
        threading.setprofile(self.profile)
        sys.setprofile(self.profile)

    def profile(self, frame: FrameType, event: str, argument: Any) -> None:
        if event != "call" and (event != "return" or not self.window.values):
            return
        code = frame.f_code
        if not code.co_filename.startswith(self.root) or not code.co_flags & OPTIMIZED or _is_importing(frame):
            return
        window, caller = self.window, self._caller(frame)
        if event == "call":
            window.function(code).note(1, 0)
            if caller is not None:
                window.function(caller).note(0, 1)
        if window.values:
            self._search(window, frame, event, argument, caller)

    def _caller(self, frame: FrameType) -> CodeType | None:
        """The function of the project that called directly, if there is one."""
        code = frame.f_back.f_code if frame.f_back is not None else None
        ours = code is not None and code.co_filename.startswith(self.root) and code.co_flags & OPTIMIZED
        return code if ours else None

    def _search(self, window: Window, frame: FrameType, event: str, argument: Any, caller: CodeType | None) -> None:
        """Note whether the call is handed one of the values, or the return gives one or leaves one in a local."""
        now, code, given = time.monotonic(), frame.f_code, frame.f_locals
        if event == "call":
            window.events.append((now, id(code)))
            for value in () if code.co_flags & RESUMED else given.values():
                if type(value) is float and value in window.values:
                    window.alone.setdefault((id(code), window.values[value]), now)
            self._note(window, given, code, caller, now)
        else:
            self._note(window, given, code, None, now)
            self._note(window, {"": argument}, code, caller, now)

    def _note(self, window: Window, items: dict[str, Any], code: CodeType, caller: CodeType | None, now: float) -> None:
        searched = [item for name, item in items.items() if type(item) not in PLAIN and name != "self"]
        try:
            place = window.find(searched, DEPTH, [ROOM]) if searched else None
        except RuntimeError:  # another thread changed a container during the search
            return
        if place is None:
            return
        for holder in (code, caller):
            if holder is not None:
                window.function(holder)
                window.holds.setdefault((id(holder), place), now)

    def _follow(self) -> None:
        text = ""
        while True:
            time.sleep(POLL)
            text, window = self._next_window(text)
            if window is not None and window.number != self.window.number:
                closed, self.window = self.window, window
                time.sleep(POLL)  # a call that is being counted gets its time
                self._write(closed)

    def _next_window(self, text: str) -> tuple[str, Window | None]:
        """The text of the order, and the window it asks for if it is another order than `text`."""
        try:
            with open(os.path.join(self.folder, "order")) as file:
                new = file.read()
        except OSError:
            return text, None
        if new == text:
            return text, None
        order = json.loads(new)
        return new, Window(order["number"], order["values"])

    def _write(self, window: Window) -> None:
        path = os.path.join(self.folder, f"{os.getpid()}.{window.number}.json")
        try:
            with open(path + ".part", "w") as file:
                json.dump(window.report(self.root), file)
            os.replace(path + ".part", path)
        except OSError:  # the measurement is over and its folder is gone
            return


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename == IMPORTER:
            return True
        frame = frame.f_back
    return False


if "WALKS_FOLDER" in os.environ and __name__ == "sitecustomize":
    Recorder(os.environ["WALKS_FOLDER"], os.environ["WALKS_ROOT"]).start()
