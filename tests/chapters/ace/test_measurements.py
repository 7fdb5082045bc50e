from statistics import stdev
from types import SimpleNamespace

import pytest
import torch

from causalnb.chapters.ace import claims, measurements
from causalnb.chapters.ace.networks import Latents
from causalnb.ledger import parse
from causalnb.record import MeasurementId
from causalnb.statistics import Estimate

RUN = SimpleNamespace(p=SimpleNamespace(seed=0, vae_beta=10.0, momentum=0.0), level=lambda id: 0.95)


def trained(name, seed, right, n=10):
    """A network whose last accuracy is right / n."""
    return SimpleNamespace(name=name, seed=seed, curve=torch.tensor([0.1, right / n], dtype=torch.float64))


def test_every_training_has_its_accuracy_and_the_first_decides_the_rows():
    run = SimpleNamespace(**vars(RUN), load=lambda name: range(10))
    others = {
        "mnist": {
            "plain": [trained("mnist", 1, 8)],
            "momentum": [trained("mnist", 0, 9), trained("mnist", 1, 7)],
            "cited": [trained("mnist", 0, 5)],
        }
    }
    found = measurements.accuracies(run, {"mnist": trained("mnist", 0, 6)}, others)
    assert {id: (one.value, one.seeds) for id, one in found.items()} == {
        "control.accuracy.mnist": (0.6, (0,)),
        "accuracy.mnist.plain": (0.6, (0,)),
        "training.mnist.plain.1": (0.8, (1,)),
        "accuracy.mnist.momentum": (0.9, (0,)),
        "training.mnist.momentum.1": (0.7, (1,)),
        "accuracy.mnist.plain.cited": (0.5, (0,)),
    }


def test_without_a_second_recipe_there_is_one_accuracy():
    run = SimpleNamespace(**vars(RUN), load=lambda name: range(10))
    found = measurements.accuracies(
        run, {"digits": trained("digits", 0, 6)}, {"digits": {"plain": [], "momentum": [], "cited": []}}
    )
    assert set(found) == {"control.accuracy.digits", "accuracy.digits.plain"}


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [
        (0.1, 0.2, "rises"),
        (-0.2, -0.1, "falls"),
        (-0.1, 0.1, "open"),
        (0.0, 0.2, "open"),
        (-0.2, 0.0, "open"),
    ],
)
def test_a_direction_holds_over_the_whole_interval(low, high, word):
    assert measurements.direction(Estimate((low + high) / 2, low, high)) == word


def claim_of(text):
    """The id spelled claim.CLAIM.DATA.ATTACK.READING.SCORE.OF[.SCALE]."""
    kind, name, data, attack, *key = text.split(".")
    return claims.claim_id(kind, ".".join([name, *key[3:]]), data, attack, ".".join(key[:3]))


def test_directions_pass_over_claims_that_are_measured_further_down():
    first = {claim_of("claim.T6.mnist.fgsm.R1.logit.true"): Estimate(1.0, 0.5, 1.5)}
    later = {MeasurementId.of("claim.T15.shapes", on="shapes"): Estimate(1.0, 0.5, 1.5)}
    before = measurements.directions(first)
    after = measurements.directions(later | first | before)
    assert before == after and {id.data for id in before} == {id.data for id in after} == {("mnist",)}


def test_directions_are_counted_by_kind_class_and_scale():
    up, down = Estimate(1.0, 0.5, 1.5), Estimate(-1.0, -1.5, -0.5)
    found = measurements.directions(
        {
            claim_of(text): one
            for text, one in {
                "claim.T6.mnist.fgsm.R1.logit.true": up,
                "claim.T6.mnist.pgd.R1.logit.true": up,
                "claim.T6.mnist.fgsm.R1.logit.predicted": down,
                "claim.T6.mnist.cw.R1.logit.true": down,
                "claim.T7.mnist.fgsm.R1.logit.true": down,
                "claim.T8.mnist.fgsm.R1.logit.true.raw": down,
                "claim.T8.mnist.fgsm.R1.logit.true.scaled": up,
                "beyond.T6.mnist.fgsm.R1.logit.true": down,
            }.items()
        }
    )
    counted = {
        id.removesuffix(".rises"): (one.value, one.n) for id, one in found.items() if id.endswith(".rises")
    }
    assert counted == {
        "directions.claim.T6.linf.true": (2.0, 2),
        "directions.claim.T6.l2.true": (0.0, 1),
        "directions.claim.T6.linf.predicted": (0.0, 1),
        "directions.claim.T8.linf.true.raw": (0.0, 1),
        "directions.claim.T8.linf.true.scaled": (1.0, 1),
        "directions.beyond.T6.linf.true": (0.0, 1),
    }
    values = {id: one.value for id, one in found.items()}
    assert len(values) == 4 * len(counted)
    assert (values["directions.beyond.T6.linf.true.falls"], values["directions.claim.T6.linf.true.open"]) == (
        1,
        0,
    )
    assert (values["directions.claim.T6.linf.true.all"], values["directions.claim.T6.l2.true.all"]) == (2, 1)


