"""A numeric check for every step of the derivation, in float64, on seeded numbers; those of the method itself
are in `mechanism`.

`CHECKS["E17"]()` runs one; each takes less than a second or two.
"""

import math
from collections.abc import Callable

import torch
from scipy import stats
from torch import Tensor

from causalnb.chapters import Check, Measure, Registry, registered
from causalnb.chapters.purification import bottleneck, diffusion, gaussian, graphs, objective
from causalnb.chapters.purification.defence import Around, pair_error

CHECKS: Registry = {}
EQUAL = 1e-12
VARIANCES = (1.0, 0.25, 0.01)
CASES = 1000


def shows(id: str, what: str, *, bound: float = EQUAL) -> Callable[[Measure], Callable[[], Check]]:
    """Register a function of (value, n) as a check that holds where the value is at most the bound."""
    return registered(CHECKS, "check", id, what, bound)


# Diffusion -----------------------------------------------------------------------------------------------


@shows("schedule", "largest difference between a_t and a product of 1 - beta_t, one factor after the other")
def schedule() -> tuple[float, int]:
    """At six times."""
    times = (0, 49, 100, 200, 500, 999)
    width = (diffusion.LAST - diffusion.FIRST) / (diffusion.STEPS - 1)
    by_hand = [math.prod(1 - diffusion.FIRST - width * s for s in range(t + 1)) for t in times]
    return max(abs(float(diffusion.kept()[t]) - one) for t, one in zip(times, by_hand, strict=True)), len(
        times
    )


@shows("minimal", "largest difference between the best error and what regression of the noise on x_t leaves")
def minimal() -> tuple[float, int]:
    """Left of the noise is its variance less what its covariance with x_t explains."""
    a = diffusion.kept()
    left = [1 - (1 - a).sqrt().square() / (a * s2 + (1 - a)) for s2 in VARIANCES]
    apart = [
        (gaussian.minimal_error(a, s2) - one).abs().max() for s2, one in zip(VARIANCES, left, strict=True)
    ]
    return float(torch.stack(apart).max()), len(a) * len(VARIANCES)


@shows("bound.large", "largest gap, nats, between bound and likelihood with variances beta", bound=0.02)
def bound_with_large_variances() -> tuple[float, int]:
    """A gap below 0, which no bound has, would count as infinite."""
    gaps = [gaussian.bound(s2, "large") - gaussian.nats(s2) for s2 in VARIANCES]
    return (max(gaps) if min(gaps) > -1e-9 else math.inf), len(gaps)


@shows("bound.small", "farthest from 0.54 nats in all, or from 0.11 by the first step", bound=0.04)
def bound_with_small_variances() -> tuple[float, int]:
    """With the smaller variances at every step, and at all but the first."""
    off = []
    for s2 in VARIANCES:
        whole, rest = (gaussian.bound(s2, "small", first) for first in ("small", "large"))
        off += [abs(whole - gaussian.nats(s2) - 0.54), abs(whole - rest - 0.11)]
    return max(off), len(off)


# Purification --------------------------------------------------------------------------------------------


@shows("contraction", "largest relative difference between 2 a (1 - a) / v2 and autograd's pull")
def contraction() -> tuple[float, int]:
    """Of the noise error's gradient in the image, divided by the image."""
    off = []
    for s2 in (1.0, 0.1, 0.01, 0.001):
        x = torch.tensor([0.7], dtype=torch.float64).view(1, 1, 1, 1)
        for time in (10, 49, 200):
            pulled = _slope(gaussian.best_predictor(s2), x, time) / x
            expected = gaussian.contraction(diffusion.kept()[time], s2)
            off.append(float((pulled / expected - 1).abs().max()))
    return max(off), len(off)


