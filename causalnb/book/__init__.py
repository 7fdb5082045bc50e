"""From records and ledgers to the site: `build` executes what is stale at the quick profile, writes the
pages, renders them.

Nothing here computes a result, and no page holds a number or a verdict that is typed.
"""

from pathlib import Path
from time import perf_counter


def build(*, execute: bool) -> Path:
    """Build the book that the working folder belongs to; returns the site's first page.

    execute   run the quick profile of every chapter whose quick run is stale or missing, side by side; what
              ran is said at the end
    """
    from causalnb import console, paths, processes, runner
    from causalnb.book import generated, site

    root, told = paths.book_root(), "executed nothing"
    if execute:
        due = [
            one.name
            for one in runner.chapters().values()
            if runner.state(runner.quick(one), one).word != "fresh"
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


def _quick(name: str) -> float:
    """Execute a chapter at the quick profile; the seconds that it took."""
    from causalnb import runner

    began = perf_counter()
    runner.run(runner.chapter(name), {"profile": "quick"})
    return perf_counter() - began