def test_the_spread_between_trainings_is_that_of_the_means_over_images():
    own = torch.tensor([1 / 2, 1 / 4])
    each = {
        seed: {"table S clean R1.logit.true": values} for seed, values in enumerate((own, own[:1], own[1:]))
    }
    found = measurements.between("mnist", each)["between.mnist.clean.S.R1.logit.true"]
    assert found.value == pytest.approx(stdev([0.375, 0.5, 0.25])) and (
        found.n,
        found.seeds,
    ) == (3, (0, 1, 2))
    assert measurements.between("mnist", {0: each[0]}) == {}


def test_the_printed_betas_latents_rest_on_every_seed():
    images = torch.zeros(10, 1, 2, 2)
    found = measurements.latents(
        RUN,
        [Latents(10.0, seed, torch.tensor([0.5, 0.02 * seed]), (9, 10), images) for seed in (0, 1, 2)]
        + [Latents(1.0, 0, torch.tensor([1.0, 2.0]), (5, 10), images)],
    )
    assert (
        found["vae.active"].value == pytest.approx(5 / 3)
        and found["vae.active"].seeds == (0, 1, 2)
        and found["vae.active"].n == 3
    )
    assert found["vae.latents.1"].value == 2 and found["vae.nats.1"].value == 3
    assert (found["vae.labels.10"].value, found["vae.labels.10"].n) == (0.9, 30)


def test_an_image_that_is_no_number_is_left_out_of_its_column_alone():
    found = measurements.detections(
        RUN,
        "mnist",
        {"R1": {"pgd": torch.tensor([0.5, float("nan"), 1.0]), "cw": torch.tensor([0.0, 0.5, 1.0])}},
    )
    assert {id: (one.value, one.n) for id, one in found.items()} == {
        "detector.mnist.R1.pgd": (0.75, 2),
        "detector.mnist.R1.cw": (0.5, 3),
    }
    assert measurements.detections(RUN, "mnist", {"R1": {"pgd": torch.tensor([float("nan")])}}) == {}


def test_maps_of_unequal_numbers_of_images_are_compared_on_the_first():
    one = torch.tensor([[[1.0, 0.0], [0.0, 0.0]], [[0.0, 1.0], [0.0, 0.0]]])
    found = measurements.alike(
        RUN,
        "mnist",
        {"maps whole clean R1.logit.true": one, "maps whole clean R8.logit.true": one[:1]},
        ["R1.logit.true", "R8.logit.true"],
    )
    assert found["alike.mnist.R1-R8"].value == pytest.approx(1) and found["alike.mnist.R1-R8"].n == 1


# Table I --------------------------------------------------------------------------------------------------


def test_cells_are_means_and_deviations_over_images_and_a_network_beside_the_first_is_named():
    columns = {
        "table S pgd R1.logit.true": torch.tensor([0.25, 0.75]),
        "table TV.scaled clean R1.logit.true": torch.tensor([1.0, 4.0]),
        "table S pgd R8.logit.true": torch.tensor([0.5, 0.5]),
        "map first pgd R1.logit.true": torch.zeros(2, 2),
    }
    found = {id: one.value for id, one in measurements.table_cells(RUN, "mnist", columns).items()}
    assert found == {
        "table.mnist.pgd.S_mean.R1.logit.true": 0.5,
        "table.mnist.pgd.S_std.R1.logit.true": pytest.approx(stdev([0.25, 0.75])),
        "table.mnist.clean.TV_mean.R1.logit.true.scaled": 2.5,
        "table.mnist.clean.TV_std.R1.logit.true.scaled": pytest.approx(stdev([1.0, 4.0])),
        "compared.mnist.pgd.S_mean.R8.logit.true": 0.5,
        "compared.mnist.pgd.S_std.R8.logit.true": 0.0,
    }
    other = measurements.table_cells(RUN, "mnist", columns, "cited")
    assert {id.removesuffix(".cited") for id in other} == set(found)
    assert all(id.parts["network"] == "cited" for id in other)


