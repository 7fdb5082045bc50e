"""Several seeds of one recipe through one call, and what comes back of a training: best, last, scores."""

from functools import partial

import pytest
import torch
from torch import nn

from causalnb import processes, training
from causalnb.data import Images
from causalnb.store import Store
from causalnb.training import Recipe, accuracy, carried_key, cross_entropy, fit, train_or_load

WHAT = "a small network"
RECIPE = Recipe(rate=0.1, momentum=0.9, epochs=3, batch=16)
STAGES = [(cross_entropy, RECIPE), (cross_entropy, RECIPE.model_copy(update={"epochs": 2, "seed": 10}))]


def images(split="train", n=48, seed=0):
    pixels = torch.rand(n, 1, 4, 4, generator=torch.Generator().manual_seed(seed))
    return Images("noise", split, pixels, (pixels.mean((1, 2, 3)) > 0.5).long(), ("dark", "bright"), "digest")


def mlp(seed):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 2))


SETTINGS = {"test": images("test", seed=1), "validate": partial(accuracy, data=images(seed=2))}


def equal(a, b):
    return set(a) == set(b) and all(torch.equal(one, b[name]) for name, one in a.items())


def alike(a, b):
    weights = equal(a.model.state_dict(), b.model.state_dict()) and equal(a.best, b.best)
    return weights and torch.equal(a.curve, b.curve) and torch.equal(a.scores, b.scores)


def seeded(seed):
    return [(loss, recipe.model_copy(update={"seed": recipe.seed + seed})) for loss, recipe in STAGES]


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def asked(monkeypatch):
    """What goes to other processes, of which there are none: all happens here."""
    items = []
    monkeypatch.setattr(
        processes, "map", lambda make, some, **_: items.extend(some) or [make(one) for one in items]
    )
    return items


@pytest.fixture(scope="module")
def one_by_one(tmp_path_factory):
    """Seeds 3 and 1, each by a call of its own."""
    store = Store(tmp_path_factory.mktemp("one by one"))
    return [train_or_load(store, WHAT, mlp(seed), seeded(seed), images(), **SETTINGS) for seed in (3, 1)]


@pytest.mark.parametrize("workers", [1, 2])
def test_seeds_in_one_call_are_those_one_by_one_bit_for_bit_side_by_side_too(tmp_path, one_by_one, workers):
    store = Store(tmp_path)
    found = train_or_load(store, WHAT, mlp, STAGES, images(), seeds=[3, 1], workers=workers, **SETTINGS)
    assert all(alike(a, b) for a, b in zip(found, one_by_one, strict=True))
    assert not any(one.model.training for one in found)
    assert [(use.what, use.made) for use in store.uses] == [(WHAT, True)] * 2 and len(store.entries()) == 2
    assert not list((tmp_path / "work").iterdir())


def test_seeds_and_single_calls_share_their_entries(tmp_path, monkeypatch):
    train_or_load(Store(tmp_path), WHAT, mlp, STAGES, images(), seeds=[3, 1])
    monkeypatch.setattr(training.keeping, "fit", None)
    train_or_load(Store(tmp_path), WHAT, mlp(1), seeded(1), images())
    train_or_load(Store(tmp_path), WHAT, mlp, STAGES, images(), seeds=[1, 3])


def test_only_what_is_missing_goes_to_other_processes_and_nothing_for_one(tmp_path, asked):
    store = Store(tmp_path)
    call = partial(train_or_load, store, WHAT, mlp, STAGES, images(), workers=None)
    call(seeds=[0])
    call(seeds=[0, 1])
    assert asked == []
    call(seeds=[2, 0, 3, 1])
    assert [one.keywords["stages"][0][1].seed for one in asked] == [2, 3]
    call(seeds=[0, 1, 2, 3])
    assert len(asked) == 2 and [use.made for use in store.uses] == [True] * len(store.entries()) == [True] * 4


@pytest.mark.parametrize("why", ["threads", "workers", "device"])
def test_where_it_would_change_something_or_is_not_asked_for_all_is_trained_here(tmp_path, asked, why):
    torch.set_num_threads(2 if why == "threads" else 1)
    recipe, workers = RECIPE.model_copy(update={"epochs": 1}), 1 if why == "workers" else None
    call = partial(
        train_or_load, Store(tmp_path), WHAT, mlp, [(cross_entropy, recipe)], images(), seeds=[0, 1]
    )
    if why == "device":
        with pytest.raises(NotImplementedError):
            call(workers=workers, device="meta")
    else:
        assert len(call(workers=workers)) == 2
    assert asked == []


