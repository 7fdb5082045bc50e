"""What a recipe may ask for beyond the plain loop, losses with a state, best and last weights: each against its
closed form or a plain loop, and each after a kill as without one.
"""

import math
from functools import partial

import pytest
import torch
from pydantic import ValidationError
from torch import nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

from causalnb import UserError, store
from causalnb.data import Images
from causalnb.training import Recipe, accuracy, cross_entropy, fit

BASE = {"rate": 0.1, "momentum": 0.9, "epochs": 4, "batch": 16}
OPTIONS = {
    "nesterov": {"nesterov": True},
    "one-cycle": {"schedule": "one-cycle", "warm_up": 0.3},
    "decay on weights": {"weight_decay": 0.1, "decay_on": "weights"},
    "adam's decay on weights": {
        "optimiser": "adam",
        "rate": 0.01,
        "weight_decay": 0.1,
        "decay_on": "weights",
    },
    "bfloat16": {"precision": "bfloat16"},
    "channels last": {"channels_last": True},
    "adam, channels last": {"optimiser": "adam", "rate": 0.01, "channels_last": True},
    "all": {
        "nesterov": True,
        "schedule": "one-cycle",
        "weight_decay": 0.01,
        "decay_on": "weights",
        "precision": "bfloat16",
        "channels_last": True,
        "augmentation": "crop-flip",
    },
}


def images(n=40, seed=0):
    pixels = torch.rand(n, 2, 6, 6, generator=torch.Generator().manual_seed(seed))
    return Images("noise", "train", pixels, (pixels.mean((1, 2, 3)) > 0.5).long(), ("dark", "bright"), "")


def net():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        middle = nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 2))
        return nn.Sequential(*middle, nn.Flatten(), nn.Dropout(0.1), nn.Linear(36, 2))


def equal(a, b):
    return set(a) == set(b) and all(torch.equal(one, b[name]) for name, one in a.items())


def same(a, b):
    return equal(a.state_dict(), b.state_dict())


class Killed(Exception):
    """Raised in the place of a kill."""


class Scored:
    """A score that is highest after the second epoch of three steps; the call after `last` of them is the end.
    None of this shows in what it is known by.
    """

    def __init__(self, last=None):
        self.last = last

    def __call__(self, model):
        if self.last == 0:
            raise Killed
        self.last = None if self.last is None else self.last - 1
        return -abs(int(model[1].num_batches_tracked) - 6)

    def store_key(self):
        return accuracy


