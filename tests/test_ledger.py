import itertools
import json
import math
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from causalnb import UserError, ledger
from causalnb.ledger import WORDS, collapse, counts, judge, parse, printed_cells, read_printed
from causalnb.ledger.patterns import Patterns
from causalnb.record import Measurement, Record, data_sets
from causalnb.statistics import Estimate, bounds, exact, logic, prediction_half_width, proportion

PAPER = (
    "paper: {short: P 2020, title: T, authors: A, venue: V, year: 2020, doi: 10/x, claims: [a, b, "
    "c]}\nrows:\n"
)
CELL = """- {id: table.clean, kind: cell, location: Table I, statement: s, printed: "0.751", rule: {type: cell},
   table: {table: Table I, row: Clean, group: MNIST, column: S}, tol: {of: mean, n: 10000, spread: 0.164, seeds: null, why: w},
   decided_by: {measurements: ["S.mnist.*"], data: mnist, least: laptop, stand_in: digits}}
"""
CLAIM = """- {id: claim.T, kind: claim, location: IV, statement: s, rule: {type: claim, relation: ">", than: 0, why: w},
   decided_by: {measurements: ["T.*"], data: mnist, least: quick}}
"""
ATTACK = (
    CLAIM.replace("claim.T,", "claim.A,").replace('"T.*"', "A").replace("}}\n", "}, controls: [control.C]}\n")
)
CONTROL = CLAIM.replace("claim.T, kind: claim", "control.C, kind: control").replace('"T.*"', "C")
LOGIC = (
    "- {id: check.D1, kind: logic, location: III, statement: s, rule: {type: equal}, decided_by: "
    "{measurements: [check.D1], least: quick}}\n"
)
REPLAY = (
    LOGIC.replace("check.D1", "replay.n")
    .replace("logic", "replay")
    .replace("statement: s", "statement: s, printed: '71'")
)
GONE = (
    "- {id: gone, kind: claim, location: I, statement: s, rule: {type: fixed, reason: not delivered by "
    "the paper, detail: no defence is run}}\n"
)

TOL = math.hypot(0.0005, 1.96 * 0.164 / 100)


def rows(*texts, spreads=None):
    return parse("p", PAPER + "".join(texts), spreads)


def around(value, half, **more):
    return Estimate(
        value,
        value - half,
        value + half,
        **{"level": 0.95, "method": "bootstrap mean", "n": 100, "seeds": (0,), **more},
    )


