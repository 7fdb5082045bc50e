"""Verdicts and records as HTML: the components of the book's pages, the same in Jupyter and on the site.

Functions from verdicts and records to strings; the HTML is components.html's, and what comes from outside is
escaped. A page reads complete without script and style: cn.css gives the look, cn.js copying, placement,
filtering, choosing.
"""

from collections.abc import Sequence

from causalnb.fragments.judged import (
    claims,
    compared,
    errata,
    grid,
    remarks,
    strip,
    strokes,
    verdicts,
)
from causalnb.fragments.live import Bars, Tile, bars, explorer
from causalnb.fragments.overviews import KINDS, Part, matrix, rows, run_box
from causalnb.fragments.switches import Switched, switches
from causalnb.fragments.wording import component, device, duration, note

Lines = list[Sequence[str]]  # of a table of texts

(
    bar,
    beside,
    card,
    check,
    command,
    definition,
    figure,
    key,
    notes,
    number,
    parts,
    plain,
    shows,
    state,
    status,
    term,
    verdict,
    versions,
) = map(
    component,
    (
        "bar",
        "beside",
        "card",
        "check",
        "command",
        "definition",
        "figure",
        "key",
        "notes",
        "number",
        "parts",
        "plain",
        "shows",
        "state",
        "status",
        "term",
        "verdict",
        "versions",
    ),
)

__all__ = [
    "KINDS",
    "Bars",
    "Lines",
    "Part",
    "Switched",
    "Tile",
    "bar",
    "bars",
    "beside",
    "card",
    "check",
    "claims",
    "command",
    "compared",
    "definition",
    "device",
    "duration",
    "errata",
    "explorer",
    "figure",
    "grid",
    "key",
    "matrix",
    "note",
    "notes",
    "number",
    "parts",
    "plain",
    "remarks",
    "rows",
    "run_box",
    "shows",
    "state",
    "status",
    "strip",
    "strokes",
    "switches",
    "term",
    "verdict",
    "verdicts",
    "versions",
]
