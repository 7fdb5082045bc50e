import copy
import math
from functools import partial

import pytest
import torch
from pydantic import ValidationError
from torch import nn
from torch.nn import functional

from causalnb import UserError, console, store
from causalnb.data import Images
from causalnb.training import Recipe, accuracy, crop_flip, cross_entropy, fit, fitting, mode, predict
from causalnb.training import recipe as recipe_module


def images(n=96, seed=0, channels=1, size=4):
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.rand(n, channels, size, size, generator=generator)
    return Images("noise", "train", pixels, (pixels.mean((1, 2, 3)) > 0.5).long(), ("dark", "bright"), "")


def mlp(seed=0, dropout=0.2):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Flatten(), nn.Linear(16, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(dropout), nn.Linear(8, 2)
        )


def same(a, b):
    return all(
        torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    )


class Killed(Exception):
    """Raised in the place of a kill."""


class Dies:
    """The cross-entropy, for so many steps; what it is known by does not show where it ends."""

    def __init__(self, steps):
        self.left = steps

    def __call__(self, model, images, labels):
        if not self.left:
            raise Killed
        self.left -= 1
        return cross_entropy(model, images, labels)

    def store_key(self):
        return cross_entropy


def fit_until(epoch, model, data, recipe, checkpoint):
    """Train, and die in the epoch after `epoch`."""
    with pytest.raises(Killed):
        fit(
            model,
            data,
            Dies(epoch * math.ceil(len(data) / recipe.batch) + 2),
            recipe,
            checkpoint=checkpoint,
        )


def test_one_step_of_sgd_is_the_rate_times_the_mean_gradient():
    data, model = images(8), nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
    weight, bias = (p.detach().clone().requires_grad_() for p in model.parameters())
    gradients = torch.autograd.grad(
        functional.cross_entropy(data.images.flatten(1) @ weight.T + bias, data.labels), (weight, bias)
    )
    fit(model, data, cross_entropy, Recipe(rate=0.5, epochs=1, batch=8))
    for after, before, gradient in zip(model.parameters(), (weight, bias), gradients, strict=True):
        torch.testing.assert_close(after, before - 0.5 * gradient)


@pytest.mark.parametrize("optimiser", ["sgd", "adam"])
def test_weights_equal_those_of_a_plain_loop(optimiser):
    data, ours, plain = images(50), mlp(dropout=0), mlp(dropout=0)
    seen = []

    def loss(model, images, labels):
        seen.append((images, labels))
        return cross_entropy(model, images, labels)

    fit(
        ours,
        data,
        loss,
        Recipe(optimiser=optimiser, rate=0.1, momentum=0.9, weight_decay=1e-3, epochs=3, batch=8),
    )
    step = (
        torch.optim.SGD(plain.parameters(), 0.1, momentum=0.9, weight_decay=1e-3)
        if optimiser == "sgd"
        else torch.optim.Adam(plain.parameters(), 0.1, weight_decay=1e-3)
    )
    for some, labels in seen:
        step.zero_grad()
        cross_entropy(plain, some, labels).backward()
        step.step()
    assert same(ours, plain)


def test_an_epoch_shows_every_image_once_in_an_order_of_its_own():
    data = images(50)
    orders = []

    def loss(model, some, labels):
        orders.extend((some[:, None] == data.images).flatten(2).all(2).int().argmax(1).tolist())
        return cross_entropy(model, some, labels)

    fit(mlp(), data, loss, Recipe(epochs=2, batch=8))
    first, second = orders[:50], orders[50:]
    assert sorted(first) == sorted(second) == list(range(50)) and first != second


def test_the_seed_decides_and_nothing_else():
    data, results = images(), []
    for seed, noise in ((0, 1), (0, 2), (1, 1)):
        torch.manual_seed(noise)
        results.append(
            fit(
                mlp(), data, cross_entropy, Recipe(epochs=2, batch=8, seed=seed, augmentation="crop-flip")
            ).model
        )
    assert same(results[0], results[1]) and not same(results[0], results[2])


def test_the_global_generator_and_every_mode_come_back():
    model = mlp()
    model[2].eval()
    before, modes = torch.get_rng_state(), [module.training for module in model.modules()]
    fit(model, images(), cross_entropy, Recipe(epochs=1))
    assert (
        torch.equal(torch.get_rng_state(), before)
        and [module.training for module in model.modules()] == modes
    )
    assert all(p.grad is None for p in model.parameters())


def test_modes_and_generator_come_back_after_an_exception():
    model = mlp().eval()
    before = torch.get_rng_state()

    def loss(model, images, labels):
        assert model.training and torch.rand(1)
        raise Killed

    with pytest.raises(Killed):
        fit(model, images(), loss, Recipe())
    assert not any(module.training for module in model.modules()) and torch.equal(
        torch.get_rng_state(), before
    )


