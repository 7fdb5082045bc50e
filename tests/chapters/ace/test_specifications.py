"""What the paper's text allows, and what stands beside it: the list that Table I is judged by."""

import pytest

from causalnb import ledger
from causalnb.chapters.ace.measurements import cell_id
from causalnb.chapters.ace.specifications import COMPARISONS, FIXED, READINGS


@pytest.fixture(scope="module")
def book():
    return ledger.load("ace")


@pytest.mark.parametrize("name", READINGS)
def test_a_reading_has_the_words_that_allow_it_and_their_place(name):
    one = READINGS[name]
    assert 4 <= len(one.words.split()) <= 15 and one.place.startswith(("III-B", "IV-B"))
    assert one.formula and one.rows and one.baseline


@pytest.mark.parametrize("name", COMPARISONS)
def test_a_comparison_has_a_source_and_no_words_of_the_paper(name):
    one = COMPARISONS[name]
    assert name not in READINGS and not one.words and one.place and not one.place.startswith(("III", "IV"))


def test_no_two_readings_are_the_same_formula():
    every = [one.formula for one in (*READINGS.values(), *COMPARISONS.values())]
    assert len(set(every)) == len(every) and set(FIXED) < set(READINGS)


def test_the_whole_table_is_asked_of_every_reading_and_of_nothing_else(book):
    [row] = [row for row in book.rows if row.kind == "table"]
    assert {one for choices in row.rule.readings for one in choices["reading"]} == set(READINGS)


@pytest.mark.parametrize("name", COMPARISONS)
@pytest.mark.parametrize("network", ["", "cited"])
def test_a_comparison_is_measured_by_the_name_compared_and_decides_no_row(book, name, network):
    for column, scale in (("S_mean", ""), ("TV_std", "raw")):
        id = cell_id("mnist", "pgd", column, f"{name}.logit.true", scale, network)
        assert id.startswith("compared.mnist.pgd.") and book.decided_by(id) == ()
        own = cell_id("mnist", "pgd", column, "R1.logit.true", scale, network)
        assert f"table.mnist.pgd.{column}" in {row.id for row in book.decided_by(own)}


def test_no_pattern_of_the_ledger_names_a_comparison(book):
    named = {part for row in book.rows for one in row.decided_by.measurements for part in one.split(".")}
    assert not named & set(COMPARISONS)
