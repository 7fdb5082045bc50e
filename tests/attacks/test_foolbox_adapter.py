"""What foolbox does on its own, and that it no longer does it behind the contract."""

import foolbox
import pytest
import torch
from torch import nn

from causalnb.attacks import ball, run
from causalnb.attacks.watch import Criterion, WatchedModel

CW = {
    "norm": "l2",
    "eps": None,
    "step": 0.01,
    "steps": 5,
    "binary_search_steps": 1,
    "initial_const": 1e-3,
    "seed": 0,
}


class BlackIsOne(nn.Module):
    """Class 1 for very dark images and class 0 for all others, sure of it."""

    def forward(self, images):
        mean = images.flatten(1).mean(dim=1)
        return torch.stack([50 * (mean - 0.02), 50 * (0.02 - mean)], dim=1)


@pytest.fixture
def plain(small):
    return foolbox.PyTorchModel(small.model, bounds=(0, 1), device="cpu")


def test_foolbox_counts_black_images_as_found_and_we_do_not():
    images, labels = (
        torch.rand(8, 1, 4, 4, generator=torch.Generator().manual_seed(0)) * 0.5 + 0.4,
        torch.zeros(8, dtype=torch.int64),
    )
    model = foolbox.PyTorchModel(BlackIsOne().eval(), bounds=(0, 1), device="cpu")
    raw, _, flag = foolbox.attacks.L2CarliniWagnerAttack(binary_search_steps=1, steps=5)(
        model, images, labels, epsilons=None
    )
    assert flag.all() and (raw == 0).all()
    result = run("cw", BlackIsOne(), images, labels, **CW)
    assert result.success_among_correct == (0, 8) and torch.equal(result.images, images)


def test_foolbox_s_early_abort_makes_cw_depend_on_the_neighbours_and_we_never_abort(small, plain):
    def distances(images, labels):
        attack = foolbox.attacks.L2CarliniWagnerAttack(
            binary_search_steps=3, steps=30, stepsize=0.05, initial_const=1.0
        )
        return (attack.run(plain, images, labels) - images).flatten(1).norm(dim=1)

    assert not torch.allclose(
        distances(small.images[4:], small.labels[4:])[:5],
        distances(small.images[4:9], small.labels[4:9]),
        rtol=1e-2,
    )

    settings = {
        "norm": "l2",
        "eps": None,
        "step": 0.05,
        "steps": 30,
        "binary_search_steps": 3,
        "initial_const": 1.0,
        "seed": 0,
    }
    whole = run("cw", small.model, small.images[4:], small.labels[4:], **settings)
    assert torch.equal(
        run("cw", small.model, small.images[4:9], small.labels[4:9], **settings).distance, whole.distance[:5]
    )


def test_foolbox_leaves_gradients_in_the_parameters_and_we_do_not(small, plain):
    foolbox.attacks.LinfPGD(steps=2)(plain, small.images, small.labels, epsilons=0.1)
    assert all(parameter.grad is not None for parameter in small.model.parameters())
    small.model.zero_grad(set_to_none=True)
    run("pgd", small.model, small.images, small.labels, norm="linf", eps=0.1, step=0.1, steps=2, seed=0)
    assert all(parameter.grad is None for parameter in small.model.parameters())


def test_foolbox_s_curve_depends_on_the_budgets_before_and_ours_on_the_budget_alone(small, plain):
    def last(epsilons):
        torch.manual_seed(0)
        return foolbox.attacks.LinfPGD(steps=1)(plain, small.images, small.labels, epsilons=epsilons)[0][-1]

    assert not torch.equal(last([0.1]), last([0.05, 0.1]))

    def ours(eps):
        return run(
            "pgd", small.model, small.images, small.labels, norm="linf", eps=eps, step=0.1, steps=1, seed=0
        ).images

    first = ours(0.1)
    ours(0.05)
    assert torch.equal(ours(0.1), first)


def test_foolbox_moves_the_global_generator_and_we_do_not(small, plain):
    before = torch.get_rng_state()
    run("pgd", small.model, small.images, small.labels, norm="linf", eps=0.1, step=0.1, steps=1, seed=0)
    assert torch.equal(torch.get_rng_state(), before)
    foolbox.attacks.LinfPGD(steps=1)(plain, small.images, small.labels, epsilons=0.1)
    assert not torch.equal(torch.get_rng_state(), before)


def test_foolbox_moves_batch_norm_in_training_mode_and_we_do_not(small):
    mean = small.model[1].running_mean.clone()
    small.model.train()
    run("pgd", small.model, small.images, small.labels, norm="linf", eps=0.1, step=0.1, steps=2, seed=0)
    assert torch.equal(small.model[1].running_mean, mean) and small.model.training
    with pytest.warns(UserWarning, match="training mode"):
        foolbox.attacks.LinfPGD(steps=2)(
            foolbox.PyTorchModel(small.model, bounds=(0, 1), device="cpu"),
            small.images,
            small.labels,
            epsilons=0.1,
        )
    assert not torch.equal(small.model[1].running_mean, mean)