def test_gradients_that_a_loss_leaves_behind_do_not_count():
    def attacks_inside(model, images, labels):
        (1000 * cross_entropy(model, images, labels)).backward()
        return cross_entropy(model, images, labels)

    data = images()
    recipe = Recipe(epochs=1, batch=32)
    assert all(
        torch.equal(a, b)
        for a, b in zip(
            fit(mlp(dropout=0), data, attacks_inside, recipe).model.parameters(),
            fit(mlp(dropout=0), data, cross_entropy, recipe).model.parameters(),
            strict=True,
        )
    )


def test_parameters_that_need_no_gradient_stay():
    model = mlp()
    model[1].requires_grad_(False)
    before = copy.deepcopy(model[1])
    fit(model, images(), cross_entropy, Recipe(epochs=1, weight_decay=0.1, batch=8))
    assert same(model[1], before) and not same(model[5], mlp()[5])


def test_the_schedules_go_where_they_say():
    assert [Recipe(rate=2, epochs=4, schedule="cosine").rate_in(epoch) for epoch in (0, 2)] == pytest.approx(
        [2, 1]
    )
    assert Recipe(rate=2, epochs=4).rate_in(3) == 2
    data, model = images(8), nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
    moved, last = [], [p.detach().clone() for p in model.parameters()]

    def linear(model, images, labels):  # its gradient is 1 everywhere: a step is the rate
        return sum(p.sum() for p in model.parameters())

    def evaluate(model):
        moved.append(float(last[0][0, 0] - model[1].weight[0, 0].detach()))
        last[:] = [p.detach().clone() for p in model.parameters()]
        return 0.0

    fit(model, data, linear, Recipe(rate=1, epochs=4, batch=8, schedule="steps"), evaluate=evaluate)
    assert moved == pytest.approx([1, 1, 0.1, 0.01], abs=1e-5)


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe(rate=0.1, momentum=0.9, epochs=5, batch=16, augmentation="crop-flip", schedule="cosine"),
        Recipe(optimiser="adam", rate=0.01, epochs=5, batch=10, seed=3),
        Recipe(rate=0.1, epochs=5, batch=16),
    ],
)
@pytest.mark.parametrize("epoch", [1, 4])
def test_killed_and_begun_again_ends_with_the_same_weights_bit_for_bit(tmp_path, recipe, epoch):
    data, rest = images(), Dies(-1)
    whole = fit(mlp(), data, cross_entropy, recipe, evaluate=lambda model: accuracy(model, images()))
    file = tmp_path / "checkpoint"
    fit_until(epoch, mlp(), data, recipe, file)
    torch.manual_seed(99)
    resumed = fit(mlp(), data, rest, recipe, checkpoint=file)
    assert -1 - rest.left == (5 - epoch) * math.ceil(len(data) / recipe.batch)
    assert same(resumed.model, whole.model)
    assert [row["epoch"] for row in resumed.history] == [1, 2, 3, 4, 5]
    assert [row["loss"] for row in resumed.history] == [row["loss"] for row in whole.history]


def test_a_finished_training_is_taken_from_its_checkpoint(tmp_path):
    data, recipe = images(), Recipe(epochs=2)
    first = fit(mlp(), data, Dies(-1), recipe, checkpoint=tmp_path / "c")
    second = fit(mlp(), data, Dies(0), recipe, checkpoint=tmp_path / "c")
    assert same(first.model, second.model) and first.history == second.history
    assert [file.name for file in tmp_path.iterdir()] == ["c"]


@pytest.mark.parametrize("other", ["recipe", "model", "data", "loss"])
def test_the_checkpoint_of_another_training_is_left_aside_with_a_remark(tmp_path, capsys, other):
    def another_loss(model, images, labels):
        return cross_entropy(model, images, labels)

    given = {"recipe": Recipe(epochs=2), "model": 0, "data": images(), "loss": cross_entropy}
    changed = given | {
        other: {"recipe": Recipe(epochs=2, seed=1), "model": 1, "data": images(seed=1), "loss": another_loss}[
            other
        ]
    }
    fit(mlp(given["model"]), given["data"], given["loss"], given["recipe"], checkpoint=tmp_path / "c")
    fresh = fit(mlp(changed["model"]), changed["data"], changed["loss"], changed["recipe"])
    resumed = fit(
        mlp(changed["model"]), changed["data"], changed["loss"], changed["recipe"], checkpoint=tmp_path / "c"
    )
    assert same(fresh.model, resumed.model)
    assert "is of another training (model, data, loss or recipe differ)" in capsys.readouterr().err


