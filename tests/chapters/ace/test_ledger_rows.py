"""The rows of chapter 1 against Table I, typed here again from the paper, and against themselves."""

import re
from importlib.resources import files

import pytest
import yaml

from causalnb import ledger
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
        ("table.mnist.clean.S_mean.R3m.logit.true", "table.mnist.clean.S_mean"),
        ("table.mnist.cw.S_std.R1.probability.predicted", "table.mnist.cw.S_std"),
        ("table.mnist.cw-clipped.TV_mean.R1.probability.predicted.raw", "table.mnist.cw.TV_mean"),
        ("table.fashion_mnist.pgd.TV_std.R6.pixel.true.scaled", "table.fashion_mnist.pgd.TV_std"),
        ("table.digits.fgsm.S_mean.R7x.logit.true", "table.mnist.fgsm.S_mean"),
        ("accuracy.mnist.momentum", "accuracy.mnist"),
        ("claim.T6.mnist.fgsm.R3.logit.true", "claim.T6.mnist.fgsm"),
        ("claim.T6.mnist.cw-clipped.R3.logit.true", "claim.T6.mnist.cw"),
        ("claim.T10.fashion_mnist.pgd.R3.logit.true", "claim.T10.fashion_mnist.pgd"),
        ("claim.T11.digits.R3.logit.true", "claim.T11.mnist"),
        ("placebo.T1.mnist.cw.R3.logit.true", "placebo.T1.mnist.cw"),
        ("placebo.T8.fashion_mnist.pgd.R3.logit.true.scaled", "placebo.T8.fashion_mnist.pgd"),
        ("placebo.T12.digits.fgsm.R12x2.logit.true", "placebo.T12.mnist.fgsm"),
        ("placebo.T5.mnist.R3.logit.true", "placebo.T5.mnist"),
        ("placebo.T9.mnist.cw-clipped.R3.logit.true", "placebo.T9.mnist.cw"),
        ("placebo.T10.mnist.R3.logit.true", "placebo.T10.mnist"),
        ("placebo.T11.digits.R3.logit.true", "placebo.T11.mnist"),
        ("detector.mnist.R1.fgsm", "detector.mnist.fitted"),
        ("detector.mnist.R3m.pgd", "detector.mnist.unseen"),
        ("detector.digits.R7x.cw", "detector.mnist.unseen"),
        ("detector.fashion_mnist.R1.noise", "detector.fashion_mnist.noise"),
        ("detector.mnist.R1.evading.0", "detector.mnist.evading"),
        ("detector.mnist.R7x.evading.10", "detector.mnist.evading"),
        ("control.T13", "control.T13"),
        ("control.T14", "control.T14"),
        ("control.T15", "control.T15"),
        ("claim.T14", "claim.T14"),
        ("erratum.E11", "erratum.E11"),
        ("check.H1", "check.H1"),
        ("check.H2", "check.H2"),
        ("check.H3", "check.H3"),
        ("success.mnist.cw.within", "eps.mnist"),
        ("control.strength.fashion_mnist", "control.strength.fashion_mnist"),
        ("check.D9", "check.D9"),
        ("check.C11", "check.C11"),
        ("check.C4b", "check.C4"),
        ("check.C10e", "check.C10"),
        ("check.C1", "check.C1"),
        ("erratum.E4", "erratum.E4"),
        ("erratum.E4b", "erratum.E4b"),
        ("order.S.mnist.cw-pgd.clipped.R1.logit.true", "order.S.mnist.cw-pgd"),
        ("claim.T15.shapes", "claim.T15.shapes"),
    ],
)
def test_a_measurement_helps_to_decide_its_row_and_no_other(book, measurement, row):
    assert [one.id for one in book.decided_by(measurement)] == [row]


def test_what_decides_two_rows_decides_both(book):
    assert {row.id for row in book.decided_by("erratum.E8")} == {"erratum.E8", "claim.T13"}
    assert {row.id for row in book.decided_by("claim.T5.mnist.R3.logit.true")} == {
        "claim.T5.mnist",
        "figure.3",
    }


def test_measurements_that_no_row_asks_for_decide_nothing(book):
    for id in (
        "success.mnist.pgd.all",
        "accuracy.mnist.passed_at",
        "table.cifar10.clean.S_mean.R1.logit.true",
        "claim.T1.mnist",
        "noise.T6.mnist.cw.R3.logit.true",
        "placebo.S.mnist.cw.R3.logit.true",
        "placebo.T5b.mnist.R3.logit.true",
        "training.mnist.plain.1",
        "between.mnist.clean.S.R1.logit.true",
        "rows.100.logit",
        "strength.fgsm.linf.0.1.misled",
        "alike.mnist.R1-R3",
        "shapes.pixel.0.5",
    ):
        assert book.decided_by(id) == ()


