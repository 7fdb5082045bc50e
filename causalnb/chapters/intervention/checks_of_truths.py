"""Checks of effects where the truth is planted, and of the printed test where nothing differs."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from causalnb.chapters.intervention import checks, closed_forms, kernels, significance, values
from causalnb.chapters.intervention import sets as sets_
from causalnb.chapters.intervention.checks import apart, shows
from causalnb.chapters.intervention.metrics import effects
from causalnb.chapters.intervention.resampling import kendall, pearson

CHECKS = checks.CHECKS
H = 16
SIZES = range(1, H + 1)


@shows(
    "toy",
    "largest difference from the numbers by hand, which are rounded to eight decimals",
    bound=0.5e-8 * 1.001,
)
def four_channels_by_hand() -> tuple[float, int]:
    """One channel undoes another and still has an effect of 5 alone; one that does nothing is credited with
    7.67 at size 2.
    """
    every = sets_.every(4)
    v = closed_forms.swapped(closed_forms.linear(closed_forms.TOY, (0, 0)), 4, every).norms[0]
    exact = max(
        abs(float(v[sum(1 << (j - 1) for j in held)]) - effect)
        for held, effect in closed_forms.TOY_EFFECTS.items()
    )
    made = values.table(v[None], every, 4)
    known = [
        (made.channel[0].T, closed_forms.TOY_TABLE),
        (made.mean[0], closed_forms.TOY_MEANS),
        (values.shapley(made)[0], closed_forms.TOY_SHAPLEY),
        (values.banzhaf(made)[0], closed_forms.TOY_BANZHAF),
    ]
    rounded = max(apart(one, torch.tensor(other, dtype=torch.float64)) for one, other in known)
    return max(rounded, 1e3 * exact), 15 + 16 + 4 + 4 + 4


def _all(model: torch.nn.Module) -> tuple[values.Table, values.Table, Tensor]:
    """The tables of AEL and AEA of one image over all 2^16 sets, and AEL of every set."""
    found = closed_forms.swapped(model, H, sets_.every(H))
    return found.table(), found.table("wrong"), found.norms[0]


@shows("planted", "largest difference of AEL from its closed form, Shapley values too", bound=1e-9)
def a_planted_channel_stands_out_less_with_size() -> tuple[float, int]:
    """Ten times as strong as the others: a ratio of 10 alone, 3.55 at size 3, 1.80 at 7, 1 at 16."""
    strengths = torch.tensor([10.0] + [1.0] * 15)
    ael, _, _ = _all(closed_forms.planted(strengths))
    worst = 0.0
    for size in SIZES:
        planted, other = closed_forms.planted_effects(size)
        worst = max(
            worst, apart(ael.at(size)[0], torch.tensor([planted] + [other] * 15, dtype=torch.float64))
        )
    phi = values.shapley(ael)[0]
    by_hand = torch.tensor([0.7836510255] + [0.0192486336] * 15, dtype=torch.float64)
    return max(worst, apart(phi, by_hand) - 0.5e-10), H * H


@shows(
    "planted.flips", "largest difference of AEA from its closed form, where one channel alone flips the class"
)
def one_channel_makes_the_histogram() -> tuple[float, int]:
    """AEA of a set is 1 where it holds the channel: for gamma of the 16 sets in one."""
    _, aea, _ = _all(closed_forms.planted(torch.tensor([10.0] + [1.0] * 15)))
    worst = 0.0
    for size in SIZES:
        planted, other = closed_forms.planted_flips(size)
        worst = max(
            worst, apart(aea.at(size)[0], torch.tensor([planted] + [other] * 15, dtype=torch.float64))
        )
        worst = max(worst, abs(float(aea.mean[0, size - 1]) - size / H))
    return worst, H * H


@shows(
    "alike", "largest difference from eps sqrt(gamma), Shapley values, p and tau of interchangeable channels"
)
def interchangeable_channels_have_no_ranking() -> tuple[float, int]:
    """Equal effects, tau_b of 0 for want of a ranking, no red cell."""
    ael, _, v = _all(closed_forms.planted(torch.ones(H)))
    worst = max(
        apart(ael.at(size), torch.full((1, H), closed_forms.EPS * size**0.5, dtype=torch.float64))
        for size in SIZES
    )
    phi = apart(values.shapley(ael), torch.full((1, H), 0.025, dtype=torch.float64))
    ranked = [significance.ranks(ael.at(size)[0]) for size in (1, 7)]
    held = sets_.of_size(H, 3)
    red = significance.red(significance.rank_sum_map(v[held], held, H))
    return max(worst, phi, abs(float(kendall(*ranked))), float(red)), H * H


@shows("and", "largest difference from the closed form of two channels that act together only")
def together_only_is_blind_alone() -> tuple[float, int]:
    """0 at size 1; Shapley values of a half each."""
    ael, _, _ = _all(closed_forms.together())
    return _two(ael, closed_forms.together_effects), H * H


@shows("or", "largest difference from the closed form of two channels either of which is enough")
def either_is_blind_when_one_is_left_clean() -> tuple[float, int]:
    """1 - (16 - gamma)(15 - gamma) / 210 for all others; at 15 all are equal."""
    ael, _, _ = _all(closed_forms.instead())
    level = float(ael.at(15)[0].max() - ael.at(15)[0].min())
    alone = closed_forms.instead_effects(15)
    return max(_two(ael, closed_forms.instead_effects), level - abs(alone[0] - alone[1])), H * H


def _two(ael: values.Table, formula: Callable[[int], tuple[float, float]]) -> float:
    worst = 0.0
    for size in SIZES:
        own, other = formula(size)
        worst = max(
            worst, apart(ael.at(size)[0], torch.tensor([own] * 2 + [other] * 14, dtype=torch.float64))
        )
    return max(
        worst, apart(values.shapley(ael)[0], torch.tensor([0.5] * 2 + [0.0] * 14, dtype=torch.float64))
    )


@shows("boundary", "sets whose AEA is not the step at ceil(H / rho)", bound=0)
def an_attack_at_the_boundary_needs_every_channel() -> tuple[float, int]:
    """rho = 1: all 16; 16/15: 15; 2: 8; 16/3: 3; 16: one."""
    rhos, wrong = (1, 16 / 15, 1.5, 2, 16 / 3, 16), 0
    some = torch.cat([sets_.drawn(H, size, 20, seed=0) for size in SIZES])
    for rho in rhos:
        aea = closed_forms.swapped(closed_forms.boundary(rho), H, some).aea
        expected = sets_.sizes(some, H) >= closed_forms.needed(rho)
        wrong += int((aea != expected.double()).sum())
    return wrong, len(rhos) * len(some)


@shows("twin", "largest change of effects in two twins, and what R of norm and effect lacks of +.99 and -.99")
def a_twin_has_any_correlation() -> tuple[float, int]:
    """Kernels rescaled along the ranking of effects, and against it."""
    model, clean, attacked, labels = checks.small()
    alone = sets_.of_size(H, 1)
    first = effects(model, "conv1", clean, attacked, labels, alone)
    rank = significance.ranks(first.ael)
    norm, worst = kernels.kernels(model, "conv1").norm, 0.0
    for wanted in (rank, 17 - rank):
        twin = kernels.rescaled(model, "conv1", (2 + wanted) / norm)
        again = effects(twin, "conv1", clean, attacked, labels, alone)
        r = float(pearson(kernels.kernels(twin, "conv1").norm, rank)) * (1 if wanted is rank else -1)
        worst = max(worst, apart(again.norms, first.norms), 0.99 - r)
    return worst, 2


@shows(
    "noise",
    "largest relative difference from eps times the sum, and the l2 norm, of a path's weights",
    bound=0.05,
)
def attacks_add_up_over_pixels_and_noise_does_not() -> tuple[float, int]:
    """Of a linear network: under signs of the gradient a channel's effect grows with its pixels, under random
    signs with their square root. Noise is drawn 4,000 times, hence the bound; the attack is exact.
    """
    eps, pixels, path = 0.1, 400, closed_forms.aligned(8, 400)
    clean = torch.full((1, 1, pixels, 1), 0.5, dtype=torch.float64)
    alone, label = sets_.of_size(8, 1), torch.tensor([0])
    attacked = clean - eps * path.margin.sign().view(1, 1, pixels, 1)
    exact = effects(path.model, "conv", clean, attacked, label, alone).norms[0]
    signs = torch.randn(4000, pixels, generator=torch.Generator().manual_seed(0)).sign().double()
    noise = eps * (signs @ (path.gain[:, None] * path.weights).double().T)
    seen = noise.square().mean(0).sqrt()
    drift = apart(exact, path.by_signs(eps)) / float(exact.max())
    ratio = path.by_signs(eps) / path.by_noise(eps)
    assert drift < 1e-10 and (ratio > 0.9 * pixels**0.5).all()
    return float((seen / path.by_noise(eps) - 1).abs().max()), len(signs)


@shows("E8", "red cells of the printed test at sizes 1 and 15, where it compares one value with one", bound=0)
def one_value_against_one_is_never_red() -> tuple[float, int]:
    """Whatever the effects."""
    v = closed_forms.game()
    maps = [
        significance.rank_sum_map(v[held], held, H) for size in (1, 15) for held in [sets_.of_size(H, size)]
    ]
    return sum(map(significance.red, maps)), 240


@shows(
    "E12",
    ".6 less the printed test's least share of red cells on exchangeable channels",
    bound=0,
)
def exchangeable_channels_are_called_different() -> tuple[float, int]:
    """At size 3 more than 60 of 100 cells are red where none differs, with 100 images and with 1,000 alike;
    by theory 78.
    """
    held = sets_.of_size(H, 3)
    inside, shares = sets_.members(held, H).double(), []
    for n in (100, 1000):
        rng = torch.Generator().manual_seed(n)
        parts = torch.empty(3, n, H, dtype=torch.float64).exponential_(generator=rng).mean(1)
        red = [significance.red(significance.rank_sum_map(inside @ one, held, H)) for one in parts]
        shares.append(sum(red) / len(red) / math.comb(H, 2))
    return 0.6 - min(shares), 6
