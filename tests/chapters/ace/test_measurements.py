from types import SimpleNamespace

import pytest
import torch

from causalnb.chapters.ace import claims, measurements
from causalnb.chapters.ace.networks import Latents
from causalnb.chapters.ace.seed_spread import spreads
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
        }
    }
    found = measurements.accuracies(run, {"mnist": trained("mnist", 0, 6)}, others)
    assert {id: (one.value, one.seeds) for id, one in found.items()} == {
        "control.accuracy.mnist": (0.6, (0,)),
        "accuracy.mnist.plain": (0.6, (0,)),
        "training.mnist.plain.1": (0.8, (1,)),
        "accuracy.mnist.momentum": (0.9, (0,)),
        "training.mnist.momentum.1": (0.7, (1,)),
    }


def test_without_a_second_recipe_there_is_one_accuracy():
    run = SimpleNamespace(**vars(RUN), load=lambda name: range(10))
    found = measurements.accuracies(
        run, {"digits": trained("digits", 0, 6)}, {"digits": {"plain": [], "momentum": []}}
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
    before, after = measurements.directions(first), measurements.directions(later | first)
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
                "claim.T6.mnist.cw-clipped.R1.logit.true": down,
                "claim.T7.mnist.fgsm.R1.logit.true": down,
                "claim.T8.mnist.fgsm.R1.logit.true.raw": down,
                "claim.T8.mnist.fgsm.R1.logit.true.scaled": up,
                "placebo.T6.mnist.fgsm.R1.logit.true": down,
            }.items()
        }
    )
    rises = {
        id.removesuffix(".rises"): (one.value, one.n) for id, one in found.items() if id.endswith(".rises")
    }
    assert rises == {
        "directions.claim.T6.true": (2.0, 2),
        "directions.claim.T6.predicted": (0.0, 1),
        "directions.claim.T8.true.raw": (0.0, 1),
        "directions.claim.T8.true.scaled": (1.0, 1),
        "directions.placebo.T6.true": (0.0, 1),
    }
    assert (
        found["directions.placebo.T6.true.falls"].value == 1
        and found["directions.claim.T6.true.open"].value == 0
    )


def test_the_spread_between_trainings_is_that_of_the_means_over_images():
    own = torch.tensor([1 / 2, 1 / 4])
    each = {
        seed: {"table S clean R1.logit.true": values} for seed, values in enumerate((own, own[:1], own[1:]))
    }
    found = measurements.between("mnist", each)["between.mnist.clean.S.R1.logit.true"]
    assert found.value == pytest.approx(spreads([{"": s} for s in (0.375, 0.5, 0.25)])[""]["sd"]) and (
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
