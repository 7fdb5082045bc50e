"""The rows of chapter 5 against the page, transcribed here again, and against themselves."""

import re
from collections import Counter
from pathlib import Path

import pytest

from causalnb import ledger
from causalnb.ledger import judge, printed_cells
from causalnb.record import Measurement, Record
from causalnb.statistics import Estimate, logic

PAGE = (Path(__file__).parent / "page.txt").read_text(encoding="utf-8").splitlines()
TABLES = ("tables_2_1", "tables_6_1", "tables_7_1", "tables_8_1", "tables_20_1")
FIGURES = "1_1 2_1 3_1 8_1 17_1 17_2 18_1 20_1 20_2"
ABSTRACT = {"N1": "86.39", "N2": "56.25", "N3": "82.62", "N4": "+4.01", "N5": "+3.13", "N6": "+4.93"}


@pytest.fixture(scope="module")
def book():
    return ledger.load("purification")


@pytest.fixture(scope="module")
def rows(book):
    return {row.id: row for row in book.rows}


# What is printed -----------------------------------------------------------------------------------------


def test_the_five_tables_print_no_cell_and_cannot_be_judged(book):
    found = judge(book, None)
    cells = [one for one in found if one.row.kind == "cell"]
    assert printed_cells(found) == []
    assert [one.row.location for one in cells] == list(TABLES)
    assert all(one.word == "cannot judge" and "input not published" in one.reason for one in cells)


def test_the_only_printed_numbers_are_the_abstracts_and_stand_in_no_count(rows):
    printed = {id.removeprefix("control."): row.printed for id, row in rows.items() if row.printed}
    assert printed == ABSTRACT
    assert all(
        rows[f"control.{id}"].kind == "control" and rows[f"control.{id}"].unit == "%" for id in ABSTRACT
    )


def test_every_quote_stands_in_one_sentence_of_the_page(rows):
    for row in rows.values():
        assert not row.quote or any(row.quote in sentence for sentence in PAGE), row.id
        assert len(row.quote.split()) <= 17, row.id


def test_no_sentence_is_transcribed_that_no_row_quotes(rows):
    quotes = [row.quote for row in rows.values() if row.quote]
    assert [one for one in PAGE if not any(quote in one for quote in quotes)] == []


def test_all_nine_figures_have_rows(rows):
    told = [id.split(".")[1] for id in rows if id.startswith("figure.")]
    assert set(told) == set(FIGURES.split())


def test_rows_of_each_kind(rows):
    assert Counter(row.kind for row in rows.values()) == {
        "control": 78,
        "logic": 32,
        "claim": 26,
        "figure": 21,
        "remark": 20,
        "cell": 5,
        "erratum": 1,
    }


# Rules ---------------------------------------------------------------------------------------------------


def test_a_claim_that_needs_data_has_a_twin_under_the_same_rule(rows):
    claims = [row for row in rows.values() if row.kind in ("claim", "figure") and row.decided_by.data]
    assert len(claims) == 38
    for row in claims:
        twin = rows["twin." + row.id.partition(".")[2]] if row.id != "claim.C4" else None
        if twin:
            assert twin.kind == "control" and twin.ours, row.id
            assert twin.rule.relation == row.rule.relation, row.id
            assert twin.decided_by.data == row.decided_by.stand_in, row.id
            theirs = [
                p.replace(row.decided_by.data, twin.decided_by.data) for p in row.decided_by.measurements
            ]
            assert list(twin.decided_by.measurements) == theirs, row.id


def test_a_claim_about_a_training_asks_for_three_seeds(rows):
    free = {"C12.sign", "C12.style", "20_2.small", "20_2.falls"}  # of images under one trained model
    for row in rows.values():
        if row.id.startswith(("claim.", "figure.", "twin.")) and row.rule.type == "claim":
            assert row.rule.trainings == (1 if row.id.partition(".")[2] in free else 3), row.id


def test_what_an_attack_decides_waits_for_its_controls(rows):
    for id in ("twin.C1.l2", "twin.eta.stadv", "twin.C9.eta", "twin.18_1.optimum", "twin.comprehensive"):
        assert set(rows[id].controls) == {"control.planted", "control.clean", "control.large"}


def words(book, estimates, data=("shapes",), profile="laptop"):
    made = Record.model_construct(
        measurements={
            id: Measurement(estimate=one, data=data, rows=book.digests_of(id))
            for id, one in estimates.items()
        },
        profile=profile,
        parameters={},
    )
    return {one.row.id: one for one in judge(book, made)}


def over(value, half, seeds=(0, 1, 2)):
    level = 1 - 0.05 / 40
    return Estimate(value, value - half, value + half, level, "student over seeds", 64, seeds)


def test_what_our_data_give_is_transferred_for_the_paper_and_decides_the_twin(book):
    found = words(
        book, {"claim.C13.shapes.two-stage": over(-0.2, 0.1), "claim.C13.shapes.joint": over(-0.3, 0.1)}
    )
    assert (found["claim.C13"].word, found["twin.C13"].word) == ("transferred", "not reproduced")
    two = words(
        book, {"claim.C13.shapes.two-stage": over(-0.2, 0.1), "claim.C13.shapes.joint": over(0.3, 0.1)}
    )
    assert two["twin.C13"].word == "cannot judge"
    few = words(book, {"claim.C13.shapes.two-stage": over(0.2, 0.1, seeds=(0, 1))})
    assert few["twin.C13"].word == "undecided"


def test_an_attack_that_failed_to_find_what_was_planted_judges_nobody(book):
    one = {"claim.eta.shapes.l2.joint": over(-0.2, 0.1)}
    good = {
        "control.clean.shapes.joint": over(0.97, 0.01),
        "control.large.shapes": over(0.0, 0.01),
        "control.planted.shapes": over(0.99, 0.005),
    }
    assert words(book, one | good)["twin.eta.l2"].word == "not reproduced"
    bad = good | {"control.planted.shapes": over(0.5, 0.1)}
    assert words(book, one | bad)["twin.eta.l2"].word == "cannot judge"


def test_a_likelihood_that_sees_any_noise_is_not_specific(book):
    found = words(
        book,
        {
            "figure.20_2.shapes.small.two-stage": over(0.5, 0.05),
            "placebo.20_2.shapes.small.two-stage": over(0.5, 0.05),
        },
    )
    assert found["twin.20_2.small"].placebo.met == ("figure.20_2.shapes.small.two-stage",)


def test_that_the_objective_implies_disentanglement_falls_by_logic(book):
    assert words(book, {"logic.essential": logic(False)})["logic.essential"].word == "not reproduced"


# The file ------------------------------------------------------------------------------------------------


def test_every_text_is_filled_in(rows):
    for row in rows.values():
        assert row.location and row.statement
        assert not re.search(r"[{}]", row.statement + row.quote + row.holds + row.note), row.id
