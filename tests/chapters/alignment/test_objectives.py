"""What trainings minimise: invariances bit for bit, gradients, forwards, resume."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from causalnb import UserError
from causalnb.attacks.adversarial import adversarial
from causalnb.chapters.alignment import losses, style
from causalnb.chapters.alignment.heads import last_layer, read
from causalnb.chapters.alignment.objectives import Ball, CausalAdv, HalfHalf, Mart, Released, Trades
from causalnb.data import Images
from causalnb.models import small_cnn
from causalnb.training import Recipe, fit, fitting, mode

BALL = Ball(eps=0.1, step=0.04, steps=3)
RECIPE = Recipe(rate=0.1, momentum=0.9, weight_decay=1e-3, epochs=3, batch=16)


def noise(n=48, seed=0):
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(n, 1, 4, 4, generator=generator)
    return Images("noise", "train", images, (3 * images.mean((1, 2, 3)) / 1.001).long(), ("a", "b", "c"), "")


def plain(seed=0, classes=3):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Flatten(), nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, classes))


def normed(seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Flatten(), nn.Linear(16, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Dropout(0.3), nn.Linear(12, 3)
        )


def same(one, other):
    a, b = one.state_dict(), other.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


# One and the same training, bit for bit ------------------------------------------------------------------


@pytest.mark.parametrize("model", [plain, normed])
def test_without_a_style_term_m_is_madry(model):
    madry = fit(model(), noise(), adversarial(norm="linf", eps=0.1, step=0.04, steps=3), RECIPE).model
    ours = fit(model(), noise(), CausalAdv(model(), BALL, weight=0.0), RECIPE).model
    assert same(ours, madry)
    assert not same(fit(model(), noise(), CausalAdv(model(), BALL), RECIPE).model, madry)


@pytest.mark.parametrize(("base", "printed"), [("trades", False), ("trades-printed", True)])
def test_without_a_style_term_t_is_trades(base, printed):
    theirs = fit(normed(), noise(), Trades(BALL, printed=printed), RECIPE).model
    ours = fit(normed(), noise(), CausalAdv(normed(), BALL, base=base, weight=0.0), RECIPE).model
    assert same(ours, theirs)
    assert not same(fit(normed(), noise(), Trades(BALL, printed=not printed), RECIPE).model, theirs)


def test_a_style_term_that_is_cut_before_r_is_madry():
    madry = fit(plain(), noise(), adversarial(norm="linf", eps=0.1, step=0.04, steps=3), RECIPE).model
    loss = CausalAdv(plain(), BALL, cut=True)
    before = copy.deepcopy(loss.g)
    assert same(fit(plain(), noise(), loss, RECIPE).model, madry)
    assert not same(loss.g, before)  # the style head itself did train


def test_without_steps_and_budget_and_style_it_is_standard_training():
    still = Ball(eps=0.0, step=0.1, steps=0)
    standard = fit(plain(), noise(), lambda m, x, y: cross_entropy(m(x), y), RECIPE).model
    assert same(fit(plain(), noise(), CausalAdv(plain(), still, weight=0.0), RECIPE).model, standard)
    assert same(fit(plain(), noise(), HalfHalf(still, weight=0.0), RECIPE).model, standard)


def test_half_half_without_clean_images_is_madry_and_trades_without_a_tie_is_standard():
    madry = fit(plain(), noise(), adversarial(norm="linf", eps=0.1, step=0.04, steps=3), RECIPE).model
    assert same(fit(plain(), noise(), HalfHalf(BALL, weight=0.0), RECIPE).model, madry)
    standard = fit(plain(), noise(), lambda m, x, y: cross_entropy(m(x), y), RECIPE).model
    assert same(fit(plain(), noise(), Trades(BALL, beta=0.0), RECIPE).model, standard)


def test_twice_the_loss_is_twice_the_rate_and_half_the_decay():
    """AT x k is no control of its own."""
    madry = adversarial(norm="linf", eps=0.1, step=0.04, steps=3)
    recipe = Recipe(rate=0.1, weight_decay=0.02, epochs=2, batch=16)
    double = fit(plain(), noise(), lambda m, x, y: 2 * madry(m, x, y), recipe).model
    other = recipe.model_copy(update={"rate": 0.2, "weight_decay": 0.01})
    assert same(double, fit(plain(), noise(), madry, other).model)


# What reaches what ---------------------------------------------------------------------------------------


def test_the_style_term_has_no_path_to_the_content_weights_but_through_r():
    model, loss = plain().double(), CausalAdv(plain(), BALL).double()
    r, _ = read(model, noise(8).images.double())
    frozen = loss._style(model, r.detach(), r.detach(), noise(8).labels)
    weight = last_layer(model).weight
    assert torch.autograd.grad(frozen, weight, allow_unused=True, retain_graph=True)[0] is None
    through = torch.autograd.grad(loss._style(model, r, r, noise(8).labels), model[1].weight)[0]
    assert through.abs().max() > 0
    basis, _, _ = torch.linalg.svd(weight.T, full_matrices=False)  # the same with a live basis has one
    live = losses.aligned(*[loss.g(style.without(r.detach(), basis))] * 2, noise(8).labels)
    assert torch.autograd.grad(live, weight)[0].abs().max() > 1e-6


@pytest.mark.parametrize("seen", ["M", "I", "all", "content", "random"])
def test_gradients_of_both_losses_by_differences(seen):
    images, labels = noise(6).images.double(), noise(6).labels
    for sigma in (0.0, 0.8):
        loss = CausalAdv(plain(), BALL, seen=seen, sigma=sigma).double()
        model = plain().double()
        loss.covariance.update(read(model, images)[0])
        first = model[1].weight.detach().clone().requires_grad_()
        basis, part = loss.part(model)

        def style_term(w, basis=basis, part=part, loss=loss, model=model):
            r = torch.relu(images.flatten(1) @ w.T + model[1].bias)
            noisy = part(loss.g.weight, basis)
            s = losses.corrected(loss.g(part(r, basis)), labels, noisy, loss.sigma)
            return losses.aligned(s, s * 0.5, labels)

        assert torch.autograd.gradcheck(style_term, (first,))


def test_what_the_style_head_sees():
    model = plain().double()
    r, z = read(model, noise(20).images.double())
    made = {}
    for seen in ("M", "I", "all", "content", "random"):
        loss = CausalAdv(plain(), BALL, seen=seen).double()
        loss.covariance.update(r)
        basis, part = loss.part(model)
        made[seen] = part(r, basis).detach()
    weight = last_layer(model).weight.detach()
    assert torch.equal(made["all"], r)
    assert (made["I"] @ weight.T).abs().max() < 1e-10
    assert torch.allclose(made["content"] @ weight.T, r @ weight.T)
    assert torch.allclose(made["content"] + made["I"], r)
    off, content = made["M"] - made["M"].mean(0), z.detach() - z.detach().mean(0)
    assert (off.T @ content).abs().max() < 1e-9  # M-style and logits do not covary
    ranks = {seen: int(torch.linalg.matrix_rank(made[seen])) for seen in ("I", "random")}
    assert ranks["I"] == ranks["random"] == 12 - 3


def test_permuted_labels_fit_the_head_and_not_the_classifier():
    torch.manual_seed(0)
    value = CausalAdv(plain(), BALL, permuted=True)(plain(), noise().images, noise().labels)
    torch.manual_seed(0)
    honest = CausalAdv(plain(), BALL)(plain(), noise().images, noise().labels)
    assert value != honest


def test_a_last_layer_at_zero_makes_no_nan():
    model = small_cnn(seed=0)  # its last layer starts at zero
    images = torch.rand(8, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    for loss in (
        CausalAdv(model, BALL),
        CausalAdv(model, BALL, base="trades-printed"),
        Released(model, BALL),
    ):
        value = loss(model, images, torch.arange(8))
        value.backward()
        assert torch.isfinite(value)
        assert all(one.grad is None or one.grad.isfinite().all() for one in model.parameters())


# Forwards ------------------------------------------------------------------------------------------------


def passes(loss, model):
    """Forward passes of the model, in training and in evaluation mode, for one batch."""
    seen = []
    handle = model.register_forward_hook(lambda module, *_: seen.append(module.training))
    loss(model.train(), noise(16).images, noise(16).labels)
    handle.remove()
    return seen.count(True), seen.count(False)


def test_no_forward_is_made_that_the_loss_does_not_need():
    k = BALL.steps
    assert passes(CausalAdv(plain(), BALL, weight=0.0), plain()) == (1, k)
    assert passes(CausalAdv(plain(), BALL), plain()) == (2, k)
    assert passes(CausalAdv(plain(), BALL, base="trades-printed"), plain()) == (2, k + 1)
    assert passes(Trades(BALL), plain()) == (2, k + 1)
    assert passes(Mart(BALL), plain()) == passes(HalfHalf(BALL), plain()) == (2, k)
    assert passes(Released(plain(), BALL), plain()) == (2, k + 1)


def test_an_attack_leaves_modes_buffers_and_gradients_of_model_and_head_as_they_were():
    model, loss = normed(), Released(normed(), BALL)
    last = last_layer(model)
    with mode(model, train=False):
        before = copy.deepcopy(model.state_dict()), copy.deepcopy(loss.g.state_dict())
        r, clean = read(model, noise().images)
        loss._ends(model, noise().images, noise().labels, 0, r.detach(), clean.detach())
    assert all(torch.equal(before[0][name], one) for name, one in model.state_dict().items())
    assert all(torch.equal(before[1][name], one) for name, one in loss.g.state_dict().items())
    parameters = [*model.parameters(), *loss.g.parameters()]
    assert model.training and loss.g.training and all(one.grad is None for one in parameters)
    assert all(one.requires_grad for one in parameters) and not last._forward_pre_hooks


@pytest.mark.parametrize("base", ["madry", "trades"])
def test_the_released_attack_moves_the_style_prediction_more(base):
    model = plain()
    images, labels = noise().images, noise().labels
    found = {}
    for weight in (0.0, 50.0):
        loss = Released(model, Ball(eps=0.1, step=0.02, steps=8), base=base, weight=weight, seed=3).eval()
        r, clean = (one.detach() for one in read(model, images))
        loss.covariance.update(r)
        ends = loss._ends(model, images, labels, 0, r, clean)
        assert (ends - images).abs().max() <= 0.1 + 1e-7 and ends.min() >= 0 and ends.max() <= 1
        b = loss._map(model)
        unit = [one / one.norm(dim=1, keepdim=True) for one in (r, read(model, ends)[0].detach())]
        s, s_adv = (loss.g.corrected(one @ b.T, labels, ratio=1.0) for one in unit)
        found[weight] = float(losses.soft_cross_entropy(s_adv, s))
    assert found[50.0] > found[0.0]


def test_the_released_ramp_grows_from_nothing():
    loss = Released(plain(), BALL, ramp=4)
    grown = []
    for epoch in range(6):
        loss.begin_epoch(epoch)
        grown.append(loss.grown)
    assert grown == [0, 0.25, 0.5, 0.75, 1, 1]


def gradients(loss, model):
    torch.manual_seed(1)
    value = loss(model, noise().images, noise().labels)
    return torch.autograd.grad(value, list(model.parameters()))


def test_in_the_released_loss_labels_reach_g_alone_and_h_sees_the_ramp():
    model = plain()
    ramped = {}
    for weight, epoch in ((0.0, 0), (0.0, 1), (1.0, 0), (1.0, 1)):
        loss = Released(plain(), BALL, weight=weight)
        loss.begin_epoch(epoch)
        ramped[weight, epoch] = gradients(loss, model)
    madry = gradients(adversarial(norm="linf", eps=0.1, step=0.04, steps=3), model)
    for at in ((0.0, 0), (0.0, 1)):  # whatever g is fitted by, h trains as Madry's
        assert all(torch.allclose(a, b, atol=1e-7) for a, b in zip(ramped[at], madry, strict=True))
    assert not all(torch.allclose(a, b, atol=1e-7) for a, b in zip(ramped[1.0, 1], madry, strict=True))


# The state -----------------------------------------------------------------------------------------------


class Killed(Exception):
    """Raised in the place of a kill."""


@pytest.mark.parametrize("make", [CausalAdv, Released])
def test_killed_and_begun_again_it_ends_with_the_same_weights_bit_for_bit(make, tmp_path, monkeypatch):
    epochs, one = [], fitting._train

    def dies(*given):
        if epochs:
            raise Killed
        epochs.append(1)
        return one(*given)

    losses_ = [make(normed(), BALL) for _ in range(3)]
    whole = fit(normed(), noise(), losses_[0], RECIPE)
    monkeypatch.setattr(fitting, "_train", dies)
    with pytest.raises(Killed):
        fit(normed(), noise(), losses_[1], RECIPE, checkpoint=tmp_path / "c")
    monkeypatch.setattr(fitting, "_train", one)
    resumed = fit(normed(), noise(), losses_[2], RECIPE, checkpoint=tmp_path / "c")
    assert same(resumed.model, whole.model) and same(losses_[2], losses_[0])
    assert resumed.history == whole.history
    assert int(losses_[2].batches) == 9 and int(losses_[2].covariance.n) == 3 * 48


def test_the_covariance_of_a_step_is_that_of_the_representations_it_saw():
    model, loss = plain(), CausalAdv(plain(), BALL)
    r = read(model, noise().images)[0].detach().double()
    loss(model, noise().images, noise().labels)
    off = r - r.mean(0)
    assert torch.allclose(loss.covariance.matrix()[0], off.T @ off / len(r), atol=1e-12)


def test_first_weights_of_the_head_come_from_the_seed_and_move_no_generator():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one, two, three = (CausalAdv(plain(), BALL, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert same(one, two) and not torch.equal(one.g.weight, three.g.weight)


# Refusals -------------------------------------------------------------------------------------------------


def test_a_model_that_does_not_end_in_a_linear_layer_is_refused():
    model = nn.Sequential(nn.Conv2d(1, 3, 4), nn.Flatten())
    with pytest.raises(UserError, match="ends in Conv2d.*give a classifier that ends in nn.Linear"):
        CausalAdv(model, BALL)


def test_a_last_layer_that_sees_no_row_an_image_is_refused():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(4, 3)

        def forward(self, images):
            return self.fc(images).mean((1, 2))

    with pytest.raises(UserError, match="not called once with a row for each image"):
        read(Odd(), noise(4).images)


def test_sigma_needs_a_linear_g():
    with pytest.raises(ValueError, match="needs a linear g"):
        CausalAdv(plain(), BALL, sigma=1.0, kind="nonlinear")