def scaled(factor):
    """A loss that captures its factor."""

    def loss(model, images, labels):
        return factor * cross_entropy(model, images, labels)

    return loss


def with_a_default(factor):
    def loss(model, images, labels, factor=factor):
        return factor * cross_entropy(model, images, labels)

    return loss


def weighted(model, images, labels, *, factor):
    return factor * cross_entropy(model, images, labels)


class Scaled:
    """A loss that is an object."""

    def __init__(self, factor):
        self.factor = factor

    def __call__(self, model, images, labels):
        return self.factor * cross_entropy(model, images, labels)


class Bent(nn.Module):
    """A network with its activation as a plain attribute."""

    def __init__(self, activation):
        super().__init__()
        self.net, self.activation = mlp(), activation

    def forward(self, images):
        return self.activation(self.net(images))


def activated(activation):
    model = mlp()
    model[3] = activation
    return model


def hooked(factor):
    model = mlp()
    model[5].register_forward_hook(lambda module, given, logits: factor * logits)
    return model


LOSSES = {
    "a closure": lambda: (scaled(1.0), scaled(-3.0)),
    "a default": lambda: (with_a_default(1.0), with_a_default(-3.0)),
    "a partial": lambda: (partial(weighted, factor=1.0), partial(weighted, factor=-3.0)),
    "a lambda": lambda: (lambda m, x, y: cross_entropy(m, x, y), lambda m, x, y: -3 * cross_entropy(m, x, y)),
    "an attribute": lambda: (Scaled(1.0), Scaled(-3.0)),
    "a bound method": lambda: (Scaled(1.0).__call__, Scaled(-3.0).__call__),
}
MODELS = {
    "activations as modules": lambda: (activated(nn.ReLU()), activated(nn.Tanh())),
    "settings of an activation": lambda: (activated(nn.LeakyReLU(0.1)), activated(nn.LeakyReLU(0.9))),
    "activations as attributes": lambda: (Bent(torch.relu), Bent(torch.tanh)),
    "hooks": lambda: (hooked(1.0), hooked(-3.0)),
}


def history_of(model, loss, checkpoint=None):
    """The losses that a training told, and those of the training alone."""
    recipe = Recipe(rate=0.1, epochs=2, batch=16)
    alone = fit(copy.deepcopy(model), images(), loss, recipe)
    resumed = fit(model, images(), loss, recipe, checkpoint=checkpoint)
    return alone, resumed


@pytest.mark.parametrize("what", LOSSES)
def test_two_losses_never_go_on_from_each_other_s_checkpoint(tmp_path, what):
    told = [history_of(mlp(), loss, tmp_path / "c") for loss in LOSSES[what]()]
    for alone, resumed in told:
        assert resumed.history == alone.history and same(resumed.model, alone.model)
    assert told[0][0].history[-1]["loss"] > 0 > told[1][0].history[-1]["loss"]


@pytest.mark.parametrize("what", MODELS)
def test_two_models_with_equal_weights_never_go_on_from_each_other_s_checkpoint(tmp_path, what):
    told = [history_of(model, cross_entropy, tmp_path / "c") for model in MODELS[what]()]
    for alone, resumed in told:
        assert resumed.history == alone.history and same(resumed.model, alone.model)
    assert told[0][0].history != told[1][0].history


@pytest.mark.parametrize("what", sorted(LOSSES))
def test_the_same_loss_made_again_goes_on(tmp_path, capsys, what):
    for _ in range(2):
        fit(mlp(), images(), LOSSES[what]()[0], Recipe(epochs=2, batch=16), checkpoint=tmp_path / "c")
    assert "another training" not in capsys.readouterr().err


def test_a_loss_whose_content_cannot_be_seen_has_no_checkpoint_and_a_sentence(tmp_path):
    loss = scaled(torch.Generator())
    with pytest.raises(
        UserError, match=r"^the training\[3\] \(captured\)\.factor is of .*Generator.*: give .*\.$"
    ):
        fit(mlp(), images(), loss, Recipe(epochs=1), checkpoint=tmp_path / "c")
    assert not (tmp_path / "c").exists()


def test_a_damaged_checkpoint_is_said_and_training_begins_anew(tmp_path, capsys):
    data, recipe, file = images(), Recipe(epochs=2), tmp_path / "c"
    whole = fit(mlp(), data, cross_entropy, recipe, checkpoint=file)
    file.write_bytes(file.read_bytes()[:-9])
    assert same(fit(mlp(), data, cross_entropy, recipe, checkpoint=file).model, whole.model)
    assert f"{file} does not match its checksum: the training begins anew." in capsys.readouterr().err
    assert store.sound(file)


