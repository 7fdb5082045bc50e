"""What the printed tables say by themselves: which cells repeat, what is above what, what falls.

Cells come in as the ledger has them, printed text by id, a percentage each. Nothing is measured here, and
what holds among printed cells decides no cell.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

Cells = Mapping[str, str]
COLUMNS = ("nat", "fgsm", "pgd", "cw")
ROBUST = COLUMNS[1:]
MAIN = {"1": "t1.mnist", "2": "t2.cifar10", "3": "t3.cifar100", "6": "t6.cifar10"}
BASELINES = {"m": "at", "t": "trades"}
LAMBDAS = ("l02", "l05", "l10", "l15", "l20")
OWN = {  # rows of later tables -> the row of Table 2 or 3 that is the same training
    "t4.at": "t2.cifar10.at.best",
    "t4.m": "t2.cifar10.m.best",
    "t4.trades": "t2.cifar10.trades.best",
    "t4.t": "t2.cifar10.t.best",
    "t5.at": "t2.cifar10.at.best",
    "t5.m-nonlinear": "t2.cifar10.m.best",
    "t5.trades": "t2.cifar10.trades.best",
    "t5.t-nonlinear": "t2.cifar10.t.best",
    **{f"t7.cifar10.{arm}": f"t2.cifar10.{arm}.best" for arm in ("at", "m", "trades", "t")},
    **{f"t7.cifar100.{arm}": f"t3.cifar100.{arm}.best" for arm in ("at", "m", "trades", "t")},
    "t8.cifar10.trades": "t2.cifar10.trades.best",
    "t8.cifar100.trades": "t3.cifar100.trades.best",
    "t8.cifar10.t": "t9.cifar10.t.l02",
    "t8.cifar100.t": "t9.cifar100.t.l05",
    **{f"t9.cifar10.{arm}": f"t2.cifar10.{arm}.best" for arm in ("at", "trades")},
    **{f"t9.cifar100.{arm}": f"t3.cifar100.{arm}.best" for arm in ("at", "trades")},
    "t9.cifar10.m.l10": "t2.cifar10.m.best",
    "t9.cifar10.t.l05": "t2.cifar10.t.best",
    "t9.cifar100.m.l05": "t3.cifar100.m.best",
    "t9.cifar100.t.l10": "t3.cifar100.t.best",
}
STATED = {"t8.cifar10.t": "t2.cifar10.t.best", "t8.cifar100.t": "t3.cifar100.t.best"}  # App. D's lambda


@dataclass(frozen=True)
class Told:
    """Whether a statement on printed cells holds, in how many of the n cells or pairs that it is about."""

    id: str
    what: str
    count: int
    n: int

    @property
    def holds(self) -> bool:
        """In all of them."""
        return self.count == self.n

    @property
    def value(self) -> float:
        """How many it is about and does not hold in."""
        return float(self.n - self.count)

    bound = 0.0


def repeats(cells: Cells) -> list[tuple[str, str, bool]]:
    """Every cell that repeats another one, that one, and whether both print the same text."""
    return [
        (f"{row}.{column}", f"{own}.{column}", cells[f"{row}.{column}"] == cells[f"{own}.{column}"])
        for row, own in OWN.items()
        for column in COLUMNS
        if f"{row}.{column}" in cells
    ]


def gain(cells: Cells, row: str, baseline: str, column: str) -> float:
    """Points by which a row is above its baseline in a column."""
    return float(cells[f"{row}.{column}"]) - float(cells[f"{baseline}.{column}"])


def lost(cells: Cells, row: str) -> float:
    """Points under PGD from the best checkpoint to the last, of a row without its checkpoint."""
    return gain(cells, f"{row}.best", f"{row}.last", "pgd")


def by_print(cells: Cells) -> list[Told]:
    """Every statement that is decided by printed cells alone, errata among them: as printed, so that an
    erratum does not hold.
    """
    return [*_repeated(cells), *_robust(cells), *_over_lambda(cells), *_checkpoints(cells), *_attacks(cells)]


def _repeated(cells: Cells) -> Iterator[Told]:
    found = repeats(cells)

    def of(id: str, what: str, begins: str, but: tuple[str, ...] = ()) -> Told:
        its = [
            same for cell, _, same in found if cell.startswith(begins) and not cell.startswith(but or "\0")
        ]
        return Told(id, what, sum(its), len(its))

    yield of("print.t4", "unstarred cells of Table 4 that are Table 2's", "t4.")
    yield of("print.t5", "cells of Table 5 that are Table 2's", "t5.")
    yield of("print.t7", "cells of Table 7, CIFAR-10, that are Table 2's", "t7.cifar10.")
    yield of("erratum.E17", "cells of Table 7, CIFAR-100, that are Table 3's", "t7.cifar100.")
    yield of(
        "print.t8",
        "cells of TRADES in Table 8 that are Table 2's or 3's",
        "t8.",
        but=tuple(f"{r}." for r in STATED),
    )
    yield of("print.t9", "cells of Table 9 that are Table 2's or 3's", "t9.")
    stated = [
        cells[f"{row}.{column}"] == cells[f"{own}.{column}"]
        for row, own in STATED.items()
        for column in COLUMNS
    ]
    yield Told("erratum.E18", "cells of CausalAdv-T in Table 8 at App. D's lambda", sum(stated), len(stated))
    agree = sum(same for *_, same in found)
    table = [id for id in cells if not id.startswith("text.")]
    as_told = (len(table), len(found), agree) == (312, 104, 92)
    yield Told("print.distinct", f"{len(table)} cells, {len(found)} repeats, {agree} agree", int(as_told), 1)


def _robust(cells: Cells) -> Iterator[Told]:
    for number, table in MAIN.items():
        pairs = [
            gain(cells, f"{table}.{arm}.{point}", f"{table}.{base}.{point}", column)
            for arm, base in BASELINES.items()
            for point in ("best", "last")
            for column in ROBUST
        ]
        yield _above(f"print.best.{number}", f"robust cells of Table {number} above their baseline", pairs)
    both = ("t2.cifar10", "t3.cifar100")
    yield _above(
        "print.further",
        "robust cells of best checkpoints in which T is above TRADES",
        [gain(cells, f"{one}.t.best", f"{one}.trades.best", column) for one in both for column in ROBUST],
    )
    yield _above(
        "print.terms",
        "robust cells of best checkpoints in which TRADES or M is above Madry",
        [
            gain(cells, f"{one}.{arm}.best", f"{one}.at.best", column)
            for one in both
            for arm in ("trades", "m")
            for column in ROBUST
        ],
    )
    yield _above(
        "print.both",
        "cells of Table 8 in which T is above TRADES",
        [
            gain(cells, f"t8.{data}.t", f"t8.{data}.trades", column)
            for data in ("cifar10", "cifar100")
            for column in COLUMNS
        ],
    )
    for id, rows in (("gmodel", ("t5.m-linear", "t5.t-linear")), ("stars", ("t4.m-root", "t4.t-root"))):
        pairs = [
            gain(cells, row, f"{row[:2]}.{base}", column)
            for row, base in zip(rows, BASELINES.values(), strict=True)
            for column in ROBUST
        ]
        yield _above(f"print.{id}", f"robust cells of {' and '.join(rows)} above their baseline", pairs)


def _over_lambda(cells: Cells) -> Iterator[Told]:
    def gains(arm: str, *sets: str) -> list[float]:
        return [
            gain(cells, f"t9.{data}.{arm}.{size}", f"t9.{data}.{BASELINES[arm]}", column)
            for data in sets
            for size in LAMBDAS
            for column in ROBUST
        ]

    yield _above(
        "print.insens.m", "robust cells of M over lambda above Madry", gains("m", "cifar10", "cifar100")
    )
    for data in ("cifar10", "cifar100"):
        yield _above(
            f"print.insens.t.{data}", f"robust cells of T over lambda above TRADES, {data}", gains("t", data)
        )


def _checkpoints(cells: Cells) -> Iterator[Told]:
    pairs = [
        (f"{table}.{arm}", f"{table}.{base}") for table in MAIN.values() for arm, base in BASELINES.items()
    ]
    losses = [lost(cells, base) - lost(cells, row) for row, base in pairs]
    yield _above("print.overfit.pairs", "pairs in which the method loses less from best to last", losses)
    yield _above(
        "print.overfit",
        "M on CIFAR-10 loses less than Madry",
        [losses[pairs.index(("t2.cifar10.m", "t2.cifar10.at"))]],
    )
    yield _above(
        "print.overfit.last",
        "pairs in which the method's last checkpoint is more robust under PGD",
        [gain(cells, f"{row}.last", f"{base}.last", "pgd") for row, base in pairs],
    )


def _attacks(cells: Cells) -> Iterator[Told]:
    m = {column: float(cells[f"t2.cifar10.m.last.{column}"]) for column in COLUMNS}
    text = {name: float(cells[f"text.{name}"]) for name in ("bb.pgd", "bb.cw", "pgd100")}
    yield _above("print.obf.a", "FGSM above PGD-20 and C&W-20", [m["fgsm"] - m["pgd"], m["fgsm"] - m["cw"]])
    white = {name: m[name.partition(".")[2]] for name in ("bb.pgd", "bb.cw")}
    yield _above(
        "print.obf.b", "images of another network above one's own", [text[n] - white[n] for n in white]
    )
    yield _above("print.obf.c", "PGD-20 above PGD-100", [m["pgd"] - text["pgd100"]])
    auto = {arm: float(cells[f"text.aa.{arm}"]) for arm in ("at", "m", "trades", "t", "he")}
    yield _above(
        "print.autoattack",
        "gains under AutoAttack above 0",
        [auto[arm] - auto[base] for arm, base in BASELINES.items()],
    )
    yield _above("print.sota.t", "T under AutoAttack above HE", [auto["t"] - auto["he"]])


def _above(id: str, what: str, gains: list[float]) -> Told:
    return Told(id, what, sum(one > 1e-9 for one in gains), len(gains))