def record(measured, *, book=None, profile="laptop", data="mnist", parameters=None):
    """A record that holds the estimates, with the digests of the book's rows as they are."""
    digests = {id: book.digests_of(id) for id in measured} if book else {}
    return Record(
        chapter="p",
        profile=profile,
        edition="1",
        parameters=parameters or {},
        sections=[],
        source_digest="",
        sources={},
        environment={},
        measurements={
            id: Measurement(estimate=one, data=data_sets(data), rows=digests.get(id, {}))
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


def verdict(book, measured, id=None, **how):
    found = {one.row.id: one for one in judge(book, record(measured, book=book, **how))}
    return found[id or book.rows[0].id]


# Printed numbers and tolerances ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("printed", "value", "half"),
    [
        ("0.751", 0.751, 0.0005),
        ("95.23%", 95.23, 0.005),
        ("60.3", 60.3, 0.05),
        ("71", 71.0, 0.5),
        ("−0.20", -0.2, 0.005),
        ("0.10 %", 0.1, 0.005),
        ("03/100", 0.03, 0.005),
        ("169/300", 169 / 300, 0.5 / 300),
        ("00/300", 0.0, 0.5 / 300),
    ],
)
def test_the_rounding_half_width_is_read_from_the_printed_string(printed, value, half):
    assert read_printed(printed) == (value, half)


@pytest.mark.parametrize("printed", ["", "about 3", "1e-3", "0.5 ± 0.1", "7 5", "7/0", "7/", "-7/9", "7/9/9"])
def test_what_is_no_printed_number_is_refused(printed):
    with pytest.raises(ValueError, match="not a printed number"):
        read_printed(printed)


@pytest.mark.parametrize(
    ("k", "n", "word"),
    [
        (8, 100, "reproduced"),
        (9, 100, "not reproduced"),
        (9, 60, "not reproduced"),
        (8, 99, "reproduced"),
        (8, 98, "cannot judge"),
        (0, 60, "cannot judge"),
    ],
)
def test_a_count_of_part_of_the_images_is_open_for_want_of_the_rest_and_no_sample_would_decide_it(k, n, word):
    book = rows(cell("{of: proportion, n: null, seeds: null, why: w}", '"08/100"'))
    found = judge(book, record({"S.mnist.interval": bounds(k, n, 100)}, book=book))[0]
    assert found.word == word and found.readings[0].enough is None
    assert ("input not published" in found.reason) == (word == "cannot judge")


WILSON = 100 * 1.96**2 / (2016 + 1.96**2)  # its end at 0 of 2,016


def cell(tol, printed='"0.751"', unit=""):
    return CELL.replace("{of: mean, n: 10000, spread: 0.164, seeds: null, why: w}", tol).replace(
        '"0.751"', f'{printed}, unit: "{unit}"'
    )


@pytest.mark.parametrize(
    ("tol", "printed", "unit", "expected"),
    [
        ("{of: mean, n: 10000, spread: 0.164, seeds: null, why: w}", "'0.751'", "", TOL),
        (
            "{of: sd, n: 10000, seeds: null, why: w}",
            "'0.164'",
            "",
            math.hypot(0.0005, 1.96 * 0.164 / math.sqrt(19998)),
        ),
        (
            "{of: proportion, n: 512, seeds: null, why: w}",
            "'71.3%'",
            "%",
            math.hypot(0.05, 196 * math.sqrt(0.713 * 0.287 / 512)),
        ),
        ("{of: proportion, n: null, seeds: null, why: w}", "'95.23%'", "%", 0.005),
        ("{of: proportion, n: 2016, seeds: null, why: w}", "0.00%", "%", math.hypot(0.005, WILSON)),
        ("{of: proportion, n: 2016, seeds: null, why: w}", "100%", "%", math.hypot(0.5, WILSON)),
        (
            "{of: proportion, n: null, seeds: {sd: 0.01, k: 3}, why: w}",
            "'95.23%'",
            "%",
            math.hypot(0.005, 100 * prediction_half_width(0.01, 3)),
        ),
    ],
)
def test_a_tolerance_adds_rounding_their_sampling_error_and_the_seed_spread_in_quadrature(
    tol, printed, unit, expected
):
    assert rows(cell(tol, printed, unit)).rows[0].tolerance("S.mnist.R1") == pytest.approx(expected)


def test_a_measured_seed_spread_is_that_of_the_reading():
    book = rows(
        CELL.replace("seeds: null, ", ""),
        spreads={"S.mnist.R1": {"sd": 0.01, "k": 5}, "S.other": {"sd": 1, "k": 5}},
    )
    row = book.rows[0]
    assert row.tolerance("S.mnist.R1") == pytest.approx(math.hypot(TOL, prediction_half_width(0.01, 5)))
    assert row.tolerance("S.mnist.R2") is None and set(row.spreads) == {"S.mnist.R1"}


# Cells ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("off", "half", "word"),
    [
        (0.0, 0.5, "reproduced"),
        (1.0, 0.9, "reproduced"),
        (1.0, 1.0, "reproduced"),
        (-1.0, 1.0, "reproduced"),
        (0.5, 1.5, "reproduced"),
        (1.1, 0.05, "not reproduced"),
        (-3.0, 1.9, "not reproduced"),
        (1.1, 0.1, "undecided"),
        (1.1, 0.5, "undecided"),
        (0.0, 2.1, "undecided"),
        (0.9, 1.2, "undecided"),
        (3.0, 2.1, "undecided"),
    ],
)
def test_a_cell_wants_the_point_within_tol_and_the_interval_within_twice_tol(off, half, word):
    assert verdict(rows(CELL), {"S.mnist.R1": around(0.751 + off * TOL, half * TOL)}).word == word


def test_a_wide_interval_around_the_printed_value_does_not_pass():
    assert verdict(rows(CELL), {"S.mnist.R1": around(0.751, 0.2)}).word == "undecided"


