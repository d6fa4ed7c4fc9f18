"""Which functions are on a walk, from the counts of a recorded daemon. The definitions are those of `walks.py`."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median, multimode

from tests.measure.walks_daemon import ROLES, MeasureError, Report, Window

FRAMES, MESSAGES = 0.7, 0.5  # shares: what happens for fewer of them belongs to something else
Step = tuple[str, str, str]  # process, file, function


@dataclass
class Walk:
    """The functions of one walk, each with a time by which they are put in order."""

    name: str
    steps: dict[Step, float]
    counted: tuple[str, ...] = ROLES  # processes whose files count
    apart: str = ""  # room whose files do not count
    note: str = ""
    files: dict[str, list[str]] = field(init=False)  # by process

    def __post_init__(self) -> None:
        self.files = {role: sorted({file for process, file, _ in self.steps if process == role}) for role in ROLES}

    @property
    def all(self) -> set[str]:
        """The files that count, each once, however many processes run it."""
        files = {file for role in self.counted for file in self.files[role]}
        return {file for file in files if not (self.apart and file.startswith(self.apart))}

    @property
    def room(self) -> set[str]:
        """The files of the room `apart`, which do not count."""
        return {file for files in self.files.values() for file in files if self.apart and file.startswith(self.apart)}

    def chain(self) -> list[str]:
        ordered = sorted((step for step in self.steps if step[0] in self.counted), key=lambda step: self.steps[step])
        return [f"{role:6} {file}:{name}" for role, file, name in ordered]


def frames_of(window: Window) -> int:
    """The frames rendered: how often most functions of the engine were called. Each frame calls most of them once."""
    calls = [calls for report in window.of("engine") for _, _, calls, *_ in report.functions if calls]
    return min(multimode(calls), default=0)


def frame_walk(window: Window) -> Walk:
    least, steps = FRAMES * frames_of(window), {}
    for report in window.reports:
        for file, name, _, _, slots, first in report.functions:
            if slots >= least:
                steps[report.role, file, name] = first
    return Walk("frame", steps, ("stage", "engine"), note="the desk gets previews for the panel, not counted")


def change_walk(changes: Sequence[Window], steady: Sequence[Window]) -> Walk:
    """What every one of the changes calls at least once, and twice as often as its time in steady play explains."""
    rates = _rates(steady)
    found: list[dict[Step, float]] = []
    for window in changes:
        totals = _totals(window.reports)
        found.append({step: first for step, (count, first) in totals.items()
                      if count - (expected := rates[step] * window.seconds) >= max(1.0, expected)})
    steps = {step: found[0][step] for step in found[0] if all(step in other for other in found)}
    note = f"{' and '.join(f'{window.seconds:.0f}' for window in changes)} s; pipelines/ loads the model, not counted"
    return Walk("recipe change", steps, apart="pipelines/", note=note)


def _rates(steady: Iterable[Window]) -> dict[Step, float]:
    """Calls a second of every function, in the window where it is called most."""
    rates: dict[Step, float] = defaultdict(float)
    for window in steady:
        for step, (count, _) in _totals(window.reports).items():
            rates[step] = max(rates[step], count / window.seconds)
    return rates


def _totals(reports: Iterable[Report]) -> dict[Step, tuple[int, float]]:
    """Calls of every function and the time of the first. A loop that the window never saw called counts its calls."""
    totals: dict[Step, tuple[int, float]] = {}
    for report in reports:
        for file, name, calls, made, _, first in report.functions:
            step = (report.role, file, name)
            count, earliest = totals.get(step, (0, first))
            totals[step] = count + (calls or made), min(earliest, first)
    return totals


def message_walk(window: Window, steady: Sequence[Window], sent: Sequence[float]) -> Walk:
    """sent: when each value was sent; its place is that of the value in the window's order."""
    reached = _arrivals(window.of("engine"))
    if len(reached) < MESSAGES * len(sent):
        raise MeasureError(f"{len(reached)} of {len(sent)} values reached the engine: send them further apart")
    quick = sorted(reached, key=lambda place: reached[place] - sent[place])[:max(1, len(reached) // 2)]
    at_stage = _arrivals(window.of("stage"))
    used = _firsts(entry for report in window.of("engine") for entry in report.alone)
    starts = {"desk": dict(enumerate(sent)), "stage": at_stage, "engine": reached}
    ends: dict[str, Mapping[int, float]] = {"desk": at_stage, "stage": reached, "engine": used}
    delays, rates = defaultdict[Step, list[float]](list), _rates(steady)
    for role in ROLES:
        spans = {place: (starts[role].get(place, sent[place]), ends[role].get(place, float("inf")))
                 for place in quick}
        for step, place, when in (*_holders(window.of(role), spans), *_runners(window, rates, role, spans)):
            delays[step].append(when - sent[place])
    steps = {step: median(times) for step, times in delays.items() if len(times) >= MESSAGES * len(quick)}
    return Walk("OSC value", steps, note=f"{len(reached)} of {len(sent)} values reached the engine")


def _arrivals(reports: Iterable[Report]) -> dict[int, float]:
    """When each value was first held in these processes."""
    return _firsts(entry for report in reports for entry in report.holds)


def _firsts(entries: Iterable[tuple[int, int, float]]) -> dict[int, float]:
    first: dict[int, float] = {}
    for _, place, when in entries:
        first[place] = min(when, first.get(place, when))
    return first


Spans = Mapping[int, tuple[float, float]]  # value -> when a process had it first, when the next one had it


def _holders(reports: Iterable[Report], spans: Spans) -> Iterable[tuple[Step, int, float]]:
    """Every function that held a value in its span; in the engine, also every one that is handed it alone."""
    for report in reports:
        used = {(function, place) for function, place, _ in report.alone} if report.role == "engine" else set()
        for function, place, when in report.holds:
            if place in spans and (when <= spans[place][1] or (function, place) in used):
                file, name, *_ = report.functions[function]
                yield (report.role, file, name), place, when


def _runners(window: Window, rates: Mapping[Step, float], role: str, spans: Spans
             ) -> Iterable[tuple[Step, int, float]]:
    """Every function that ran in a value's span without holding it, and runs twice as often as without messages."""
    if role == "engine":  # a message may cause another frame there, and all of its functions run more often
        return
    totals = _totals(window.of(role))
    for report in window.of(role):
        holding = Counter((function, place) for function, place, _ in report.holds)
        for function, (file, name, *_) in enumerate(report.functions):
            step = (role, file, name)
            if totals[step][0] < 2 * rates.get(step, 0.0) * window.seconds:
                continue
            times = [when for when, called in report.events if called == function]
            for place, (start, end) in spans.items():
                inside = [when for when in times if start <= when <= end]
                if inside and not holding[function, place]:
                    yield step, place, inside[0]
