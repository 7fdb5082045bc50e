"""Independent work on all cores, one thread each: fresh processes by joblib, which stay for the next call, or
the workers of a Dask cluster. Nothing is scheduled here.
"""

import os
import pickle
import re
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import cache
from multiprocessing import parent_process
from typing import Any, TypeVar

from causalnb import UserError, console, paths, usage

WORKERS = "CAUSALNB_WORKERS"  # how many processes at most, or the cluster that has them
Item = TypeVar("Item")
Result = TypeVar("Result")


class WorkerEnded(UserError):
    """A worker process ended before it could answer."""


def map(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    workers: int | None = None,
    apart: bool = False,
    what: str = "",
) -> list[Result]:
    """`[function(item) for item in items]`, side by side; the processes stay for the next call.

    workers    at most so many processes (default: one a core); with one, or one item, or inside a worker, all
               happens here
    apart      never here: one item has another process too
    what       the name of a bar over the items; none without it

    `CAUSALNB_WORKERS` is a number of processes in place of that of the cores, or dask://HOST:PORT: then the
    workers of that Dask cluster do the work, one thread each, where they find the same files.

    The first item that fails, in their order, surfaces as its exception, with a note that shows it. What had
    begun by then ends before (on a cluster it is not waited for), so that its work is kept; what had not
    begun is dropped. A worker that is killed is a `WorkerEnded`.
    """
    work, (cluster, most) = list(items), _asked()
    alone = workers == 1 or (not cluster and 1 in (len(work), most))
    if not work or parent_process() is not None or (alone and not apart):
        return [_noted(function, item) for item in console.progress(work, what=what)]
    answers: list[_Answer] = []
    calls = _calls(function, work, answers)
    source = _on_cluster(cluster, calls) if cluster else _side_by_side(calls, len(work), workers or most)
    try:
        for answer in console.progress(source, what=what, total=len(work)):
            answers.append(answer)
    except BrokenProcessPool:
        raise WorkerEnded(
            "A worker process ended early (killed, or out of memory): ask for fewer images or workers."
        ) from None
    answers.sort(key=lambda one: one.place)
    for answer in answers:
        if answer.traceback:
            raise pickle.loads(answer.content) from _InWorker(answer.traceback)
    return [pickle.loads(one.content) for one in answers]


def _asked() -> tuple[str, int | None]:
    """What `CAUSALNB_WORKERS` says: the address of a Dask scheduler, or a number of processes."""
    given = os.environ.get(WORKERS, "")
    if re.fullmatch(r"dask://[^/\s]+:\d+", given):
        return given.replace("dask", "tcp", 1), None
    if given and not re.fullmatch(r"[1-9]\d{0,3}", given):
        raise UserError(
            f"{WORKERS} = {given} is not possible: it is a number of processes from 1 to 9999, or "
            "dask://HOST:PORT, where a Dask scheduler listens."
        )
    return "", int(given) if given else None


@dataclass(frozen=True)
class _Answer:
    """To the item at a place: a result, or an exception with its traceback."""

    place: int
    content: bytes
    traceback: str
    used: usage.Used


class _InWorker(Exception):
    """The traceback of an exception as it was in its worker."""

    def __str__(self) -> str:
        return f"\n\n{self.args[0]}"


def _calls(
    function: Callable[[Item], Any], work: Sequence[Item], answers: list[_Answer]
) -> Iterator[tuple[int, bytes]]:
    """The place and the pickled call of each item, until an answer is a failure."""
    for place, item in enumerate(work):
        if any(one.traceback for one in answers):
            return
        try:
            yield place, _dumps((function, item))
        except Exception as error:  # one that cannot be sent; joblib would wait for it for ever
            answers.append(_failure(place, error))


def _side_by_side(calls: Iterable[tuple[int, bytes]], n: int, workers: int | None) -> Iterator[_Answer]:
    """The answers of processes on this machine to n calls, as they come."""
    import joblib

    workers = 2 if n == 1 else min(n, workers or joblib.cpu_count())  # of one joblib makes this process
    with joblib.parallel_config("loky", inner_max_num_threads=1):
        parallel = joblib.Parallel(
            workers,
            return_as="generator_unordered",
            batch_size=1,
            pre_dispatch="n_jobs",
            max_nbytes=None,
            temp_folder=tempfile.gettempdir(),  # not /dev/shm, which containers keep small
        )
        used = []
        for answer in parallel(joblib.delayed(_answer)(*call, os.getpid()) for call in calls):
            used.append(answer.used)
            yield answer
    usage.heard(used, workers)


def _on_cluster(address: str, calls: Iterable[tuple[int, bytes]]) -> Iterator[_Answer]:
    """The answers of the workers of a Dask cluster, as they come; the first failure drops what waits."""
    try:
        from distributed import Client, KilledWorker, as_completed
    except ImportError:
        raise UserError(
            f"{WORKERS} asks for a Dask cluster, and distributed is not here: `pip install distributed`."
        ) from None
    place = address.removeprefix("tcp://")
    try:
        client = Client(address, timeout=10, set_as_default=False)
    except OSError:
        raise UserError(
            f"No Dask scheduler answers at {place}: start one with `dask scheduler`, or see to {WORKERS}."
        ) from None
    with client:
        threads = client.nthreads()
        if not threads or max(threads.values()) > 1:
            said = "none" if not threads else f"one with {max(threads.values())} threads"
            raise UserError(
                f"The Dask cluster at {place} must have workers of one thread each (those of one process "
                f"share its variables), and it has {said}: start them with `dask worker {address} "
                "--nworkers 2 --nthreads 1`."
            )
        futures = [client.submit(_answer, *call, None, pure=False) for call in calls]
        for future in as_completed(futures, loop=client.loop):
            try:
                answer = future.result()
            except KilledWorker:
                raise BrokenProcessPool from None
            yield answer
            if answer.traceback:
                return


def _answer(place: int, call: bytes, parent: int | None) -> _Answer:
    """In a worker: the call's answer. A worker of `parent` on this machine ends with it."""
    if parent is not None and os.getpid() != parent:
        _end_with(parent)
    # Whatever starts in here is serial: on a full cluster it would wait for ever.
    with paths.surroundings(**{WORKERS: "1"}):
        try:
            function, item = pickle.loads(call)
            return _Answer(place, _dumps(_noted(function, item)), "", usage.own())
        except Exception as error:
            return _failure(place, error)


def _failure(place: int, error: Exception) -> _Answer:
    trace = traceback.format_exc()
    try:
        content = _dumps(error)
        pickle.loads(content)
    except Exception:  # an exception that does not survive the journey is told by its name and text
        told = RuntimeError("".join(traceback.format_exception_only(error)).strip())
        content = _dumps(told)
    return _Answer(place, content, trace, usage.own())


@cache
def _end_with(parent: int) -> None:
    """See to it that this worker does not outlive its parent."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _dumps(value: Any) -> bytes:
    # Pickled here and not by the pool, whose tensors would travel through shared memory.
    import cloudpickle

    return cloudpickle.dumps(value)


def _noted(function: Callable[[Any], Any], item: Any) -> Any:
    try:
        return function(item)
    except Exception as error:
        error.add_note(f"while at work on {item!r:.200}")
        raise
