"""Independent work on all cores: one pool of fresh processes, one thread each."""

import os
import pickle
import sys
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import cache
from multiprocessing import connection, get_context, parent_process
from typing import Any, TypeVar

from causalnb import UserError

Item = TypeVar("Item")
Result = TypeVar("Result")


def map(
    function: Callable[[Item], Result], items: Iterable[Item], *, workers: int | None = None
) -> list[Result]:
    """`[function(item) for item in items]`, side by side; the processes stay for the next call.

    function   importable: a module's function, or a partial of one
    workers    at most so many processes (default: one a core); with one, or one item, or inside a worker, all
               happens here

    An exception surfaces with a note that shows its item; what had not begun is dropped.
    """
    work, workers = list(items), workers or os.cpu_count() or 1
    if min(len(work), workers) <= 1 or parent_process() is not None:
        return [_noted(function, item) for item in work]
    try:
        answers = _pool(workers).map(_answer, [pickle.dumps((function, item)) for item in work])
        return [pickle.loads(answer) for answer in answers]
    except BrokenProcessPool:
        _pool.cache_clear()
        raise UserError(
            "A worker process ended early (killed, or out of memory): ask for fewer images or workers. "
            'A script must call this below `if __name__ == "__main__":`.'
        ) from None


@cache
def _pool(workers: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_begin)


def _begin() -> None:
    if parent := parent_process():  # a worker whose parent was killed would wait for ever
        threading.Thread(
            target=lambda: connection.wait([parent.sentinel]) and os._exit(1), daemon=True
        ).start()
    os.environ["OMP_NUM_THREADS"] = "1"  # for a torch that the work will import
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)


def _answer(call: bytes) -> bytes:
    # Pickled here and not by the pool, whose tensors travel through shared memory, which containers keep
    # small.
    return pickle.dumps(_noted(*pickle.loads(call)))


def _noted(function: Callable[[Any], Any], item: Any) -> Any:
    try:
        return function(item)
    except Exception as error:
        error.add_note(f"while at work on {item!r:.200}")
        raise
