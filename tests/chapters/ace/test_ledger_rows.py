"""The rows of chapter 1 against Table I, typed here again from the paper, and against themselves."""

import re

import pytest

from causalnb import ledger
from causalnb.chapters.ace.errata import ERRATA, REMARKS
from causalnb.ledger import judge, printed_cells, read_printed

# rows Clean, C&W, FGSM, PGD; columns S mean, S sd, TV mean, TV sd of MNIST, then of FashionMNIST
TABLE_1 = """
0.751 0.164 60.32 30.65 0.535 0.067 65.20 24.68
0.874 0.073 73.41 28.71 0.789 0.139 76.83 33.93
0.867 0.096 68.58 33.28 0.816 0.092 71.93 35.76
0.905 0.062 72.90 33.32 0.823 0.089 79.81 28.82
"""
SETS = ("mnist", "fashion_mnist")
ATTACKS = ("cw", "fgsm", "pgd")


@pytest.fixture(scope="module")
def book():
    return ledger.load("ace")


@pytest.fixture(scope="module")
def rows(book):
    return {row.id: row for row in book.rows}


def test_the_32_cells_of_table_1_are_there_once_as_printed(book):
    printed = TABLE_1.split()
    cells = [one.row for one in printed_cells(judge(book, None))]
    ids = [
        f"table.{data}.{row}.{column}"
        for row in ("clean", *ATTACKS)
        for data in SETS
        for column in ("S_mean", "S_std", "TV_mean", "TV_std")
    ]
    assert len(printed) == len(cells) == 32
    assert {row.id: row.printed for row in cells} == dict(zip(ids, printed, strict=True))


def test_the_table_can_be_drawn_from_the_cells_positions(book):
    places = [one.row.table for one in printed_cells(judge(book, None))]
    assert {place.table for place in places} == {"Table I"}
    assert list(dict.fromkeys(place.row for place in places)) == ["Clean", "C&W", "FGSM", "PGD"]
    assert list(dict.fromkeys((place.group, place.column) for place in places)) == [
        (group, column)
        for group in ("MNIST", "Fashion-MNIST")
        for column in ("S mean", "S sd", "TV mean", "TV sd")
    ]


def test_a_mean_takes_the_spread_printed_beside_it(rows):
    for data in SETS:
        for at in ("clean", *ATTACKS):
            for name in ("S", "TV"):
                assert (
                    rows[f"table.{data}.{at}.{name}_mean"].tol.spread
                    == read_printed(rows[f"table.{data}.{at}.{name}_std"].printed)[0]
                )


def test_every_cell_of_the_table_counts_their_ten_thousand_images_and_waits_for_our_seed_spread(book):
    for one in printed_cells(judge(book, None)):
        tol = one.row.tol
        assert (tol.n, tol.seeds, one.row.decided_by.least) == (10_000, "measured", "laptop")
        assert tol.of == ("mean" if one.row.id.endswith("_mean") else "sd")


def test_the_two_accuracies_are_printed_numbers_outside_the_table(rows):
    outside = {id: row.printed for id, row in rows.items() if row.kind == "cell" and not row.table}
    assert outside == {"accuracy.mnist": "95.23%", "accuracy.fashion_mnist": "89.32%"}
    assert all(rows[f"accuracy.{data}"].tol.n is None for data in SETS)