def _slope(predictor: diffusion.Noise, x: Tensor, time: int) -> Tensor:
    """The gradient of a pair's noise error."""
    g = torch.Generator().manual_seed(0)
    x = x.clone().requires_grad_()
    noise = torch.randn(x.shape, generator=g, dtype=x.dtype)
    model = Around(lambda noisy, t: predictor(noisy, t, None), lambda images: images)
    [slope] = torch.autograd.grad(pair_error(model, x, torch.full((len(x),), time), noise).sum(), x)
    return slope


@shows("step", "largest difference between a s2 / v and the slope of one denoising step")
def one_step() -> tuple[float, int]:
    """By autograd through the method's own step."""
    off = []
    for s2 in (1.0, 0.1, 0.01, 0.001):
        for time in (10, 49, 100):
            x = torch.tensor([0.1], dtype=torch.float64).view(1, 1, 1, 1).requires_grad_()
            t, noise = torch.full((1,), time), torch.full_like(x, 0.1)
            given = diffusion.cleaned(gaussian.best_predictor(s2), x, t, noise)
            [slope] = torch.autograd.grad(given.sum(), x)
            off.append(abs(float(slope) - float(gaussian.one_step(diffusion.kept()[time], s2))))
    return max(off), len(off)


@shows("diverges", "a hundred, by what five steps of 0.1 multiply a direction of variance 0.01 by", bound=1.0)
def plain_steps_diverge() -> tuple[float, int]:
    """At the mean pull over t < 50."""
    pull = float(gaussian.contraction(diffusion.kept()[:50], 0.01).mean())
    return 100 / abs((1 - 0.1 * pull) ** 5), 5


@shows("linear", "largest difference between w P x and (P^T w) x")
def a_linear_purifier_is_a_linear_classifier() -> tuple[float, int]:
    """Image by image, P one denoising step of the method for Gaussian data."""
    mean, covariance = gaussian.two_scales()
    w = torch.linalg.solve(covariance, mean)
    x = torch.rand(500, 1, 1, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64) - 0.5
    predictor = gaussian.best_predictor(covariance.diagonal())
    off = []
    for time in (25, 49, 100):
        purified = diffusion.cleaned(predictor, x, torch.full((500,), time), torch.zeros_like(x)).flatten(1)
        off.append(purified @ w - x.flatten(1) @ (gaussian.purifier(covariance, time).T @ w))
    return float(torch.stack(off).abs().max()), 500 * len(off)


@shows("linear.best", "how far a purifier is above the best robust linear classifier", bound=1e-9)
def no_linear_purifier_beats_the_best_linear_classifier() -> tuple[float, int]:
    """At twelve eps and ten times."""
    mean, covariance = gaussian.two_scales()
    w = torch.linalg.solve(covariance, mean)
    above = []
    for eps in torch.linspace(0, 0.55, 12).tolist():
        best = gaussian.robust_accuracy(gaussian.best_linear(mean, covariance, eps), mean, covariance, eps)
        for time in range(10, 210, 20):
            mine = gaussian.purifier(covariance, time).T @ w
            above.append(gaussian.robust_accuracy(mine, mean, covariance, eps) - best)
    return max(above), len(above)


