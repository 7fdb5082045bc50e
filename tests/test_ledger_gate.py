"""A row with a gate: until that row is reproduced it cannot be judged, open or not."""

import pytest

from causalnb import UserError
from causalnb.ledger import judge, parse
from causalnb.record import Measurement, Record
from causalnb.statistics import Estimate

PAPER = "paper: {short: P, title: T, authors: A, venue: V, year: 2020, doi: 10/x, claims: [a, b, c]}\nrows:\n"
ABOVE = '{type: claim, relation: ">", than: 0, why: w}'


def row(id, more="", kind="claim"):
    return (
        f"- {{id: {id}, kind: {kind}, location: IV, statement: s, rule: {ABOVE}, "
        f"decided_by: {{measurements: [{id}.x], data: mnist}}{more}}}\n"
    )


GAIN = row("gain", kind="control")
CAUSE = row("cause", ", gate: gain")


def words(*rows, **measured):
    book = parse("p", PAPER + "".join(rows))
    found = {
        f"{id}.x": Measurement(
            estimate=Estimate(sum(ends) / 2, *ends, 0.95, "bootstrap mean", n=100),
            data=("mnist",),
            rows=book.digests_of(f"{id}.x"),
        )
        for id, ends in measured.items()
    }
    made = Record.model_construct(measurements=found, profile="quick", parameters={})
    return {one.row.id: one for one in judge(book, made)}


@pytest.mark.parametrize(
    ("gain", "cause", "word"),
    [
        ((1, 2), (1, 2), "reproduced"),
        ((1, 2), (-2, -1), "not reproduced"),
        ((1, 2), (-1, 2), "undecided"),
        ((-1, 2), (1, 2), "cannot judge"),
        ((-1, 2), (-1, 2), "cannot judge"),
        ((-2, -1), (-2, -1), "cannot judge"),
    ],
)
@pytest.mark.parametrize("order", [(GAIN, CAUSE), (CAUSE, GAIN)])
def test_a_gate_that_is_not_passed_leaves_nothing_to_judge(order, gain, cause, word):
    found = words(*order, gain=gain, cause=cause)
    assert found["cause"].word == word and len(found["cause"].readings) == 1
    if word == "cannot judge":
        assert found["cause"].reason == f"a control failed: gain is {found['gain'].word}"


def test_a_row_that_was_not_measured_is_not_run_whatever_its_gate():
    assert words(GAIN, CAUSE, gain=(-2, -1))["cause"].word == "not run"


def test_a_gate_that_was_not_run_is_not_passed():
    assert words(GAIN, CAUSE, cause=(1, 2))["cause"].reason == "a control failed: gain is not run"


def test_a_gate_is_part_of_the_rule_and_its_absence_changes_no_digest():
    with_gate, without = (
        {one.id: one.digest for one in parse("p", PAPER + GAIN + cause).rows}
        for cause in (CAUSE, row("cause"))
    )
    assert with_gate["gain"] == without["gain"] and with_gate["cause"] != without["cause"]


@pytest.mark.parametrize("rows", [CAUSE, GAIN + row("other", ", gate: gain") + row("cause", ", gate: other")])
def test_a_gate_is_a_row_without_a_gate(rows):
    with pytest.raises(UserError, match="the gate of cause, .*, is no row, or has a gate itself"):
        parse("p", PAPER + rows)