def test_a_share_is_compared_with_a_printed_percentage():
    book = rows(cell("{of: proportion, n: null, seeds: {sd: 0.002, k: 5}, why: w}", "'95.23%'", "%"))
    for off, word in ((0.0, "reproduced"), (0.05, "not reproduced")):
        one = verdict(book, {"S.mnist.R1": around(0.9523 - off, 0.001, method="wilson")})
        assert one.word == word and one.readings[0].tol == pytest.approx(
            math.hypot(0.005, 100 * prediction_half_width(0.002, 5))
        )


@pytest.mark.parametrize("off", [0.0, 0.9, -0.9, 2.0, -2.5])
def test_the_n_that_is_said_to_be_enough_decides_the_cell_at_the_same_spread(off):
    book, half = rows(CELL), 2.6
    open_ = verdict(book, {"S.mnist.R1": around(0.751 + off * TOL, half * TOL, n=100)})
    enough = open_.readings[0].enough
    assert open_.word == "undecided" and f"about {enough:,} would decide it" in open_.reason
    for n, decided in ((enough + 1, True), (enough - 2, False)):
        again = verdict(book, {"S.mnist.R1": around(0.751 + off * TOL, half * TOL * math.sqrt(100 / n), n=n)})
        assert (again.word != "undecided") is decided


def test_a_cell_without_its_seed_spread_is_not_run_with_our_point_beside():
    one = verdict(rows(CELL.replace("seeds: null, ", "")), {"S.mnist.R1": around(0.751, 0.001)})
    assert (one.word, one.reason) == (
        "not run",
        "the seed spread that its tolerance needs has not been measured",
    )
    assert one.readings[0].estimate.value == 0.751 and one.readings[0].tol is None


# Claims, equalities, fixed reasons ------------------------------------------------------------------------


def claim(rule):
    return rows(CLAIM.replace('relation: ">", than: 0', rule))


@pytest.mark.parametrize(
    ("rule", "low", "high", "word"),
    [
        ('relation: ">", than: 0', 0.1, 0.3, "reproduced"),
        ('relation: ">", than: 0', 0.0, 0.3, "undecided"),
        ('relation: ">", than: 0', -0.2, 0.0, "not reproduced"),
        ('relation: ">=", than: 0', 0.0, 0.3, "reproduced"),
        ('relation: ">=", than: 0', -0.2, 0.0, "undecided"),
        ('relation: ">=", than: 0', -0.2, -0.1, "not reproduced"),
        ('relation: "<", than: 1', 0.5, 0.9, "reproduced"),
        ('relation: "<", than: 1', 0.5, 1.0, "undecided"),
        ('relation: "<", than: 1', 1.0, 1.5, "not reproduced"),
        ('relation: "<=", than: 1', 0.5, 1.0, "reproduced"),
        ('relation: "<=", than: 1', 1.0, 1.5, "undecided"),
        ('relation: "<=", than: 1', 1.1, 1.5, "not reproduced"),
        ('relation: ">", than: 0, margin: 0.1', 0.05, 0.3, "undecided"),
        ('relation: ">", than: 0, margin: 0.1', 0.02, 0.1, "not reproduced"),
        ('relation: "<", than: 1, margin: 0.1', 0.5, 0.89, "reproduced"),
        ('relation: "<", than: 1, margin: 0.1', 0.5, 0.95, "undecided"),
        ("relation: between, than: [0.9, 1.0]", 0.9, 1.0, "reproduced"),
        ("relation: between, than: [0.9, 1.0]", 0.85, 0.95, "undecided"),
        ("relation: between, than: [0.9, 1.0]", 0.2, 0.89, "not reproduced"),
        ("relation: between, than: [0.9, 1.0]", 1.1, 1.2, "not reproduced"),
    ],
)
def test_a_claim_must_hold_over_the_whole_interval_or_fail_over_it(rule, low, high, word):
    estimate = Estimate((low + high) / 2, low, high, level=0.95, method="bootstrap mean", n=100)
    assert verdict(claim(rule), {"T.R1": estimate}).word == word


