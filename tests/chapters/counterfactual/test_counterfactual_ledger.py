"""The rows of chapter 2 against the tables, typed here again from the paper, and against themselves."""

import re

import pytest

from causalnb import ledger
from causalnb.chapters.counterfactual import checks, errata
from causalnb.chapters.counterfactual.replay import measurements
from causalnb.fragments import judged
from causalnb.ledger import judge, printed_cells, read_printed
from causalnb.record import Measurement, Record
from causalnb.statistics import bounds, exact, logic

# rows Clean; FGSM, PGD, BIM of Target; FGSM, PGD, BIM of Untargeted
ROWS = ("clean", "fgsm_t", "pgd_t", "bim_t", "fgsm_u", "pgd_u", "bim_u")
TABLES = {
    "t1": "169/300 0/300 145/300 0/300 159/300 183/300 0/300",
    "t2": "65/100 11/100 8/100 3/100 25/100 27/100 20/100",
    "t3n5": "65/100 6/100 13/100 12/100 6/100 1/100 1/100",
    "t3n10": "36/100 01/100 7/100 6/100 03/100 00/100 00/300",
    "t4.fs": "1/300 0/300 0/300 0/300 0/300 0/300",
    "t4.ss": "06/300 22/300 20/300 06/100 07/100 22/300",
    "t4.gda": "01/300 00/300 01/300 06/300 05/300 05/300",
}
FIGURE_3 = {"clean": "164 182 128", "adv": "68 78 12"}


@pytest.fixture(scope="module")
def book():
    return ledger.load("counterfactual")


@pytest.fixture(scope="module")
def rows(book):
    return {row.id: row for row in book.rows}


@pytest.fixture(scope="module")
def printed(rows):
    return {id: row.printed for id, row in rows.items() if row.kind == "cell"}


def test_the_46_cells_of_four_tables_are_there_once_as_printed(book):
    expected = {
        f"{table}.{row}": text
        for table, texts in TABLES.items()
        for row, text in zip(ROWS[len(ROWS) - len(texts.split()) :], texts.split(), strict=True)
    }
    assert len(expected) == 46
    assert {one.row.id: one.row.printed for one in printed_cells(judge(book, None))} == expected


def test_the_six_numbers_of_figure_3_stand_in_the_text(rows):
    outside = {id: row.printed for id, row in rows.items() if row.kind == "cell" and not row.table}
    sizes = ("3_10", "5_20", "10_30")
    expected = {
        f"f3.{row}.{size}": text
        for row, texts in FIGURE_3.items()
        for size, text in zip(sizes, texts.split(), strict=True)
    }
    assert outside == expected and sum(row.kind == "cell" for row in rows.values()) == 52


def test_the_tables_can_be_drawn_from_the_cells_positions(book):
    places = [one.row.table for one in printed_cells(judge(book, None))]
    assert list(dict.fromkeys(place.table for place in places)) == [
        "Table 1",
        "Table 2",
        "Table 3",
        "Table 4",
    ]
    columns = {table: {p.column for p in places if p.table == table} for table in ("Table 3", "Table 4")}
    assert columns["Table 3"] == {"N = 5", "N = 10"}
    assert columns["Table 4"] == {"Feature Squeezing", "Spatial smoothing", "GDA"}


def test_a_replayed_count_has_its_rounding_as_tolerance_and_nothing_else(rows):
    for attack in ROWS[1:]:
        for table in ("t2", "t3n5", "t3n10"):
            row = rows[f"{table}.{attack}"]
            assert row.tolerance("any") == read_printed(row.printed)[1] and row.decided_by.data == "causadv"


# The rule of k to k + N - n ------------------------------------------------------------------------------


def words(book, estimates):
    """The words that measurements on the published vectors earn."""
    made = Record.model_construct(
        measurements={
            id: Measurement(estimate=one, data=("causadv",), rows=book.digests_of(id))
            for id, one in estimates.items()
        },
        profile="quick",
        parameters={},
    )
    return {one.row.id: one for one in judge(book, made)}


