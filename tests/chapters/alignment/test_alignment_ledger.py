"""The rows of chapter 4 against the tables, typed here again from the paper, and against themselves."""

import re
from collections import Counter

import pytest

from causalnb import ledger
from causalnb.chapters.alignment import printed
from causalnb.ledger import judge, printed_cells, read_printed
from causalnb.record import Measurement, Record
from causalnb.statistics import Estimate, logic

COLUMNS = ("nat", "fgsm", "pgd", "cw")
# Nat, FGSM, PGD, CW at the best checkpoint, then at the last; the sd behind the sign where one is printed
MAIN = {
    "t1.mnist": {
        "at": "99.48 97.82 95.75 95.92 | 99.47 96.52 94.33 94.45",
        "m": "99.53±.04 98.02±.07 96.37±.12 96.47±.17 | 99.49±.08 96.83±.10 94.67±.14 94.84±.19",
        "trades": "99.39 97.22 96.55 96.66 | 99.36 96.76 94.89 94.91",
        "t": "99.49±.06 97.82±.07 96.72±.10 96.78±.15 | 99.49±.04 97.32±.08 96.63±.13 96.69±.21",
    },
    "t2.cifar10": {
        "at": "83.56 56.69 51.92 51.00 | 84.65 54.37 46.38 46.73",
        "m": "80.42±.39 57.98±.21 54.44±.18 52.51±.25 | 83.72±.41 59.17±.24 51.82±.19 50.93±.27",
        "trades": "81.39 57.25 53.64 51.39 | 82.91 57.95 52.80 51.27",
        "t": "81.22±.27 58.97±.17 54.55±.16 52.95±.26 | 81.62±.30 58.90±.16 53.64±.14 52.70±.37",
    },
    "t3.cifar100": {
        "at": "55.98 28.39 25.15 24.04 | 55.08 25.35 21.63 21.42",
        "m": "54.07±.17 29.76±.16 27.62±.13 25.44±.15 | 54.81±.23 26.83±.19 23.34±.15 22.93±.13",
        "trades": "53.85 29.04 27.91 24.09 | 53.54 29.29 26.80 23.79",
        "t": "53.17±.39 30.66±.20 28.57±.18 25.74±.18 | 54.79±.41 30.81±.40 28.51±.35 25.32±.27",
    },
    "t6.cifar10": {
        "at": "86.63 59.48 53.65 53.58 | 86.60 57.07 49.23 49.46",
        "m": "85.24 61.22 55.17 55.68 | 85.61 60.08 51.76 52.59",
        "trades": "84.32 60.94 56.69 54.87 | 84.86 59.94 52.04 52.39",
        "t": "84.19 61.62 57.36 55.75 | 84.35 61.57 55.15 55.23",
    },
}
OTHERS = {
    "t4.at": "83.56 56.69 51.92 51.00",
    "t4.m": "80.42 57.98 54.44 52.51",
    "t4.m-root": "80.03 57.47 52.98 52.72",
    "t4.trades": "81.39 57.25 53.64 51.39",
    "t4.t": "81.22 58.97 54.55 52.95",
    "t4.t-root": "79.94 58.46 54.12 52.28",
    "t5.at": "83.56 56.69 51.92 51.00",
    "t5.m-linear": "80.68 57.18 53.36 51.41",
    "t5.m-nonlinear": "80.42 57.98 54.44 52.51",
    "t5.trades": "81.39 57.25 53.64 51.39",
    "t5.t-linear": "80.31 58.43 54.31 52.25",
    "t5.t-nonlinear": "81.22 58.97 54.55 52.95",
    "t8.cifar10.trades": "81.39 57.25 53.64 51.39",
    "t8.cifar100.trades": "53.85 29.04 27.91 24.09",
    "t8.cifar10.t": "81.72 58.26 54.06 51.90",
    "t8.cifar100.t": "53.91 30.19 28.11 24.90",
    "t9.cifar10.at": "83.56 56.69 51.92 51.00",
    "t9.cifar100.at": "55.98 28.39 25.15 24.04",
    "t9.cifar10.trades": "81.39 57.25 53.64 51.39",
    "t9.cifar100.trades": "53.85 29.04 27.91 24.09",
}
TABLE_7 = {
    "at": "56.69 51.92 51.00",
    "m": "57.98 54.44 52.51",
    "trades": "57.25 53.64 51.39",
    "t": "58.97 54.55 52.95",
}
TABLE_9 = {  # CIFAR-10, then CIFAR-100
    "m.l02": "82.17 57.13 53.28 51.80 54.68 29.85 27.32 25.88",
    "m.l05": "80.83 57.28 53.65 51.97 54.07 29.76 27.62 25.44",
    "m.l10": "80.42 57.98 54.44 52.51 52.69 29.77 27.80 26.04",
    "m.l15": "80.17 57.53 53.24 51.40 52.37 30.74 28.49 26.71",
    "m.l20": "80.35 58.29 53.16 52.71 48.40 30.07 28.52 25.97",
    "t.l02": "81.72 58.26 54.06 51.90 53.83 29.76 28.05 24.49",
    "t.l05": "81.22 58.97 54.55 52.95 53.91 30.19 28.11 24.90",
    "t.l10": "79.65 58.48 54.45 52.89 53.17 30.66 28.57 25.74",
    "t.l15": "78.09 57.42 53.66 51.38 52.22 30.49 28.17 25.48",
    "t.l20": "74.42 55.29 52.07 50.04 50.40 30.22 28.14 25.49",
}
TEXT = {
    "text.bb.pgd": "83.65",
    "text.bb.cw": "83.57",
    "text.pgd100": "48.05",
    "text.adaptive": "51.68",
    "text.aa.at": "49.58",
    "text.aa.m": "51.56",
    "text.aa.trades": "52.46",
    "text.aa.t": "54.09",
    "text.aa.he": "53.74",
    "text.gap": "50.93",
    "text.44": "44",
}


