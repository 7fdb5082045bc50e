"""From records and ledgers to the site: `build` executes what is stale at the quick profile, writes the
pages, renders them.

Nothing here computes a result, and no page holds a number or a verdict that is typed.
"""

from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from causalnb.runner import Executed
    from causalnb.texts import Chapter


def build(*, execute: bool) -> Path:
    """Build the book that the working folder belongs to; returns the site's first page.

    execute   run the quick profile of every chapter of which neither this machine nor the book has a fresh
              quick run, side by side; what ran is said at the end
    """
    from causalnb import console, paths, processes, runner
    from causalnb.book import generated, site

    root, told = paths.book_root(), "executed nothing"
    if execute:
        due = [
            one.name
            for one in runner.chapters().values()
            if not any(runner.state(run, one).word == "fresh" for run in _quick_runs(one))
        ]
        console.say(f"running {', '.join(due)} at the quick profile" if due else "every quick run is fresh")
        times = processes.map(_quick, due)
        if due:
            ran = (f"{name} once, {seconds:.0f} s" for name, seconds in zip(due, times, strict=True))
            told = f"executed {'; '.join(ran)}"
    began = perf_counter()
    generated.write(root)
    index = site.render(root)
    console.say(f"{told}; rendered in {perf_counter() - began:.0f} s")
    return index


def _quick_runs(one: "Chapter") -> list["Executed"]:
    """Of a chapter: this machine's, and the published one."""
    from causalnb import runner

    published = [run for run in runner.published(one) if run.record.profile == "quick"]
    return [run for run in (runner.quick(one), *published) if run]


def _quick(name: str) -> float:
    """Execute a chapter at the quick profile; the seconds that it took."""
    from causalnb import runner

    began = perf_counter()
    runner.run(runner.chapter(name), {"profile": "quick"})
    return perf_counter() - began
