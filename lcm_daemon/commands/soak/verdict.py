"""Limits of a whole soak, and what was within them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from lcm_daemon.commands.soak.incident import INTERVALS, Incident
from lcm_daemon.commands.soak.observer import ProcessSample, Sample
from lcm_daemon.commands.soak.scene import Check
from lcm_daemon.commands.soak.timeline import Timeline

WARM_SECONDS = 600.0  # from which on a process must not grow
LEAST_SECONDS = 600.0  # after that, for which it must live to be judged
EDGE_SECONDS = 120.0  # of samples at each end whose median counts
MOST_GROWTH = 1 << 20  # bytes of memory
MOST_DESCRIPTORS = 2  # a listener accepts a page now and then


@dataclass(frozen=True)
class Growth:
    """How a process, or the shared memory, has grown after it was warm. Bytes; descriptors; hours."""

    what: str
    pid: int
    hours: float
    before: float
    after: float
    descriptors: float

    @property
    def grown(self) -> float:
        return self.after - self.before

    @property
    def ok(self) -> bool:
        return self.grown <= MOST_GROWTH and self.descriptors <= MOST_DESCRIPTORS


def growth(samples: Sequence[Sample]) -> list[Growth]:
    """The growth of each process that lived long enough to be judged, and of the shared memory."""
    rows: dict[int, list[tuple[float, ProcessSample]]] = defaultdict(list)
    for sample in samples:
        for process in sample.processes:
            rows[process.pid].append((sample.time, process))
    found = []
    for pid, row in rows.items():
        ends = _ends([time for time, _ in row])
        if ends is not None:
            first, last, hours = ends
            memory = [median(row[place][1].memory for place in side) for side in (first, last)]
            files = [median(row[place][1].descriptors for place in side) for side in (first, last)]
            found.append(Growth(row[-1][1].role, pid, hours, memory[0], memory[1], files[1] - files[0]))
    ends = _ends([sample.time for sample in samples])
    if ends is not None:
        first, last, hours = ends
        shared = [median(samples[place].shared for place in side) for side in (first, last)]
        found.append(Growth("shared memory", 0, hours, shared[0], shared[1], 0))
    return found


def _ends(times: Sequence[float]) -> tuple[list[int], list[int], float] | None:
    """Places of the samples after the warm-up and of the last ones, and the hours between; None if it was too short."""
    if not times or times[-1] - times[0] < WARM_SECONDS + LEAST_SECONDS:
        return None
    warm = times[0] + WARM_SECONDS
    first = [place for place, time in enumerate(times) if warm <= time <= warm + EDGE_SECONDS]
    last = [place for place, time in enumerate(times) if time >= times[-1] - EDGE_SECONDS]
    return (first, last, (times[-1] - warm) / 3600) if first and last else None


def cadence(shown: Timeline, control: Timeline, incidents: Sequence[Incident], interval: float) -> Check:
    """Whether the longest gap of each span exceeds that of the control, in this span or beside it, by 2 intervals at
    most, without spans in which the stage itself was ended. interval: Seconds between two frames."""
    worst, at = float("-inf"), 0.0
    ended = [incident for incident in incidents if incident.ends_stage and not incident.skipped]
    for place, mine in enumerate(shown.spans):
        following = mine.start + shown.span
        if any(incident.start < following and incident.end > mine.start for incident in ended):
            continue
        near = control.spans[max(0, place - 1):place + 2]  # one pause may end on both sides of a border
        excess = mine.longest - max((other.longest for other in near), default=0.0)
        if excess > worst:
            worst, at = excess, mine.start - shown.start
    if worst == float("-inf"):
        return Check("cadence", "no frame came out", False)
    return Check("cadence", f"the longest gap of a span exceeds that of the control by {1000 * max(0.0, worst):.0f} ms "
                 f"at most (limit {1000 * INTERVALS * interval:.0f} ms), {at:.0f} s after the start",
                 worst <= INTERVALS * interval)


def memory(rows: Sequence[Growth]) -> Check:
    """Whether no process grows."""
    if not rows:
        return Check("growth", f"not judged: no process lived {(WARM_SECONDS + LEAST_SECONDS) / 60:.0f} minutes", True)
    bad = [row for row in rows if not row.ok]
    worst = max(rows, key=lambda row: row.grown)
    text = f"at most {worst.grown / 2**20:+.1f} MiB ({worst.what}, in {worst.hours:.1f} h after ten minutes)"
    return Check("growth", text + (f"; too much: {', '.join(row.what for row in bad)}" if bad else ""), not bad)


def faults(incidents: Sequence[Incident], known: int) -> Check:
    """Whether the show came through every fault. known: How many faults were to be caused."""
    caused = [incident for incident in incidents if not incident.skipped]
    bad = sorted({incident.fault for incident in caused if not incident.ok})
    different = len({incident.fault for incident in caused})
    text = f"{len(caused)} caused, {different} of {known} kinds"
    return Check("faults", text + (f"; not as expected: {', '.join(bad)}" if bad else ""), not bad)