@shows("antithetic", "largest difference of a pair's gradient from the mean one, in units of its largest")
def a_pair_is_exact() -> tuple[float, int]:
    """784 pixels, 50 of variance 1, the others 0.01."""
    s2 = torch.full((1, 1, 28, 28), 0.01, dtype=torch.float64)
    s2.view(-1)[:50] = 1.0
    x = torch.rand(s2.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    a = diffusion.kept()[30]
    mean = 2 * a * (1 - a) / (a * s2 + 1 - a).square() * x / x.numel()
    apart = _slope(gaussian.best_predictor(s2), x, 30) - mean
    return float(apart.abs().max() / mean.abs().max()), x.numel()


# The linear model of S and Z -----------------------------------------------------------------------------


def _cosine(one: Tensor, other: Tensor) -> float:
    return float(one @ other / one.norm() / other.norm())


@shows("lda", "1 less the cosine between the posterior mean's direction and LDA's")
def the_posterior_is_lda() -> tuple[float, int]:
    """Whatever the prior variance of s."""
    found = gaussian.directions()
    return 1 - _cosine(found["posterior"], found["lda"]), 2


@shows("lda.margin", "the larger of cosine - (1 - 1e-6), and robust accuracy of S* less that of a", bound=0.0)
def without_z_may_be_more_robust() -> tuple[float, int]:
    """At eps = 0.6."""
    found, (a, _, within) = gaussian.directions(), gaussian.linear_model()
    own, alone = (gaussian.robust_accuracy(found[name], a, within, 0.6) for name in ("lda", "a"))
    return max(_cosine(found["likelihood"], found["lda"]) - (1 - 1e-6), own - alone), 2


# The bottleneck ------------------------------------------------------------------------------------------


@shows("information", "largest difference of the KL term from I(X; S) and KL(aggregate || prior)")
def the_bound_of_information() -> tuple[float, int]:
    """Of four channels and two priors."""
    off = []
    for gain, variance in ((0.75**0.5, 0.25), (1.0, 0.25), (0.5, 0.75), (1.0, 1.0)):
        for prior in (1.0, math.e):
            information, upper = bottleneck.channel(gain, variance, prior)
            whole = torch.tensor(gain**2 + variance, dtype=torch.float64)
            above = float(bottleneck.kl(torch.zeros_like(whole), whole.log(), prior))
            off.append(abs(upper - information - above) if above > -EQUAL else math.inf)
    return max(off), len(off)


@shows("club", "largest relative difference of CLUB on 200,000 pairs from r2 / (1 - r2)", bound=0.02)
def club_of_a_pair() -> tuple[float, int]:
    """With the true conditional; a value below the information would count as infinite."""
    g, off, n = torch.Generator().manual_seed(0), [], 200_000
    for r in (0.3, 0.5, 0.7, 0.9):
        z = torch.randn(n, 1, generator=g, dtype=torch.float64)
        s = r * z + math.sqrt(1 - r * r) * torch.randn(n, 1, generator=g, dtype=torch.float64)
        found = float(objective.club(s, r * z, torch.full_like(z, math.log(1 - r * r))))
        exact = bottleneck.pair_club(r, r, 1 - r * r)
        off.append(abs(found / exact - 1) if found > bottleneck.pair_information(r) else math.inf)
    return max(off), n


@shows("club.untrained", "CLUB by a conditional that ignores z, of a pair with r = 0.9")
def untrained_club_is_no_bound() -> tuple[float, int]:
    """The information is 0.83 nats."""
    g = torch.Generator().manual_seed(0)
    z = torch.randn(1000, 1, generator=g, dtype=torch.float64)
    s = 0.9 * z + math.sqrt(0.19) * torch.randn(1000, 1, generator=g, dtype=torch.float64)
    return abs(float(objective.club(s, torch.zeros_like(z), torch.zeros_like(z)))), 1000


@shows("club.gate", "the larger of CLUB less the information, and the held-out gain turned round", bound=0.0)
def a_gain_on_held_out_pairs_is_not_enough() -> tuple[float, int]:
    """r = 0.9, the conditional N(0.1 z, 0.83)."""
    gain = bottleneck.pair_gain(0.9, 0.1, 0.83)
    return max(bottleneck.pair_club(0.9, 0.1, 0.83) - bottleneck.pair_information(0.9), -gain), 1


@shows("E10", "largest difference between I(X, Y; S, Z) and I(X; S, Z) under the encoder's joint", bound=1e-9)
def the_label_adds_nothing() -> tuple[float, int]:
    """The latents are computed from the image alone."""
    terms = bottleneck.drawn_cases(CASES).terms()
    return float((terms["both"] - terms["bottleneck"]).abs().max()), CASES


@shows("E17", "how much worse an S that carries everything is at most, at any weights", bound=1e-9)
def everything_in_s_is_never_worse() -> tuple[float, int]:
    """S' = (S, Z), Z' noise: by the objective at drawn lambda in [0, 3] and eta in [0, 10], and by what
    cross-entropy can reach, -I(Y; S).
    """
    drawn = torch.rand(2, CASES, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    weights = (3 * drawn[0], 10 * drawn[1])
    cases = bottleneck.drawn_cases(CASES)
    other = bottleneck.everything_in_s(cases)
    worse = cases.objective(*weights) - other.objective(*weights)
    return float(torch.cat([worse, cases.terms()["label"] - other.terms()["label"]]).max()), CASES


@shows(
    "prior", "largest of: KL to a prior of variance e less (1/e) / 2, and what scaled latents still differ by"
)
def the_prior_of_variance_e() -> tuple[float, int]:
    """Scaling the latents by the root of e makes the two priors one."""
    g = torch.Generator().manual_seed(0)
    mean, log_variance = torch.randn(2, 100, generator=g, dtype=torch.float64)
    scaled = bottleneck.kl(mean * math.exp(0.5), log_variance + 1, math.e)
    zero = torch.zeros(1, dtype=torch.float64)
    cost = float(bottleneck.kl(zero, zero, math.e))
    apart = float((scaled - bottleneck.kl(mean, log_variance)).abs().max())
    return max(apart, abs(cost - 1 / (2 * math.e))), 100


# Graphs and counts ---------------------------------------------------------------------------------------


@shows(
    "graphs", "captioned graphs in which independent causes meet in X, other than (d), or (d) not", bound=0.0
)
def only_d_has_independent_causes() -> tuple[float, int]:
    """By d-separation."""
    found = {name for name, graph in graphs.CAPTIONED.items() if graphs.independent_causes(graph)}
    return float(len(found ^ {"d"})), len(graphs.CAPTIONED)


@shows("collider", "largest difference between the correlation given X and -1 / (1 + var n)")
def causes_depend_given_their_effect() -> tuple[float, int]:
    """X = S + Z + n with unit variances."""
    off = []
    for variance in (0.0, 0.5, 1.0, 4.0):
        covariance = torch.tensor([[1.0, 0, 1], [0, 1, 1], [1, 1, 2 + variance]], dtype=torch.float64)
        off.append(abs(graphs.partial_correlation(covariance) + 1 / (1 + variance)))
    return max(off), len(off)


@shows(
    "softmax",
    "how far cross-entropy of probabilities leaves [log(e + 9) - 1, log(e + 9)], or misses its ends",
)
def probabilities_taken_for_logits() -> tuple[float, int]:
    """Ten classes: certainties, right and wrong, and a thousand drawn answers."""
    least, most = math.log(math.e + 9) - 1, math.log(math.e + 9)
    drawn = torch.randn(1000, 10, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 5
    answers = torch.cat([torch.eye(10, dtype=torch.float64), drawn.softmax(1)])
    losses = -answers.log_softmax(1)[:, 0]
    out = max(least - float(losses.min()), float(losses.max()) - most)
    return max(out, abs(float(losses[0]) - least), abs(float(losses[1]) - most)), len(answers)


@shows("resubmission", "largest difference between 1 - (1 - p)^N and the chance of a success in N queries")
def asked_again_and_again() -> tuple[float, int]:
    """By the binomial law."""
    off = [
        abs(1 - (1 - p) ** n - float(stats.binom.sf(0, n, p)))
        for p in (0.01, 0.05, 0.3)
        for n in (1, 5, 10, 20, 50)
    ]
    return max(off), len(off)


# What the page and the abstract say ----------------------------------------------------------------------


def by_logic() -> dict[str, bool]:
    """Statements put to the page's own logic, by measurement: whether each holds as printed."""
    return {
        "logic.essential": not CHECKS["E17"]().holds,
        "erratum.E2": graphs.CAPTIONED["a"] != graphs.CAPTIONED["c"],
    }