def spread_out(row, text, columns=COLUMNS):
    return {f"{row}.{column}": cell for column, cell in zip(columns, text.split(), strict=True)}


def transcribed():
    """Every printed cell by id, with its sd behind the sign where there is one."""
    found = {}
    for table, arms in MAIN.items():
        for arm, text in arms.items():
            for point, part in zip(("best", "last"), text.split("|"), strict=True):
                found |= spread_out(f"{table}.{arm}.{point}", part)
    for row, text in OTHERS.items():
        found |= spread_out(row, text)
    for arm, text in TABLE_7.items():
        for data in ("cifar10", "cifar100"):
            found |= spread_out(f"t7.{data}.{arm}", text, COLUMNS[1:])
    for row, text in TABLE_9.items():
        for data, half in (("cifar10", text.split()[:4]), ("cifar100", text.split()[4:])):
            found |= spread_out(f"t9.{data}.{row}", " ".join(half))
    return found


@pytest.fixture(scope="module")
def book():
    return ledger.load("alignment")


@pytest.fixture(scope="module")
def rows(book):
    return {row.id: row for row in book.rows}


@pytest.fixture(scope="module")
def cells(rows):
    return {id: row.printed for id, row in rows.items() if row.kind == "cell"}


def record_of(book, estimates, *, data, profile="full", **parameters):
    """A record in which the estimates were measured on a data set."""
    return Record.model_construct(
        measurements={
            id: Measurement(estimate=one, data=data and (data,), rows=book.digests_of(id))
            for id, one in estimates.items()
        },
        profile=profile,
        parameters=parameters,
    )


def judged(book, estimates, **how):
    return {one.row.id: one for one in judge(book, record_of(book, estimates, **how))}


def points(low, high, seeds=5):
    return Estimate((low + high) / 2, low, high, 0.999, "student over seeds", 1000, tuple(range(seeds)))


# Cells ----------------------------------------------------------------------------------------------------


def test_the_312_cells_of_eight_tables_are_there_once_as_printed(book):
    expected = {id: text.partition("±")[0] for id, text in transcribed().items()}
    found = {one.row.id: one.row.printed for one in printed_cells(judge(book, None))}
    assert len(expected) == 312 and found == expected


