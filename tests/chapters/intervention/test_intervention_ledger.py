"""The rows of chapter 3 against Table 1 and the claims, typed here again from the paper, and against themselves."""

import math
import re
from importlib.resources import files

import pytest

from causalnb import ledger
from causalnb.ledger import judge, printed_cells
from causalnb.record import Measurement, Record
from causalnb.statistics import Estimate, exact, logic, prediction_half_width, proportion
from causalnb.trainings import every

TABLE_1 = {  # columns MNIST-37, CIFAR-10, Imagenette
    "model": "4-layer CNN|ResNet20|EfficientNetV2",
    "layer": "1st conv. layer|1st conv. layer|1st conv. layer",
    "channels": "16|16|32",
    "clean": "98.92%|92.27%|96.07%",
    "apgd": "0.00%|0.00%|0%",
    "cw": "-|0.37%|-",
    "hsj": "-|1.86%|-",
}
DATA = ("mnist37", "cifar10", "imagenette")


@pytest.fixture(scope="module")
def book():
    return ledger.load("intervention")


@pytest.fixture(scope="module")
def rows(book):
    return {row.id: row for row in book.rows}


def words(book, estimates, data, profile="laptop"):
    """The verdicts that measurements on a data set earn."""
    made = Record.model_construct(
        measurements={
            id: Measurement(estimate=one, data=(data,), rows=book.digests_of(id))
            for id, one in estimates.items()
        },
        profile=profile,
        parameters={},
    )
    return {one.row.id: one for one in judge(book, made)}


# Table 1 -------------------------------------------------------------------------------------------------


def test_the_21_cells_are_there_once_as_printed(book):
    expected = {
        f"t1.{row}.{data}": text
        for row, texts in TABLE_1.items()
        for data, text in zip(DATA, texts.split("|"), strict=True)
    }
    assert len(expected) == 21
    assert {one.row.id: one.row.printed for one in printed_cells(judge(book, None))} == expected


def test_the_table_can_be_drawn_from_the_cells_positions(book):
    places = [one.row.table for one in printed_cells(judge(book, None))]
    assert {place.table for place in places} == {"Table 1"}
    assert len({(place.row, place.column) for place in places}) == 21
    assert len({place.row for place in places}) == 7 and len({place.column for place in places}) == 3


def test_words_and_dashes_are_cannot_judge_without_a_run_each_with_its_reason(book):
    gone = {one.row.id: one.row.rule.reason for one in judge(book, None) if one.row.rule.type == "fixed"}
    cells = {id: reason for id, reason in gone.items() if id.startswith("t1.")}
    described = {f"t1.{row}.{data}" for row in ("model", "layer") for data in DATA} | {"t1.channels.mnist37"}
    dashes = {f"t1.{attack}.{data}" for attack in ("cw", "hsj") for data in ("mnist37", "imagenette")}
    assert cells == dict.fromkeys(described, "a description") | dict.fromkeys(
        dashes, "not delivered by the paper"
    )


def test_channels_are_counted_and_variants_that_disagree_decide_nothing(book):
    counted = {"channels.resnet20": exact(16)} | {
        f"channels.efficientnetv2.{name}": exact(n)
        for name, n in {"b0": 32, "b1": 32, "b2": 32, "b3": 40, "s": 24, "m": 24, "l": 32, "xl": 32}.items()
    }
    found = words(book, counted, "cifar10", "quick")
    assert found["t1.channels.cifar10"].word == "reproduced"
    assert found["t1.channels.imagenette"].word == "cannot judge"
    assert words(book, {"channels.resnet20": exact(17)}, "cifar10")["t1.channels.cifar10"].word == (
        "not reproduced"
    )


def test_at_a_printed_zero_the_tolerance_is_the_wilson_end_of_their_images(rows):
    for id, n in (("t1.apgd.mnist37", 2016), ("t1.apgd.cifar10", 9227)):
        end = 100 * proportion(0, n).high
        assert rows[id].tolerance("any") == pytest.approx(math.hypot(0.005, end), rel=1e-3)
    assert rows["t1.apgd.imagenette"].tolerance("any") == 0.5
    assert rows["t1.clean.imagenette"].tolerance("any") == 0.005


def test_the_spread_of_trainings_is_that_of_the_network_trained_to_the_end():
    text = (files("causalnb") / "chapters" / "intervention" / "ledger.yaml").read_text(encoding="utf-8")
    spread = {"t1.clean.mnist37.cnn37": {"sd": 0.001, "k": 8}}
    row = {one.id: one for one in ledger.parse("intervention", text, spread).rows}["t1.clean.mnist37"]
    sampling = 196 * math.sqrt(0.9892 * 0.0108 / 2038)
    both = math.hypot(0.005, sampling, 100 * prediction_half_width(0.001, 8))
    for reading in ("t1.clean.mnist37.cnn37", "t1.clean.mnist37.cnn37.early"):
        assert row.tolerance(reading) == pytest.approx(both) and not row.spreads_too_far(reading)
    assert row.cap == pytest.approx(math.hypot(0.005, sampling), rel=1e-4)


def test_four_of_63_images_left_by_apgd_are_not_the_printed_zero(book):
    controls = {"control.planted.mnist37": logic(True)}
    left = {"t1.apgd.mnist37.s0": proportion(126, 2016)} | controls
    none = {"t1.apgd.mnist37.s0": proportion(0, 2016)} | controls
    assert words(book, left, "mnist37")["t1.apgd.mnist37"].word == "not reproduced"
    assert words(book, none, "mnist37")["t1.apgd.mnist37"].word == "reproduced"