@pytest.mark.parametrize(
    "rule",
    [
        'relation: ">", than: 0',
        'relation: "<", than: 0, margin: 0.05',
        "relation: between, than: [-0.1, 0.05]",
    ],
)
def test_the_n_that_is_said_to_be_enough_decides_the_claim(rule):
    open_ = verdict(claim(rule), {"T.R1": around(0.02, 0.5, n=100)})
    n = open_.readings[0].enough
    assert (
        verdict(claim(rule), {"T.R1": around(0.02, 0.5 * math.sqrt(100 / (n + 1)), n=n + 1)}).word
        != "undecided"
        == open_.word
    )
    assert (
        verdict(claim(rule), {"T.R1": around(0.02, 0.5 * math.sqrt(100 / (n - 2)), n=n - 2)}).word
        == "undecided"
    )


def test_on_the_edge_of_a_claim_no_n_is_promised():
    one = verdict(rows(CLAIM), {"T.R1": around(0.0, 0.1)})
    assert (one.word, one.reason, one.readings[0].enough) == ("undecided", "open at n = 100", None)


def test_a_single_draw_decides_nothing_and_an_exact_value_does():
    assert (
        verdict(rows(CLAIM), {"T.R1": Estimate(3.0, method="bootstrap mean", n=1)}).reason
        == "a single draw has no interval"
    )
    assert verdict(rows(CLAIM), {"T.R1": exact(3.0)}).word == "reproduced"


@pytest.mark.parametrize(
    ("seeds", "word"), [((0,), "undecided"), ((0, 1), "undecided"), ((0, 1, 2), "reproduced")]
)
def test_a_claim_about_a_training_method_rests_on_three_seeds(seeds, word):
    one = verdict(claim('relation: ">", than: 0, trainings: 3'), {"T.R1": around(1.0, 0.1, seeds=seeds)})
    assert one.word == word
    assert (
        one.reason == f"a claim about a training method rests on 3 seeds or more, this on {len(seeds)}"
    ) is (word == "undecided")


def test_a_logical_check_or_erratum_is_reproduced_only_if_it_holds():
    for text in (LOGIC, LOGIC.replace("kind: logic", "kind: erratum")):
        assert [
            verdict(rows(text), {"check.D1": logic(holds)}, profile="quick", data="").word
            for holds in (True, False)
        ] == ["reproduced", "not reproduced"]


def test_a_logical_row_refuses_a_number_that_is_not_logical():
    with pytest.raises(
        UserError, match=r"check.D1 is decided by a logical result, 1.0 or 0.0, and the record has 0.97"
    ):
        verdict(rows(LOGIC), {"check.D1": exact(0.97)}, data="")


def test_a_replay_is_the_printed_number_at_its_rounding():
    assert [verdict(rows(REPLAY), {"replay.n": exact(n)}, data="").word for n in (71, 71.5, 72)] == [
        "reproduced",
        "reproduced",
        "not reproduced",
    ]


def test_what_is_not_delivered_cannot_be_judged_whatever_was_measured():
    assert [(one.word, one.reason) for one in judge(rows(GONE), None)] == [
        ("cannot judge", "not delivered by the paper: no defence is run")
    ]


# Profiles, data, parameters -------------------------------------------------------------------------------


def test_without_a_record_or_a_measurement_a_row_is_not_run():
    assert [one.word for one in judge(rows(CELL, LOGIC), None)] == ["not run", "not run"]
    assert verdict(rows(CELL), {"other": exact(1)}).reason == "not in this record: S.mnist.*"


def test_a_smaller_profile_leaves_the_row_not_run_with_its_number_beside():
    one = verdict(rows(CELL), {"S.mnist.R1": around(0.751, 0.001)}, profile="quick")
    assert (one.word, one.reason) == ("not run", "decided at the profile laptop, this record is of quick")
    assert [(r.id, r.word) for r in one.readings] == [("S.mnist.R1", "not run")]


@pytest.mark.parametrize("profile", ["laptop", "gpu", "full"])
def test_the_least_profile_and_every_greater_one_decide(profile):
    assert verdict(rows(CELL), {"S.mnist.R1": around(0.751, 0.001)}, profile=profile).word == "reproduced"


