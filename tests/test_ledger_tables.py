"""One reading for a whole table, and tolerances that can fail."""

import doctest
import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from causalnb import UserError
from causalnb.ledger import counts, judge, parse, permuted, printed_cells, ranked, tables
from causalnb.ledger.rules import TableRule
from causalnb.ledger.tables import Limits, fits_permuted
from causalnb.record import Measurement, Record
from causalnb.statistics import Estimate, exact, prediction_half_width, widening

PAPER = "paper: {short: P, title: T, authors: A, venue: V, year: 2020, doi: 10/x, claims: [a, b, c]}\nrows:\n"
LINES, COLUMNS = ("clean", "fgsm", "pgd", "cw"), tuple("abcdefgh")
VALUES = {(line, column): 10 + 30 * i + j for i, line in enumerate(LINES) for j, column in enumerate(COLUMNS)}
HALF = 0.1  # of our intervals; the printed numbers are whole, so tol is 0.5
CONTROL = """- {id: control.C, kind: control, location: ours, statement: s,
   rule: {type: claim, relation: ">", than: 0, why: w}, decided_by: {measurements: [control.C]}}
"""
REMARK = """- {id: remark.typo, kind: remark, location: IV, statement: two names for one symbol, rule: {type: shown}}
"""


def cell(line, column, printed, tol="{of: mean, n: null, seeds: null, why: w}", more=""):
    return (
        f'- {{id: t.{line}.{column}, kind: cell, location: I, statement: s, printed: "{printed}", '
        f"table: {{table: I, row: {line}, group: g, column: {column}}}, rule: {{type: cell}}, tol: {tol}, "
        f'decided_by: {{measurements: ["t.{line}.{column}.*"], data: mnist, least: laptop}}{more}}}\n'
    )


def table(readings=("R1", "R2"), cells="t.*", controls="", spelled="<cell>.<reading>"):
    return (
        f"- {{id: whole.I, kind: table, location: I, statement: s, "
        f'rule: {{type: table, cells: {{"{cells}": "{spelled}"}}, readings: [{{reading: {json.dumps(readings)}}}], '
        f"why: w}}{controls}}}\n"
    )


def book_of(values=VALUES, readings=("R1", "R2"), controls="", extra="", **how):
    return parse(
        "p",
        PAPER
        + "".join(cell(*at, x, **how) for at, x in values.items())
        + table(readings, controls=controls)
        + extra,
    )


def around(value, half=HALF, **more):
    return Estimate(
        value, value - half, value + half, **{"level": 0.95, "method": "bootstrap mean", "n": 100, **more}
    )


def record(measured, book, *, profile="laptop", data=("mnist",)):
    return Record(
        chapter="p",
        profile=profile,
        edition="1",
        parameters={},
        sections=[],
        source_digest="",
        sources={},
        environment={},
        measurements={
            id: Measurement(estimate=one, data=data, rows={row.id: row.digest for row in book.decided_by(id)})
            for id, one in measured.items()
        },
        seeds=[],
        device="cpu",
        threads=1,
        data={},
        store=[],
        started="2026-01-01",
        finished="2026-01-01",
        seconds=0,
        cpu_seconds=0,
        peak_memory=0,
    )


def measured(by_reading):
    """Estimates by measurement from {reading: {(line, column): value}}."""
    return {
        f"t.{line}.{column}.{reading}": around(value)
        for reading, values in by_reading.items()
        for (line, column), value in values.items()
    }


def moved(by, cells):
    """The printed values, the first `cells` of them moved."""
    return {at: x + (by if i < cells else 0) for i, (at, x) in enumerate(VALUES.items())}


def verdict(book, estimates, **how):
    return next(one for one in judge(book, record(estimates, book, **how)) if one.row.kind == "table")


# Limits ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("m", "excluding", "level", "spared"),
    [
        (32, 8, 0.9875, 4),
        (16, 4, 0.9875, 2),
        (8, 2, 0.9875, 1),
        (7, 2, 1 - 0.1 / 7, 0),
        (4, 1, 0.9875, 0),
        (1, 1, 0.95, 0),
    ],
)
def test_a_table_of_m_cells_has_its_limits(m, excluding, level, spared):
    assert Limits.of(m) == Limits(m, excluding, pytest.approx(level), spared)


