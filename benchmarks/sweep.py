"""Sweeps: two workers against one, and what a point costs beside plain papermill. The chapter computes for a
second, in a book of its own.
"""

import contextlib
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.measure import Comparison
from causalnb import paths, processes, runner, sweep

TEXT = """---
jupytext: {text_representation: {extension: .md, format_name: myst}}
kernelspec: {display_name: Python 3, language: python, name: python3}
---
# A chapter

```{code-cell} ipython3
:tags: [parameters]

profile: str = "quick"
seed: int = 0
```

```{code-cell} ipython3
import time
from causalnb.notebook import begin
from causalnb.statistics import exact
run = begin("ace")
start = time.process_time()
while time.process_time() - start < 1:
    pass
run.measure("point.seed", exact(run.p.seed), data="")
run.finish()
```
"""
POINTS = 6
LONG = 25.0  # CPU seconds of the point to which the overhead is held
ROOT = Path(__file__).parents[1]


@contextlib.contextmanager
def book() -> Iterator[runner.Chapter]:
    """A book with the chapter, which is the working folder inside."""
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        Path("notebooks").mkdir()
        Path("_toc.yml").touch()
        Path("notebooks/01_ace.md").write_text(TEXT)
        with paths.surroundings(CAUSALNB_STORE=str(Path(folder, "store")), PYTHONPATH=str(ROOT)):
            yield runner.chapter("ace")


def swept(one: runner.Chapter, workers: int) -> float:
    """Wall seconds of a sweep over seeds by so many workers."""
    began = time.perf_counter()
    with paths.surroundings(**{processes.WORKERS: str(workers)}):
        sweep.run(one, [{"seed": seed} for seed in range(POINTS)], f"by{workers}")
    return time.perf_counter() - began


def two_workers() -> Comparison:
    """Two workers against one: wall seconds, the start of the workers among them."""
    with book() as one:
        seconds = {workers: swept(one, workers) for workers in (1, 2)}
        rows = sweep.compare(sweep.find("by1"), sweep.find("by2"))
    ratio = seconds[1] / seconds[2]
    return _fields("sweep", "wall seconds", ratio, max(abs(row.difference or 0) for row in rows), bound=2.0)


def overhead() -> Comparison:
    """CPU seconds of a 25-second point by plain papermill against one of a sweep: both are run with a short
    body, and what is missing of the 25 is added.
    """
    with book() as one:
        runner.convert_to(one, Path("in.ipynb"))
        seeds = range(POINTS // 2)
        plain = [
            f"papermill in.ipynb {seed}.ipynb -k python3 --no-progress-bar -p seed {seed}" for seed in seeds
        ]
        own = [f"causalnb sweep 01 -p seed=0:{len(seeds)}"]
        theirs, ours = (_cpu(commands) / len(seeds) for commands in (plain, own))
    return _fields("sweep-overhead", "CPU seconds", (LONG + theirs) / (LONG + ours), 0.0)


def _cpu(commands: list[str]) -> float:
    """CPU seconds of commands, of what they start too."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    for command in commands:
        subprocess.run([sys.executable, "-m", *command.split()], capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _fields(
    pair: str, quantity: str, ratio: float, difference: float, bound: float | None = None
) -> Comparison:
    return {
        "pair": pair,
        "quantity": quantity,
        "ratio": ratio,
        "low": ratio,
        "high": ratio,
        "difference": difference,
        "bound": bound,
        "threads": 1,
        "rounds": 1,
    }


PAIRS: dict[str, Callable[[], Comparison]] = {"sweep": two_workers, "sweep-overhead": overhead}