def test_foolbox_keeps_a_short_step_when_the_steps_are_few_and_we_ask_for_the_step(small, plain):
    images = torch.full((1, 1, 6, 6), 0.5)
    label = small.model(images).argmax(dim=1)
    reached = foolbox.attacks.LinfPGD(steps=5, random_start=False)(plain, images, label, epsilons=0.3)[0]
    assert (reached - images).abs().max() <= 0.3 * 5 / 30 + 1e-6
    with pytest.raises(ValueError, match="pgd needs step"):
        run("pgd", small.model, small.images, small.labels, norm="linf", eps=0.3, steps=5, seed=0)


def test_foolbox_s_bounds_check_says_nothing_and_ours_lets_rounding_pass(small, plain):
    small.images[0, 0, 0, 0] = 1 + 1e-6 / 2
    with pytest.raises(AssertionError, match="^$"):
        foolbox.attacks.LinfPGD(steps=1)(plain, small.images, small.labels, epsilons=0.1)
    assert (
        run(
            "pgd", small.model, small.images, small.labels, norm="linf", eps=0.1, step=0.1, steps=1, seed=0
        ).correct.sum()
        == 20
    )


def test_fgsm_is_one_step_along_the_sign_of_the_gradient(small):
    images = small.images.clone().requires_grad_()
    nn.functional.cross_entropy(small.model(images), small.labels, reduction="sum").backward()
    expected = (small.images + 0.1 * images.grad.sign()).clamp(0, 1)
    result = run("fgsm", small.model, small.images, small.labels, norm="linf", eps=0.1, seed=0)
    assert result.found.sum() > 15 and torch.allclose(
        result.images[result.found], expected[result.found], atol=1e-7
    )


def cross_entropy(logits, labels):
    return nn.functional.cross_entropy(logits, labels, reduction="sum")


def margin(logits, labels):
    rivals = logits.masked_fill(nn.functional.one_hot(labels, logits.shape[1]).bool(), -9e9)
    return (rivals.max(dim=1).values - logits[torch.arange(len(logits)), labels]).sum()


@pytest.mark.parametrize(
    "name, loss, start", [("bim", cross_entropy, 0.0), ("pgd", cross_entropy, 0.1), ("cw-linf", margin, 0.1)]
)
def test_the_ascent_is_the_loop_that_anyone_would_write(small, name, loss, start):
    """Steps of 0.03 in the sign of the gradient, pulled back to the ball of 0.1 and the box each time."""
    result = run(
        name, small.model, small.images, small.labels, norm="linf", eps=0.1, step=0.03, steps=6, seed=0
    )
    images = (small.images + start * ball.point(small.images, (0, name, 0), "linf")).clamp(0, 1)
    for _ in range(6):
        images = images.detach().requires_grad_()
        gradient = torch.autograd.grad(loss(small.model(images), small.labels), images)[0]
        images = (small.images + (images + 0.03 * gradient.sign() - small.images).clamp(-0.1, 0.1)).clamp(
            0, 1
        )
    assert result.found.sum() > 15 and torch.allclose(
        result.images[result.found], images[result.found], atol=1e-6
    )


def test_cw_linf_goes_where_the_cross_entropy_has_no_gradient_left(small):
    def sure(images):
        return 1e5 * small.model(images)

    settings = {"norm": "linf", "eps": 0.1, "step": 0.03, "steps": 10, "seed": 0}
    margins, entropy = (
        run(name, sure, small.images, small.labels, **settings).found for name in ("cw-linf", "pgd")
    )
    assert margins.sum() >= entropy.sum() + 5


@pytest.mark.parametrize("norm, dual", [("linf", 1), ("l2", 2)])
@pytest.mark.parametrize("name", ["fgsm", "bim", "pgd", "cw-linf"])
def test_on_a_linear_model_the_attack_succeeds_exactly_beyond_the_margin(linear, name, norm, dual):
    radii = linear.margins / linear.weight.norm(p=dual)
    for row, radius in enumerate(radii.tolist()):
        for factor, found in ((1.01, True), (0.99, False)):
            eps = factor * radius
            settings = {} if name == "fgsm" else {"step": eps / 5, "steps": 40}
            result = run(
                name,
                linear.model,
                linear.images[row : row + 1],
                linear.labels[row : row + 1],
                norm=norm,
                eps=eps,
                seed=0,
                **settings,
            )
            assert result.found.item() is found, (row, factor)


@pytest.mark.parametrize(
    "name, norm, dual, within, settings",
    [
        ("ddn", "l2", 2, 0.02, {"steps": 200}),
        ("deepfool", "l2", 2, 0.02, {"steps": 10, "overshoot": 0.01}),
        ("deepfool", "linf", 1, 0.02, {"steps": 10, "overshoot": 0.01}),
        ("hsj", "l2", 2, 0.1, {"steps": 20}),
        ("hsj", "linf", 1, 0.1, {"steps": 20}),
    ],
)
def test_on_a_linear_model_the_minimum_norm_is_margin_over_dual_norm(
    linear, name, norm, dual, within, settings
):
    result = run(name, linear.model, linear.images, linear.labels, norm=norm, eps=None, seed=0, **settings)
    exact = linear.margins / linear.weight.norm(p=dual)
    assert result.found.all() and (result.distance >= exact).all()
    assert (result.distance / exact - 1).max() < within