def test_a_loss_that_is_no_number_stops_with_a_sentence(tmp_path):
    with pytest.raises(
        UserError,
        match=r"^The training loss is nan in epoch 1 of 3: lower the learning rate \(0\.5\), or look for "
        r"impossible values",
    ):
        fit(
            mlp(),
            images(),
            lambda model, images, labels: cross_entropy(model, images, labels) * math.nan,
            Recipe(rate=0.5, epochs=3),
            checkpoint=tmp_path / "c",
        )
    assert not (tmp_path / "c").exists()


def test_the_history_holds_the_mean_loss_and_what_evaluate_says():
    data = images(10)
    modes = []

    def evaluate(model):
        modes.append(model.training)
        return accuracy(model, data)

    fitted = fit(
        mlp(),
        data,
        lambda model, images, labels: model(images).sum() * 0 + len(images),
        Recipe(epochs=2, batch=4),
        evaluate=evaluate,
    )
    assert [row["loss"] for row in fitted.history] == pytest.approx([(4 * 4 + 4 * 4 + 2 * 2) / 10] * 2)
    assert [row["value"] for row in fitted.history] == [accuracy(fitted.model, data)] * 2 and modes == [
        False,
        False,
    ]


def test_the_bar_moves_once_a_step(monkeypatch):
    asked = []
    monkeypatch.setattr(console, "progress", lambda items, **what: asked.append(items) or iter(items))
    fit(mlp(), images(10), cross_entropy, Recipe(epochs=3, batch=4))
    assert [len(items) for items in asked] == [9]


def test_a_separable_set_is_learnt():
    data = images(256)
    model = fit(
        mlp(dropout=0), data, cross_entropy, Recipe(optimiser="adam", rate=0.03, epochs=20, batch=32)
    ).model
    assert accuracy(model, data) > 0.95


def test_a_crop_in_the_middle_without_a_mirror_is_the_image_and_a_mirror_is_its_own_inverse():
    pixels = images(6, channels=3).images
    middle, yes, no = torch.full((6, 2), 4), torch.ones(6, dtype=torch.bool), torch.zeros(6, dtype=torch.bool)
    assert torch.equal(crop_flip(pixels, middle, no), pixels)
    assert torch.equal(crop_flip(pixels, middle, yes), pixels.flip(3))


def test_a_crop_moves_each_image_by_its_own_shift():
    pixels = images(2, channels=3).images
    moved = crop_flip(pixels, torch.tensor([[4, 6], [1, 4]]), torch.tensor([False, False]))
    assert torch.equal(moved[0, :, :, :2], pixels[0, :, :, 2:]) and (moved[0, :, :, 2:] == 0).all()
    assert torch.equal(moved[1, :, 3:], pixels[1, :, :1]) and (moved[1, :, :3] == 0).all()


def test_predict_evaluates_without_gradients_and_keeps_each_module_s_mode():
    model, data = mlp(), images()
    model[2].eval()
    buffers = copy.deepcopy(dict(model.named_buffers()))
    logits = predict(model, data.images, batch=7)
    assert torch.equal(logits, predict(model, data.images, batch=7)) and not logits.requires_grad
    torch.testing.assert_close(logits, predict(model, data.images))
    assert (
        model.training
        and not model[2].training
        and all(torch.equal(b, buffers[name]) for name, b in model.named_buffers())
    )


def test_predict_takes_a_model_without_parameters():
    assert predict(nn.Flatten(), torch.ones(3, 1, 2, 2), batch=2).shape == (3, 4)


def test_accuracy_is_the_share_of_right_answers():
    data = Images(
        "four", "test", torch.eye(4).reshape(4, 1, 2, 2), torch.tensor([0, 1, 2, 0]), ("a", "b", "c", "d"), ""
    )
    assert accuracy(nn.Flatten(), data) == 0.75


def test_modes_come_back_after_an_exception():
    model = mlp()
    model[2].eval()
    with pytest.raises(Killed), mode(model, train=False):
        assert not model.training
        raise Killed
    assert model.training and not model[2].training


@pytest.mark.parametrize(
    "wrong", [{"rate": 0}, {"epochs": 0}, {"batch": 0}, {"optimiser": "lbfgs"}, {"momentum": 1}, {"speed": 3}]
)
def test_an_impossible_recipe_is_refused(wrong):
    with pytest.raises(ValidationError):
        Recipe(**wrong)


def test_the_examples_of_the_docstrings_run():
    import doctest

    for module in (fitting, recipe_module):
        found = doctest.testmod(module)
        assert found.failed == 0 < found.attempted
