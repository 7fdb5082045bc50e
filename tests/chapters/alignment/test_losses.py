"""Losses and style map: the tiny case by hand, gradients, closed forms, invariances."""

import doctest
import importlib
import math

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from causalnb.attacks.flags import margins
from causalnb.chapters.alignment import losses, style

Z = torch.tensor([[2.0, 0, -1], [0, 1, 0]], dtype=torch.float64)
Z_ADV = torch.tensor([[1.0, 0.5, 0], [0.5, 0, 0]], dtype=torch.float64)
S = torch.tensor([[1.0, 1, 0], [0, 0, 1]], dtype=torch.float64)
S_ADV = torch.tensor([[0.0, 1, 0], [0, 0, 2]], dtype=torch.float64)
Y = torch.tensor([0, 1])
CORRECTED = torch.tensor([[1.0, 0], [0, 1], [-1, -1]], dtype=torch.float64)
MU = torch.tensor([[0.5, -0.2]], dtype=torch.float64)


def six(value):
    return pytest.approx(value, abs=5e-7)


def rows(values):
    return torch.tensor(values, dtype=torch.float64)


# The tiny case --------------------------------------------------------------------------------------------


def test_the_tiny_case_to_six_digits():
    ce = {name: float(cross_entropy(of, Y)) for name, of in (("z", Z), ("a", Z_ADV), ("s", S), ("sa", S_ADV))}
    assert ce == {"z": six(0.360645), "a": six(0.987323), "s": six(1.206720), "sa": six(1.895495)}
    assert float(losses.divergence(Z, Z_ADV)) == six(0.234094)
    assert float(losses.soft_cross_entropy(S_ADV, S)) == six(1.108218)
    assert float(losses.trades(Z, Z_ADV, Y, beta=6)) == six(1.765212)
    style_term = losses.aligned(S, S_ADV, Y)
    assert float(ce["a"] + style_term) == six(4.089538)
    assert float(ce["a"] + 0.5 * style_term) == six(2.538430)
    assert float(ce["a"] + losses.soft_cross_entropy(S_ADV, S)) == six(2.095542)


def test_the_tiny_case_of_the_t_losses():
    entropy = float(-(Z.softmax(1) * Z.log_softmax(1)).sum(1).mean())
    soft = float(losses.soft_cross_entropy(Z_ADV, Z))
    assert soft == six(0.983892) and entropy == six(0.749797)
    assert soft == six(float(losses.divergence(Z, Z_ADV)) + entropy)
    printed = losses.trades(Z, Z_ADV, Y, beta=6, printed=True)
    assert float(printed / 6 + 0.5 * losses.aligned(S, S_ADV, Y)) == six(2.595106)
    with_kl = losses.trades(Z, Z_ADV, Y, beta=6)
    assert float(with_kl / 6 + 0.5 * losses.aligned(S, S_ADV, Y)) == six(1.845309)
    assert float(with_kl + 0.5 * losses.soft_cross_entropy(S_ADV, S)) == six(2.319321)


def test_the_tiny_case_of_mart_and_the_margins():
    boosted = float(losses.mart(Z, Z_ADV, Y, beta=0))
    assert boosted == six(1.471279)
    assert (float(losses.mart(Z, Z_ADV, Y, beta=5)) - boosted) / 5 == six(0.065085)
    assert float(losses.mart(Z, Z_ADV, Y, beta=5)) == six(1.796703)
    assert (-margins(Z_ADV, Y)).tolist() == [0.5, -0.5]


def test_gradients_of_the_tiny_case():
    z, z_adv = Z.clone().requires_grad_(), Z_ADV.clone().requires_grad_()
    of_z, of_adv = torch.autograd.grad(losses.divergence(z, z_adv), (z, z_adv))
    expected = rows([[0.107716, -0.071069, -0.036647], [-0.102807, 0.152629, -0.049822]])
    assert torch.allclose(of_z, expected, atol=5e-7)
    expected = rows([[-0.168657, 0.096500, 0.072157], [0.119961, -0.151024, 0.031064]])
    assert torch.allclose(of_adv, expected, atol=5e-7)
    s, s_adv = S.clone().requires_grad_(), S_ADV.clone().requires_grad_()
    of_s, of_adv = torch.autograd.grad(losses.soft_cross_entropy(s_adv, s), (s, s_adv))
    expected = rows([[0.089177, -0.121983, 0.032806], [0.122103, 0.122103, -0.244206]])
    assert torch.allclose(of_s, expected, atol=5e-7)
    expected = rows([[-0.105189, 0.076899, 0.028290], [-0.052717, -0.052717, 0.105435]])
    assert torch.allclose(of_adv, expected, atol=5e-7)


