import copy

import pytest
import torch
from torch import nn

from causalnb import UserError
from causalnb.attacks import ball, run
from causalnb.attacks.adversarial import adversarial, ascend, near
from causalnb.data import Images
from causalnb.models import Normalised
from causalnb.training import Recipe, cross_entropy, fit, fitting

WALK = {"norm": "linf", "eps": 0.1, "step": 0.04, "steps": 4}
RECIPE = Recipe(rate=0.1, epochs=3, batch=16)


class Killed(Exception):
    """Raised in the place of a kill."""


def state_of(model):
    return {
        "modes": [module.training for module in model.modules()],
        "required": [parameter.requires_grad for parameter in model.parameters()],
        "gradients": [parameter.grad for parameter in model.parameters()],
        "values": [value.clone().tolist() for value in model.state_dict().values()],
    }


def noise(n=48):
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(n, 1, 6, 6, generator=generator)
    return Images("noise", "train", images, (images.mean((1, 2, 3)) > 0.5).long(), ("dark", "bright"), "")


def network(seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Flatten(), nn.Linear(36, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 2)
        )


def by_hand(model, images, labels, *, norm, eps, step, steps, seed):
    """PGD as anyone would write it, from the same random point of the ball; the model evaluates."""
    ends = (images + eps * ball.point(images, (seed, "pgd", 0), norm)).clamp(0, 1)
    for _ in range(steps):
        ends = ends.detach().requires_grad_()
        gradient = torch.autograd.grad(
            nn.functional.cross_entropy(model(ends), labels, reduction="sum"), ends
        )[0]
        if norm == "linf":
            change = (ends + step * gradient.sign() - images).clamp(-eps, eps)
        else:
            change = ends + step * gradient / gradient.flatten(1).norm(dim=1)[:, None, None, None] - images
            change = change * (eps / change.flatten(1).norm(dim=1)).clamp(max=1)[:, None, None, None]
        ends = (images + change).clamp(0, 1)
    return ends.detach()


@pytest.mark.parametrize("changed", [{}, {"norm": "l2", "eps": 0.5, "step": 0.2}])
def test_a_path_ends_where_pgd_by_hand_ends_for_wrong_images_too(small, changed):
    walk = WALK | changed
    ends = ascend(small.model, small.images, small.labels, **walk, seed=3)
    assert (
        torch.allclose(ends, by_hand(small.model, small.images, small.labels, **walk, seed=3), atol=1e-6)
        and not ends.requires_grad
    )
    assert (
        (ball.distance(small.images, ends, walk["norm"]) <= walk["eps"] + 1e-12).all()
        and ends.min() >= 0
        and ends.max() <= 1
    )
    assert (
        (ends != small.images).flatten(1).any(dim=1)
    ).all()  # the four wrong ones, and those that stay unbroken


def test_the_seed_decides_the_path_and_the_global_generator_does_not(small):
    ends = {}
    for outer, seed in ((1, 0), (2, 0), (1, 7)):
        torch.manual_seed(outer)
        ends[outer, seed] = ascend(small.model, small.images, small.labels, **WALK, seed=seed)
    assert torch.equal(ends[1, 0], ends[2, 0]) and not torch.equal(ends[1, 0], ends[1, 7])


def test_the_path_leaves_the_model_as_it_was(small):
    small.model.train()
    small.model[1].eval()
    small.model[5].bias.requires_grad_(False)
    before, generator = state_of(small.model), torch.get_rng_state()
    ascend(small.model, small.images, small.labels, **WALK, seed=0)
    assert state_of(small.model) == before and torch.equal(torch.get_rng_state(), generator)


def test_the_path_sees_the_model_in_evaluation_mode(small):
    still = ascend(small.model, small.images, small.labels, **WALK, seed=0)
    assert torch.equal(ascend(small.model.train(), small.images, small.labels, **WALK, seed=0), still)


