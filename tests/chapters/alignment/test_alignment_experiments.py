"""Trainings through the store and what they come to: on tiny sizes, the real digits."""

import cloudpickle
import numpy as np
import pytest
import torch
from torch import nn

from causalnb import UserError, ledger, processes
from causalnb.attacks import run as attack
from causalnb.chapters import alignment
from causalnb.chapters.alignment import (
    arms,
    dial,
    experiments,
    linear,
    measurements,
    networks,
    overfitting,
    stronger,
    style,
)
from causalnb.chapters.alignment.experiments import Attacks, Compared, Scores, packed
from causalnb.chapters.alignment.parameters import Parameters
from causalnb.data import Images
from causalnb.ledger import judge
from causalnb.models import gap_cnn
from causalnb.notebook import begin
from causalnb.parameters import cell
from causalnb.record import Measurement, Record
from causalnb.store import key_of
from causalnb.training import Recipe

TINY = {"n_images": 30, "n_strong": 10, "n_train": 100, "n_seeds": 3, "device": "cpu"}


@pytest.fixture(autouse=True)
def own_store(tmp_path_factory, monkeypatch):
    """One store for the file, so that what a test trained the next one finds."""
    folder = tmp_path_factory.getbasetemp() / "alignment-store"
    monkeypatch.setenv("CAUSALNB_STORE", str(folder))


@pytest.fixture
def short(monkeypatch):
    """The digits' setting with two epochs and two steps."""
    how = networks.SMALL["digits8"]
    few = networks.Setting(
        how.network,
        networks.Ball(0.1, 0.05, 2),
        (3, 0.04),
        how.recipe.model_copy(update={"epochs": 2}),
    )
    monkeypatch.setitem(networks.SMALL, "digits8", few)
    monkeypatch.setattr(processes, "map", lambda function, items, **_: [function(item) for item in items])
    return few


def run(**changes):
    return begin("alignment", **TINY | changes)


def made_of(values, columns=("nat", "pgd")):
    """Scores of one network that has these outcomes in every column."""
    bits = packed(torch.tensor(values, dtype=torch.bool))
    return Scores(dict.fromkeys(columns, bits), dict.fromkeys(columns, len(values)), {}, {})


def compared(columns=("nat", "fgsm", "pgd", "cw", "apgd"), **each):
    """Outcomes by arm, a list of images a seed."""
    scores = {arm: [made_of(one, columns) for one in seeds] for arm, seeds in each.items()}
    return Compared("mnist14", tuple(range(max(map(len, each.values())))), {}, scores)


# Arms ----------------------------------------------------------------------------------------------------