@given(m=st.integers(1, 300))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_what_fits_cannot_be_excluded_at_any_size(m):
    limits = Limits.of(m)
    assert limits.spared < limits.excluding and m / 4 <= limits.excluding < m / 4 + 1
    assert 1 - limits.level == pytest.approx(0.05 * limits.excluding / m) and limits.spared <= m / 8


# The verdict ----------------------------------------------------------------------------------------------


def test_a_reading_that_gives_the_table_fits_and_the_list_says_how_each_does():
    found = verdict(book_of(), measured({"R1": moved(40, 32), "R2": moved(0.25, 32)}))
    assert (found.word, found.reason) == ("reproduced", "of 2 readings 1 fit: R2")
    best, worst = found.ranked
    assert (best.name, best.word, best.inside, best.outside, best.lacking) == ("R2", "fits", 32, 0, 0)
    assert best.cells == worst.cells == 32
    assert best.rms == pytest.approx(0.5)  # a quarter of a unit of a tolerance of half a unit
    assert (worst.name, worst.word, worst.inside, worst.outside) == ("R1", "excluded", 0, 32)
    assert worst.rms == pytest.approx(80.0)


@pytest.mark.parametrize(
    ("wrong", "word"),
    [(0, "reproduced"), (4, "reproduced"), (5, "undecided"), (7, "undecided"), (8, "not reproduced")],
)
def test_four_of_32_may_be_wrong_and_eight_exclude(wrong, word):
    found = verdict(book_of(readings=("R1",)), measured({"R1": moved(5, wrong)}))
    assert found.word == word and found.ranked[0].outside == wrong and found.ranked[0].inside == 32 - wrong


def test_fewer_misprints_than_exclude_leave_the_true_reading_in_the_running():
    found = verdict(book_of(), measured({"R1": moved(5, 7), "R2": moved(5, 32)}))
    assert (found.word, found.reason) == ("undecided", "of 2 readings 1 are left: R1")


def test_a_consistent_reading_is_wanted_so_two_halves_of_the_table_do_not_make_one():
    """Each cell is given by one of the two readings, none gives them all."""
    ends = moved(5, 16)
    starts = {at: x + (0 if i < 16 else 5) for i, (at, x) in enumerate(VALUES.items())}
    book = book_of()
    found = verdict(book, measured({"R1": ends, "R2": starts}))
    assert found.word == "not reproduced" and found.reason == "all 2 readings are excluded"
    verdicts = judge(book, record(measured({"R1": ends, "R2": starts}), book))
    assert {one.word for one in printed_cells(verdicts)} == {"cannot judge"}


def test_wide_intervals_leave_a_reading_and_exclude_none():
    wide = {id: around(one.value, 10.0) for id, one in measured({"R1": moved(5, 32)}).items()}
    found = verdict(book_of(readings=("R1",)), wide)
    assert (found.word, found.ranked[0].word, found.ranked[0].inside) == ("undecided", "left", 0)


def test_outside_is_meant_at_the_tables_level_for_interval_and_tolerance():
    """Just outside at 95 %, not at 98.75 %; and the same where tol is sampling error alone."""
    times = widening(0.95, 0.9875)
    for off, word in ((0.5 + 1.1 * HALF, "left"), (0.5 + 1.05 * times * HALF, "excluded")):
        assert verdict(book_of(readings=("R1",)), measured({"R1": moved(off, 32)})).ranked[0].word == word
    tol = "{of: mean, n: 100, spread: 100.0, seeds: null, why: w}"
    sure = {
        id: exact(one.value)
        for id, one in measured({"R1": moved(math.hypot(0.5, 19.6 * times) * 0.99, 32)}).items()
    }
    beyond = {
        id: exact(one.value)
        for id, one in measured({"R1": moved(math.hypot(0.5, 19.6 * times) * 1.01, 32)}).items()
    }
    book = book_of(readings=("R1",), tol=tol)
    assert [verdict(book, some).ranked[0].word for some in (sure, beyond)] == ["left", "excluded"]


