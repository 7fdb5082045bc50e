import os
import subprocess
import sys
import time
from functools import partial

from joblib.externals.loky import get_reusable_executor

from causalnb import processes, usage
from causalnb.usage import Used

SECONDS, BYTES = 0.4, 200_000_000
NOBODY = 2**22 + 1  # more than any process's number


def work(pipe, place):
    """Take SECONDS of a processor and BYTES, in two processes that are there at the same time."""
    open(pipe, "w" if place else "r").close()
    start, held = time.process_time(), b"x" * BYTES
    while time.process_time() - start < SECONDS:
        pass
    return len(held)


def test_a_run_s_record_counts_the_seconds_and_the_memory_of_its_workers(tmp_path, monkeypatch):
    monkeypatch.setattr(usage, "_heard", {})
    get_reusable_executor().shutdown(wait=True)
    from causalnb.notebook import begin  # not in the workers

    os.mkfifo(tmp_path / "pipe")
    run = begin("bench")
    run.section("workers")
    before = usage.cpu_seconds()
    assert processes.map(partial(work, tmp_path / "pipe"), range(2), workers=2) == [BYTES, BYTES]
    assert usage.cpu_seconds() - before >= 2 * SECONDS
    run.section("none")
    made = run.record()
    assert made.cpu_seconds >= made.sections[0].cpu_seconds >= 2 * SECONDS
    assert made.peak_memory >= made.sections[0].peak_memory >= usage.own().peak + 2 * BYTES
    assert made.environment["counted"] == (
        "this process, what it waited for, and 2 workers side by side (their peaks added)"
    )
    after, heard = usage.cpu_seconds(), sum(usage._heard.values())
    get_reusable_executor().shutdown(wait=True)  # what ended is counted once, and nothing is lost
    assert 0 <= usage.cpu_seconds() - after < heard


def test_of_the_peaks_of_all_workers_as_many_are_added_as_there_were_side_by_side(monkeypatch):
    monkeypatch.setattr(usage, "_largest", (0, 0))
    monkeypatch.setattr(usage, "_heard", {})
    assert usage.counted() == "this process and what it waited for"
    answers = [Used(NOBODY, 1, 5), Used(NOBODY + 1, 1, 3), Used(NOBODY, 2, 7), Used(NOBODY + 2, 1, 10)]
    usage.heard([*answers, usage.own()], workers=2)
    assert usage._largest == (17, 2) and "2 workers" in usage.counted()
    usage.heard([Used(NOBODY, 3, 16)], workers=2)
    assert usage._largest == (17, 2)


def test_the_seconds_of_a_worker_count_once_while_it_lives(monkeypatch):
    monkeypatch.setattr(usage, "_heard", {})
    before = usage.cpu_seconds()
    usage.heard([Used(os.getppid(), 50, 1), Used(os.getppid(), 100, 1), Used(NOBODY, 1000, 1)], workers=1)
    assert 100 <= usage.cpu_seconds() - before < 101


def test_a_process_does_not_inherit_the_peak_of_the_one_that_starts_it():
    held = b"x" * BYTES
    ask = [sys.executable, "-c", "from causalnb import usage; print(usage.peak_memory())"]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    assert int(subprocess.run(ask, env=env, capture_output=True, check=True).stdout) < len(held)
