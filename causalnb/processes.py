"""Independent work on all cores: fresh processes by joblib, which stay for the next call, one thread each."""

import os
import pickle
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

from causalnb import UserError, usage

Item = TypeVar("Item")
Result = TypeVar("Result")


def map(
    function: Callable[[Item], Result], items: Iterable[Item], *, workers: int | None = None
) -> list[Result]:
    """`[function(item) for item in items]`, side by side; the processes stay for the next call.

    workers    at most so many processes (default: one a core); with one, or one item, or inside a worker, all
               happens here

    The first item that fails, in their order, surfaces as its exception, with a note that shows it. What had
    begun by then ends before, so that its work is kept; what had not begun is dropped.
    """
    work = list(items)
    if min(len(work), workers or len(work)) <= 1 or parent_process() is not None:
        return [_noted(function, item) for item in work]
    import joblib

    workers = min(len(work), workers or joblib.cpu_count())
    try:
        answers = _ask(function, work, workers)
    except BrokenProcessPool:
        raise UserError(
            "A worker process ended early (killed, or out of memory): ask for fewer images or workers."
        ) from None
    usage.heard([one.used for one in answers], workers)
    for one in answers:
        if one.traceback:
            raise pickle.loads(one.content) from _InWorker(one.traceback)
    return [pickle.loads(one.content) for one in answers]


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


def _ask(function: Callable[[Item], Any], work: Sequence[Item], workers: int) -> list[_Answer]:
    """The answers in the order of the items; after the first failure nothing is begun."""
    import joblib

    answers: list[_Answer] = []
    failed = threading.Event()

    def calls() -> Iterator[Any]:
        for place, item in enumerate(work):
            if failed.is_set():
                return
            try:
                yield joblib.delayed(_answer)(place, _dumps((function, item)), os.getpid())
            except Exception as error:  # one that cannot be sent; joblib would wait for it for ever
                failed.set()
                answers.append(_failure(place, error))

    with joblib.parallel_config("loky", inner_max_num_threads=1):
        parallel = joblib.Parallel(
            workers,
            return_as="generator_unordered",
            batch_size=1,
            pre_dispatch="n_jobs",
            max_nbytes=None,
            temp_folder=tempfile.gettempdir(),  # not /dev/shm, which containers keep small
        )
        for answer in parallel(calls()):
            answers.append(answer)
            if answer.traceback:
                failed.set()
    return sorted(answers, key=lambda one: one.place)


def _answer(place: int, call: bytes, parent: int) -> _Answer:
    if os.getpid() != parent:
        _end_with(parent)
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
