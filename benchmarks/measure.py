"""Two ways to the same result, timed in turn: a ratio with its spread, and how far the results are apart."""

import resource
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

Comparison = dict[str, Any]  # the fields of one pair; `sentence` says what they are


def side_by_side(
    other: Callable[[], Any],
    ours: Callable[[], Any],
    *,
    pair: str,
    difference: float,
    bound: float | None = None,
    quantity: str = "seconds",
    rounds: int = 5,
    threads: int = 1,
    subset: str | None = None,
    scale: float = 1.0,
) -> Comparison:
    """Time both in each round, after one call of each that does not count.

    other, ours   do the work; with quantity="seconds" their CPU time counts, else what they return
    difference    the greatest between their results, measured beforehand
    bound         the largest ratio that is possible, None where none is known
    subset        what `other` runs of the whole; its cost times `scale` is that of the whole
    returns       ratio (other / ours, the median of the rounds), low and high (the smallest and the largest),
                  and the rest as given
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        ratios = [scale * cost(other, quantity) / cost(ours, quantity) for _ in range(rounds + 1)][1:]
    finally:
        torch.set_num_threads(before)
    fields = {
        "pair": pair,
        "quantity": quantity,
        "ratio": statistics.median(ratios),
        "low": min(ratios),
        "high": max(ratios),
        "difference": difference,
        "bound": bound,
        "threads": threads,
        "rounds": rounds,
    }
    return fields | ({"subset": subset} if subset else {})


def sentence(result: Comparison) -> str:
    """A pair's fields as a line."""
    limit = f", at most {result['bound']:.3g} possible" if result["bound"] else ""
    apart = "" if result["difference"] is None else f", greatest difference {result['difference']:.1e}"
    part = f"; the other ran {result['subset']}" if "subset" in result else ""
    return (
        f"{result['pair']}: {result['ratio']:.3g} times ({result['low']:.3g} to {result['high']:.3g} in "
        f"{result['rounds']} rounds, "
        f"{result['quantity']}{limit}){apart}, threads {result['threads']}{part}"
    )


def cost(work: Callable[[], Any], quantity: str = "seconds") -> float:
    """CPU seconds of one call, or the quantity that it returns."""
    start = time.process_time()
    result = work()
    return time.process_time() - start if quantity == "seconds" else float(result)


def peak(work: Callable[[], Any], warm: Callable[[], Any]) -> int:
    """Bytes by which a fresh process grows at most while it is at work, once it is warm."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as fresh:
        return fresh.submit(_growth, work, warm).result()


def _growth(work: Callable[[], Any], warm: Callable[[], Any]) -> int:
    torch.set_num_threads(1)
    warm()
    before = _resident()
    work()
    return max(1, _most() - before)


def _most() -> int:
    """Bytes that this process held at most."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else 1024 * most


def _resident() -> int:
    """Bytes that it holds now, where the system says so: its most may be that of an import."""
    file = Path("/proc/self/statm")
    return int(file.read_text().split()[1]) * resource.getpagesize() if file.exists() else _most()


def matrix_rate(side: int = 512) -> float:
    """Multiply-adds a CPU second of a float32 matrix product of this size: as fast as products get here, the
    best of ten.
    """
    a, b = torch.rand(2, side, side)
    product = torch.empty(side, side)
    return side**3 / min(cost(lambda: torch.mm(a, b, out=product)) for _ in range(10))