@pytest.mark.parametrize(
    ("row", "k", "n", "word"),
    [
        ("t2.pgd_u", 27, 100, "reproduced"),
        ("t2.pgd_u", 26, 100, "not reproduced"),
        ("t2.pgd_t", 23, 60, "not reproduced"),
        ("t2.pgd_t", 8, 60, "cannot judge"),
        ("t2.pgd_t", 0, 60, "cannot judge"),
        ("t3n10.pgd_u", 0, 100, "reproduced"),
        ("t3n5.bim_u", 0, 99, "cannot judge"),
        ("t3n5.pgd_u", 0, 100, "not reproduced"),
    ],
)
def test_a_count_of_part_of_the_images_is_judged_by_both_readings(book, row, k, n, word):
    table, _, attack = row.partition(".")
    id = f"{table}.causadv.{attack}"
    found = words(book, {f"{id}.interval": bounds(k, n, 100), f"{id}.published": exact(k / 100, n=n)})[row]
    assert found.word == word and len(found.readings) == 2
    if word == "cannot judge":
        assert "input not published" in found.reason and "would decide it" not in found.reason


def test_a_count_with_bounds_is_shown_with_them(book):
    id = "t2.causadv.pgd_t"
    found = words(book, {f"{id}.published": exact(0.23, n=60), f"{id}.interval": bounds(23, 60, 100)})[
        "t2.pgd_t"
    ]
    assert [str(part) for part in judged.ours(found)] == ["0.23", ".23, .63"]
    assert "hi" in judged.strip_of(found) and "many" not in judged.strip_of(found)


def test_what_only_our_network_measures_stands_beside_the_printed_cells(book):
    made = Record.model_construct(
        measurements={
            id: Measurement(estimate=exact(0.5), data=("cifar10",), rows=book.digests_of(id))
            for id in ("t2.cifar10.clean.R1", "t4.cifar10.fs.pgd_t", "f3.cifar10.clean.3_10.containment")
        },
        profile="laptop",
        parameters={},
    )
    found = {one.row.id: one.word for one in judge(book, made)}
    assert {found[id] for id in ("t2.clean", "t4.fs.pgd_t", "f3.clean.3_10")} == {"transferred"}


def test_what_is_not_published_or_not_said_cannot_be_judged_without_a_run(book):
    gone = {one.row.id: one.reason for one in judge(book, None) if one.row.rule.type == "fixed"}
    assert {f"t1.{row}" for row in ROWS} < set(gone)
    assert {"claim.T3.zero", "claim.T8", "claim.T16", "claim.T17", "claim.T18", "claim.superior"} < set(gone)
    assert {one.word for one in judge(book, None) if one.row.rule.type != "fixed"} == {"not run"}


# Rows and measurements -----------------------------------------------------------------------------------


def test_every_claim_t1_to_t19_has_a_row(rows):
    told = {id.split(".")[1] for id in rows if id.startswith("claim.T")}
    assert told == {f"T{n}" for n in range(1, 20)}
    assert [row for row in rows if row.startswith("figure.")] == [f"figure.{n}" for n in range(1, 5)]


def test_every_check_and_erratum_that_is_made_has_its_row_and_no_row_waits_for_none(rows, printed):
    of_vectors = {"E5", "E10", "E13", "E14", "E16", "E27"}
    made = {one.id for one in errata.by_logic(printed)}
    assert {id for id in rows if id.startswith("erratum.")} == made | {f"erratum.{id}" for id in of_vectors}
    assert {id for id in rows if id.startswith("check.")} == {f"check.{id}" for id in checks.CHECKS}


def test_no_erratum_by_logic_holds_as_printed(printed):
    found = errata.by_logic(printed)
    assert [one.id for one in found if one.holds] == [] and all(one.what for one in found)


