"""How specific a claim is, and what came out in a sentence."""

import doctest

import pytest

from causalnb import UserError
from causalnb.ledger import judge, parse, patterns
from causalnb.record import Measurement, Record, data_sets
from causalnb.statistics import Estimate, simultaneous_level

PAPER = "paper: {short: P, title: T, authors: A, venue: V, year: 2020, doi: 10/x, claims: [a, b, c]}\nrows:\n"
RISES = '{type: claim, relation: ">", than: 0, margin: 0.1, why: w}'


def row(id, by, kind="claim", rule=RISES, more=""):
    return (
        f"- {{id: {id}, kind: {kind}, location: IV, statement: s, rule: {rule}, "
        f"decided_by: {{measurements: {by}, data: mnist}}{more}}}\n"
    )


CLAIM = row("claim.T6.cw", '["claim.T6.cw*.*"]', more=", placebo: noise.T6.cw, family: IV")
NOISE = row("noise.T6.cw", '["noise.T6.cw*.*"]', kind="control")


def placebo(measured, *rows, data="mnist"):
    """What the first row's verdict tells of its placebo."""
    book = parse("p", PAPER + "".join(rows or (CLAIM, NOISE)))
    record = Record(
        chapter="p",
        profile="laptop",
        edition="1",
        parameters={},
        sections=[],
        source_digest="",
        sources={},
        environment={},
        measurements={
            id: Measurement(
                estimate=Estimate(value, value - 0.05, value + 0.05, 0.95, "bootstrap mean", n=100),
                data=data_sets(data if id.startswith("noise") else "mnist"),
                rows={one.id: one.digest for one in book.decided_by(id)},
            )
            for id, value in measured.items()
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
    return judge(book, record)[0].placebo


def test_of_the_readings_that_hold_those_whose_placebo_holds_as_well_are_told():
    measured = {
        "claim.T6.cw.R1.logit": 1.0,  # holds, and so does the noise
        "noise.T6.cw.R1.logit": 0.3,
        "claim.T6.cw-clipped.R1.logit": 1.0,  # holds, and the noise stays under the margin
        "noise.T6.cw-clipped.R1.logit": 0.12,
        "claim.T6.cw.R2.logit": -1.0,  # fails: what the noise does says nothing
        "noise.T6.cw.R2.logit": 0.3,
        "claim.T6.cw.R3.logit": 1.0,  # holds, and its noise was not run
    }
    found = placebo(measured)
    assert set(found.holding) == {one for one, x in measured.items() if one.startswith("claim") and x > 0}
    assert found.met == ("claim.T6.cw.R1.logit",) and found.lacking == ("claim.T6.cw.R3.logit",)
    assert found.verdict.row.id == "noise.T6.cw"


def test_a_placebo_on_other_data_or_none_is_lacking_and_a_claim_without_one_has_none():
    one = {"claim.T6.cw.R1": 1.0, "noise.T6.cw.R1": 1.0}
    elsewhere = placebo(one, data="digits")
    assert elsewhere.met == () and elsewhere.lacking == elsewhere.holding == ("claim.T6.cw.R1",)
    assert placebo({}).holding == () and placebo({}).verdict.word == "not run"
    assert placebo(one, row("claim.T6.cw", '["claim.T6.cw*.*"]'), NOISE) is None


def test_readings_without_a_wildcard_correspond_by_their_places():
    claim = row("claim.T9", "[c.first, c.last]", more=", placebo: noise.T9")
    noise = row("noise.T9", "[n.a, n.b]", kind="control")
    measured = {"c.first": 1.0, "c.last": 1.0, "n.a": 0.0, "n.b": 1.0}
    assert placebo(measured, claim, noise).met == ("c.last",)


def test_a_placebo_is_judged_at_the_level_of_its_claims():
    families = [row(f"claim.T{i}", f"[c.T{i}]", more=", family: IV") for i in range(3)]
    levels = {one.id: one.level for one in parse("p", PAPER + "".join([CLAIM, NOISE, *families])).rows}
    assert levels["noise.T6.cw"] == levels["claim.T6.cw"] == simultaneous_level(4)


def test_which_placebo_a_claim_names_changes_no_digest():
    with_, without = (
        parse("p", PAPER + one + NOISE).rows[0]
        for one in (CLAIM, CLAIM.replace("placebo: noise.T6.cw, ", ""))
    )
    assert with_.placebo and not without.placebo and with_.digest == without.digest


@pytest.mark.parametrize(
    ("claim", "noise", "sentence"),
    [
        (CLAIM, NOISE.replace("control", "claim"), "the placebo of claim.T6.cw, noise.T6.cw, is no control"),
        (CLAIM.replace("placebo: noise.T6.cw", "placebo: noise.gone"), NOISE, "noise.gone, is no control"),
        (CLAIM, NOISE.replace('">"', '"<"'), "does not ask for the same relation, number and margin"),
        (CLAIM, NOISE.replace("than: 0", "than: 0.5"), "does not ask for the same relation"),
        (CLAIM, NOISE.replace("margin: 0.1", "margin: 0.2"), "does not ask for the same relation"),
        (CLAIM, NOISE.replace(RISES, "{type: equal}"), "does not ask for the same relation"),
        (CLAIM, NOISE.replace("cw*.*", "cw.*"), "is not decided by a measurement for each of its readings"),
        (CLAIM.replace(RISES, "{type: equal}"), NOISE, "a placebo stands beside a claim"),
    ],
)
def test_what_is_no_placebo_of_a_claim_is_refused(claim, noise, sentence):
    with pytest.raises(UserError) as error:
        parse("p", PAPER + claim + noise)
    assert sentence in str(error.value)


def test_what_came_out_is_one_sentence_of_thirty_words():
    def outcome(words):
        return parse(
            "p", PAPER.replace("claims:", f"outcome: {'word ' * words}, claims:") + CLAIM + NOISE
        ).paper.outcome

    assert len(outcome(30).split()) == 30 and parse("p", PAPER + CLAIM + NOISE).paper.outcome == ""
    with pytest.raises(UserError, match="at most 30 words, not of 31"):
        outcome(31)


def test_the_examples_are_true():
    assert doctest.testmod(patterns).failed == 0