# Controls -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("control", "off", "word", "reason"),
    [
        (1.0, 0, "reproduced", "of 1 readings 1 fit: R1"),
        (1.0, 5, "not reproduced", "all 1 readings are excluded"),
        (-1.0, 0, "cannot judge", "a control failed: control.C"),
        (-1.0, 5, "cannot judge", "a control failed: control.C"),
        (0.0, 0, "reproduced", "of 1 readings 1 fit: R1"),
        (0.0, 5, "undecided", "it differs, but a control has not passed: control.C is undecided"),
    ],
)
def test_what_a_failed_or_open_control_makes_of_a_table(control, off, word, reason):
    book = book_of(readings=("R1",), controls=", controls: [control.C]", extra=CONTROL)
    found = verdict(book, measured({"R1": moved(off, 32)}) | {"control.C": around(control)})
    assert (found.word, found.reason) == (word, reason)


def test_a_table_that_also_fits_with_its_rows_permuted_decides_nothing():
    """All rows are printed alike."""
    alike = {(line, column): 10 + j for line in LINES for j, column in enumerate(COLUMNS)}
    found = verdict(book_of(alike, readings=("R1",)), measured({"R1": alike}))
    assert found.word == "cannot judge" and "with its rows permuted the table is fitted by R1" in found.reason


def test_permuted_rows_ask_for_what_the_next_rows_print_and_come_round():
    cells = book_of().rows[:32]
    assert [int(row.printed) for row in permuted(cells, 1)] == [
        VALUES[LINES[(i + 1) % 4], column] for i in range(4) for column in COLUMNS
    ]
    assert permuted(cells, 4) == list(cells) and [row.id for row in permuted(cells, 2)] == [
        row.id for row in cells
    ]


@given(data=st.data())
@settings(max_examples=15, deadline=None, derandomize=True)
def test_a_reading_that_gives_a_permuted_table_is_found_by_the_control(data):
    by = data.draw(st.integers(1, 3))
    values = {(line, c): VALUES[LINES[(i + by) % 4], c] for i, line in enumerate(LINES) for c in COLUMNS}
    book = book_of(readings=("R1",))
    rule, cells = book.rows[-1].rule, book.rows[:32]
    spelled, made = rule.spelled(row.id for row in cells), measured({"R1": values})
    assert (
        fits_permuted(cells, spelled, made) == ["R1"] and ranked(cells, spelled, made)[0].word == "excluded"
    )
    assert fits_permuted(cells, spelled, measured({"R1": VALUES})) == []


# What is not there ----------------------------------------------------------------------------------------


def test_a_table_waits_for_the_profile_and_the_data_of_its_cells():
    book, all_ = book_of(), measured({"R1": VALUES, "R2": VALUES})
    assert next(one.word for one in judge(book, None) if one.row.kind == "table") == "not run"
    found = verdict(book, all_, profile="quick")
    assert found.word == "not run" and found.reason.startswith("32 of 32 cells are not judged; decided at")
    assert verdict(book, all_, data=("digits",)).word == "transferred"
    half = {id: one for id, one in all_.items() if id.split(".")[1] in ("clean", "fgsm")}
    found = verdict(book, half)
    assert (found.word, found.ranked) == ("not run", ()) and found.reason.startswith("16 of 32 cells are not")


def test_a_reading_that_was_not_tried_is_left():
    book = book_of()
    found = verdict(book, measured({"R1": moved(5, 32)}))
    assert (found.word, found.reason) == (
        "not run",
        "of 2 readings 1 are left: R2; each lacks cells or their seed spread",
    )
    assert [(one.name, one.lacking, one.rms) for one in found.ranked if one.name == "R2"] == [
        ("R2", 32, math.inf)
    ]
    found = verdict(book, measured({"R2": moved(5, 6), "R1": dict(list(moved(0, 0).items())[:20])}))
    assert found.word == "undecided" and found.reason == "of 2 readings 2 are left: R2; R1"


def test_a_reading_whose_seed_spread_is_not_measured_is_left_whatever_its_values():
    book = book_of(readings=("R1",), tol="{of: mean, n: null, why: w}")
    found = verdict(book, measured({"R1": moved(50, 32)}))
    assert (found.word, found.ranked[0].lacking) == ("not run", 32)


def test_a_single_draw_is_neither_inside_nor_outside():
    single = {
        id: Estimate(one.value, method="bootstrap mean", n=1) for id, one in measured({"R1": VALUES}).items()
    }
    assert (verdict(book_of(readings=("R1",)), single).ranked[0].inside) == 0


# Readings -------------------------------------------------------------------------------------------------