@pytest.mark.parametrize(
    "name, norm, theirs, settings",
    [
        (
            "ddn",
            "l2",
            lambda: foolbox.attacks.DDNAttack(steps=20, init_epsilon=1.0, gamma=0.05),
            {"steps": 20},
        ),
        (
            "deepfool",
            "l2",
            lambda: foolbox.attacks.L2DeepFoolAttack(steps=10, overshoot=0.02, candidates=3),
            {"steps": 10, "nearest": 3},
        ),
        (
            "deepfool",
            "linf",
            lambda: foolbox.attacks.LinfDeepFoolAttack(steps=10, overshoot=0.02, candidates=3),
            {"steps": 10, "nearest": 3},
        ),
    ],
)
def test_the_minimum_norm_is_what_foolbox_finds_alone(small, plain, name, norm, theirs, settings):
    expected = theirs().run(plain, small.images[4:], small.labels[4:])
    broken = small.model(expected).argmax(dim=1) != small.labels[4:]
    result = run(name, small.model, small.images, small.labels, norm=norm, eps=None, seed=0, **settings)
    assert broken.sum() > 10 and result.found[4:][broken].all()
    sizes = ball.distance(small.images[4:], expected, norm)
    assert torch.allclose(result.distance[4:][broken], sizes[broken], rtol=1e-4)


def test_deepfool_looks_at_no_more_classes_than_it_is_told(small):
    def queries(nearest):
        return run(
            "deepfool",
            small.model,
            small.images,
            small.labels,
            norm="l2",
            eps=None,
            steps=1,
            nearest=nearest,
            seed=0,
        ).queries[1]

    assert queries(2) < queries(3) < queries(5) == queries(10)


def test_foolbox_s_hopskipjump_ends_for_all_when_one_has_no_start_and_ours_gives_up_that_one():
    """No uniform noise is as bright as class 1: the dark image has no start, the bright one has."""

    def bright(images):
        mean = images.flatten(1).mean(dim=1)
        return torch.stack([0.8 - mean, mean - 0.8], dim=1)

    images, labels = (
        torch.stack([torch.full((1, 6, 6), 0.3), torch.full((1, 6, 6), 0.9)]),
        torch.tensor([0, 1]),
    )
    attack = foolbox.attacks.HopSkipJumpAttack(steps=1, initial_gradient_eval_steps=5)
    watched = WatchedModel(bright, torch.device("cpu"), iter(()))
    watched.follow(images, Criterion(labels))
    with (
        pytest.raises(ValueError, match="init_attack failed for 1"),
        pytest.warns(UserWarning),
        torch.random.fork_rng(),
    ):
        attack.run(foolbox.PyTorchModel(watched, bounds=(0, 1), device="cpu"), images, labels)
    result = run("hsj", bright, images, labels, norm="l2", eps=None, steps=1, directions=5, starts=5, seed=0)
    assert result.found.tolist() == [False, True] and torch.equal(result.images[0], images[0])


def test_on_a_linear_model_cw_finds_the_least_distance_within_two_percent(linear):
    settings = {"step": 0.005, "steps": 150, "binary_search_steps": 10, "initial_const": 0.1}
    result = run("cw", linear.model, linear.images, linear.labels, norm="l2", eps=None, seed=0, **settings)
    exact = linear.margins / linear.weight.norm()
    assert result.found.all() and (result.distance >= exact).all()
    assert (result.distance / exact - 1).max() < 0.02


def test_pixels_at_both_ends_of_the_box_can_move(small):
    """About half of them: the gradient would push the others out of the box."""
    border = (small.images == 0) | (small.images == 1)
    for name, settings in (
        ("cw", {"eps": None, "step": 0.05, "steps": 100, "binary_search_steps": 3, "initial_const": 1.0}),
        ("pgd", {"eps": 1.0, "step": 0.3, "steps": 10}),
    ):
        result = run(name, small.model, small.images, small.labels, norm="l2", seed=0, **settings)
        moved = (result.images - small.images).abs() > 1e-4
        assert moved[result.found][border[result.found]].float().mean() > 0.4


def test_confidence_asks_for_a_larger_gap(small):
    def gap(confidence):
        result = run(
            "cw",
            small.model,
            small.images,
            small.labels,
            **CW | {"steps": 60, "step": 0.05, "initial_const": 10.0, "confidence": confidence},
        )
        logits = small.model(result.images[result.found])
        return (logits.amax(dim=1) - logits.gather(1, small.labels[result.found, None])[:, 0]).min().item()

    assert gap(0.0) < 0.01 and gap(0.1) >= 0.1 - 1e-4


def test_three_classes_are_enough(linear):
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 3)).double()
    labels = model(linear.images).argmax(dim=1)
    result = run(
        "cw",
        model,
        linear.images,
        labels,
        targets=(labels + 1) % 3,
        **CW | {"steps": 60, "step": 0.05, "initial_const": 10.0},
    )
    assert result.found.all() and (model(result.images).argmax(dim=1) == (labels + 1) % 3).all()