def test_printed_and_released_trades_differ_by_the_clean_entropy_and_on_clean_logits_alone():
    z, z_adv = Z.clone().requires_grad_(), Z_ADV.clone().requires_grad_()
    found = [
        torch.autograd.grad(losses.trades(z, z_adv, Y, beta=6, printed=printed), (z, z_adv))
        for printed in (True, False)
    ]
    entropy = -(z.softmax(1) * z.log_softmax(1)).sum(1).mean()
    assert torch.allclose(found[0][1], found[1][1], atol=1e-12)
    assert torch.allclose(found[0][0] - found[1][0], 6 * torch.autograd.grad(entropy, z)[0], atol=1e-12)


def test_gradients_by_differences():
    def free(*shape, seed):
        values = torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        return values.requires_grad_()

    z, z_adv, weight = free(4, 3, seed=0), free(4, 3, seed=1), free(3, 5, seed=2)
    y = torch.tensor([0, 1, 2, 1])
    for of in (
        lambda a, b: losses.soft_cross_entropy(a, b),
        lambda a, b: losses.divergence(a, b),
        lambda a, b: losses.aligned(a, b, y, beta=0.5),
        lambda a, b: losses.mart(a, b, y, beta=5),
        lambda a, b: losses.trades(a, b, y, beta=6, printed=True),
    ):
        assert torch.autograd.gradcheck(of, (z, z_adv))
    assert torch.autograd.gradcheck(lambda a, w: losses.gaussian_cross_entropy(a, y, w, 0.7), (z, weight))


def test_permuting_the_classes_permutes_everything():
    order = torch.tensor([2, 0, 1])
    at = order.argsort()[Y]
    for loss in (
        lambda z, a, y: losses.trades(z, a, y, beta=6),
        lambda z, a, y: losses.mart(z, a, y, beta=5),
        losses.aligned,
        lambda z, a, y: losses.half_half(z, a, y, weight=0.5),
    ):
        assert loss(Z[:, order], Z_ADV[:, order], at).item() == pytest.approx(
            loss(Z, Z_ADV, Y).item(), abs=1e-12
        )


def test_losses_at_their_ends():
    assert torch.equal(losses.trades(Z, Z_ADV, Y, beta=0), cross_entropy(Z, Y))
    assert torch.equal(losses.aligned(S, S_ADV, Y, beta=0), cross_entropy(S_ADV, Y))
    assert torch.equal(losses.aligned(S, S_ADV, Y, attacked=0), cross_entropy(S, Y))
    weight = torch.randn(3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert torch.equal(losses.gaussian_cross_entropy(S, Y, weight, 0.0), cross_entropy(S, Y))


# Eqs. (9) and (10) ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("variance", "y", "value"), [
    (0, 0, 0.437488), (0, 1, 1.037488), (1, 0, 1.620417), (1, 1, 2.671645),
])  # fmt: skip
def test_eq_9_for_two_classes(variance, y, value):
    weight = rows([[1], [-1]])
    logits = rows([[0.3]]) @ weight.T
    found = losses.gaussian_cross_entropy(logits, torch.tensor([y]), weight, math.sqrt(variance))
    assert float(found) == six(value)


@pytest.mark.parametrize(("sigma", "total"), [(0, 1), (0.5, 0.731686), (1, 0.209019), (2, 0.000164)])
def test_eq_10_does_not_sum_to_one(sigma, total):
    logits = MU @ CORRECTED.T
    labels = torch.arange(3)
    each = losses.corrected(logits.expand(3, -1), labels, CORRECTED, sigma).log_softmax(1)[labels, labels]
    assert float(each.exp().sum()) == six(total)


def test_on_the_complement_the_correction_takes_what_g_does_there():
    """A linear g on noise (I - U U^T) n has the noise W_g (I - U U^T) n, not W_g n."""
    g = torch.Generator().manual_seed(3)
    w_c, w_g = torch.randn(2, 6, generator=g).double(), torch.randn(3, 6, generator=g).double()
    basis, mu = style.directions(w_c), torch.randn(1, 6, generator=g).double()
    w_s = torch.linalg.svd(w_c, full_matrices=True).Vh[2:]  # rows: an orthonormal basis of the complement
    own = losses.gaussian_cross_entropy(mu @ w_s.T @ (w_g @ w_s.T).T, Y[:1], w_g @ w_s.T, 1.5)
    projected = style.without(w_g, basis)
    assert torch.allclose(losses.gaussian_cross_entropy(mu @ projected.T, Y[:1], projected, 1.5), own)
    assert not torch.allclose(losses.gaussian_cross_entropy(mu @ projected.T, Y[:1], w_g, 1.5), own)


# The style map --------------------------------------------------------------------------------------------


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def covariance_of(d, seed=1):
    root = drawn(d, d, seed=seed)
    return root @ root.T / d