@pytest.mark.parametrize(
    ("measurement", "row"),
    [
        ("accuracy.mnist.momentum", "accuracy.mnist"),
        ("claim.T6.mnist.fgsm.R3.logit.true", "claim.T6.mnist.fgsm"),
        ("claim.T9b.mnist.cw.R3.logit.true", "claim.T9b.mnist.cw"),
        ("claim.T10.fashion_mnist.pgd.R3.logit.true", "claim.T10.fashion_mnist.pgd"),
        ("claim.T11.digits.R3.logit.true", "claim.T11.mnist"),
        ("claim.T5b.mnist.R1d.logit.true", "claim.T5b.mnist"),
        ("noise.T1.mnist.cw.R3.logit.true", "noise.T1.mnist.cw"),
        ("noise.T8.fashion_mnist.pgd.R3.logit.true.scaled", "noise.T8.fashion_mnist.pgd"),
        ("noise.T12.digits.fgsm.R12x2.logit.true", "noise.T12.mnist.fgsm"),
        ("noise.T10.mnist.pgd.R3.logit.true", "noise.T10.mnist.pgd"),
        ("noise.T11.digits.R3.logit.true", "noise.T11.mnist"),
        ("drawn.T5.mnist.R3.logit.true", "drawn.T5.mnist"),
        ("drawn.T5b.fashion_mnist.R3.logit.true", "drawn.T5b.fashion_mnist"),
        ("chance.T9.mnist.cw.R3.logit.true", "chance.T9.mnist.cw"),
        ("beyond.T6.mnist.pgd.R3.logit.true", "beyond.T6.mnist.pgd"),
        ("beyond.T8.digits.cw.R3.logit.true.raw", "beyond.T8.mnist.cw"),
        ("detector.mnist.R1.fgsm", "detector.mnist.fitted"),
        ("detector.mnist.R3m.pgd", "detector.mnist.unseen"),
        ("detector.digits.R7x.cw", "detector.mnist.unseen"),
        ("detector.fashion_mnist.R1.noise", "detector.fashion_mnist.noise"),
        ("detector.mnist.R1.evading.0", "detector.mnist.evading"),
        ("detector.mnist.R7x.evading.10", "detector.mnist.evading"),
        ("control.E8", "control.E8"),
        ("control.E11", "control.E11"),
        ("control.T15.learned", "control.T15.learned"),
        ("control.T15.none", "control.T15.none"),
        ("erratum.E11", "erratum.E11"),
        ("check.H1", "check.H1"),
        ("check.H2", "check.H2"),
        ("check.H3", "check.H3"),
        ("success.mnist.cw.within", "control.eps.mnist"),
        ("control.strength.fashion_mnist", "control.strength.fashion_mnist"),
        ("check.D9", "check.D9"),
        ("check.C11", "check.C11"),
        ("check.C4b", "check.C4"),
        ("check.C10e", "check.C10"),
        ("check.C1", "check.C1"),
        ("erratum.E4", "erratum.E4"),
        ("remark.E4b", "remark.E4b"),
        ("remark.E25", "remark.E25"),
    ],
)
def test_a_measurement_helps_to_decide_its_row_and_no_other(book, measurement, row):
    assert [one.id for one in book.decided_by(measurement)] == [row]


@pytest.mark.parametrize(
    ("measurement", "row"),
    [
        ("table.mnist.clean.S_mean.R3m.logit.true", "table.mnist.clean.S_mean"),
        ("table.mnist.cw.S_std.R1.probability.predicted", "table.mnist.cw.S_std"),
        ("table.mnist.cw-clipped.TV_mean.R1.probability.predicted.raw", "table.mnist.cw.TV_mean"),
        ("table.fashion_mnist.pgd.TV_std.R6.pixel.true.scaled", "table.fashion_mnist.pgd.TV_std"),
        ("table.digits.fgsm.S_mean.R4.logit.true", "table.mnist.fgsm.S_mean"),
        ("table.mnist.fgsm.S_mean.R1.logit.true.cited", "table.mnist.fgsm.S_mean"),
    ],
)
def test_a_reading_of_a_cell_helps_to_decide_the_cell_and_the_whole_table(book, measurement, row):
    assert [one.id for one in book.decided_by(measurement)] == [row, "whole.table-1"]


def test_the_paper_s_one_image_is_judged_by_the_claim_on_all(book):
    assert {row.id for row in book.decided_by("claim.T5.mnist.R3.logit.true")} == {
        "claim.T5.mnist",
        "figure.3",
    }


def test_measurements_that_no_row_asks_for_decide_nothing(book):
    for id in (
        "success.mnist.pgd.all",
        "compared.mnist.pgd.S_mean.R7.logit.true",
        "claim.T6.mnist.cw-clipped.R3.logit.true",
        "table.cifar10.clean.S_mean.R1.logit.true",
        "claim.T1.mnist",
        "noise.T4.mnist.cw.R3.logit.true",
        "beyond.T7.mnist.cw.R3.logit.true",
        "resolved.mnist.pgd.R3m.logit.true.0.01",
        "directions.beyond.T6.linf.true.rises",
        "whole.inside",
        "training.mnist.plain.1",
        "between.mnist.clean.S.R1.logit.true",
        "rows.100.logit",
        "strength.fgsm.linf.0.1.misled",
        "alike.mnist.R1-R3",
        "shapes.pixel.0.5",
    ):
        assert book.decided_by(id) == ()


def test_every_claim_t1_to_t12_has_its_parts(rows):
    parts = {"T5": [""], "T5b": [""], "T10": [".fgsm", ".pgd"], "T11": [""]}
    claims = ("T1", "T2", "T3", "T4", "T5", "T5b", "T6", "T7", "T8", "T9", "T9b", "T10", "T11", "T12")
    for n in claims:
        for data in SETS:
            for part in parts.get(n, [f".{attack}" for attack in ATTACKS]):
                row = rows[f"claim.{n}.{data}{part}"]
                assert row.rule.type == "claim" and row.rule.why and row.decided_by.data == data
    assert {id.split(".")[1] for id in rows if id.startswith("claim.")} == {*claims, "T15"}


