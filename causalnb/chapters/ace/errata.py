"""Statements that Guo et al. 2024 print, put to a numeric test: a quantity, and the bound that the printed
words set it; and remarks, what a reader or builder should know of words that are right or open.

`ERRATA["E4"]()` runs one; `holds` says whether the printed statement holds, for a remark whether ours does.
Each takes less than a second, in float64.
"""

import math
import operator
from collections.abc import Callable

import torch
from torch import nn

from causalnb.chapters import Check, Measure, Registry, Relation, registered
from causalnb.chapters.ace import maps
from causalnb.chapters.ace.checks import drawn_images, layer, network, paths, small_table
from causalnb.chapters.ace.closed_forms import CASES, conditioned_pair
from causalnb.chapters.ace.controls import largest_jump, sampled_error, slopes_along
from causalnb.chapters.ace.interventions import average_effects, interventional_table

ERRATA: Registry = {}
REMARKS: Registry = {}


def _tests(
    id: str, what: str, *, bound: float, relation: Relation = operator.le
) -> Callable[[Measure], Callable[[], Check]]:
    return registered(ERRATA, "erratum", id, what, bound, relation)


def _shows(
    id: str, what: str, *, bound: float, relation: Relation = operator.le
) -> Callable[[Measure], Callable[[], Check]]:
    return registered(REMARKS, "remark", id, what, bound, relation)


@_tests("E2", "directed paths from an input to the output of a 3-2-1 network", bound=1)
def there_is_more_than_one_path() -> tuple[float, int]:
    """Printed (III-A P1): "there is only one path between any two nodes". Acyclicity suffices."""
    count = paths(3, 2, 1)
    return count, count


@_tests("E4", "largest |baseline of Eq. (3) - mean ACE over the same values|", bound=1e-12)
def the_baseline_is_not_a_mean_effect() -> tuple[float, int]:
    """Printed (III-B1 P6): the baseline is "the mean average causal effect". It is the mean expectation; the
    mean effect is 0.
    """
    table = small_table()
    gap = table.expectation.mean(2) - average_effects(table).mean(2)
    return gap.abs().max().item(), gap.numel()


@_shows(
    "E4b",
    "share of pixels and classes with a positive effect at one value and a negative one at another",
    bound=1,
    relation=operator.ge,
)
def every_pixel_is_positive_somewhere_and_negative_elsewhere() -> tuple[float, int]:
    """Printed (III-B3): pixels have "a positive causal relationship (ACE > 0)", without a value of alpha."""
    effects = average_effects(small_table())[0]
    both = (effects.amax(1) > 0) & (effects.amin(1) < 0)
    return both.double().mean().item(), both.numel()


@_tests(
    "E5",
    "largest difference between the effect at alpha = 1 against no intervention and against Eq. (3)",
    bound=1e-12,
)
def no_intervention_is_another_baseline() -> tuple[float, int]:
    """Printed (III-B1 P4): "intervention versus no intervention", then Eq. (3) as the baseline: w (E[x] -
    1/2) apart.
    """
    model = nn.Sequential(nn.Flatten(), layer(9, 1, weight=torch.ones(1, 9, dtype=torch.float64)))
    table = interventional_table(model, drawn_images() ** 3, torch.linspace(0, 1, 11, dtype=torch.float64))
    gap = average_effects(table, baseline="empirical")[0, :, -1] - average_effects(table)[0, :, -1]
    return gap.abs().max().item(), gap.numel()


@_shows(
    "E6",
    "|baseline of C3 over a uniform grid - over x1's own law|, x1 = 1 with probability 0.13 and else 0",
    bound=1e-12,
    relation=operator.gt,
)
def the_grid_is_not_the_law_of_the_pixel() -> tuple[float, int]:
    """Printed: Eq. (3) takes the expectation over x_i, III-B2's last paragraph a uniform grid. MNIST's mean
    pixel is 0.13.
    """
    case = CASES["C3"]
    return abs(case.baseline - (0.87 * case.exact(0.0) + 0.13 * case.exact(1.0))), 1


@_shows(
    "E8",
    "standard error with 3,000 inputs over that with 3, for a linear f of the same output variance",
    bound=1.05,
)
def dimension_alone_costs_no_precision() -> tuple[float, int]:
    """Printed (III-B2 P2): the sampled expectation has "a high variance" by the curse of dimensionality. It
    is Var(f) / n.
    """
    few, many = (
        sampled_error(torch.full((inputs,), 1 / math.sqrt(inputs - 1), dtype=torch.float64))
        for inputs in (3, 3000)
    )
    return many / few, 1000


