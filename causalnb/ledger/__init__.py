"""The ledger: what a paper prints, the rule that decides each row, and the verdict that a record earns it."""

from causalnb.ledger.patterns import matches, wild
from causalnb.ledger.rows import Ledger, Paper, Row
from causalnb.ledger.rules import CellRule, ClaimRule, TableRule, read_printed
from causalnb.ledger.source import keep_spreads, load, parse
from causalnb.ledger.tables import Limits, TableReading, permuted, ranked
from causalnb.ledger.verdicts import (
    SYMBOLS,
    WORDS,
    Placebo,
    ReadingVerdict,
    Ruling,
    Verdict,
    Word,
    collapse,
    counts,
    judge,
    printed_cells,
    ruled,
)

__all__ = [
    "SYMBOLS",
    "WORDS",
    "CellRule",
    "ClaimRule",
    "Ledger",
    "Limits",
    "Paper",
    "Placebo",
    "ReadingVerdict",
    "Row",
    "Ruling",
    "TableReading",
    "TableRule",
    "Verdict",
    "Word",
    "collapse",
    "counts",
    "judge",
    "keep_spreads",
    "load",
    "matches",
    "parse",
    "permuted",
    "printed_cells",
    "ranked",
    "read_printed",
    "ruled",
    "wild",
]