def test_carried_weights_are_found_for_each_seed(tmp_path, monkeypatch):
    layer = Store(tmp_path / "weights")
    for seed in (0, 1):
        weights = {f"weights.{name}": one for name, one in mlp(7 + seed).state_dict().items()}
        key = carried_key(WHAT, seeded(seed), images())
        layer.get_or_make(key, lambda weights=weights: weights | {"curve": torch.tensor([0.5]).double()})
    monkeypatch.setattr(training.keeping, "fit", None)
    store = Store(tmp_path / "own", layers=(layer.root,))
    found = train_or_load(store, WHAT, mlp, STAGES, images(), seeds=[0, 1], workers=None)
    assert [equal(one.model.state_dict(), mlp(7 + i).state_dict()) for i, one in enumerate(found)] == [
        True
    ] * 2
    assert [use.carried for use in store.uses] == [True, True] and found[0].scores.shape == (0,)


def test_carried_weights_without_a_score_are_not_taken_for_those_with_one(tmp_path):
    plain, scored = (carried_key(WHAT, STAGES, images(), *score) for score in ((), (accuracy,)))
    assert scored == plain | {"validate": "accuracy"}


def test_seeds_want_a_function_and_one_training_a_network(tmp_path):
    for model, seeds in ((mlp, None), (mlp(0), [0])):
        with pytest.raises(ValueError, match="a network, or with seeds a function"):
            train_or_load(Store(tmp_path), WHAT, model, STAGES, images(), seeds=seeds)


# What comes back -------------------------------------------------------------------------------------------


def test_best_and_last_and_the_scores_of_all_stages_are_those_of_fit(tmp_path):
    model, best, scores = mlp(0), [], []
    for loss, recipe in STAGES:
        done = fit(model, images(), loss, recipe, validate=SETTINGS["validate"])
        scores += [row["score"] for row in done.history]
        best.append((max(row["score"] for row in done.history), done.best))
    for _ in range(2):  # made, and reused
        found = train_or_load(Store(tmp_path), WHAT, mlp(0), STAGES, images(), **SETTINGS)
        assert found.scores.tolist() == scores and equal(found.model.state_dict(), model.state_dict())
        assert equal(found.best, max(best, key=lambda one: one[0])[1])
        chosen = found.at_best()
        assert accuracy(chosen, images(seed=2)) == max(scores) and not chosen.training
        assert equal(found.model.state_dict(), model.state_dict())


@pytest.mark.parametrize(("sign", "best"), [(1, 15), (-1, 3)])
def test_the_best_of_several_stages_is_the_best_of_all(tmp_path, sign, best):
    model = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(16), nn.Linear(16, 2))

    def score(model):
        return sign * float(model[1].num_batches_tracked)

    found = train_or_load(Store(tmp_path), WHAT, model, STAGES, images(), validate=score)
    assert found.best["1.num_batches_tracked"] == best
    assert found.scores.tolist() == [sign * 3 * (epoch + 1) for epoch in range(5)]


class Counting(nn.Module):
    """A loss that counts its steps."""

    def __init__(self):
        super().__init__()
        self.register_buffer("count", torch.zeros(()))

    def forward(self, model, images, labels):
        self.count += 1
        return cross_entropy(model, images, labels) * (1 + self.count / 100)


def test_a_loss_with_a_state_begins_each_stage_and_each_training_as_it_was_given(tmp_path):
    loss, model = Counting(), mlp(0)
    stages = [(loss, recipe) for _, recipe in STAGES]
    for number in (1, 2):
        train_or_load(Store(tmp_path), WHAT, mlp(0), stages, images())
        assert loss.count == 0 and len(Store(tmp_path).entries()) == 1, number
    for _, recipe in STAGES:
        fit(model, images(), Counting(), recipe)
    found = train_or_load(Store(tmp_path), WHAT, mlp(0), stages, images())
    assert equal(found.model.state_dict(), model.state_dict())


def test_the_store_and_the_record_name_bfloat16(tmp_path):
    store = Store(tmp_path)
    for precision in ("float32", "bfloat16"):
        stages = [(cross_entropy, RECIPE.model_copy(update={"precision": precision}))]
        train_or_load(store, WHAT, mlp(0), stages, images())
    assert [use.what for use in store.uses] == [WHAT, f"{WHAT}, bfloat16"]
    assert [entry.what for entry in store.entries()] != [WHAT, WHAT]
