from dataclasses import replace

import pytest
import torch
from torch import nn

from causalnb import record
from causalnb.data import Images
from causalnb.fitted import fitted
from causalnb.store import Store
from causalnb.training import Recipe, accuracy, cross_entropy, fit

WHAT = {"what": "a small network", "seed": 0}
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


def counted(steps, last=None):
    """The cross-entropy; each step goes into the list `steps`, and the one after `last` of them is the
    end.
    """

    def loss(model, images, labels):
        if len(steps) == last:
            raise Killed
        steps.append(len(images))
        return cross_entropy(model, images, labels)

    return loss


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
    fitted(Store(tmp_path), WHAT, model, walk(), images())
    assert same(model, by_fits[0])


def test_the_curve_has_an_accuracy_for_every_epoch_of_every_stage(tmp_path, by_fits):
    model = mlp()
    curve = fitted(Store(tmp_path), WHAT, model, walk(), images(), test=images("test", seed=1))
    assert curve.tolist() == by_fits[1] and len(curve) == FIRST.epochs + SECOND.epochs
    assert curve[-1] == accuracy(model, images("test", seed=1))


def test_without_images_to_test_on_the_curve_is_empty(tmp_path):
    assert fitted(Store(tmp_path), WHAT, mlp(), walk(), images()).shape == (0,)


def test_the_second_who_asks_gets_weights_and_curve_from_the_store_whatever_the_model_held(tmp_path):
    steps, first, second = [], mlp(), mlp(seed=5)
    curve = fitted(Store(tmp_path), WHAT, first, walk(counted(steps)), images(), test=images("test", seed=1))
    assert len(steps) == STEPS * (FIRST.epochs + SECOND.epochs)
    store = Store(tmp_path)
    again = fitted(store, WHAT, second, walk(counted([], last=0)), images(), test=images("test", seed=1))
    assert same(first, second) and torch.equal(again, curve)
    assert [(use.what, use.made) for use in store.uses] == [("a small network", False)]


@pytest.mark.parametrize("changed", ["what", "recipe", "order", "stages", "data"])
def test_another_network_recipe_walk_or_data_set_is_an_entry_of_its_own(tmp_path, changed):
    recipes = {
        "recipe": [FIRST, SECOND.model_copy(update={"weight_decay": 0.1})],
        "order": [SECOND, FIRST],
        "stages": [FIRST],
    }.get(changed, [FIRST, SECOND])
    store, other = Store(tmp_path), WHAT | ({"seed": 1} if changed == "what" else {})
    fitted(store, WHAT, mlp(), walk(), images())
    fitted(
        store,
        other,
        mlp(),
        [(cross_entropy, recipe) for recipe in recipes],
        replace(images(), digest="other") if changed == "data" else images(),
    )
    assert [use.made for use in store.uses] == [True, True] and len(store.entries()) == 2


@pytest.mark.parametrize(
    ("code", "entries"),
    [
        (("causalnb.training",), 2),
        (("causalnb.data", "causalnb.training"), 2),
        (("causalnb.data",), 1),
        ((), 1),
    ],
)
def test_an_edit_trains_anew_only_where_the_module_is_named(tmp_path, monkeypatch, code, entries):
    store, edition = Store(tmp_path), {"causalnb.training": "as it was", "causalnb.data": "as it is"}
    monkeypatch.setattr(record, "module_digest", lambda *names: " ".join(edition[name] for name in names))
    fitted(store, WHAT, mlp(), walk(), images(), code=code)
    edition["causalnb.training"] = "edited"
    fitted(store, WHAT, mlp(), walk(), images(), code=code)
    assert len(store.entries()) == entries


def test_the_key_of_weights_without_code_is_what_recipes_and_data_so_that_carried_ones_are_found(tmp_path):
    store = Store(tmp_path)
    fitted(store, WHAT, mlp(), walk(), images())
    assert [entry.key for entry in store.entries()] == [
        {**WHAT, "recipes": [FIRST.model_dump(), SECOND.model_dump()], "data": "digest"}
    ]


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
        fitted(Store(tmp_path), WHAT, mlp(), walk(counted([], killed_after)), images(), test=test)
    assert Store(tmp_path).entries() == []
    curve = fitted(Store(tmp_path), WHAT, model, walk(counted(steps)), images(), test=test)
    assert same(model, by_fits[0]) and curve.tolist() == by_fits[1] and len(steps) == left
    assert len(Store(tmp_path).entries()) == 1 and list((tmp_path / "work").iterdir()) == []


def test_the_model_evaluates_afterwards_on_the_device_made_or_reused(tmp_path, monkeypatch):
    asked, to = [], nn.Module.to
    for made in (True, False):
        model, store = mlp().train(), Store(tmp_path)
        monkeypatch.setattr(
            nn.Module, "to", lambda module, device: asked.append((module, device)) or to(module, device)
        )
        fitted(store, WHAT, model, walk(), images(), device=torch.device("cpu"))
        assert asked[-1][0] is model and asked[-1][1] == torch.device("cpu")
        assert [use.made for use in store.uses] == [made] and not any(
            module.training for module in model.modules()
        )
        asked.clear()