@pytest.mark.parametrize("profile", ["quick", "full"])
def test_numbers_on_other_data_are_transferred_at_any_profile(profile):
    for id in ("S.digits.R1", "S.mnist.R1"):
        one = verdict(rows(CELL), {id: around(0.751, 0.001)}, profile=profile, data="digits")
        assert (one.word, one.reason, len(one.readings)) == (
            "transferred",
            "measured on digits, not on mnist",
            1,
        )


def test_a_number_on_the_papers_data_wins_over_one_on_its_stand_in():
    book = rows(CELL)
    measured = record({"S.mnist.R1": around(0.751, 0.001)}, book=book)
    both = measured.model_copy(
        update={
            "measurements": measured.measurements
            | record({"S.digits.R1": around(0.1, 0.001)}, data="digits").measurements
        }
    )
    assert [(one.word, len(one.readings)) for one in judge(book, both)] == [("reproduced", 1)]


def test_other_parameters_than_the_papers_transfer_the_number():
    book = rows(CELL.replace("least: laptop", "least: laptop, parameters: {eps: 0.3, rate: 0.001}"))
    measured = {"S.mnist.R1": around(0.751, 0.001)}
    assert verdict(book, measured, parameters={"eps": 0.3, "seed": 4}).word == "reproduced"
    one = verdict(book, measured, parameters={"eps": 0.1, "rate": 0.001})
    assert (one.word, one.reason) == ("transferred", "measured with eps = 0.1 for 0.3")


# Readings -------------------------------------------------------------------------------------------------


def test_readings_collapse_as_the_table_says_for_every_mixture():
    judged = ("reproduced", "not reproduced", "undecided", "cannot judge", "not run")
    for size in range(1, 6):
        for words in itertools.combinations(judged, size):
            if {"reproduced", "not reproduced"} <= set(words) or "cannot judge" in words:
                expected = "cannot judge"
            elif "not run" in words:
                expected = "not run"
            elif "undecided" in words:
                expected = "undecided"
            else:
                (expected,) = words
            for order in itertools.permutations(words):
                assert collapse(order) == collapse((*order, *order)) == expected


@pytest.mark.parametrize(
    ("values", "word", "reason"),
    [
        ((1.0, 2.0), "reproduced", "of 2 readings 2 reproduced"),
        ((-1.0, -2.0), "not reproduced", "of 2 readings 2 not reproduced"),
        (
            (1.0, 2.0, -1.0),
            "cannot judge",
            "under-specified and the readings disagree: of 3, 2 reproduced, 1 not reproduced",
        ),
        (
            (1.0, -1.0, 0.0),
            "cannot judge",
            "under-specified and the readings disagree: of 3, 1 reproduced, 1 not reproduced, 1 undecided",
        ),
        ((1.0, 0.0), "undecided", "of 2 readings 1 reproduced, 1 undecided; open at n = 100"),
        ((-1.0, 0.0), "undecided", "of 2 readings 1 not reproduced, 1 undecided; open at n = 100"),
    ],
)
def test_every_reading_is_judged_and_none_is_chosen(values, word, reason):
    one = verdict(rows(CLAIM), {f"T.R{i}": around(value, 0.5) for i, value in enumerate(values)})
    assert (one.word, one.reason, len(one.readings)) == (word, reason, len(values))


# Levels ---------------------------------------------------------------------------------------------------


def family(m):
    each = CLAIM.replace("least: quick}}", "least: quick}, family: IV}")
    return rows(*(each.replace("claim.T,", f"claim.T{i},").replace('"T.*"', f"T{i}") for i in range(m)))


def test_a_family_of_m_rows_takes_its_intervals_at_one_minus_a_twentieth_over_m():
    book = family(4)
    assert {row.level for row in book.rows} == {0.9875}
    assert rows(CLAIM).rows[0].level == 0.95


def test_an_interval_at_a_lower_level_than_the_family_asks_for_decides_nothing():
    one = verdict(family(4), {"T0": around(1.0, 0.1)})
    assert (one.word, one.reason) == ("undecided", "its interval is at 95.00%, the row asks for 98.75%")
    for level in (0.9875, 0.99):
        assert verdict(family(4), {"T0": around(1.0, 0.1, level=level)}).word == "reproduced"
    assert verdict(family(4), {"T0": logic(True)}).word == "reproduced"