@_shows(
    "E9",
    "distance, in standard errors, of rows drawn jointly from C2b's closed form (each pixel drawn alone "
    "would give -0.9)",
    bound=4,
)
def rows_must_be_drawn_jointly() -> tuple[float, int]:
    """Printed (III-B2 P2), a clarification: the other inputs keep their correlation; only the pixel's own is
    cut.
    """
    case = CASES["C2b"]
    mean, error = case.sampled(200_000, seed=1)
    return abs(mean - case.expectation) / error, 200_000


@_tests("E11", "largest jump of a logit's slope along alpha, between neighbours 0.0001 apart", bound=0.01)
def a_relu_network_is_not_smooth() -> tuple[float, int]:
    """Printed (III-B2 P5): "Since f_y' is a neural network, it is smooth". With relu it has kinks, and zero
    Hessian elsewhere.
    """
    return largest_jump(slopes_along(network(), drawn_images(1))).max().item(), 9


@_tests("E12", "E[x1 + 2 x2 | x1 = 1] less E[x1 + 2 x2 | do(x1 = 1)], correlation 0.8", bound=1e-12)
def conditioning_moves_the_mean() -> tuple[float, int]:
    """Printed (III-B2 P7): the first-order term vanishes "because E[l_1 | x_i = alpha] = mu". That holds for
    do alone.
    """
    return conditioned_pair() - CASES["C8"].expectation, 1


@_shows(
    "E13",
    "|Eq. (8) - exact| of C7 with row and column i zero (with the observational covariance: 0.13)",
    bound=1e-12,
)
def the_covariance_is_that_under_the_intervention() -> tuple[float, int]:
    """Printed Eq. (8), a note on its use: with mu_i = alpha, row and column i of E[(l - mu)(l - mu)' | do]
    are zero already.
    """
    case = CASES["C7"]
    return abs(case.taylor() - case.expectation), 1


@_shows(
    "E22",
    "smallest possible S with blocks of 2 x 2 over 784 pixels; the bound is the printed S of clean "
    "Fashion-MNIST",
    bound=0.535,
    relation=operator.gt,
)
def blocks_cannot_be_counted_over_pixels() -> tuple[float, int]:
    """Printed Eq. (9): "pixel blocks" over "pixels". S >= 1 - 1/b^2 with b x b blocks, so b = 1 or N_total
    counts blocks.
    """
    return 1 - 14 * 14 / (28 * 28), 784


@_shows(
    "E23",
    "S above 1 % of the largest effect, less S, of one strong pixel among effects of a billionth",
    bound=0.01,
    relation=operator.gt,
)
def sparsity_says_nothing_of_size() -> tuple[float, int]:
    """Printed Eq. (9): S measures how sparse the positive effects are. A map of one pixel and dust has S =
    0.
    """
    dust = torch.full((1, 28, 28), 1e-9, dtype=torch.float64)
    dust[0, 14, 14] = 1
    return (maps.sparsity(dust, threshold=0.01) - maps.sparsity(dust)).item(), 784


@_tests("E24", "relative change of TV when f is doubled", bound=0)
def total_variation_has_the_unit_of_the_output() -> tuple[float, int]:
    """Printed Eq. (10): a higher TV is "greater discontinuity". No scale of phi is given, and doubling f
    doubles TV.
    """
    phi = average_effects(small_table())[0, :, -1, 0].view(1, 3, 3)
    return (maps.total_variation(2 * phi) / maps.total_variation(phi) - 1).item(), 9


@_shows(
    "E25",
    "TV of a checkerboard of +-1/2, over that of an even slope from 0 to 2, whose mean size is twice as "
    "large",
    bound=1,
    relation=operator.gt,
)
def a_smaller_map_can_be_rougher() -> tuple[float, int]:
    """Printed (IV-B (2) and (3)): effects are weaker and TV is higher. Both can be, by signs; a pure
    rescaling cannot do it.
    """
    rows, columns = torch.meshgrid(torch.arange(28.0), torch.arange(28.0), indexing="ij")
    smooth, rough = (rows / 27)[None] * 2, ((-1) ** (rows + columns))[None] / 2
    return (maps.total_variation(rough) / maps.total_variation(smooth)).item(), 784