def test_each_table_has_as_many_cells_as_are_printed(book):
    counted = Counter(one.row.table.table for one in printed_cells(judge(book, None)))
    sizes = {1: 32, 2: 32, 3: 32, 4: 24, 5: 24, 6: 32, 7: 24, 8: 16, 9: 96}
    assert counted == {f"Table {number}": size for number, size in sizes.items()}


def test_the_text_has_eleven_numbers_more(cells):
    assert {id: text for id, text in cells.items() if id.startswith("text.")} == TEXT
    assert len(cells) == 323


def test_the_48_printed_sds_are_the_seed_spread_of_their_cells(rows):
    printed_sd = {id: text.partition("±")[2] for id, text in transcribed().items() if "±" in text}
    assert len(printed_sd) == 48
    for id, sd in printed_sd.items():
        spread = rows[id].tol.seeds
        assert spread.k == 5 and 100 * spread.sd == pytest.approx(float(sd))


def test_a_repeated_cell_is_held_to_the_sd_of_the_row_that_it_repeats(rows):
    for row, own in printed.OWN.items():
        for column in COLUMNS:
            cell, first = rows.get(f"{row}.{column}"), rows.get(f"{own}.{column}")
            if cell is not None and cell.tol and not row.startswith("t8"):
                assert cell.tol.seeds == first.tol.seeds, row
                assert cell.decided_by.measurements == first.decided_by.measurements, row


def test_208_of_the_312_cells_are_measurements_of_their_own(book):
    found = printed_cells(judge(book, None))
    by = {
        one.row.decided_by.measurements for one in found if not one.row.id.startswith(("t7.cifar100", "t8."))
    }
    assert len(by) == 208


def test_the_cifar_100_half_of_table_7_cannot_be_judged(rows):
    half = [row for id, row in rows.items() if id.startswith("t7.cifar100.")]
    assert len(half) == 12 and {row.rule.reason for row in half} == {"impossible as printed"}


def test_tables_2_and_5_are_held_to_their_own_g(book):
    def decides(id):
        return {row.id for row in book.decided_by(id) if row.kind == "cell"}

    assert decides("t2.cifar10.m.best.pgd.text") == {"t5.m-linear.pgd"}
    same = {
        "t2.cifar10.m.best.pgd",
        "t4.m.pgd",
        "t5.m-nonlinear.pgd",
        "t7.cifar10.m.pgd",
        "t9.cifar10.m.l10.pgd",
    }
    assert decides("t2.cifar10.m.best.pgd.nonlinear") == decides("t2.cifar10.m.best.pgd.code") == same
    assert decides("t1.mnist.m.best.pgd.text") == {"t1.mnist.m.best.pgd"}


def test_a_method_is_held_against_its_baseline_and_a_tolerance_can_fail(rows):
    assert rows["t2.cifar10.m.best.pgd"].against == "t2.cifar10.at.best.pgd"
    assert rows["t2.cifar10.t.last.cw"].against == "t2.cifar10.trades.last.cw"
    for id, row in rows.items():
        if row.kind == "cell" and row.tol and row.table and not id.startswith("t7"):
            assert row.cap is not None and row.cap < 5, id


def test_no_cell_is_judged_by_pooled_images_a_short_training_or_another_network(book):
    one = Estimate(0.5192, 0.51, 0.53, 0.95, "wilson", 10_000, (0,))
    pooled = judged(book, {"t2.cifar16.at.best.pgd": one}, data="cifar16", profile="laptop")
    assert pooled["t2.cifar10.at.best.pgd"].word == "transferred"
    same = {"t2.cifar10.at.best.pgd": one}
    for network, recipe in (("cnn16", "paper"), ("resnet18", "short")):
        found = judged(book, same, data="cifar10", network=network, recipe=recipe)
        assert found["t2.cifar10.at.best.pgd"].word == "transferred"
    judged_at_full = judged(book, same, data="cifar10", network="resnet18", recipe="paper")
    assert "seed spread" in judged_at_full["t2.cifar10.at.best.pgd"].reason