def test_every_claim_t1_to_t15_has_its_parts(rows):
    parts = {"T5": [""], "T5b": [""], "T10": [".fgsm", ".pgd"], "T11": [""]}
    for n in ("T1", "T2", "T3", "T4", "T5", "T5b", "T6", "T7", "T8", "T9", "T10", "T11", "T12"):
        for data in SETS:
            for part in parts.get(n, [f".{attack}" for attack in ATTACKS]):
                row = rows[f"claim.{n}.{data}{part}"]
                assert row.rule.type == "claim" and row.rule.why and row.decided_by.data == data
    assert {"claim.T13", "claim.T14", "claim.T15"} <= rows.keys()


@pytest.mark.parametrize(
    ("claim", "placebo"),
    [
        *(
            (f"claim.{claim}.{data}.{attack}", f"placebo.{claim}.{data}.{attack}")
            for claim in ("T1", "T2", "T3", "T4", "T6", "T7", "T8", "T9", "T12")
            for data in SETS
            for attack in ATTACKS
        ),
        *(
            (f"claim.{claim}.{data}{part}", f"placebo.{claim}.{data}")
            for claim, part in (("T5", ""), ("T10", ".fgsm"), ("T10", ".pgd"), ("T11", ""))
            for data in SETS
        ),
    ],
)
def test_a_placebo_asks_in_the_direction_of_its_claim_whether_the_difference_is_above_nothing(
    rows, claim, placebo
):
    claim, placebo = rows[claim], rows[placebo]
    assert (
        placebo.kind == "control" and placebo.rule.relation == claim.rule.relation and placebo.rule.than == 0
    )
    assert (placebo.decided_by.data, placebo.decided_by.least) == (
        claim.decided_by.data,
        claim.decided_by.least,
    )


def test_the_probes_behind_claims_t13_to_t15_have_controls(rows):
    for claim, control in (
        ("claim.T13", "control.T13"),
        ("claim.T14", "control.T14"),
        ("claim.T15.shapes", "control.T15"),
    ):
        assert rows[claim].controls == (control,)
        assert (
            rows[control].kind == "control"
            and rows[control].ours
            and rows[control].decided_by.least == rows[claim].decided_by.least
        )
    assert rows["control.T15"].rule.than == rows["claim.T15.shapes"].rule.than


def test_derivation_steps_closed_forms_and_errata_are_logical_rows_at_quick(rows):
    wanted = (
        [f"check.D{i}" for i in range(1, 13)]
        + [f"check.C{i}" for i in range(1, 11)]
        + ["check.H1", "check.H2", "check.H3", "check.C11"]
    )
    assert [id for id, row in rows.items() if row.kind == "logic"] == wanted
    errata = [row for row in rows.values() if row.kind == "erratum"]
    assert all(row.quote and row.holds and row.location for row in errata) and len(errata) == 16
    assert {row.decided_by.least for row in rows.values() if row.kind in ("logic", "erratum")} == {"quick"}


def test_a_family_is_the_claims_of_one_section(book, rows):
    section = [row for row in rows.values() if row.family == "IV-B"]
    assert len(section) == 58 and [row.level for row in section] == pytest.approx([1 - 0.05 / 58] * 58)
    assert all(row.kind == "claim" and row.id.split(".")[1].startswith("T") for row in section)


def test_what_an_attack_decides_leans_on_controls_and_controls_on_nothing(rows):
    for row in rows.values():
        if any(f".{attack}" in row.id for attack in ATTACKS) and row.kind in ("cell", "claim"):
            assert {f"control.accuracy.{row.decided_by.data}"} < set(row.controls), row.id
        if row.kind == "control":
            assert row.ours and not row.controls and not row.family


def test_what_is_not_delivered_says_so_without_a_run(book):
    gone = {one.row.id: one.reason for one in judge(book, None) if one.row.rule.type == "fixed"}
    assert set(gone) == {"claim.T15", "vae.known", "promised.defence", "promised.accuracy", "promised.models"}
    assert all(reason.startswith("not delivered by the paper: ") for reason in gone.values())


def test_without_a_run_all_else_is_not_run(book):
    assert {one.word for one in judge(book, None) if one.row.rule.type != "fixed"} == {"not run"}


def test_quotes_are_a_few_words_with_their_place(rows):
    for row in rows.values():
        assert len(row.quote.replace("...", "").split()) <= 15, row.id
        assert re.match(r"Abstract|I{1,3}\b|IV\b|closed form|our placebo to T\d+$", row.location), row.id
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


def test_no_line_of_the_file_repeats_a_key():
    class Strict(yaml.SafeLoader):
        pass

    def mapping(loader, node):
        keys = [key.value for key, _ in node.value if key.value != "<<"]
        assert len(keys) == len(set(keys)), keys
        loader.flatten_mapping(node)
        return loader.construct_mapping(node)

    Strict.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, mapping)
    yaml.load((files("causalnb") / "chapters" / "ace" / "ledger.yaml").read_text(encoding="utf-8"), Strict)