@pytest.mark.parametrize(
    ("id", "change"),
    [
        ("erratum.E2", {"f3.clean.5_20": "120", "f3.clean.3_10": "110", "f3.adv.10_30": "80"}),
        ("erratum.E3", {"t1.bim_t": "300/300"}),
        ("erratum.E4", {"t3n10.bim_u": "00/100", "t4.ss.fgsm_u": "06/300", "t4.ss.pgd_u": "07/300"}),
        ("erratum.E28", {"t1.pgd_t": "169/300", "f3.adv.10_30": "128"}),
        ("erratum.E29", {"t4.fs.clean": "200/300"}),
        ("erratum.E30", {"f3.adv.10_30": "0"}),
    ],
)
def test_an_erratum_by_logic_would_hold_with_other_numbers(printed, id, change):
    found = {one.id: one for one in errata.by_logic({**printed, **change})}
    assert found[id].holds


def test_the_tables_by_themselves(printed, book):
    found = measurements.of_the_tables(printed)
    assert {id: round(one.value, 2) for id, one in found.items() if id.startswith("t9")} == {
        "t9.fgsm_t": -0.02,
        "t9.pgd_t": 0.49,
        "t9.fgsm_u": 0.37,
        "t9.pgd_u": 0.43,
    }
    assert found["t12"].value == pytest.approx(22 / 300) and found["t11"].value == pytest.approx(128 / 12)
    wide = measurements.of_the_tables(printed, lambda id: max(r.level for r in book.decided_by(id)))
    assert wide["t9.pgd_u"].level == pytest.approx(1 - 0.05 / 4)
    assert wide["t9.pgd_u"].low < found["t9.pgd_u"].low
    assert wide["t9.pgd_u"].value == found["t9.pgd_u"].value
    found = words(book, wide)
    assert found["claim.T9.fgsm_t"].word == "undecided" and found["claim.T9.pgd_u"].word == "reproduced"


@pytest.mark.parametrize(
    ("measurement", "decides"),
    [
        ("t2.causadv.pgd_t.interval", {"t2.pgd_t"}),
        ("t2.cifar10.pgd_t.containment", {"t2.pgd_t"}),
        ("s1.causadv.bim_u.5.published", {"claim.T1.bim_u"}),
        ("s1.causadv.pgd16_t.0.interval", {"claim.T3.pgd_t"}),
        ("s1.causadv.fgsm_u.passes.interval", {"claim.T4.fgsm_u"}),
        ("needed.causadv.n", {"claim.T1.n"}),
        ("t10.causadv.clean.published", {"claim.T10.many.clean"}),
        ("t14.causadv.pgd_t.s2", {"claim.T14.pgd_t.s2.vectors"}),
        ("t14.cifar10.pgd_t.s2.auc", {"claim.T14.pgd_t.s2", "twin.T14.pgd_t.s2"}),
        ("claim.T1.cifar10.bim_u.0", {"twin.T1.bim_u"}),
        ("claim.T2.cifar10.bim_u.0", {"claim.T2.bim_u", "twin.T2.bim_u"}),
        ("claim.T19.cifar10.pgd", {"claim.T19", "twin.T19", "figure.4"}),
        ("check.routes.vgg", {"check.routes.vgg", "claim.T15.plug"}),
        ("check.G1", {"check.G1", "figure.1"}),
        ("s1.causadv.bim_u.passes.interval", set()),
        ("normal.causadv.imagenet.clean.kurtosis", set()),
        ("needed.causadv.n.at", set()),
        ("youden.t1.pgd_u", set()),
    ],
)
def test_a_measurement_helps_to_decide_its_rows_and_no_others(book, measurement, decides):
    assert {row.id for row in book.decided_by(measurement)} == decides


def test_a_check_that_fails_makes_its_row_fail(book):
    assert words(book, {"check.G2": logic(False)})["check.G2"].word == "not reproduced"


# The file ------------------------------------------------------------------------------------------------


def test_quotes_are_a_few_words_with_their_place(rows):
    for row in rows.values():
        assert len(row.quote.replace("...", "").split()) <= 17, row.id
        assert (
            row.location and row.statement and not re.search(r"[{}]", row.statement + row.quote + row.holds)
        )


def test_errata_quote_say_what_holds_and_by_what_they_are_judged(rows):
    found = [row for row in rows.values() if row.kind == "erratum"]
    assert all(row.quote and row.holds and row.note.startswith("Judged by ") for row in found)