def test_readings_are_spelled_by_the_first_pattern_that_a_cell_matches():
    rule = TableRule(
        type="table",
        cells={
            "t.cw.*": "<cell><clip>.<reading>",
            "*.TV": "<cell>.<reading>.<scale>",
            "*": "<cell>.<reading>",
        },
        readings=[{"reading": ["R1", "R3"], "scale": ["raw", "scaled"], "clip": ["", "-clipped"]}],
        why="w",
    )
    found = rule.spelled(["t.pgd.S", "t.pgd.TV", "t.cw.S"])
    assert len(found) == 8 and found["R3, raw, -clipped"] == {
        "t.pgd.S": "t.pgd.S.R3",
        "t.pgd.TV": "t.pgd.TV.R3.raw",
        "t.cw.S": "t.cw.S-clipped.R3",
    }
    assert found["R1, scaled, no clip"]["t.cw.S"] == "t.cw.S.R1"


def test_a_reading_is_told_in_the_words_of_its_choices_and_two_values_never_in_the_same():
    asked = {
        "cells": {"*": "<cell>.<reading><clip>"},
        "readings": [{"reading": ["R3m"], "clip": ["", "-clipped"]}],
    }
    words = {"R3m": "against the mean image", "-clipped": "C&W held to 0.3"}
    rule = TableRule(type="table", **asked, words=words, why="w")
    assert list(rule.spelled(["t.a"])) == [
        "against the mean image, no clip",
        "against the mean image, C&W held to 0.3",
    ]
    with pytest.raises(ValueError, match="told in the same words"):
        TableRule(type="table", **asked, words=dict.fromkeys(words, "one"), why="w")
    told = table().replace("why: w", "words: {R1: the first}, why: w")
    plain, worded = (parse("p", PAPER + cell("clean", "a", 1) + one).rows[1] for one in (table(), told))
    assert plain.digest == worded.digest and worded.rule.words


def test_a_choice_that_no_cell_has_makes_no_further_readings_and_an_empty_one_no_point():
    rule = TableRule(
        type="table",
        cells={"*": "<cell>.<reading>.<scale>"},
        readings=[{"reading": ["R1"], "scale": [""], "class": ["true", "predicted"]}],
        why="w",
    )
    assert rule.spelled(["t.a"]) == {"R1, no scale, true": {"t.a": "t.a.R1"}}


def test_readings_with_the_same_estimates_in_every_cell_count_once():
    found = verdict(book_of(), measured({"R1": moved(5, 6), "R2": moved(5, 6)}))
    assert [(one.name, one.also) for one in found.ranked] == [("R1", ("R2",))]
    assert found.reason == "of 1 readings 1 are left: R1"


def test_directions_are_counted_over_the_cells_that_stand_against_another():
    values = {("clean", "a"): 10, ("clean", "b"): 20, ("pgd", "a"): 15, ("pgd", "b"): 20, ("cw", "a"): 5}
    text = "".join(
        cell(*at, x, more="" if at[0] == "clean" else f", against: t.clean.{at[1]}")
        for at, x in values.items()
    )
    book = parse("p", PAPER + text + table(("R1",)))
    cells = book.rows[:5]
    ours = values | {("pgd", "a"): 12, ("cw", "a"): 11}
    spelled = book.rows[-1].rule.spelled(row.id for row in cells)
    assert ranked(cells, spelled, measured({"R1": ours}))[0].directions == (1, 2), (
        "printed alike: no direction"
    )


def test_a_table_of_fifty_readings_and_a_long_list_names_the_first():
    names = [f"R{i}" for i in range(1, 9)]
    found = verdict(
        book_of(readings=names), measured({name: moved(5 + i / 100, 6) for i, name in enumerate(names)})
    )
    assert found.reason == "of 8 readings 8 are left: R1; R2; R3; and 5 more"


# In the ledger --------------------------------------------------------------------------------------------


def test_tables_remarks_and_controls_stand_in_no_count_and_remarks_have_no_verdict():
    book = book_of(readings=("R1",), extra=CONTROL + REMARK)
    verdicts = judge(book, record(measured({"R1": VALUES}) | {"control.C": around(1.0)}, book))
    assert [one.row.kind for one in verdicts] == ["cell"] * 32 + ["table", "control"]
    assert (
        sum(counts(verdicts).values()) == counts(verdicts)["reproduced"] == 32 == len(printed_cells(verdicts))
    )