# Controls -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("control", "attack", "word", "reason"),
    [
        (1.0, -1.0, "not reproduced", ""),
        (-1.0, -1.0, "cannot judge", "a control failed: control.C"),
        (0.0, -1.0, "undecided", "it differs, but a control has not passed: control.C is undecided"),
        (None, -1.0, "undecided", "it differs, but a control has not passed: control.C is not run"),
        (-1.0, 1.0, "reproduced", ""),
        (-1.0, 0.0, "undecided", "open at n = 100"),
    ],
)
def test_not_reproduced_needs_the_rows_controls_to_have_passed(control, attack, word, reason):
    measured = {"A": around(attack, 0.5)} | ({} if control is None else {"C": around(control, 0.5)})
    one = verdict(rows(ATTACK, CONTROL), measured)
    assert (one.word, one.reason) == (word, reason)


def test_verdicts_come_in_the_ledgers_order_and_controls_are_never_counted():
    verdicts = judge(rows(ATTACK, CONTROL, CELL), record({"A": around(1, 0.1), "C": around(1, 0.1)}))
    assert [one.row.id for one in verdicts] == ["claim.A", "control.C", "table.clean"]
    assert counts(verdicts) == dict.fromkeys(WORDS, 0) | {"reproduced": 1, "not run": 1}


def test_printed_cells_are_those_of_tables_alone():
    number = CELL.replace("table.clean", "accuracy").replace(
        "table: {table: Table I, row: Clean, group: MNIST, column: S}, ", ""
    )
    assert [one.row.id for one in printed_cells(judge(rows(CELL, number, CLAIM), None))] == ["table.clean"]


# Digests --------------------------------------------------------------------------------------------------


DECISIVE = [
    ('"0.751"', '"0.752"'),
    ("spread: 0.164", "spread: 0.165"),
    ("n: 10000", "n: 9999"),
    ("seeds: null, ", ""),
    ("S.mnist", "S.mnist.x"),
    ("laptop", "gpu"),
    ("data: mnist", "data: other"),
    ("stand_in: digits", "stand_in: shapes"),
    ("table.clean", "table.other"),
]
SHOWN = [
    ("statement: s", "statement: t"),
    ("why: w", "why: v"),
    ("location: Table I", "location: IV"),
    ("kind: cell", "kind: cell, note: n, pilot: true, ours: true"),
    ("column: S", "column: TV"),
]


@pytest.mark.parametrize(("text", "other"), DECISIVE)
def test_what_can_change_a_verdict_changes_the_digest(text, other):
    assert text in CELL and rows(CELL).rows[0].digest != rows(CELL.replace(text, other)).rows[0].digest


@pytest.mark.parametrize(("text", "other"), SHOWN)
def test_what_is_only_shown_does_not_change_the_digest(text, other):
    assert text in CELL and rows(CELL).rows[0].digest == rows(CELL.replace(text, other)).rows[0].digest


def test_rows_know_the_editions_that_were_seen_before_their_rules():
    earlier = PAPER.replace("year: 2020", 'year: 2020, earlier: {"0.3": {reproduced: 1}}')
    [plain], [row] = parse("p", PAPER + CELL).rows, parse("p", earlier + CELL).rows
    assert (plain.after, row.after) == ((), ("0.3",)) and plain.digest == row.digest


def test_a_seed_spread_and_a_larger_family_change_the_digest():
    assert rows(CELL).rows[0].digest != rows(CELL, spreads={"S.mnist.R1": {"sd": 0.1, "k": 3}}).rows[0].digest
    assert family(2).rows[0].digest != family(3).rows[0].digest


def test_a_rule_changed_after_the_run_is_flagged():
    book, measured = rows(CLAIM), {"T.R1": around(1.0, 0.1)}
    then = record(measured, book=book)
    assert [one.changed for one in judge(book, then)] == [False]
    later = claim('relation: ">", than: 0.5')
    assert [(one.word, one.changed) for one in judge(later, then)] == [("reproduced", True)]
    assert [one.changed for one in judge(book, record(measured))] == [True], (
        "a row that came after the run is one too"
    )