def test_a_whole_table_has_six_readings_and_table_2_three(rows):
    for number, n in ((1, 6), (2, 3), (3, 6), (6, 6)):
        rule = rows[f"whole.table-{number}"].rule
        head = next(iter(rule.cells)).removesuffix(".m.*")
        spelled = rule.spelled([f"{head}.m.best.pgd", f"{head}.at.best.pgd"])
        assert len(spelled) == n
        assert {ids[f"{head}.at.best.pgd"] for ids in spelled.values()} == {f"{head}.at.best.pgd"}


# Claims ---------------------------------------------------------------------------------------------------


def causal(book, gain, over):
    estimates = {"gain.cifar16.m.pgd": gain, "over.cifar16.hh.pgd": over}
    return judged(book, estimates, data="cifar16", profile="laptop")["twin.causal.cifar16.hh"]


@pytest.mark.parametrize(
    ("gain", "over", "word"),
    [
        ((0.5, 2.0), (0.6, 1.4), "reproduced"),
        ((0.5, 2.0), (-0.4, 0.4), "not reproduced"),
        ((0.5, 2.0), (0.2, 1.4), "undecided"),
        ((-0.1, 2.0), (0.6, 1.4), "cannot judge"),
        ((-0.1, 2.0), (0.2, 1.4), "cannot judge"),
        ((-2.0, -0.1), (-0.4, 0.4), "cannot judge"),
    ],
)
def test_without_a_gain_nobody_can_say_what_it_comes_from(book, gain, over, word):
    controls = {
        "control.planted.cifar16": Estimate(1.0, 0.95, 1.0, 0.999, "wilson", 100),
        "control.learned.cifar16": Estimate(0.3, 0.28, 0.32, 0.999, "student over seeds", 100, (0, 1, 2)),
    }
    estimates = {"gain.cifar16.m.pgd": points(*gain), "over.cifar16.hh.pgd": points(*over)} | controls
    found = judged(book, estimates, data="cifar16", profile="laptop")["twin.causal.cifar16.hh"]
    assert found.word == word
    if word == "cannot judge":
        assert found.reason.startswith("a control failed: twin.gain.cifar16.m.pgd is ")


def test_two_seeds_decide_no_claim_on_a_training_method(book):
    found = judged(book, {"gain.mnist14.m.pgd": points(1, 2, seeds=2)}, data="mnist14", profile="laptop")
    assert found["twin.gain.mnist14.m.pgd"].word == "undecided"
    assert "3 seeds" in found["twin.gain.mnist14.m.pgd"].reason


def test_small_scale_leaves_the_papers_causal_claim_transferred(book):
    estimates = {"over.cifar16.aux.pgd": points(1, 2), "gain.cifar16.m.pgd": points(1, 2)}
    found = judged(book, estimates, data="cifar16", profile="laptop")
    assert found["claim.causal.aux"].word == "transferred"


def test_families_set_the_levels_of_their_intervals(rows):
    assert rows["twin.gain.mnist14.m.pgd"].level == pytest.approx(1 - 0.05 / 2)
    assert rows["claim.gain.t.pgd"].level == pytest.approx(1 - 0.05 / 2)
    assert {rows[f"claim.causal.{by}"].level for by in ("hh", "aux", "content", "random")} == {1 - 0.05 / 4}


def test_each_claim_on_training_has_a_twin_at_our_scale(rows):
    for by in ("hh", "aux", "content", "random"):
        assert {f"claim.causal.{by}", f"twin.causal.mnist14.{by}", f"twin.causal.cifar16.{by}"} <= set(rows)
    for arm in ("m", "t"):
        for column in COLUMNS[1:]:
            assert {f"claim.gain.{arm}.{column}", f"twin.gain.cifar16.{arm}.{column}"} <= set(rows)
    assert all(
        rows[id].ours and rows[id].kind == "control" for id in rows if id.startswith(("twin.", "ours."))
    )


# What the printed cells say by themselves -----------------------------------------------------------------