def test_the_loss_is_the_cross_entropy_at_the_end_of_the_path(small):
    loss, model = adversarial(**WALK), small.model.train()
    twin = copy.deepcopy(model)
    torch.manual_seed(5)
    value = loss(model, small.images, small.labels)
    torch.manual_seed(5)
    seed = int(torch.randint(2**31, ()))
    ends = by_hand(twin.eval(), small.images, small.labels, **WALK, seed=seed)
    expected = cross_entropy(
        twin.train(), ends, small.labels
    )  # its dropout comes from the generator, one number on
    assert value.item() == pytest.approx(expected.item(), rel=1e-6) and value > cross_entropy(
        model.eval(), small.images, small.labels
    )
    gradients, others = (
        torch.autograd.grad(one, list(of.parameters())) for one, of in ((value, model), (expected, twin))
    )
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(gradients, others, strict=True))


def test_every_call_draws_a_path_of_its_own(small):
    loss = adversarial(**WALK | {"step": 1e-9, "steps": 1})
    torch.manual_seed(0)
    assert loss(small.model, small.images, small.labels) != loss(small.model, small.images, small.labels)


def test_modes_and_frozen_weights_are_kept_and_batch_norm_moves_once(small):
    model = small.model.train()
    model[5].bias.requires_grad_(False)
    before, batches = state_of(model), int(model[1].num_batches_tracked)
    adversarial(**WALK)(model, small.images, small.labels).backward()
    after = state_of(model)
    assert after["modes"] == before["modes"] and after["required"] == before["required"]
    assert (
        int(model[1].num_batches_tracked) == batches + 1
        and model[5].bias.grad is None
        and model[5].weight.grad is not None
    )


def test_a_loss_is_known_by_all_its_numbers():
    names = {
        adversarial(**WALK | changed).__qualname__
        for changed in ({}, {"norm": "l2"}, {"eps": 0.2}, {"step": 0.05}, {"steps": 5})
    }
    assert len(names) == 5 and adversarial(**WALK).__qualname__ == adversarial(**WALK).__qualname__


def test_killed_and_begun_again_ends_with_the_same_weights_bit_for_bit(tmp_path, monkeypatch):
    data, epochs, one = noise(), [], fitting._train

    def dies(*given):
        if epochs:
            raise Killed
        epochs.append(1)
        return one(*given)

    whole = fit(network(), data, adversarial(**WALK), RECIPE)
    monkeypatch.setattr(fitting, "_train", dies)
    with pytest.raises(Killed):
        fit(network(), data, adversarial(**WALK), RECIPE, checkpoint=tmp_path / "c")
    monkeypatch.setattr(fitting, "_train", lambda *given: epochs.append(1) or one(*given))
    torch.manual_seed(99)
    resumed = fit(network(), data, adversarial(**WALK), RECIPE, checkpoint=tmp_path / "c")
    assert len(epochs) == 3
    assert resumed.history == whole.history and len(whole.history) == 3
    assert all(
        torch.equal(a, b)
        for a, b in zip(resumed.model.state_dict().values(), whole.model.state_dict().values(), strict=True)
    )


def test_a_checkpoint_of_another_budget_is_not_gone_on_from(tmp_path, capsys):
    data, other = noise(), adversarial(**WALK | {"eps": 0.2})
    fit(network(), data, adversarial(**WALK), RECIPE, checkpoint=tmp_path / "c")
    resumed = fit(network(), data, other, RECIPE, checkpoint=tmp_path / "c")
    assert (
        "is of another training" in capsys.readouterr().err
        and resumed.history == fit(network(), data, other, RECIPE).history
    )