def test_a_table_changed_after_the_run_is_flagged_and_so_is_one_whose_cell_was():
    then = record(measured({"R1": VALUES}), book_of(readings=("R1",)))

    def changed(book):
        return next(one.changed for one in judge(book, then) if one.row.kind == "table")

    assert not changed(book_of(readings=("R1",))) and changed(book_of(readings=("R1", "R2")))
    assert changed(book_of(VALUES | {("cw", "h"): 99}, readings=("R1",)))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (table(cells="u.*"), "whole.I: u.* is no cell of a printed table that has a tol"),
        (table(spelled="<cell>.<reading>.<score>"), "a reading of the table does not choose score"),
        (table().replace("kind: table", "kind: claim"), "the kind table and the rule table go together"),
        (REMARK.replace("kind: remark", "kind: claim"), "the kind remark and the rule shown go together"),
        (table(controls=", decided_by: {measurements: [t.x]}"), "unless its rule is fixed or a table's"),
        (
            CONTROL.replace("statement: s", "statement: s, against: t.clean.a"),
            "against bounds the seed spread",
        ),
    ],
)
def test_a_row_that_cannot_be_judged_so_is_refused_in_a_sentence(text, sentence):
    with pytest.raises(UserError) as error:
        parse("p", PAPER + cell("clean", "a", 10) + text)
    assert sentence in str(error.value)


# Tolerances that can fail ---------------------------------------------------------------------------------


def capped(printed, against, other=None, tol="{of: mean, n: null, why: w}", unit="", sd=0.1, k=3):
    """The cap and verdict of a cell that our estimate meets, its trainings spread by `sd`."""
    more = f', unit: "{unit}", against: {against}' if against else f', unit: "{unit}"'
    text = cell("pgd", "a", printed, tol=tol, more=more)
    text += (
        cell("clean", "a", other, tol="{of: mean, n: null, seeds: null, why: w}") if other is not None else ""
    )
    book = parse("p", PAPER + text, {"t.pgd.a.R1": {"sd": sd, "k": k}})
    value = float(printed.strip("%")) / (100 if unit == "%" else 1)
    made = judge(book, record({"t.pgd.a.R1": around(value, 1e-6)}, book))[0]
    return book.rows[0].cap, made.word, made.reason


def test_without_against_a_row_has_no_cap_and_its_digest_is_what_it_was():
    assert capped("0.700", "", "0.500", sd=50.0) == (None, "reproduced", "")
    with_ = parse(
        "p", PAPER + cell("clean", "a", "0.5") + cell("pgd", "a", "0.7", more=", against: t.clean.a")
    )
    without = parse("p", PAPER + cell("clean", "a", "0.5") + cell("pgd", "a", "0.7"))
    assert all(a.digest != b.digest for a, b in zip(with_.rows, without.rows, strict=True))
    assert "cap" not in json.dumps(sorted(without.rows[0].model_dump(exclude_none=True)))


def test_a_seed_spread_beyond_half_of_what_the_cell_must_tell_apart_leaves_it_undecided():
    wide, narrow = (0.1 / prediction_half_width(1.0, 3) * factor for factor in (1.01, 0.99))
    assert capped("0.700", "t.clean.a", "0.500", sd=wide) == (
        pytest.approx(0.1),
        "undecided",
        "our trainings spread too far to tell",
    )
    assert capped("0.700", "t.clean.a", "0.500", sd=narrow)[1] == "reproduced"
    assert capped("0.700", "t.clean.a", "0.900", sd=wide)[0] == pytest.approx(0.1)


def test_the_cap_is_never_below_rounding_and_sampling_together():
    tol = "{of: mean, n: 100, spread: 0.2, why: w}"
    least = math.hypot(0.0005, 1.96 * 0.02)
    assert capped("0.700", "t.clean.a", "0.690", tol=tol)[0] == pytest.approx(least)
    assert capped("0.700", "t.clean.a", "0.700")[0] == pytest.approx(0.0005)


