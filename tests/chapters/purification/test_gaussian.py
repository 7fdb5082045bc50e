"""Gaussian data, linear purifiers and the linear model against numbers computed elsewhere."""

import pytest
import torch

from causalnb.chapters.purification import diffusion, gaussian

SCALES = (1, 0.1, 0.01, 0.001)


def test_the_schedule_at_six_times():
    kept = diffusion.kept()[[0, 49, 100, 200, 500, 999]]
    expected = [0.9999, 0.971016, 0.895142, 0.656347, 0.077797, 0.000040]
    assert kept.tolist() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("s2", "mean", "at"), [(1, 0.275513, 0.971016), (0.25, 0.173053, 0.893337), (0.01, 0.041431, 0.250945)]
)
def test_the_best_error_by_time(s2, mean, at):
    error = gaussian.minimal_error(diffusion.kept(), s2)
    assert float(error.mean()) == pytest.approx(mean, abs=1e-6)
    assert float(error[49]) == pytest.approx(at, abs=1e-6)


@pytest.mark.parametrize(
    ("variance", "first", "gaps"),
    [
        ("large", None, (0.0000, 0.0011, 0.0196)),
        ("small", None, (0.579, 0.570, 0.501)),
        ("small", "large", (0.465, 0.456, 0.392)),
        ("large", "small", (0.114, 0.115, 0.129)),
    ],
)
def test_the_gap_of_the_bound_depends_on_the_variances_and_on_the_first(variance, first, gaps):
    found = [gaussian.bound(s2, variance, first) - gaussian.nats(s2) for s2 in (1, 0.25, 0.01)]
    assert found == pytest.approx(gaps, abs=1e-3)


def test_the_bound_agrees_with_one_drawn_step_by_step():
    """The steps' Gaussian KLs with drawn images and noise instead of their expectations."""
    s2, b, a, n = 0.25, diffusion.betas(), diffusion.kept(), 4000
    g = torch.Generator().manual_seed(0)
    predict, total = gaussian.best_predictor(s2), 0.0
    x = s2**0.5 * torch.randn(n, 1, generator=g, dtype=torch.float64)
    for t in range(1, 1000):
        noise = torch.randn(n, 1, generator=g, dtype=torch.float64)
        at = torch.full((n,), t)
        noisy = diffusion.noised(x, at, noise)
        mine = (noisy - b[t] / (1 - a[t]).sqrt() * predict(noisy, at, None)) / (1 - b[t]).sqrt()
        true = (noisy - b[t] / (1 - a[t]).sqrt() * noise) / (1 - b[t]).sqrt()
        tilde = b[t] * (1 - a[t - 1]) / (1 - a[t])
        total += float(
            (tilde / b[t] - 1 - (tilde / b[t]).log()) / 2 + (true - mine).square().mean() / (2 * b[t])
        )
    first = b[0] ** 2 / ((1 - b[0]) * (1 - a[0])) * gaussian.minimal_error(a[0], s2) / (2 * b[0])
    total += float((2 * torch.pi * b[0]).log() / 2 + first) + float(
        (a[-1] * s2 - a[-1] - (1 - a[-1]).log()) / 2
    )
    assert total == pytest.approx(gaussian.bound(s2, "large"), abs=0.03)


@pytest.mark.parametrize(
    ("time", "rates"),
    [
        (49, (0.0563, 3.541, 37.59, 62.73)),
        (10, (0.0044, 0.421, 29.55, 429.8)),
        (200, (0.451, 2.693, 3.678, 3.805)),
    ],
)
def test_small_variances_are_pulled_hardest_at_small_times(time, rates):
    found = [float(gaussian.contraction(diffusion.kept()[time], s2)) for s2 in SCALES]
    assert found == pytest.approx(rates, rel=2e-3, abs=1e-4)


def test_what_one_step_leaves_of_a_perturbation():
    found = [float(gaussian.one_step(diffusion.kept()[100], s2)) for s2 in SCALES]
    assert found == pytest.approx([0.895, 0.461, 0.079, 0.0085], abs=1e-3)


def test_purifiers_against_the_best_linear_classifier():
    mean, covariance = gaussian.two_scales()
    w = torch.linalg.solve(covariance, mean)
    expected = {
        None: (0.9829, 0.9203, 0.4944),
        25: (0.9842, 0.9720, 0.9241),
        49: (0.9790, 0.9714, 0.9493),
        100: (0.9748, 0.9679, 0.9497),
    }
    for t, accuracies in expected.items():
        own = w if t is None else gaussian.purifier(covariance, t).T @ w
        found = [gaussian.robust_accuracy(own, mean, covariance, eps) for eps in (0.05, 0.1, 0.2)]
        assert found == pytest.approx(accuracies, abs=1e-4)
    best = [
        gaussian.robust_accuracy(gaussian.best_linear(mean, covariance, eps), mean, covariance, eps)
        for eps in (0.05, 0.1, 0.2)
    ]
    assert best == pytest.approx([0.9870, 0.9725, 0.9506], abs=1e-4)


def test_inferring_s_is_discriminant_analysis_with_its_robustness():
    a, _, within = gaussian.linear_model()
    expected = {
        "posterior": (0.9712, 0.9439, 0.8992, 0.7437, 0.5130),
        "likelihood": (0.9711, 0.9431, 0.8970, 0.7365, 0.5000),
        "a": (0.8541, 0.8286, 0.8005, 0.7365, 0.6634),
    }
    for name, accuracies in expected.items():
        w = gaussian.directions()[name]
        found = [gaussian.robust_accuracy(w, a, within, eps) for eps in (0, 0.1, 0.2, 0.4, 0.6)]
        assert found == pytest.approx(accuracies, abs=1e-4), name
    posterior = gaussian.directions()["posterior"]
    assert float(posterior @ a / posterior.norm()) == pytest.approx(0.6105, abs=1e-4)


def test_robust_accuracy_is_that_of_drawn_points_moved_against_the_classifier():
    mean, covariance = gaussian.two_scales()
    w, g = torch.linalg.solve(covariance, mean), torch.Generator().manual_seed(0)
    x = mean + torch.randn(200_000, 2, generator=g, dtype=torch.float64) @ covariance.sqrt()
    moved = x - 0.1 * w / w.norm()
    assert float((moved @ w > 0).double().mean()) == pytest.approx(
        gaussian.robust_accuracy(w, mean, covariance, 0.1), abs=3e-3
    )


def test_sampling_gaussian_data_without_noise_gives_its_variance():
    g = torch.Generator().manual_seed(0)
    start = torch.randn(5000, 1, generator=g, dtype=torch.float64)
    found = diffusion.sample(gaussian.best_predictor(0.04), start, steps=200)
    assert float(found.var()) == pytest.approx(0.04, rel=0.1)