def test_every_arm_trains_any_classifier_with_a_linear_last_layer():
    images = torch.rand(40, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    data = Images("noise", "train", images, torch.arange(40) % 4, tuple("abcd"), "")
    ball = networks.Ball(0.1, 0.05, 1)
    for name, arm in arms.ARMS.items():
        model = networks.mlp(classes=4, size=8)
        loss = arm.loss(model, ball, epochs=1, seed=0)
        made = experiments.training.fit(model, data, loss, Recipe(rate=0.05, epochs=1, batch=20))
        assert np.isfinite(made.history[0]["loss"]), name
        assert arm.base in arms.ARMS and arm.title


def test_arms_that_the_sets_ask_for_are_known_and_cover_the_claims():
    asked = {*experiments.DECIDING, *experiments.SHOWN, *experiments.MEDIUM, *experiments.QUICK}
    assert asked | {"standard"} == set(arms.ARMS)
    assert {*measurements.CONTROLS, "at", "m", "trades", "t-kl"} <= set(experiments.MEDIUM)


def test_arms_of_one_seed_are_pairs():
    p = run()
    train, test = experiments.images(p, "digits8")
    against = Attacks(0.1, 1, 0.1)
    one, other = (experiments.job(p, "digits8", arm, 3, train, test, against) for arm in ("at", "m"))
    assert all(
        torch.equal(a, b) for a, b in zip(one.model.parameters(), other.model.parameters(), strict=True)
    )
    assert one.recipe == other.recipe and one.recipe.seed == 3


def test_a_job_survives_the_way_to_another_process():
    p = run()
    train, test = experiments.images(p, "digits8")
    for arm in ("at", "hh", "m", "m-code"):
        one = experiments.job(p, "digits8", arm, 0, train, test, Attacks(0.1, 1, 0.1))
        other = cloudpickle.loads(cloudpickle.dumps(one))
        assert key_of(other.what, other.call) == key_of(one.what, one.call)


# For a user of the method --------------------------------------------------------------------------------


def user_data():
    images = torch.rand(64, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    return Images("noise", "train", images, torch.arange(64) % 3, tuple("abc"), "")


@pytest.mark.parametrize("method", arms.METHODS)
def test_train_takes_each_method(method):
    model = gap_cnn(classes=3, seed=0)
    before = [one.clone() for one in model.parameters()]
    recipe = Recipe(rate=0.05, epochs=1, batch=32)
    made = alignment.train(model, user_data(), method, eps=0.1, steps=1, recipe=recipe)
    assert made.model is model and len(made.history) == 1
    assert any(not torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_train_refuses_in_a_sentence():
    model, recipe = gap_cnn(classes=3), Recipe(epochs=1)
    with pytest.raises(UserError, match="causal is no training known here: give one of madry, trades"):
        alignment.train(model, user_data(), "causal", eps=0.1, recipe=recipe)
    with pytest.raises(UserError, match="madry has no weight: leave it out"):
        alignment.train(model, user_data(), "madry", eps=0.1, weight=2.0, recipe=recipe)
    with pytest.raises(UserError, match="ends in Conv2d"):
        ends = nn.Sequential(nn.Conv2d(1, 3, 8), nn.Flatten())
        alignment.train(ends, user_data(), "causaladv-m", eps=0.1, recipe=recipe)


def test_a_seed_decides_the_training():
    recipe = Recipe(rate=0.05, epochs=1, batch=32)
    made = [
        alignment.train(gap_cnn(classes=3), user_data(), eps=0.1, steps=1, recipe=recipe, seed=seed).history
        for seed in (1, 1, 2)
    ]
    assert made[0] == made[1] != made[2]


# Evaluation and store ------------------------------------------------------------------------------------


def test_outcomes_are_eight_a_byte_and_come_back():
    right = torch.rand(37, generator=torch.Generator().manual_seed(0)) > 0.4
    bits = packed(right)
    assert bits.dtype == torch.uint8 and len(bits) == 5
    assert Scores({"pgd": bits}, {"pgd": 37}, {}, {}).right("pgd").tolist() == right.double().tolist()


def test_an_image_is_right_under_an_attack_where_the_attack_says_so(short):
    model = networks.mlp(size=8)
    p = run()
    _, test = experiments.images(p, "digits8")
    found = experiments.scored(model, test.images, test.labels, Attacks(0.1, 3, 0.04, strong=10))
    assert {name: len(one) for name, one in found.items()} == {
        "nat": 30,
        "fgsm": 30,
        "pgd": 30,
        "cw": 30,
        "apgd": 10,
    }
    result = attack("pgd", model, test.images, test.labels, norm="linf", eps=0.1, step=0.04, steps=3, seed=0)
    robust, _ = result.robust_accuracy
    assert int(found["pgd"].sum()) == robust
    assert not (found["pgd"] & ~found["nat"]).any() and not (found["apgd"] & ~found["nat"][:10]).any()


def test_a_comparison_is_paid_once_and_gives_what_the_ledger_asks_for(short, monkeypatch):
    first = run()
    found = experiments.compared(first, "digits8")
    assert set(found.scores) == set(experiments.QUICK) and found.seeds == (0, 1, 2)
    assert found.right("m", "pgd").shape == (3, 30)
    monkeypatch.setattr(experiments.training, "fit", lambda *given, **how: pytest.fail("trained again"))
    again = run()
    other = experiments.compared(again, "digits8")
    assert all(np.array_equal(found.right(arm, "cw"), other.right(arm, "cw")) for arm in found.scores)
    made = measurements.comparisons(again, other)
    assert {
        "gain.digits8.m.pgd",
        "over.digits8.hh.pgd",
        "over.digits8.aux.pgd",
        "control.learned.digits8",
    } <= set(made)
    again.measure_all(made)
    network = experiments.network(again, "digits8", other.scores["m"][0])
    assert not network.training and network(torch.rand(2, 1, 8, 8)).shape == (2, 10)


def test_a_rate_is_chosen_on_training_images_held_out(short, monkeypatch):
    p, asked = run(n_tuning=1), []

    def told(run, jobs):
        asked.extend(jobs)
        robust = {0.05: [1, 0], 0.1: [1, 1], 0.2: [1, 1]}
        return [made_of(robust[round(one.recipe.rate, 3)]) for one in jobs]

    monkeypatch.setattr(experiments, "all_scores", told)
    monkeypatch.setattr(experiments, "HELD_OUT", 50)
    assert experiments.rates(p, "digits8", ["at", "m"]) == {"at": 1.0, "m": 1.0}  # the smaller of equals
    assert {one.recipe.seed for one in asked} == {experiments.TUNING}
    train, held_out = asked[0].train, asked[0].test
    assert held_out.split == "train" and len(train) == 100 and len(held_out) == 50
    seen = {image.numpy().tobytes() for image in train.images}
    assert sum(image.numpy().tobytes() in seen for image in held_out.images) <= 1


def test_without_tuning_each_arm_has_the_recipes_rate():
    assert experiments.rates(run(n_tuning=0), "digits8", ["at"]) == {"at": 1.0}


# Estimates -----------------------------------------------------------------------------------------------


def test_a_gain_is_over_seeds_in_points_at_the_level_of_its_family():
    rng = np.random.default_rng(0)
    at = [(rng.random(400) < 0.5).tolist() for _ in range(4)]
    m = [(np.array(one) | (rng.random(400) < 0.2)).tolist() for one in at]
    found = compared(at=at, m=m, hh=m, aux=at)
    made = measurements.comparisons(run(), found)
    gain = made["gain.mnist14.m.pgd"]
    assert gain.value == pytest.approx(100 * (np.mean(m) - np.mean(at))) and gain.unit == "points"
    assert gain.level == pytest.approx(1 - 0.05 / 2) and gain.seeds == (0, 1, 2, 3)
    assert made["over.mnist14.hh.pgd"].value == 0 and made["over.mnist14.aux.pgd"].level == 1 - 0.05 / 4
    assert not any(id.startswith("over.mnist14.content") for id in made)
    words = {one.row.id: one.word for one in judge(ledger.load("alignment"), judged(made, "mnist14"))}
    assert words["twin.causal.mnist14.hh"] == "not reproduced"
    assert words["claim.causal.hh"] == "not run"  # for which CIFAR-10 at 16 x 16 stands in, not MNIST


def judged(made, data):
    book = ledger.load("alignment")
    found = {f"control.planted.{data}": measurements.proportion(100, 100), **made}
    return Record.model_construct(
        measurements={
            id: Measurement(estimate=one, data=(data,), rows=book.digests_of(id)) for id, one in found.items()
        },
        profile="laptop",
        parameters={},
    )


def test_one_seed_gives_no_comparison():
    found = compared(at=[[1, 0, 1]], m=[[1, 1, 1]])
    assert measurements.comparisons(run(), found) == {}


def test_accuracies_have_the_ids_of_the_tables_and_readings():
    found = compared(
        at=[[1, 0, 1], [1, 1, 1]], m=[[1, 1, 1], [1, 0, 0]], **{"m-code": [[1, 0, 0], [1, 1, 0]]}
    )
    made = measurements.accuracies(found)
    assert made["t1.mnist14.at.last.pgd"].value == pytest.approx(5 / 6)
    assert {"t1.mnist14.m.last.cw.text", "t1.mnist14.m.last.nat.code"} <= set(made)
    book = ledger.load("alignment")
    beside = {row.id for row in book.decided_by("t1.mnist14.m.last.cw.code")}
    assert beside == {"t1.mnist.m.last.cw", "whole.table-1"}


def test_at_equal_accuracy_neighbours_are_mixed():
    clean, robust = np.array([[1.0, 1, 1, 0]]), np.array([[1.0, 0, 1, 0]])  # clean 3/4
    low = np.array([[[1.0, 1, 0, 0]], [[1.0, 1, 0, 0]]])  # clean 1/2, robust 1/2
    high = np.array([[[1.0, 1, 1, 1]], [[0.0, 0, 0, 0]]])  # clean 1, robust 0
    off = measurements.at_equal_accuracy(clean, robust, {1.0: low, 0.5: high})
    assert off.tolist() == [[0.5, -0.5, 1, 0]]
    beyond = measurements.at_equal_accuracy(np.array([[0.0, 0, 0, 0]]), robust, {1.0: low, 0.5: high})
    assert beyond.tolist() == (robust - low[1]).tolist()


# Parameters ----------------------------------------------------------------------------------------------


def test_each_profile_resolves_and_the_cell_can_be_written():
    for profile in ("quick", "laptop", "gpu", "full"):
        p = Parameters.resolve({"profile": profile})
        assert p.n_seeds and p.network and p.recipe
    assert "n_tuning: int = None" in cell(Parameters)


def test_a_set_that_is_not_here_is_refused():
    with pytest.raises(UserError, match="data = 'cifar100' is not possible: a data set is one of digits8"):
        Parameters.resolve({"data": "cifar100"})


def test_the_papers_network_is_not_for_a_pooled_set_nor_a_small_one_for_the_papers():
    with pytest.raises(UserError, match="are not for digits8: give small for both"):
        networks.setting(run(network="resnet18"), "digits8")
    with pytest.raises(UserError, match="not for cifar10: give the paper's"):
        networks.setting(run(), "cifar10")
    with pytest.raises(UserError, match="wrn34 is not built here"):
        networks.setting(run(network="wrn34", recipe="paper"), "cifar10")


def test_the_papers_recipe_is_as_printed():
    how = networks.setting(run(network="resnet18", recipe="paper"), "cifar10")
    rates = [how.recipe.rate_in(epoch) for epoch in (0, 59, 60, 89, 90, 119)]
    assert rates == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.001, 0.001])
    assert (how.recipe.epochs, how.recipe.weight_decay, how.recipe.momentum) == (120, 2e-4, 0.9)
    assert how.ball == networks.Ball(8 / 255, 2 / 255, 10) and how.strong == (20, pytest.approx(0.8 / 255))
    long = networks.setting(run(network="resnet18", recipe="long"), "cifar10")
    assert long.recipe.epochs == 200


# Stronger attacks ----------------------------------------------------------------------------------------


def test_what_else_is_asked_of_the_networks(short, monkeypatch):
    monkeypatch.setattr(stronger, "LONG", 6)
    p = run()
    found = experiments.compared(p, "digits8")
    before, after = stronger.longer(p, "digits8", found)
    assert before.shape == after.shape == (3, 30) and after.mean() <= before.mean()
    plain, style = stronger.adaptives(p, "digits8", found)
    assert plain.shape == style.shape == (3, 30)
    right, (fooled, of) = stronger.transfers(p, "digits8", found)
    assert right["standard"].shape == (3, 30) and 0 <= fooled <= of <= 30
    assert (right["standard"] <= found.right("m", "nat")).all()
    upper = stronger.bins(p, "digits8", found)
    assert upper["own"].shape == (3, 30) and upper["reference"].shape == (3, 15)
    made = {
        **measurements.shown(p, found, "pgd500", before, after),
        **measurements.shown(p, found, "adaptive", plain, style),
        **measurements.transfers(p, found, right, (fooled, of)),
        **measurements.bins(p, found, upper),
    }
    assert set(made) == {
        "shown.digits8.pgd500",
        "shown.digits8.adaptive",
        "obf.digits8.standard",
        "obf.digits8.at",
        "control.transfer.digits8",
        "bins.digits8.own",
        "bins.digits8.reference",
    }


def test_at_weight_zero_the_adaptive_attack_is_pgd(short):
    p = run()
    found = experiments.compared(p, "digits8")
    one, some = found.scores["m"][0], stronger.drawn(p, "digits8")
    model = experiments.network(p, "digits8", one)
    loss = experiments.style_loss(p, "digits8", "m", model, one)
    assert int(loss.batches) > 0 and int(loss.covariance.n) == 200  # two epochs of 100 images
    ball = networks.Ball(0.1, 0.04, 3)
    right = stronger.adaptive(model, loss, some.images, some.labels, ball, (0.0, 1.0))
    _, plain = stronger.divergences(model, some.images, some.labels, ball)
    assert torch.equal(right[0], plain) and all(one.grad is None for one in loss.g.parameters())


def test_the_planted_control_of_the_chapters_attack(short, monkeypatch):
    monkeypatch.setattr(stronger, "PLANTED", 4)
    p = run()
    control = stronger.planted(p, "digits8", experiments.compared(p, "digits8"))
    made = measurements.planted(experiments.compared(p, "digits8"), control)
    assert made["control.planted.digits8"].value == float(control.passed) and control.images == 4


# The dial ------------------------------------------------------------------------------------------------


def test_the_one_logit_leaves_a_style_and_two_features_hold_no_more():
    model = dial.OneLogit()
    images = dial.draws(0.75, 500, seed=0).images
    r = model.a((images.double().flatten(1) - 0.5) * dial.WIDE)
    covariance = style.Covariance(8)
    covariance.update(r)
    for weight, left in ((model.fc.weight, 1), (torch.randn(2, 8, dtype=torch.float64), 0)):
        mu = style.without(r, style.directions(weight, covariance.matrix()[0]))
        assert int(torch.linalg.matrix_rank(mu.detach(), atol=1e-9)) == left


def test_madrys_training_finds_the_robust_rule():
    found = dial.fitted("at", 0.75, 20_000, 0)
    expected = linear.turned(linear.robust(0.75), 0.75)
    turned = found.turned(0.75)
    assert turned.ratio == pytest.approx(expected.ratio, abs=4 * 0.021)
    assert turned.robust == pytest.approx(expected.robust, abs=0.001)


def test_draws_at_a_dial_have_its_means_and_spreads():
    data = dial.draws(0.5, 40_000, seed=1)
    x = (data.images[:, 0, 0] - 0.5) * dial.WIDE * (2 * data.labels[:, None] - 1)
    assert x.mean(0).tolist() == pytest.approx([1.0, 0.25], abs=4 * 0.5 / 200)
    assert x.std(0).tolist() == pytest.approx([0.5, 0.25], abs=0.01)


def test_a_flip_is_over_seeds_in_points():
    def turned(value):
        return linear.Turned(1.0, 0.9, 0.9, 0.9, value)

    found = {"m": [turned(0.80), turned(0.84)], "at": [turned(0.74), turned(0.74)]}
    one = measurements.flips(run(), 0.75, found, (0, 1))["flip.075"]
    assert one.value == pytest.approx(8) and one.unit == "points" and one.n is None
    assert one.high - one.value == pytest.approx(12.706 * np.sqrt(8 / 2), rel=1e-3)
    assert {row.id for row in ledger.load("alignment").decided_by("flip.075")} == {"ours.flip.075"}


# Overfitting, and the paper's own size -------------------------------------------------------------------


def test_a_course_is_from_the_best_epoch_to_the_last(short):
    p = run(n_seeds=2)
    found = overfitting.courses(p, "digits8", few=50, epochs=3)
    assert {arm: [len(one.curve) for one in courses] for arm, courses in found.items()} == {
        "at": [3, 3],
        "m": [3, 3],
    }
    made = measurements.gaps(p, "digits8", found, (0, 1))
    at, m = (np.mean([one.lost() for one in found[arm]]) for arm in ("at", "m"))
    assert made["gap.digits8.at"].value == pytest.approx(100 * at)
    assert made["gap.digits8.pgd"].value == pytest.approx(100 * (at - m))
    last = found["at"][0]
    assert last.lost().shape == (30,) and set(last.lost()) <= {-1.0, 0.0, 1.0}


def test_two_steps_of_the_papers_network_in_half_precision():
    images = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    few = Images("noise", "train", images, torch.arange(4), tuple("abcdefghij"), "")
    how = networks.setting(run(network="resnet18", recipe="short"), "cifar10")
    assert how.recipe.precision == "bfloat16" and how.recipe.channels_last
    model = how.model(few, 0)
    loss = arms.ARMS["m"].loss(model, networks.Ball(8 / 255, 2 / 255, 1), epochs=1, seed=0)
    recipe = how.recipe.model_copy(update={"epochs": 1, "batch": 2})
    made = experiments.training.fit(model, few, loss, recipe)
    assert np.isfinite(made.history[0]["loss"]) and int(loss.batches) == 2
    assert loss.covariance.matrix().isfinite().all()