def test_every_statement_on_printed_cells_has_its_row_and_no_row_waits_for_none(book, rows, cells):
    told = {one.id: one for one in printed.by_print(cells)}
    patterns = {pattern for row in rows.values() for pattern in row.decided_by.measurements}
    assert {pattern for pattern in patterns if pattern.startswith("print.")} | {
        "erratum.E17",
        "erratum.E18",
    } == set(told)
    assert {id for id, one in told.items() if not one.holds} == {
        "erratum.E17",
        "erratum.E18",
        "print.insens.t.cifar10",
        "print.overfit.pairs",
    }


def test_counts_behind_the_statements(cells):
    told = {one.id: (one.count, one.n) for one in printed.by_print(cells)}
    assert told["print.insens.m"] == (30, 30) and told["print.insens.t.cifar10"] == (11, 15)
    assert told["print.overfit.pairs"] == (5, 8) and told["print.overfit.last"] == (8, 8)
    assert sum(told[f"print.best.{n}"][0] for n in (1, 2, 3)) == 36 and told["print.best.6"] == (12, 12)
    assert told["erratum.E17"] == (0, 12) and told["erratum.E18"] == (0, 8)


@pytest.mark.parametrize(
    ("id", "change"),
    [
        ("print.t4", {"t4.m.pgd": "54.45"}),
        ("print.t5", {"t5.at.cw": "51.01"}),
        ("print.t7", {"t7.cifar10.t.fgsm": "58.79"}),
        ("print.t8", {"t8.cifar100.trades.nat": "53.58"}),
        ("print.t9", {"t9.cifar100.t.l10.cw": "25.47"}),
        ("print.best.1", {"t1.mnist.t.best.cw": "96.66"}),
        ("print.both", {"t8.cifar10.t.nat": "81.22"}),
        ("print.insens.m", {"t9.cifar100.m.l02.pgd": "25.15"}),
        ("print.overfit", {"t2.cifar10.m.last.pgd": "48.00"}),
        ("print.obf.c", {"text.pgd100": "52.00"}),
        ("print.autoattack", {"text.aa.t": "52.00"}),
    ],
)
def test_a_statement_on_printed_cells_fails_with_other_numbers(cells, id, change):
    told = {one.id: one.holds for one in printed.by_print({**cells, **change})}
    assert told[id] is False


def test_an_erratum_by_print_would_hold_with_the_right_numbers(cells):
    right = {
        f"t7.cifar100.{arm}.{column}": cells[f"t3.cifar100.{arm}.best.{column}"]
        for arm in TABLE_7
        for column in COLUMNS[1:]
    }
    stated = {
        f"{row}.{column}": cells[f"{own}.{column}"]
        for row, own in printed.STATED.items()
        for column in COLUMNS
    }
    told = {one.id: one.holds for one in printed.by_print({**cells, **right, **stated})}
    assert told["erratum.E17"] and told["erratum.E18"]


def test_points_lost_from_best_to_last(cells):
    gaps = {
        row: round(printed.lost(cells, row), 2) for row in ("t2.cifar10.at", "t2.cifar10.m", "t3.cifar100.t")
    }
    assert gaps == {"t2.cifar10.at": 5.54, "t2.cifar10.m": 2.62, "t3.cifar100.t": 0.06}


# The file -------------------------------------------------------------------------------------------------


def test_statements_are_filled_in_and_quotes_are_a_few_words(rows):
    for row in rows.values():
        texts = row.statement + row.quote + row.holds + row.location + row.note
        assert not re.search(r"[{}]", texts), row.id
        assert len(row.quote.split()) <= 17, row.id
    assert all(row.quote and row.holds for row in rows.values() if row.kind == "erratum")
    assert {id for id in rows if id.startswith("erratum.")} == {
        f"erratum.{id}" for id in ("E5", "E6", "E7", "E9", "E14", "E17", "E18")
    }


def test_every_printed_number_can_be_read(cells):
    assert all(0 < read_printed(text)[0] < 100 for text in cells.values())


def test_a_check_that_fails_makes_its_row_fail(book):
    assert judged(book, {"check.D5": logic(False)}, data=())["check.D5"].word == "not reproduced"