def test_imagenette_is_decided_at_the_full_profile_alone(rows):
    for row in rows.values():
        if row.decided_by.data == "imagenette":
            assert row.decided_by.least == "full", row.id


# Claims --------------------------------------------------------------------------------------------------


def test_every_claim_c1_to_c21_has_a_row(rows):
    told = {re.match(r"claim\.(C\d+)", id)[1] for id in rows if id.startswith("claim.C")}
    assert told == {f"C{n}" for n in range(1, 22)}
    parts = {
        "C6.accuracy",
        "C6.logits",
        "C7a",
        "C7b",
        "C7b.negligible",
        "C7c",
        "C13a",
        "C13b",
        "C17a",
        "C17b",
    }
    parts |= {f"C9.{data}" for data in DATA} | {
        f"C12.{how}.{data}" for how in ("positive", "strong") for data in DATA
    }
    parts |= {f"C19{part}.{pair}" for part in "abc" for pair in ("apgd_cw", "apgd_hsj", "cw_hsj")}
    assert {f"claim.{part}" for part in parts} <= set(rows)


def test_every_figure_has_its_row(rows):
    found = {id.split(".")[1] for id in rows if id.startswith("figure.")}
    assert {one.rstrip("abc") for one in found} == {str(n) for n in range(1, 7)} | {
        f"A{n}" for n in range(1, 10)
    }


def test_existence_claims_need_all_trainings_to_agree(book):
    def of(*shares):
        each = [proportion(round(500 * share), 500) for share in shares]
        given = {f"max.cifar10.apgd.3.{scope}": every(each, seeds=range(3)) for scope in ("all", "found")}
        controls = {
            "control.accuracy.cifar10": proportion(9200, 10_000),
            "control.planted.cifar10": logic(True),
        }
        leveled = {id: Estimate(**{**vars(one), "level": 0.9999}) for id, one in given.items()}
        return words(book, leveled | controls, "cifar10")["claim.C1"]

    assert of(1, 1, 1).word == "reproduced"
    assert of(0.3, 0.4, 0.5).word == "not reproduced"
    mixed = of(1, 1, 0.5)
    assert mixed.word == "undecided" and "depends on the training" in mixed.readings[0].reason


def test_claims_of_which_one_network_decides_nothing_ask_for_three(rows):
    for id in (
        "C1",
        "C2",
        "C3",
        "C4",
        "C5",
        "C6.accuracy",
        "C7a",
        "C7b",
        "C7c",
        "C8",
        "C12.positive.cifar10",
    ):
        assert rows[f"claim.{id}"].rule.trainings == 3, id


def test_a_claim_whose_noise_does_the_same_is_not_specific(book):
    r = Estimate(0.97, 0.95, 0.99, 0.9999, "bootstrap", 500)
    given = {"r.cifar10.apgd_cw.3.all": r, "r.cifar10.apgd_noise.3.all": r}
    placebo = words(book, given, "cifar10")["claim.C11.apgd_cw"].placebo
    assert placebo.holding == placebo.met == ("r.cifar10.apgd_cw.3.all",)


@pytest.mark.parametrize(
    ("measurement", "decides"),
    [
        ("max.cifar10.apgd.3.all", {"claim.C1", "claim.C2"}),
        ("max.cifar10.noise.3.found", {"noise.C2"}),
        ("max.cifar10.cw.14.all", {"figure.A6"}),
        ("drop.cifar10.apgd.1.all", {"claim.C3"}),
        ("stable.mnist37.apgd.s0.all", {"claim.C9.mnist37", "figure.4a"}),
        ("r.cifar10.apgd_cw.3.all", {"claim.C11.apgd_cw", "figure.5", "figure.A9"}),
        ("r.cifar10.apgd_cw.7.all", {"figure.A9"}),
        ("r.cifar10.cw_noise.3.all", {"noise.C11.cw_noise"}),
        ("norm.cifar10.apgd.240.all", {"claim.C12.positive.cifar10", "figure.6b"}),
        ("t1.clean.mnist37.cnn37.early", {"t1.clean.mnist37"}),
        ("t1.clean.cifar10", {"t1.clean.cifar10"}),
        ("check.I1", {"check.I1", "figure.1"}),
        ("check.I8", {"check.I8", "claim.confounding"}),
        ("map.cifar10.apgd.3", set()),
    ],
)
def test_a_measurement_helps_to_decide_its_rows_and_no_others(book, measurement, decides):
    assert {row.id for row in book.decided_by(measurement)} == decides


# The file ------------------------------------------------------------------------------------------------


def test_quotes_are_a_few_words_with_their_place(rows):
    for row in rows.values():
        assert len(row.quote.replace("...", "").split()) <= 19, row.id
        assert row.location and row.statement
        assert not re.search(r"\{\w+\}", row.statement + row.quote + row.holds), row.id


def test_errata_are_those_that_are_false_as_printed(rows):
    found = [row for row in rows.values() if row.kind == "erratum"]
    assert [row.id for row in found] == [f"erratum.{id}" for id in ("E1", "E2", "E3", "E5", "E7")]
    assert all(row.quote and row.holds and row.note.startswith("Judged by ") for row in found)