def test_sparsity_over_a_threshold_is_measured_by_its_share_and_set():
    columns = {
        "resolved 0.01 pgd R3m.logit.true": torch.tensor([0.25, 0.75]),
        "resolved 0 clean R3m.logit.true": torch.tensor([0.125, 0.125]),
        "table S pgd R3m.logit.true": torch.tensor([1.0, 1.0]),
        "claim T5  R3m.logit.true": torch.tensor([1.0, 1.0]),
    }
    found = measurements.resolved(RUN, "digits", columns)
    assert {id: one.value for id, one in found.items()} == {
        "resolved.digits.pgd.R3m.logit.true.0.01": 0.5,
        "resolved.digits.clean.R3m.logit.true.0": 0.125,
    }
    assert measurements.resolved_id("digits", "pgd", "R3m.logit.true", "0.01") in found


def test_counts_are_proportions_and_all_other_claims_and_placebos_means():
    yes, number = torch.tensor([1.0, 1.0, 0.0]), torch.tensor([0.25, 0.5, float("nan")])
    columns = {
        "claim T9 pgd R1.logit.true": yes,
        "chance T9 pgd R1.logit.true": 1 - yes,
        "claim T9b pgd R1.logit.true": yes,
        "noise T12 cw R1.logit.true": number,
        "beyond T6 cw R1.logit.true": number,
        "drawn T5  R1.logit.true": number,
        "table S pgd R1.logit.true": number,
    }
    found = measurements.claimed(RUN, "mnist", columns)
    assert {id: (one.value, one.n) for id, one in found.items()} == {
        "claim.T9.mnist.pgd.R1.logit.true": (pytest.approx(2 / 3), 3),
        "chance.T9.mnist.pgd.R1.logit.true": (pytest.approx(1 / 3), 3),
        "claim.T9b.mnist.pgd.R1.logit.true": (pytest.approx(2 / 3), 3),
        "noise.T12.mnist.cw.R1.logit.true": (0.375, 2),
        "beyond.T6.mnist.cw.R1.logit.true": (0.375, 2),
        "drawn.T5.mnist.R1.logit.true": (0.375, 2),
    }
    methods = {id.split(".")[1]: one.method for id, one in found.items()}
    assert methods["T9"] != methods["T9b"] == methods["T12"]


WHOLE = """
paper: {short: P, title: T, authors: A, venue: V, year: 2020, doi: 10/x, claims: [a, b, c]}
rows:
- for: [[{set: clean, is: 10, more: ""}, {set: fgsm, is: 12, more: t.clean}, {set: pgd, is: 14, more: t.clean}]]
  id: "t.{set}"
  kind: cell
  location: I
  statement: s
  printed: "{is}"
  table: {table: I, row: "{set}", group: g, column: c}
  rule: {type: cell}
  tol: {of: mean, n: null, seeds: null, why: w}
  against: "{more}"
  decided_by: {measurements: ["t.{set}.*"], data: mnist}
- id: whole.table-1
  kind: table
  location: I
  statement: s
  rule: {type: table, cells: {"t.*": "<cell>.<reading>"}, readings: [{reading: [R1, R2, R3, R4]}], why: w}
"""


def test_the_whole_table_is_counted_over_its_readings():
    """R1 meets the two cells that are not clean; R2 one, rising where the paper's table rises, as R3 does."""
    values = {"R1": (14.0, 12.0, 14.0), "R2": (10.0, 15.0, 16.0), "R3": (1.0, 2.0, 3.0)}
    made = {
        f"t.{which}.{reading}": Estimate(value, value, value, level=0.95)
        for reading, row in values.items()
        for which, value in zip(("clean", "fgsm", "pgd"), row, strict=True)
    }
    found = measurements.whole(parse("p", WHOLE), made)
    counts = {id: one.value for id, one in found.items()}
    count = {"whole.combinations": 4, "whole.readings": 4, "whole.cells": 3}
    assert counts == count | {"whole.inside": 2, "whole.directed": 2}
    same = made | {id.replace("R1", "R4"): one for id, one in made.items() if ".R1" in id}
    alike = measurements.whole(parse("p", WHOLE), same)
    told = "readings that are the same in every cell count once"
    assert (alike["whole.combinations"].value, alike["whole.readings"].value) == (4, 3), told
    nothing = {id: one.value for id, one in measurements.whole(parse("p", WHOLE), {}).items()}
    assert nothing == count | {"whole.inside": 0, "whole.directed": 0}