def test_a_control_changed_after_the_run_flags_the_rows_that_lean_on_it():
    then = record({"A": around(-1.0, 0.1), "C": around(1.0, 0.1)}, book=rows(ATTACK, CONTROL))
    later = rows(ATTACK, CONTROL.replace("than: 0", "than: 0.5"))
    assert [one.changed for one in judge(later, then)] == [True, True]


def test_a_measurement_belongs_to_its_rows_and_to_those_it_stands_in_for():
    book = rows(CELL, CLAIM)
    assert (
        [row.id for row in book.decided_by("S.mnist.R1")]
        == [row.id for row in book.decided_by("S.digits.R1")]
        == ["table.clean"]
    )
    assert book.decided_by("S.cifar10.R1") == ()
    assert rows(CELL.replace(", stand_in: digits", "")).decided_by("S..R1") == (), (
        "without a stand-in nothing takes its place"
    )


# The file -------------------------------------------------------------------------------------------------


def test_an_entry_with_for_stands_for_one_row_per_combination():
    text = """- for: [[{data: a, name: A}, {data: b, name: B}], [{attack: x}, {attack: y}]]
  rows:
    - {id: "one.{data}.{attack}", kind: control, location: I, statement: "{name} under {attack}", rule: {type: equal},
       decided_by: {measurements: ["m.{data}.{attack}.*"], least: quick}}
    - {id: "two.{data}.{attack}", kind: control, location: I, statement: plain, rule: {type: equal}, decided_by: {measurements: [n], least: quick}}
"""
    found = rows(text).rows
    assert [row.id for row in found] == [f"{n}.{d}.{a}" for d in "ab" for a in "xy" for n in ("one", "two")]
    assert found[2].statement == "A under y" and found[2].decided_by.measurements == ("m.a.y.*",)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (CELL + CELL, "table.clean is there twice"),
        (ATTACK, "control.C is named as a control and is not one"),
        (CLAIM + ATTACK.replace("control.C", "claim.T"), "claim.T is named as a control and is not one"),
        (CLAIM.replace("location: IV", "place: IV"), "row claim.T"),
        (
            CLAIM.replace("why: w", "why: w, whim: 3"),
            "row claim.T rule claim whim: Extra inputs are not permitted",
        ),
        (
            CLAIM.replace('decided_by: {measurements: ["T.*"], data: mnist, least: quick}', "note: n"),
            "decided_by names what decides the row",
        ),
        (
            GONE.replace("}}", "}, decided_by: {measurements: [x], least: quick}}"),
            "decided_by names what decides the row",
        ),
        (CELL.replace('"0.751"', "roughly"), "'roughly' is not a printed number"),
        (CELL.replace("spread: 0.164, ", ""), "the sampling error of a mean takes the spread"),
        (CELL.replace("{type: cell}", "{type: equal}"), "the rule cell and tol go together"),
        (CLAIM.replace("than: 0", "than: [0, 1]"), "two ends"),
        (CLAIM.replace("claim.T,", "'claim T',"), "should match pattern"),
    ],
)
def test_a_ledger_that_cannot_be_read_says_which_entry_is_wrong(text, sentence):
    with pytest.raises(UserError) as error:
        rows(text)
    assert sentence in str(error.value) and str(error.value).endswith("Mend that entry.")