def test_every_claim_of_a_statistic_names_its_placebo_and_two_compare_with_one_themselves(rows):
    claims = [row for row in rows.values() if row.family in ("IV-B", "I")]
    assert {row.id.split(".")[1] for row in claims if not row.placebo} == {"T4", "T9b"}
    for row in (*claims, rows["figure.3"]):
        if row.placebo:
            word, end = row.placebo.split(".")[0], row.placebo.partition(".")[2]
            wanted = {"T9": "chance", "T5": "drawn", "T5b": "drawn"}.get(end.split(".")[0], "noise")
            assert word == wanted and row.id in (f"claim.{end}", "figure.3")


def test_a_placebo_asks_what_its_claim_asks_of_the_same_data_at_the_same_level(rows):
    named = {row.placebo: row for row in rows.values() if row.placebo and row.kind == "claim"}
    assert set(named) == {row.id for row in rows.values() if row.family == "placebo"} and len(named) == 58
    for id, claim in named.items():
        placebo, by = rows[id], claim.decided_by
        assert (placebo.rule.relation, placebo.rule.than, placebo.rule.margin) == (
            claim.rule.relation,
            claim.rule.than,
            claim.rule.margin,
        )
        assert placebo.kind == "control" and placebo.level == pytest.approx(claim.level)
        assert placebo.decided_by == by.model_copy(update={"measurements": placebo.decided_by.measurements})


def test_beyond_noise_stands_beside_every_claim_on_s_and_tv(rows):
    own = {id for id, row in rows.items() if row.family == "beyond noise"}
    assert own == {f"beyond.{n}.{data}.{attack}" for n in ("T6", "T8") for data in SETS for attack in ATTACKS}
    for id in own:
        row, claim = rows[id], rows[id.replace("beyond", "claim")]
        assert (row.kind, row.rule.relation, row.rule.than) == ("control", claim.rule.relation, 0)


def test_the_probes_behind_an_erratum_and_a_remark_have_controls(rows):
    assert rows["erratum.E11"].controls == ("control.E11",)
    assert {"remark.E8", "control.E8"} <= rows.keys()
    for id in ("control.E8", "control.E11"):
        assert rows[id].kind == "control" and rows[id].ours and rows[id].decided_by.least == "quick"
    learned, none = rows["control.T15.learned"].rule, rows["control.T15.none"].rule
    assert learned.than == none.than == (-0.02, 0.02)


def test_derivation_steps_closed_forms_and_errata_are_logical_rows_at_quick(rows):
    wanted = (
        [f"check.D{i}" for i in range(1, 13)]
        + [f"check.C{i}" for i in range(1, 11)]
        + ["check.H1", "check.H2", "check.H3", "check.C11"]
    )
    assert [id for id, row in rows.items() if row.kind == "logic"] == wanted
    errata = {id: row for id, row in rows.items() if row.kind == "erratum"}
    assert set(errata) == {f"erratum.{id}" for id in ERRATA}
    assert all(row.quote and row.holds and row.location for row in errata.values())
    assert {row.decided_by.least for row in rows.values() if row.kind in ("logic", "erratum")} == {"quick"}


def test_a_remark_is_shown_with_its_check_where_it_has_one(rows):
    remarks = {id: row for id, row in rows.items() if row.kind == "remark"}
    checked = {id for id, row in remarks.items() if row.decided_by.measurements}
    assert checked == {f"remark.{id}" for id in REMARKS}
    assert remarks.keys() - checked == {"remark.E14", "remark.E27", "remark.eps"}
    assert all(row.quote and row.holds and row.rule.type == "shown" for row in remarks.values())
    assert all(rows[id].decided_by.measurements == (id,) for id in checked)


def test_table_1_does_not_rank_the_attacks_as_the_remark_on_it_says(rows):
    greatest = {
        (data, column): max(
            ("clean", *ATTACKS),
            key=lambda which: float(rows[f"table.{data}.{which}.{column}"].printed),  # noqa: B023 -- called in this turn only
        )
        for data in SETS
        for column in ("S_mean", "TV_mean")
    }
    assert greatest == {
        ("mnist", "S_mean"): "pgd",
        ("mnist", "TV_mean"): "cw",
        ("fashion_mnist", "S_mean"): "pgd",
        ("fashion_mnist", "TV_mean"): "pgd",
    }


# How much our own trainings may spread --------------------------------------------------------------------


def test_every_printed_number_has_a_cap_on_our_seed_spread(rows):
    cells = {id: row for id, row in rows.items() if row.kind == "cell"}
    assert len(cells) == 34 and all(row.cap and row.cap > 0 for row in cells.values())


