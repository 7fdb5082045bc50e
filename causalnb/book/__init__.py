"""From records and ledgers to the site: `build` executes what is stale at the quick profile, writes the
pages, renders them.

Nothing here computes a result, and no page holds a number or a verdict that is typed.
"""

from pathlib import Path


def build(*, execute: bool) -> Path:
    """Build the book that the working folder belongs to; returns the site's first page.

    execute   run the quick profile of every chapter whose quick run is stale or missing, side by side
    """
    from causalnb import console, paths, processes, runner
    from causalnb.book import generated, site

    root = paths.book_root()
    if execute:
        due = [
            one.name
            for one in runner.chapters().values()
            if runner.state(runner.quick(one), one).word != "fresh"
        ]
        console.say(f"running {', '.join(due)} at the quick profile" if due else "every quick run is fresh")
        processes.map(_quick, due)
    generated.write(root)
    return site.render(root)


def _quick(name: str) -> None:
    from causalnb import runner

    runner.run(runner.chapter(name), {"profile": "quick"})