def test_the_values_that_are_kept_are_the_spreads_that_load_gives_to_the_rows(tmp_path, monkeypatch):
    (tmp_path / "ledger.yaml").write_text(PAPER + CELL.replace("seeds: null, ", "") + CLAIM)
    monkeypatch.setattr("causalnb.ledger.source._spreads_of", lambda chapter: tmp_path / "seed_spread.json")
    assert ledger.load("p").rows[0].spreads == {}
    ledger.keep_spreads("p", [1, 2], {"S.mnist.R1": [1.0, 3.0], "S.mnist.gone": [1.0, 2.0]})
    measured = {
        "S.mnist.R2": [0.5, 0.5],
        "S.mnist.R1": [1.0, 2.0, 4.0],
        "S.mnist.once": [0.25],
        "S.fashion.R1": [1 / 3, 2 / 3, 1.0],
    }
    file = ledger.keep_spreads("p", range(101, 104), measured)
    assert [path.name for path in tmp_path.iterdir() if path != file] == ["ledger.yaml"]
    assert json.loads(file.read_text()) == {
        "seeds": [101, 102, 103],
        "values": measured | {"S.fashion.R1": [0.333333, 0.666667, 1.0]},
    }
    first, *lines, last = file.read_text().splitlines()
    assert (first, last) == ('{"seeds": [101, 102, 103], "values": {', "}}")
    assert [line.split('"')[1] for line in lines] == sorted(measured)
    one, other = ledger.load("p").rows
    assert {id: (spread.sd, spread.k) for id, spread in one.spreads.items()} == {
        "S.mnist.R1": (pytest.approx(math.sqrt(7 / 3)), 3),
        "S.mnist.R2": (0.0, 2),
    }
    assert other.spreads == {} and one.tolerance("S.mnist.R1") == pytest.approx(
        math.hypot(TOL, prediction_half_width(math.sqrt(7 / 3), 3))
    )


def test_a_reading_may_take_the_spread_of_the_reading_without_its_last_part():
    spreads = {"S.mnist.R1": {"sd": 0.01, "k": 5}, "S.mnist.R2.other": {"sd": 1.0, "k": 5}}
    tol = "{of: mean, n: 10000, spread: 0.164, seeds: measured, like: [other], why: w}"
    [row] = rows(cell(tol), spreads=spreads).rows
    assert row.tolerance("S.mnist.R1.other") == row.tolerance("S.mnist.R1") is not None
    assert row.tolerance("S.mnist.R1.another") is None, "only the parts that the row names"
    assert row.tolerance("S.mnist.R2.other") is None, "and then only the reading without it"
    [without] = rows(cell(tol.replace("like: [other], ", "")), spreads=spreads).rows
    assert without.tolerance("S.mnist.R1.other") is None and without.digest != row.digest


def test_a_chapter_without_a_ledger_is_named():
    with pytest.raises(UserError, match="nowhere has no ledger: causalnb/chapters/nowhere/ledger.yaml"):
        ledger.load("nowhere")


def test_a_proportion_can_decide_a_claim():
    assert verdict(claim('relation: ">=", than: 0.9'), {"T.R1": proportion(99, 100)}).word == "reproduced"


def test_a_pattern_begins_with_a_name():
    with pytest.raises(UserError, match=r"a pattern begins with a name and a point, not S\*"):
        rows(CELL.replace('"S.mnist.*"', '"S*"'))


# Which rows an id decides ---------------------------------------------------------------------------------

PIECES = st.text("ab.*?[]", max_size=6)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(owned=st.lists(st.lists(PIECES, max_size=3), max_size=4), id=st.text("ab.*[", max_size=6))
def test_patterns_are_found_by_their_beginning_exactly_as_by_trying_each(owned, id):
    tried = tuple(
        at for at, patterns in enumerate(owned) if any(fnmatchcase(id, pattern) for pattern in patterns)
    )
    found = Patterns(owned)
    assert found.of(id) == found.of(id) == tried


def test_a_published_record_is_assigned_to_rows_exactly_as_by_trying_each_pattern():
    book = ledger.load("ace")
    file = Path(__file__).parents[1] / "book" / "published" / "ace" / "laptop-cpu" / "record.json"
    patterns = {
        row.id: [p for cell in book.cells_of(row.rule) for p in cell.patterns]
        if row.kind == "table"
        else row.patterns
        for row in book.rows
    }
    for id in list(json.loads(file.read_text())["measurements"])[::400]:
        slowly = [row.id for row in book.rows if any(fnmatchcase(id, one) for one in patterns[row.id])]
        assert [row.id for row in book.decided_by(id)] == slowly
        for row in book.rows:
            own = any(fnmatchcase(id, pattern) for pattern in row.decided_by.measurements)
            assert row.decides(id) == own and (id not in row.spreads or own)