@pytest.mark.parametrize(
    ("cell", "cap"),
    [
        ("table.mnist.pgd.S_mean", (0.905 - 0.751) / 2),
        ("table.fashion_mnist.clean.TV_mean", (71.93 - 65.20) / 2),  # FGSM's is the nearest
        ("table.mnist.cw.S_std", 0.15 * 0.073),
        ("accuracy.mnist", 0.15 * (100 - 95.23)),
        ("accuracy.fashion_mnist", 0.15 * (100 - 89.32)),
    ],
)
def test_it_is_half_of_what_the_cell_must_tell_apart(rows, cell, cap):
    assert rows[cell].cap == pytest.approx(cap)


# One reading for the whole table --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def spelled(book, rows):
    rule = rows["whole.table-1"].rule
    return rule.spelled(row.id for row in book.cells_of(rule))


def test_the_whole_table_has_456_readings_of_32_cells_each(spelled):
    assert len(spelled) == 456 == 2**5 * 14 // 2 + 2**3 + 2 * 2**4 * 7
    assert {len(cells) for cells in spelled.values()} == {32}
    assert len({tuple(cells.values()) for cells in spelled.values()}) == 456


def test_each_spells_a_reading_of_the_cell_and_of_the_clean_images_the_true_class(book, spelled):
    for cells in spelled.values():
        for cell, id in cells.items():
            assert ".predicted" not in id if ".clean." in cell else True
    name = "R3m, logit, predicted class, TV over the largest effect, C&W within 0.3, with momentum"
    wanted = {
        "table.mnist.clean.TV_mean": "table.mnist.clean.TV_mean.R3m.logit.true.scaled.momentum",
        "table.mnist.cw.S_std": "table.mnist.cw-clipped.S_std.R3m.logit.predicted.momentum",
        "table.fashion_mnist.pgd.TV_std": "table.fashion_mnist.pgd.TV_std.R3m.logit.predicted.scaled.momentum",
    }
    assert {cell: spelled[name][cell] for cell in wanted} == wanted
    every = {(cell, id) for cells in spelled.values() for cell, id in cells.items()}
    assert all(cell in {row.id for row in book.decided_by(id)} for cell, id in sorted(every)[::97])


def test_a_family_is_the_claims_of_one_section(book, rows):
    sizes = {"IV-B": 64, "I": 6, "beyond noise": 12}
    for family, size in sizes.items():
        section = [row for row in rows.values() if row.family == family]
        assert [row.level for row in section] == pytest.approx([1 - 0.05 / size] * size), family
    claims = [row for row in rows.values() if row.family in ("IV-B", "I")]
    assert all(row.kind == "claim" and row.id.split(".")[1].startswith("T") for row in claims)
    assert {row.family for row in rows.values()} == {*sizes, "placebo", ""}


def test_what_an_attack_decides_leans_on_controls_and_controls_on_nothing(rows):
    for row in rows.values():
        if any(f".{attack}" in row.id for attack in ATTACKS) and row.kind in ("cell", "claim"):
            assert {f"control.accuracy.{row.decided_by.data}"} < set(row.controls), row.id
        if row.kind == "control":
            assert row.ours and not row.controls and row.family in ("", "placebo", "beyond noise")


def test_what_is_not_delivered_says_so_without_a_run(book):
    gone = {one.row.id: one.reason for one in judge(book, None) if one.row.rule.type == "fixed"}
    assert set(gone) == {"claim.T15", "vae.known", "promised.defence", "promised.accuracy", "promised.models"}
    assert all(reason.startswith("not delivered by the paper: ") for reason in gone.values())


def test_without_a_run_all_else_is_not_run(book):
    assert {one.word for one in judge(book, None) if one.row.rule.type != "fixed"} == {"not run"}


def test_quotes_are_a_few_words_with_their_place(rows):
    for row in rows.values():
        assert len(row.quote.replace("...", "").split()) <= 15, row.id
        assert re.match(
            r"Abstract|I{1,3}\b|IV\b|closed form|our placebo to T\d+b?$|T\d, beyond noise$", row.location
        ), row.id
        assert row.statement and not re.search(r"[{}]", row.statement + row.quote + row.holds)


def test_patterns_are_ids_with_stars(rows):
    for row in rows.values():
        for pattern in row.decided_by.measurements:
            assert re.fullmatch(r"[a-zA-Z][\w-]*\*?(\.([\w-]+\*?|\*))*", pattern), (row.id, pattern)
            assert (
                not row.decided_by.stand_in
                or f".{row.decided_by.data}" in pattern
                or pattern.startswith("vae.")
            ), pattern


def test_parameters_that_rows_hold_fixed_exist_in_the_chapter(rows):
    parameters = pytest.importorskip("causalnb.chapters.ace.parameters").Parameters
    assert {name for row in rows.values() for name in row.decided_by.parameters} <= set(
        parameters.model_fields
    )