def test_a_clean_row_takes_half_of_the_smallest_difference_of_those_against_it():
    text = cell("clean", "a", "0.50") + "".join(
        cell(line, "a", x, more=", against: t.clean.a") for line, x in (("fgsm", "0.90"), ("pgd", "0.40"))
    )
    book = parse("p", PAPER + text)
    assert [row.cap for row in book.rows] == [pytest.approx(x) for x in (0.05, 0.2, 0.05)]
    own = parse("p", PAPER + text.replace("}\n", ", against: printed}\n", 1))
    assert own.rows[0].cap == pytest.approx(0.15 * 0.5), "what a row says itself comes first"


@pytest.mark.parametrize(
    ("printed", "unit", "of", "cap"),
    [
        ("0.200", "", "sd", 0.15 * 0.2),
        ("-0.200", "", "mean", 0.15 * 0.2),
        ("95.00%", "%", "proportion", 0.15 * 5),
        ("30.00%", "%", "proportion", 0.15 * 30),
    ],
)
def test_against_its_own_value_a_cell_takes_fifteen_per_cent_of_it_or_of_what_is_left_to_a_hundred(
    printed, unit, of, cap
):
    factor = prediction_half_width(100.0 if unit else 1.0, 3)
    how = {"tol": f"{{of: {of}, n: null, why: w}}", "unit": unit}
    assert capped(printed, "printed", sd=1.01 * cap / factor, **how) == (
        pytest.approx(cap),
        "undecided",
        "our trainings spread too far to tell",
    )
    assert capped(printed, "printed", sd=0.99 * cap / factor, **how)[1] == "reproduced"


def test_outside_stays_outside_of_the_full_tolerance():
    """tol is not cut: a value within the wide tol is never called outside, one beyond it is."""
    text = cell("clean", "a", "0.500", tol="{of: mean, n: null, seeds: null, why: w}") + cell(
        "pgd", "a", "0.700", tol="{of: mean, n: null, why: w}", more=", against: t.clean.a"
    )
    book = parse("p", PAPER + text, {"t.pgd.a.R1": {"sd": 0.1, "k": 3}})
    tol = math.hypot(0.0005, prediction_half_width(0.1, 3))
    words = [
        judge(book, record({"t.pgd.a.R1": around(0.7 + off, 1e-6)}, book))[1].word
        for off in (0.0, 0.99 * tol, 1.01 * tol)
    ]
    assert (
        words == ["undecided", "undecided", "not reproduced"] and book.rows[1].tolerance("t.pgd.a.R1") == tol
    )


def test_a_cell_that_cannot_tell_is_not_inside_for_the_whole_table_either():
    text = "".join(
        cell(
            line,
            c,
            VALUES[line, c],
            tol="{of: mean, n: null, why: w}",
            more="" if line == "clean" else f", against: t.clean.{c}",
        )
        for line in LINES
        for c in COLUMNS
    )
    made = measured({"R1": VALUES})
    for sd, word in ((0.5, "reproduced"), (50.0, "undecided")):
        book = parse("p", PAPER + text + table(("R1",)), {id: {"sd": sd, "k": 3} for id in made})
        assert verdict(book, made).word == word


@pytest.mark.parametrize(
    ("more", "tol", "sentence"),
    [
        (", against: t.gone", "{of: mean, n: null, why: w}", "t.pgd.a is against t.gone, which is no cell"),
        (
            ", against: t.clean.a",
            "{of: sd, n: null, why: w}",
            "of a standard deviation is held against its own",
        ),
    ],
)
def test_what_a_cell_cannot_stand_against_is_refused(more, tol, sentence):
    with pytest.raises(UserError) as error:
        parse("p", PAPER + cell("clean", "a", 10) + cell("pgd", "a", 12, tol=tol, more=more))
    assert sentence in str(error.value)


@pytest.mark.parametrize("level", [0.95, 0.9875])
def test_a_tolerance_at_a_level_widens_sampling_and_seeds_and_leaves_rounding(level):
    book = parse(
        "p",
        PAPER + cell("pgd", "a", "0.700", tol="{of: mean, n: 100, spread: 0.2, why: w}"),
        {"t.pgd.a.R1": {"sd": 0.1, "k": 3}},
    )
    expected = math.hypot(0.0005, 1.96 * widening(0.95, level) * 0.02, prediction_half_width(0.1, 3, level))
    assert book.rows[0].tolerance("t.pgd.a.R1", level) == pytest.approx(expected)


def test_the_examples_are_true():
    assert doctest.testmod(tables).failed == 0
