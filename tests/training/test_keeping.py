"""A training is paid once; the weights that the book carries are found whatever the code is now."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from causalnb import UserError, record, training
from causalnb.attacks.adversarial import adversarial
from causalnb.chapters.ace import networks as ace_networks
from causalnb.chapters.ace import parameters as ace_parameters
from causalnb.chapters.bench import networks as bench_networks
from causalnb.chapters.bench import parameters as bench_parameters
from causalnb.chapters.purification import networks as purification_networks
from causalnb.chapters.purification import parameters as purification_parameters
from causalnb.data import Images
from causalnb.store import Store, closure, key_digest
from causalnb.training import Recipe, accuracy, carried_key, cross_entropy, fit, train_or_load

WEIGHTS = Path(__file__).parents[2] / "weights"
WHAT = "a small network"
FIRST = Recipe(rate=0.1, momentum=0.9, epochs=2, batch=16)
SECOND = Recipe(optimiser="adam", rate=0.01, epochs=3, batch=16, seed=1)
STEPS = 6  # an epoch of 96 images in batches of 16


def images(split="train", n=96, seed=0):
    pixels = torch.rand(n, 1, 4, 4, generator=torch.Generator().manual_seed(seed))
    return Images("noise", split, pixels, (pixels.mean((1, 2, 3)) > 0.5).long(), ("dark", "bright"), "digest")


def mlp(seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Flatten(), nn.Linear(16, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 2)
        )


def same(a, b):
    return all(
        torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    )


class Killed(Exception):
    """Raised in the place of a kill."""


class Counted:
    """The cross-entropy; each step goes into the list `steps`, and the one after `last` of them is the end.
    None of this shows in what the loss is known by.
    """

    def __init__(self, steps, last=None):
        self.steps, self.last = steps, last

    def __call__(self, model, images, labels):
        if len(self.steps) == self.last:
            raise Killed
        self.steps.append(len(images))
        return cross_entropy(model, images, labels)

    def store_key(self):
        return cross_entropy


def walk(loss=cross_entropy):
    return [(loss, FIRST), (loss, SECOND)]


@pytest.fixture
def by_fits():
    """The model, and the accuracies after all epochs, of the same walk by two calls of `fit`."""
    model = mlp()
    histories = [
        fit(model, images(), loss, recipe, evaluate=lambda now: accuracy(now, images("test", seed=1))).history
        for loss, recipe in walk()
    ]
    return model, [epoch["value"] for history in histories for epoch in history]


def test_a_walk_is_its_trainings_one_after_the_other_bit_for_bit(tmp_path, by_fits):
    model = mlp()
    train_or_load(Store(tmp_path), WHAT, model, walk(), images())
    assert same(model, by_fits[0])


def test_the_curve_has_an_accuracy_for_every_epoch_of_every_stage(tmp_path, by_fits):
    model = mlp()
    curve = train_or_load(Store(tmp_path), WHAT, model, walk(), images(), test=images("test", seed=1)).curve
    assert curve.tolist() == by_fits[1] and len(curve) == FIRST.epochs + SECOND.epochs
    assert curve[-1] == accuracy(model, images("test", seed=1))


def test_without_images_to_test_on_the_curve_is_empty(tmp_path):
    made = train_or_load(Store(tmp_path), WHAT, mlp(), walk(), images())
    assert made.curve.shape == made.scores.shape == (0,) and made.best == {}


def test_the_second_who_asks_gets_weights_and_curve_from_the_store(tmp_path):
    steps, first, second = [], mlp(), mlp()
    made = train_or_load(
        Store(tmp_path), WHAT, first, walk(Counted(steps)), images(), test=images("test", seed=1)
    )
    assert len(steps) == STEPS * (FIRST.epochs + SECOND.epochs)
    store = Store(tmp_path)
    again = train_or_load(
        store, WHAT, second, walk(Counted([], last=0)), images(), test=images("test", seed=1)
    )
    assert same(first, second) and torch.equal(again.curve, made.curve)
    assert [(use.what, use.made) for use in store.uses] == [(WHAT, False)]


def loss_with(factor):
    def loss(model, images, labels):
        return factor * cross_entropy(model, images, labels)

    return loss


def scaled(model, images, labels, *, factor):
    return factor * cross_entropy(model, images, labels)


def other_activation():
    model = mlp()
    model[3] = nn.Tanh()
    return model


def brighter():
    some = images()
    return replace(some, images=some.images * 0.9)


OTHERS = {
    "name": {"name": "another network"},
    "recipe": {"stages": [(cross_entropy, FIRST), (cross_entropy, SECOND.model_copy(update={"rate": 0.02}))]},
    "order": {"stages": [(cross_entropy, SECOND), (cross_entropy, FIRST)]},
    "stages": {"stages": [(cross_entropy, FIRST)]},
    "pixels": {"data": brighter()},
    "test images": {"test": images("test", seed=1)},
    "first weights": {"model": mlp(seed=1)},
    "activation": {"model": other_activation()},
    "loss": {"stages": [(loss_with(0.5), FIRST), (cross_entropy, SECOND)]},
    "partial": {"stages": [(partial(scaled, factor=0.5), FIRST), (cross_entropy, SECOND)]},
}


def asked(**changed):
    given = {"name": WHAT, "model": mlp(), "stages": walk(), "data": images()} | changed
    return [given.pop(name) for name in ("name", "model", "stages", "data")], given


@pytest.mark.parametrize("changed", OTHERS)
def test_another_network_recipe_walk_loss_or_data_set_is_an_entry_of_its_own(tmp_path, changed):
    store = Store(tmp_path)
    for other in ({}, OTHERS[changed]):
        given, more = asked(**other)
        train_or_load(store, *given, **more)
    assert [use.made for use in store.uses] == [True, True] and len(store.entries()) == 2


def test_images_that_were_written_to_are_trained_on_anew(tmp_path):
    store, some = Store(tmp_path), images()
    for number in range(2):
        train_or_load(store, WHAT, mlp(), walk(), some)
        assert len(store.entries()) == number + 1
        some.images[0] = 0


@pytest.mark.parametrize(
    ("module", "entries"), [("causalnb.training.fitting", 2), ("causalnb.models.cutting", 1)]
)
def test_an_edit_of_code_that_trains_trains_anew_and_of_other_code_does_not(
    tmp_path, monkeypatch, module, entries
):
    store, plain = Store(tmp_path), record.code_digest
    train_or_load(store, WHAT, mlp(), walk(), images())
    edited = closure.path_of(module)
    monkeypatch.setattr(record, "code_digest", lambda path: "edited" if path == edited else plain(path))
    train_or_load(store, WHAT, mlp(), walk(), images())
    assert len(store.entries()) == entries


def test_a_loss_whose_content_cannot_be_seen_is_refused_in_a_sentence(tmp_path):
    for loss in (loss_with(torch.Generator()), partial(scaled, factor=iter([1]))):
        with pytest.raises(UserError, match=r"whose content cannot be seen, .*: give .*\.$"):
            train_or_load(Store(tmp_path), WHAT, mlp(), [(loss, FIRST)], images())
    assert Store(tmp_path).entries() == []


@pytest.mark.parametrize(
    ("killed_after", "left"),
    [
        (STEPS // 2, STEPS * (FIRST.epochs + SECOND.epochs)),
        (STEPS * FIRST.epochs, STEPS * SECOND.epochs),
        (STEPS * (FIRST.epochs + 1) + 2, STEPS * (SECOND.epochs - 1)),
    ],
)
def test_killed_and_begun_again_trains_only_what_was_left_and_ends_the_same_bit_for_bit(
    tmp_path, by_fits, killed_after, left
):
    steps, model, test = [], mlp(), images("test", seed=1)
    with pytest.raises(Killed):
        train_or_load(Store(tmp_path), WHAT, mlp(), walk(Counted([], killed_after)), images(), test=test)
    assert Store(tmp_path).entries() == []
    made = train_or_load(Store(tmp_path), WHAT, model, walk(Counted(steps)), images(), test=test)
    assert same(model, by_fits[0]) and made.curve.tolist() == by_fits[1] and len(steps) == left
    assert len(Store(tmp_path).entries()) == 1 and list((tmp_path / "work").iterdir()) == []


def test_the_model_evaluates_afterwards_on_the_device_made_or_reused(tmp_path, monkeypatch):
    moved, to = [], nn.Module.to
    for made in (True, False):
        model, store = mlp().train(), Store(tmp_path)
        monkeypatch.setattr(
            nn.Module, "to", lambda module, device: moved.append((module, device)) or to(module, device)
        )
        train_or_load(store, WHAT, model, walk(), images(), device=torch.device("cpu"))
        assert moved[-1][0] is model and moved[-1][1] == torch.device("cpu")
        assert [use.made for use in store.uses] == [made] and not any(
            module.training for module in model.modules()
        )
        moved.clear()


# Weights that the book carries ----------------------------------------------------------------------------


class Grown(Recipe):
    """A recipe of a later edition."""

    warmup: int = 0


def carried(tmp_path, stages, name=WHAT, digest="digest"):
    """A store above a folder that carries weights."""
    folder = tmp_path / "weights"
    weights = {f"weights.{part}": one for part, one in mlp(seed=7).state_dict().items()}
    key = {"what": name, "carried": [[loss, told] for loss, told in stages], "data": digest}
    Store(folder).get_or_make(key, lambda: weights | {"curve": torch.tensor([0.5, 0.75]).double()})
    return Store(tmp_path / "own", layers=(folder,))


TOLD = {"batch": 16, "epochs": 2, "momentum": 0.9, "rate": 0.1}


def test_the_key_of_carried_weights_is_name_losses_recipes_beside_their_defaults_and_data():
    given = [
        (cross_entropy, FIRST),
        (adversarial(norm="linf", eps=0.1, step=0.05, steps=4), Recipe()),
    ]
    told = [["cross_entropy", TOLD], ["adversarial(linf, 0.1, 0.05, 4)", {}]]
    assert carried_key(WHAT, given, images()) == {"what": WHAT, "carried": told, "data": "digest"}


def test_a_recipe_that_grew_asks_for_the_same_weights():
    grown = Grown(**FIRST.model_dump())
    assert carried_key(WHAT, [(cross_entropy, grown)], images()) == carried_key(
        WHAT, [(cross_entropy, FIRST)], images()
    )
    slow = grown.model_copy(update={"warmup": 3})
    assert carried_key(WHAT, [(cross_entropy, slow)], images())["carried"] == [
        ["cross_entropy", TOLD | {"warmup": 3}]
    ]


@pytest.mark.parametrize("recipe", [FIRST, Grown(**FIRST.model_dump())])
def test_carried_weights_are_taken_whatever_the_code_is_and_the_use_says_so(tmp_path, monkeypatch, recipe):
    monkeypatch.setattr(record, "code_digest", lambda path: "edited")
    monkeypatch.setattr(training.keeping, "fit", None)
    store, model = carried(tmp_path, [("cross_entropy", TOLD)]), mlp()
    curve = train_or_load(store, WHAT, model, [(cross_entropy, recipe)], images()).curve
    assert same(model, mlp(seed=7)) and curve.tolist() == [0.5, 0.75] and not model.training
    [use] = store.uses
    assert (use.what, use.made, use.carried) == (WHAT, False, True)


def test_trained_weights_that_were_exported_are_carried_whatever_the_code_is(tmp_path, monkeypatch):
    made, model = Store(tmp_path / "made"), mlp()
    train_or_load(made, WHAT, model, [(cross_entropy, FIRST)], images())
    [entry] = made.entries()
    made.export(entry.digest, tmp_path / "weights" / "mlp.safetensors")
    monkeypatch.setattr(record, "code_digest", lambda path: "edited")
    monkeypatch.setattr(training.keeping, "fit", None)
    store, other = Store(tmp_path / "own", layers=(tmp_path / "weights",)), mlp(seed=3)
    train_or_load(store, WHAT, other, [(cross_entropy, FIRST)], images())
    assert same(other, model) and store.verify() == []
    assert [(use.made, use.carried, use.seconds) for use in store.uses] == [(False, True, entry.seconds)]


@pytest.mark.parametrize(
    "other",
    [
        {"name": "another network"},
        {"data": replace(images(), digest="other")},
        {"stages": [(cross_entropy, SECOND)]},
        {"stages": [(cross_entropy, FIRST)] * 2},
        {"stages": [(loss_with(1.0), FIRST)]},
        {"stages": [(partial(cross_entropy), FIRST)]},
    ],
    ids=["name", "data", "recipe", "stages", "closure", "partial"],
)
def test_what_is_not_carried_is_trained_and_the_use_says_that(tmp_path, other):
    store = carried(tmp_path, [("cross_entropy", TOLD)])
    given, more = asked(**{"stages": [(cross_entropy, FIRST)]} | other)
    train_or_load(store, *given, **more)
    assert [(use.made, use.carried) for use in store.uses] == [(True, False)]


def test_a_loss_of_another_file_is_not_taken_for_the_package_s_of_the_same_name(tmp_path):
    def cross_entropy(model, images, labels):
        return 0.5 * nn.functional.cross_entropy(model(images), labels)

    cross_entropy.__qualname__ = "cross_entropy"
    store = carried(tmp_path, [("cross_entropy", TOLD)])
    train_or_load(store, WHAT, mlp(), [(cross_entropy, FIRST)], images())
    assert [use.carried for use in store.uses] == [False]


def asked_for(monkeypatch, digests):
    """The keys of carried weights that chapters 0 and 1 ask for at the laptop profile and chapter 5 at the
    quick one; no data are needed.
    """
    keys = []

    def noted(store, name, model, stages, data, *, seeds=None, **rest):
        outcomes = []
        for seed in seeds or [0]:
            its = [(loss, one.model_copy(update={"seed": one.seed + seed})) for loss, one in stages]
            keys.append(carried_key(name, its, data))
            made = model if isinstance(model, nn.Module) else model(seed)
            outcomes.append(training.Outcome(made, torch.zeros(1), torch.zeros(0), {}))
        return outcomes if seeds else outcomes[0]

    monkeypatch.setattr(training, "train_or_load", noted)

    def load(name, split="test"):
        n = 10_001 if split == "train" else 1000
        pixels, labels = torch.zeros(1, 1, 28, 28).expand(n, 1, 28, 28), torch.arange(n) % 10
        return Images(name, split, pixels, labels, tuple("0123456789"), digests[name])

    def run(chapter, profile="laptop"):
        p = chapter.Parameters.resolve({"profile": profile})
        return SimpleNamespace(p=p, store=None, device=torch.device("cpu"), load=load)

    bench_networks.networks(run(bench_parameters))
    for name in digests:
        ace_networks.trained(run(ace_parameters), name)
        ace_networks.others(run(ace_parameters), name)
    quick = run(purification_parameters, "quick")
    of = purification_networks.sets(quick, "shapes")
    purification_networks.trained(quick, of, "two-stage", seeds=[quick.p.seed])
    for robust in (False, True):
        purification_networks.classifiers(quick, of, seeds=[quick.p.seed], robust=robust)
    return keys


def test_all_weights_in_the_book_are_those_that_the_chapters_ask_for(monkeypatch, tmp_path):
    entries = Store(WEIGHTS).entries()
    assert (
        len(entries) == len(list(WEIGHTS.iterdir())) == 18
        and Store(tmp_path, layers=(WEIGHTS,)).verify() == []
    )
    digests = {entry.what.split(" on ")[1].split()[0]: entry.key["data"] for entry in entries}
    assert set(digests) == {"mnist", "fashion_mnist", "shapes"}
    del digests["shapes"]  # they are drawn, not loaded
    keys = [key_digest(key) for key in asked_for(monkeypatch, digests)]
    assert {entry.digest for entry in entries} <= set(keys) and len(keys) == len(set(keys)) == 19
    assert all(entry.digest == key_digest(entry.key) for entry in entries)