def test_training_against_pgd_leaves_the_features_that_pgd_can_turn():
    """One pixel says the class by 0.6 nine times in ten, the others by 0.1 and always (after Tsipras et al.
    2019): the budget of 0.1 turns those.
    """
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(400) % 2
    signs = (2.0 * labels - 1)[:, None]
    strong = signs * torch.where(torch.rand(400, 1, generator=generator) < 0.9, 0.3, -0.3)
    images = (0.5 + torch.cat([strong, 0.05 * signs.expand(400, 63)], dim=1)).reshape(400, 1, 8, 8)
    data = Images("pixels", "train", images, labels, ("0", "1"), "")
    found = {}
    for name, loss in (
        ("plain", cross_entropy),
        ("against PGD", adversarial(norm="linf", eps=0.1, step=0.06, steps=4)),
    ):
        linear = nn.Linear(64, 2)
        nn.init.zeros_(linear.weight)
        nn.init.zeros_(linear.bias)
        model = Normalised(nn.Sequential(nn.Flatten(), linear), [0.5], [0.5])
        fit(model, data, loss, Recipe(optimiser="adam", rate=0.05, epochs=5, batch=50))
        found[name] = run("pgd", model, images, labels, norm="linf", eps=0.1, step=0.03, steps=10, seed=0)
    assert found["plain"].correct.all() and found["plain"].robust_accuracy == (0, 400)
    assert (
        found["against PGD"].robust_accuracy == (int((strong * signs > 0).sum()), 400)
        and (strong * signs > 0).sum() > 350
    )


def test_a_path_and_a_training_in_a_ball_larger_than_the_box_are_refused(small):
    loss = adversarial(norm="linf", eps=8, step=2, steps=1)
    for use in (
        lambda: ascend(small.model, small.images, small.labels, norm="linf", eps=8, step=2, steps=1, seed=0),
        lambda: loss(small.model, small.images, small.labels),
    ):
        with pytest.raises(UserError, match="eps = 8 is not possible: in linf no two images"):
            use()


# An objective of one's own, a start of one's own ------------------------------------------------------------


def test_the_cross_entropy_as_an_objective_ends_where_the_built_in_one_does(small):
    def entropy(logits):
        return nn.functional.cross_entropy(logits, small.labels, reduction="none")

    plain = ascend(small.model, small.images, small.labels, **WALK, seed=3)
    assert torch.equal(
        ascend(small.model, small.images, small.labels, **WALK, seed=3, objective=entropy), plain
    )


def test_an_objective_is_ascended_image_by_image():
    linear = nn.Sequential(nn.Flatten(), nn.Linear(4, 2, bias=False))
    linear[1].weight.data = torch.tensor([[1.0, -1.0, 2.0, -0.5], [0.0, 0.0, 0.0, 0.0]])
    images, signs = torch.full((2, 1, 2, 2), 0.5), torch.tensor([1.0, -1.0])
    walk = {"norm": "linf", "eps": 0.1, "step": 0.03, "steps": 7}
    ends = ascend(
        linear, images, torch.tensor([0, 0]), **walk, seed=0, objective=lambda logits: signs * logits[:, 0]
    )
    expected = images + 0.1 * signs[:, None, None, None] * linear[1].weight[0].sign().reshape(1, 1, 2, 2)
    assert torch.allclose(ends, expected, atol=1e-7)  # 7 steps of .03 cross the ball


def test_a_path_without_steps_ends_at_its_start_pulled_into_the_ball(small):
    walk = WALK | {"steps": 0}
    start = small.images + 0.3
    ends = ascend(small.model, small.images, small.labels, **walk, seed=0, start=start)
    assert torch.equal(ends, ball.inside(small.images, start, "linf", 0.1))
    still = ascend(small.model, small.images, small.labels, **walk | {"eps": 0.0}, seed=0)
    assert torch.equal(still, small.images)


def test_near_is_a_small_step_that_belongs_to_the_image_and_the_seed(small):
    made = near(small.images, seed=1)
    assert torch.equal(made[2:5], near(small.images[2:5], seed=1))
    assert not torch.equal(made, near(small.images, seed=2))
    size = (made - small.images).std().item()
    assert size == pytest.approx(1e-3, rel=0.2)
