"""Verdicts and records as HTML: the components of the book's pages, the same in Jupyter and on the site.

Pure functions to strings; what comes from outside is escaped. A page reads complete without script and style: cn.css
gives the look, cn.js copying, placement, filtering.
"""

from causalnb.fragments.elements import bar, command, device, duration, figure, key, note, notes, number, scale, state, verdict, versions
from causalnb.fragments.judged import check, claims, errata, grid, readings, strip, strokes, verdicts
from causalnb.fragments.pages import KINDS, Part, card, matrix, parts, rows, run_box, status

__all__ = ["KINDS", "Part", "bar", "card", "check", "claims", "command", "device", "duration", "errata", "figure", "grid", "key", "matrix", "note", "notes",
           "number", "parts", "readings", "rows", "run_box", "scale", "state", "status", "strip", "strokes", "verdict", "verdicts", "versions"]
