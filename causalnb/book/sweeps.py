"""The page of this machine's sweeps: what each says of the ledger's rows, where that flips, its figures."""

from causalnb import UserError, console, fragments, paths, sweep
from causalnb.fragments import wording as ui


def told() -> list[tuple[str, str]]:
    """A heading and HTML for each sweep; one that cannot be read is told in a line and left out."""
    found = []
    for folder in sorted(file.parent for file in paths.runs_root().glob("*/sweep-*/points.csv")):
        try:
            found.append(_one(sweep.find(str(folder))))
        except UserError as error:
            console.say(f"left out: {error}")
    return found


def _one(said: sweep.Said) -> tuple[str, str]:
    swept = said.swept
    there = (
        f"{len(said.records)} of {len(swept.points)} points have a record, {len(said.stale)} of them stale."
    )
    varied = "; ".join(f"{name} {', '.join(map(str, known))}" for name, known in said.varied.items())
    summary = fragments.plain(
        ["row", "its rule on each point's own numbers", "the points' verdicts"],
        said.summary(),
        f"What the rules say. {there}",
    )
    flips = fragments.plain(
        ["where a rule flips"],
        [[str(flip)] for flip in said.flips()] or [["nowhere between the points that are there"]],
        "Where it flips. Between neighbouring values of one parameter, all others alike.",
    )
    drawn = [
        fragments.figure(file.read_text(encoding="utf-8"), f"{file.stem}. Over the points of the sweep.")
        for file in sorted(swept.home.glob("*.svg"))
    ]
    return f"{swept.chapter}: {swept.name}", "".join([f"<p>{ui.text(varied)}</p>", summary, flips, *drawn])