def test_style_is_orthogonal_to_content_by_m():
    w, m = drawn(4, 12), covariance_of(12)
    basis = style.directions(w, m)
    projector = torch.eye(12).double() - basis @ basis.T
    assert (projector @ m @ w.T).abs().max() < 1e-10
    assert torch.allclose(basis.T @ basis, torch.eye(4).double(), atol=1e-12)
    assert torch.linalg.matrix_rank(projector) == 12 - 4


def test_the_projector_is_w_s_transposed_times_w_s_for_any_orthonormal_complement():
    w, m, r = drawn(3, 8), covariance_of(8), drawn(5, 8, seed=2)
    complement = torch.linalg.svd((m @ w.T).T, full_matrices=True).Vh[3:]
    turned = torch.linalg.qr(drawn(5, 5, seed=4)).Q @ complement
    for w_s in (complement, turned):
        assert torch.allclose(style.without(r, style.directions(w, m)), r @ w_s.T @ w_s, atol=1e-12)


def test_a_last_layer_at_zero_leaves_all_of_r_as_style():
    r = drawn(5, 8)
    basis = style.directions(torch.zeros(3, 8).double(), covariance_of(8))
    assert basis.shape == (8, 0) and torch.equal(style.without(r, basis), r)


def test_dependent_classes_count_once():
    w = drawn(4, 10)
    w = torch.cat([w, w.sum(0, keepdim=True)])
    assert style.directions(w).shape == (10, 4)
    assert style.directions(w, torch.zeros(10, 10).double()).shape == (10, 0)


def test_within_and_without_make_the_whole():
    basis, r = style.random_directions(7, 3, seed=0), drawn(4, 7)
    assert torch.allclose(style.within(r, basis) + style.without(r, basis), r)
    assert torch.allclose(
        style.within(style.without(r, basis), basis), torch.zeros(4, 7).double(), atol=1e-12
    )


def test_the_released_deflation_takes_out_one_direction_and_leaves_the_logits():
    w, m = drawn(4, 20) + 0.5, covariance_of(20)
    b = style.deflated(style.random_directions(20, 20, seed=0), m, w)
    assert torch.linalg.matrix_rank(b) == 20 - 1
    assert (b @ m @ w[-1]).abs().max() < 1e-10 and (b @ m @ w.T).abs().max() > 0.01
    assert torch.allclose(b.norm(dim=1), torch.ones(20).double())


# The running covariance -----------------------------------------------------------------------------------


def test_streamed_covariance_is_that_of_all_vectors():
    vectors, running = drawn(50, 6) + 3, style.Covariance(6)
    for part in torch.split(vectors, [1, 7, 20, 22]):
        running.update(part)
    assert np.allclose(running.matrix()[0], np.cov(vectors.T, bias=True), rtol=0, atol=1e-12)
    assert np.allclose(running.mean[0], vectors.mean(0), atol=1e-12) and running.n == 50


def test_streamed_covariance_by_class():
    vectors, labels, running = drawn(60, 4) * 2, torch.arange(60) % 3 % 2, style.Covariance(4, 3)
    for at in torch.split(torch.arange(60), 25):
        running.update(vectors[at], labels[at])
    for k in (0, 1):
        assert np.allclose(running.matrix()[k], np.cov(vectors[labels == k].T, bias=True), rtol=0, atol=1e-12)
    assert not running.matrix()[2].any()


def test_a_covariance_goes_on_where_it_was_bit_for_bit():
    vectors, whole, first, second = drawn(40, 5), *(style.Covariance(5) for _ in range(3))
    for part in torch.split(vectors, 10):
        whole.update(part)
    for part in torch.split(vectors[:20], 10):
        first.update(part)
    second.load_state_dict({name: one.clone() for name, one in first.state_dict().items()})
    for part in torch.split(vectors[20:], 10):
        second.update(part)
    assert all(torch.equal(a, b) for a, b in zip(whole.buffers(), second.buffers(), strict=True))


def test_autocast_does_not_touch_covariance_and_directions():
    vectors, running, plain = drawn(30, 5).float(), style.Covariance(5), style.Covariance(5)
    plain.update(vectors)
    with torch.autocast("cpu", torch.bfloat16):
        running.update(vectors)
        basis = style.directions(drawn(2, 5).float(), running.matrix()[0])
    assert torch.equal(running.scatter, plain.scatter)
    assert torch.equal(basis, style.directions(drawn(2, 5).float(), plain.matrix()[0]))


@pytest.mark.parametrize("name", ["style", "linear", "networks", "experiments", "measurements", "own"])
def test_examples_in_docstrings_run(name):
    module = importlib.import_module(f"causalnb.chapters.alignment.{name}")
    found = doctest.testmod(module)
    assert found.attempted and not found.failed
