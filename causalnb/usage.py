"""What this process and its workers have used: seconds of the processor, and memory at its peak."""

import os
import re
import resource
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from heapq import nlargest
from pathlib import Path


@dataclass(frozen=True)
class Used:
    """By one process and what it waited for: seconds of the processor, and its own peak in bytes."""

    process: int
    seconds: float
    peak: int


_heard: dict[int, float] = {}  # seconds of each worker, when it last answered
_largest = (0, 0)  # peaks of workers side by side, added; how many they were


def own() -> Used:
    """By this process; workers that live are not in it."""
    return Used(os.getpid(), time.process_time() + _reaped(), _peak())


def heard(answers: Iterable[Used], workers: int) -> None:
    """Count what workers said that they had used, of which so many worked side by side."""
    global _largest
    peaks: dict[int, int] = {}
    for one in answers:
        if one.process != os.getpid():
            _heard[one.process] = max(one.seconds, _heard.get(one.process, 0.0))
            peaks[one.process] = max(one.peak, peaks.get(one.process, 0))
    most = nlargest(workers, peaks.values())
    _largest = max(_largest, (sum(most), len(most)))


def cpu_seconds() -> float:
    """Of this process, of its workers up to their last answers, and of all that has ended below them."""
    while True:  # a worker that ends in between is in neither sum, or in both
        before = _reaped()
        living = sum(seconds for process, seconds in _heard.items() if _unreaped(process))
        if _reaped() == before:
            return time.process_time() + before + living


def peak_memory() -> int:
    """Bytes: the peak of this process and those of the workers that worked side by side, added; they need not
    have met.
    """
    return _peak() + _largest[0]


def counted() -> str:
    """What `cpu_seconds` and `peak_memory` count, in words."""
    workers = _largest[1]
    if not workers:
        return "this process and what it waited for"
    return f"this process, what it waited for, and {workers} workers side by side (their peaks added)"


def _reaped() -> float:
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return ended.ru_utime + ended.ru_stime


def _unreaped(process: int) -> bool:
    try:
        os.kill(process, 0)
    except OSError:  # none of that number, or by now another's
        return False
    return True


def _peak() -> int:
    """Of this program. getrusage's, on Linux, begins with the peak of the process that started it."""
    try:
        found = re.search(r"^VmHWM:\s*(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    except OSError:
        found = None
    if found:
        return int(found[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