class Drifting(nn.Module):
    """A loss with a head that is trained, a mean of what it saw, a count of its steps, and the epoch's weight."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(2, 2, bias=False)
        nn.init.eye_(self.head.weight)
        self.register_buffer("mean", torch.zeros(2))
        self.register_buffer("count", torch.zeros((), dtype=torch.long))
        self.weight, self.epochs = 0.0, []

    def begin_epoch(self, epoch):
        self.weight = epoch / 10
        self.epochs.append(epoch)

    def forward(self, model, images, labels):
        logits = model(images)
        self.count += 1
        self.mean += (logits.detach().mean(0) - self.mean) / self.count
        again = nn.functional.cross_entropy(self.head(logits - self.mean), labels)
        return cross_entropy(model, images, labels) + (0.5 + self.weight) * again


def killed(after, loss, recipe, file, model=None):
    with pytest.raises(Killed):
        fit(model or net(), images(), loss, recipe, checkpoint=file, validate=Scored(after))


# Killed and begun again ------------------------------------------------------------------------------------


@pytest.mark.parametrize("option", OPTIONS)
def test_with_each_option_a_training_ends_as_without_a_kill_bit_for_bit(tmp_path, option):
    recipe, file = Recipe(**BASE | OPTIONS[option]), tmp_path / "c"
    whole = fit(net(), images(), cross_entropy, recipe, validate=Scored())
    killed(2, cross_entropy, recipe, file)
    assert len(store.read(file)[1]["history"]) == 2
    resumed = fit(net(), images(), cross_entropy, recipe, checkpoint=file, validate=Scored())
    assert same(resumed.model, whole.model) and resumed.history == whole.history
    assert equal(resumed.best, whole.best)
    assert not same(whole.model, fit(net(), images(), cross_entropy, Recipe(**BASE)).model)


@pytest.mark.parametrize("after", [1, 3])
def test_a_loss_with_a_state_goes_on_with_it_and_with_the_epoch(tmp_path, after):
    recipe, file = Recipe(**BASE), tmp_path / "c"
    loss, again = Drifting(), Drifting()
    whole = fit(net(), images(), loss, recipe, validate=Scored())
    killed(after, Drifting(), recipe, file)
    resumed = fit(net(), images(), again, recipe, checkpoint=file, validate=Scored())
    assert same(again, loss) and same(resumed.model, whole.model) and resumed.history == whole.history
    assert (loss.epochs, again.epochs) == ([0, 1, 2, 3], [0, 1, 2, 3][after:])
    assert loss.count == 4 * math.ceil(40 / 16) and not torch.equal(loss.head.weight, torch.eye(2))


def test_a_training_killed_at_every_epoch_keeps_the_same_best_and_last(tmp_path):
    recipe, file = Recipe(**BASE), tmp_path / "c"
    whole = fit(net(), images(), cross_entropy, recipe, validate=Scored())
    for _ in range(3):
        killed(1, cross_entropy, recipe, file)
    resumed = fit(net(), images(), cross_entropy, recipe, checkpoint=file, validate=Scored())
    assert equal(resumed.best, whole.best) and same(resumed.model, whole.model)
    assert whole.best["1.num_batches_tracked"] == 6 and len(whole.history) == 4


def test_the_optimiser_s_state_lies_after_a_kill_as_it_lay_before(tmp_path):
    recipe, laid = Recipe(**BASE | {"channels_last": True}), []

    def noted(optimiser, args, settings):
        kept = [optimiser.state[one] for group in optimiser.param_groups for one in group["params"][:1]]
        laid.append([last(one["momentum_buffer"]) for one in kept if one])

    killed(1, cross_entropy, recipe, tmp_path / "c")
    hook = register_optimizer_step_pre_hook(noted)
    fit(net(), images(), cross_entropy, recipe, checkpoint=tmp_path / "c", validate=Scored())
    hook.remove()
    assert laid == [[True]] * 9


# Each option against its closed form -----------------------------------------------------------------------


def rates_of(recipe, n=40):
    """The rate of every step: a loss whose gradient is 1 moves the one parameter by it."""
    model, seen = nn.Sequential(nn.Flatten(), nn.Linear(72, 1, bias=False)), []

    def linear(model, images, labels):
        seen.append(model[1].weight[0, 0].item())
        return model[1].weight.sum()

    fit(model.double(), images(n), linear, recipe)
    return [a - b for a, b in zip(seen, [*seen[1:], model[1].weight[0, 0].item()], strict=True)]


def test_one_cycle_goes_straight_up_and_straight_down_by_steps():
    rates = rates_of(Recipe(rate=3.0, schedule="one-cycle", warm_up=0.25, epochs=4, batch=10))
    up, down = [3 * (2 * k + 1) / 8 for k in range(4)], [3 * (1 - (2 * k + 1) / 24) for k in range(12)]
    assert rates == pytest.approx(up + down)


@pytest.mark.parametrize(("warm_up", "n"), [(0.2, 40), (0.5, 37), (0.01, 5)])
def test_the_rates_of_one_cycle_are_half_its_peak_in_the_mean_and_none_is_0_or_above_it(warm_up, n):
    rates = rates_of(Recipe(rate=2.0, schedule="one-cycle", warm_up=warm_up, epochs=10, batch=4), n)
    assert len(rates) == 10 * math.ceil(n / 4) and 0 < min(rates) <= max(rates) <= 2
    assert sum(rates) / len(rates) == pytest.approx(1, rel=0.05)


def test_other_schedules_do_not_move_within_an_epoch():
    for schedule in ("constant", "cosine", "steps"):
        recipe = Recipe(rate=2, epochs=4, schedule=schedule)
        for epoch in range(4):
            assert {recipe.rate_in(epoch + part) for part in (0, 0.3, 0.99)} == {recipe.rate_in(epoch)}


@pytest.mark.parametrize("optimiser", ["sgd", "adam"])
def test_with_nesterov_and_decay_on_weights_only_the_weights_equal_those_of_a_plain_loop(optimiser):
    own = {"nesterov": True} if optimiser == "sgd" else {}
    ours, plain, seen = net(), net(), []
    plain[5].p = ours[5].p = 0

    def loss(model, images, labels):
        seen.append((images, labels))
        return cross_entropy(model, images, labels)

    decay = {"weight_decay": 0.1, "decay_on": "weights"}
    fit(ours, images(), loss, Recipe(**BASE | own | decay | {"optimiser": optimiser}))
    groups = [
        {"params": [plain[0].weight, plain[3].weight, plain[6].weight], "weight_decay": 0.1},
        {"params": [plain[0].bias, plain[1].weight, plain[1].bias, plain[3].bias, plain[6].bias]},
    ]
    step = torch.optim.SGD(groups, 0.1, 0.9, nesterov=True) if own else torch.optim.Adam(groups, 0.1)
    for some, labels in seen:
        step.zero_grad()
        cross_entropy(plain, some, labels).backward()
        step.step()
    assert same(ours, plain)


def still(model, images, labels):
    """A loss without a gradient: only the decay moves."""
    return 0 * sum(one.sum() for one in model.parameters())


def test_decay_shrinks_each_weight_and_no_norm_or_bias():
    model, before = net(), net().state_dict()
    fit(model, images(), still, Recipe(rate=0.5, weight_decay=0.2, decay_on="weights", epochs=1, batch=40))
    for name, one in model.named_parameters():
        torch.testing.assert_close(one.detach(), before[name] * (0.9 if one.ndim > 1 else 1.0))


def test_what_does_not_decay_follows_the_schedule_too():
    recipe = Recipe(**BASE | {"schedule": "one-cycle"})
    apart = recipe.model_copy(update={"decay_on": "weights"})
    assert same(*(fit(net(), images(), cross_entropy, one).model for one in (recipe, apart)))


def test_a_network_of_norms_alone_trains_without_decay():
    model = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(72))
    fit(model, images(), still, Recipe(rate=0.5, weight_decay=0.2, decay_on="weights", epochs=1))
    assert torch.equal(model[1].weight, torch.ones(72))


def test_in_bfloat16_the_loss_sees_it_and_weights_steps_and_scores_stay_float32():
    seen = set()

    def loss(model, images, labels):
        logits = model(images)
        seen.add(("training", logits.dtype, images.dtype))
        return nn.functional.cross_entropy(logits, labels)

    def score(model):
        seen.add(("evaluation", model(images().images).dtype, torch.float32))
        return 0.0

    recipe = Recipe(**BASE)
    half = fit(net(), images(), loss, recipe.model_copy(update={"precision": "bfloat16"}), evaluate=score)
    assert seen == {
        ("training", torch.bfloat16, torch.float32),
        ("evaluation", torch.float32, torch.float32),
    }
    full = fit(net(), images(), cross_entropy, recipe)
    for name, one in half.model.named_parameters():
        assert one.dtype == torch.float32 and not torch.equal(one, full.model.get_parameter(name))
    losses = [[row["loss"] for row in one.history] for one in (half, full)]
    assert losses[0] == pytest.approx(losses[1], rel=0.05)


def last(values):
    return values.is_contiguous(memory_format=torch.channels_last) and not values.is_contiguous()


def test_channels_last_is_for_training_and_for_nothing_after_it():
    seen, model = [], net()

    def loss(model, images, labels):
        seen.append(("training", last(images), last(model[0].weight)))
        return cross_entropy(model, images, labels)

    def score(model):
        seen.append(("evaluation", last(model[0].weight), last(model[3].weight)))
        return 0.0

    recipe = Recipe(**BASE | {"channels_last": True, "epochs": 1})
    fit(model, images(), loss, recipe, evaluate=score)
    assert set(seen) == {("training", True, True), ("evaluation", False, False)}
    plain = fit(net(), images(), cross_entropy, Recipe(**BASE | {"epochs": 1})).model
    for name, one in plain.state_dict().items():
        torch.testing.assert_close(model.state_dict()[name], one)
    with pytest.raises(Killed):
        fit(model, images(), cross_entropy, recipe, validate=Scored(0))
    assert not last(model[0].weight)


# Best and last ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scores", "best"),
    [([1, 3, 2, 3], 2), ([4, 3, 2, 1], 1), ([0, 0, 0, 0], 1), ([-math.inf, -3, -1, -2], 3)],
)
def test_best_are_the_weights_after_the_epoch_with_the_highest_score_the_first_of_equals(scores, best):
    after, said = [], iter(scores)

    def validate(model):
        assert not model.training
        after.append({name: one.clone() for name, one in model.state_dict().items()})
        return next(said)

    done = fit(net(), images(), cross_entropy, Recipe(**BASE), validate=validate)
    assert equal(done.best, after[best - 1]) and equal(done.model.state_dict(), after[-1])
    assert [row["score"] for row in done.history] == scores


def test_without_a_score_there_is_no_best(tmp_path):
    done = fit(net(), images(), cross_entropy, Recipe(**BASE), checkpoint=tmp_path / "c")
    assert done.best == {} and {row["score"] for row in done.history} == {None}
    assert not [name for name in store.read(tmp_path / "c")[0] if name.startswith("best")]


def test_the_checkpoint_of_another_score_is_left_aside(tmp_path, capsys):
    for part in (slice(10), slice(20)):
        score = partial(accuracy, data=images(seed=1).take(part))
        fit(net(), images(), cross_entropy, Recipe(**BASE), checkpoint=tmp_path / "c", validate=score)
    assert "is of another training" in capsys.readouterr().err


def test_a_score_that_is_no_number_stops_with_a_sentence():
    with pytest.raises(UserError, match=r"^The validation score after epoch 1 is nan: give a function .*\.$"):
        fit(net(), images(), cross_entropy, Recipe(**BASE), validate=lambda model: math.nan)


# Recipes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        {"nesterov": True},
        {"nesterov": True, "optimiser": "adam", "momentum": 0.9},
        {"warm_up": 0},
        {"warm_up": 1},
        {"precision": "float16"},
        {"decay_on": "biases"},
    ],
)
def test_an_impossible_option_is_refused(wrong):
    with pytest.raises(ValidationError):
        Recipe(**wrong)


def test_fields_at_their_defaults_are_those_that_every_recipe_had_and_more():
    asked = Recipe(rate=0.1, momentum=0.5)
    assert asked.model_dump(exclude_defaults=True) == {"rate": 0.1, "momentum": 0.5}
