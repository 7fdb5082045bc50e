"""A numeric check for every step of the derivation (Guo et al. 2024, III-A and III-B), and for every closed
form.

`CHECKS["D4"]()` runs one; each takes less than a second, in float64, on seeded numbers. What the paper prints
and does not hold is in `errata`.
"""

import math
from collections.abc import Callable
from graphlib import TopologicalSorter

import torch
from torch import Generator, Tensor, nn

from causalnb.chapters import Check, Measure, Registry, registered
from causalnb.chapters.ace.closed_forms import CASES, FIRST, SECOND, composed_effects, grid_baselines
from causalnb.chapters.ace.interventions import Table, average_effects, interventional_table
from causalnb.chapters.ace.taylor import (
    covariance_of_logits,
    interventional_covariance,
    jacobians,
    softmax_hessian_trace,
)

CHECKS: Registry = {}


def _shows(id: str, what: str, *, bound: float) -> Callable[[Measure], Callable[[], Check]]:
    return registered(CHECKS, "check", id, what, bound)


def layered_edges(*widths: int) -> dict[tuple[int, int], list[tuple[int, int]]]:
    """The causal graph of a feed-forward network: each unit (layer, index) with the units it is computed
    from.
    """
    units = [[(layer, i) for i in range(width)] for layer, width in enumerate(widths)]
    return {unit: units[layer - 1] if layer else [] for layer, row in enumerate(units) for unit in row}


def paths(*widths: int) -> int:
    """Directed paths from one input to one output of a feed-forward network: the product of the hidden
    widths.
    """
    return math.prod(widths[1:-1])


def layer(inputs: int, outputs: int, *, weight: Tensor | None = None, seed: int = 0) -> nn.Linear:
    """A float64 linear layer with drawn weights of order 1, or of the given weights and no bias."""
    made = nn.Linear(inputs, outputs, bias=weight is None, dtype=torch.float64)
    generator = Generator().manual_seed(seed)
    for parameter in made.parameters():
        parameter.data = (
            torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            if weight is None
            else weight
        )
    return made


def network() -> nn.Sequential:
    """A small float64 relu network of images [n, 1, 3, 3] and four classes, with drawn weights of order 1."""
    return nn.Sequential(nn.Flatten(), layer(9, 8, seed=0), nn.ReLU(), layer(8, 4, seed=1))


def drawn_images(n: int = 50, *, seed: int = 1) -> Tensor:
    """Uniform images [n, 1, 3, 3], float64."""
    return torch.rand(n, 1, 3, 3, generator=Generator().manual_seed(seed), dtype=torch.float64)


def small_table() -> Table:
    """The interventional table of `network` over `drawn_images`, at 11 values."""
    return interventional_table(network(), drawn_images(), torch.linspace(0, 1, 11, dtype=torch.float64))


@_shows("D1", "edges of a 3-2-1 network that lead backwards in its topological order", bound=0)
def a_network_is_an_acyclic_graph() -> tuple[float, int]:
    """Units are computed layer by layer, so the graph has a topological order."""
    graph = layered_edges(3, 2, 1)
    place = {unit: i for i, unit in enumerate(TopologicalSorter(graph).static_order())}
    edges = [(parent, unit) for unit, parents in graph.items() for parent in parents]
    return sum(place[parent] > place[unit] for parent, unit in edges), len(edges)


@_shows("D2", "largest |f' written out - 3-2-1 network|", bound=1e-14)
def hidden_layers_can_be_substituted_away() -> tuple[float, int]:
    """y = f'(l_1) after every hidden unit is replaced by its formula: P(y | l_1) is a point mass."""
    first, second, images = layer(3, 2, seed=0), layer(2, 1, seed=1), drawn_images().flatten(1)[:, :3]
    (w, b), (v, c) = (([row.tolist() for row in one.weight], one.bias.tolist()) for one in (first, second))
    written = [
        c[0] + sum(v[0][k] * max(0.0, b[k] + sum(w[k][i] * x[i] for i in range(3))) for k in range(2))
        for x in images.tolist()
    ]
    composed = nn.Sequential(first, nn.ReLU(), second)(images)[:, 0]
    return (composed - torch.tensor(written, dtype=torch.float64)).abs().max().item(), len(images)


def pair_by_graph(graph: str, n: int, *, seed: int = 0, do_x1: float | None = None) -> tuple[Tensor, Tensor]:
    """Draws of (x1, x2) from one observational law, standard normal with correlation 0.8, by three different
    graphs.

    graph   "x1 <- u -> x2", "x1 -> x2" or "x2 -> x1"
    do_x1   replaces the mechanism of x1
    """
    e1, e2, u = torch.randn(3, n, generator=Generator().manual_seed(seed), dtype=torch.float64)
    set_to = None if do_x1 is None else torch.full_like(u, do_x1)
    if graph == "x1 -> x2":
        x1 = e1 if set_to is None else set_to
        return x1, 0.8 * x1 + 0.6 * e2
    x2 = math.sqrt(0.8) * u + math.sqrt(0.2) * e2 if graph == "x1 <- u -> x2" else e2
    x1 = math.sqrt(0.8) * u + math.sqrt(0.2) * e1 if graph == "x1 <- u -> x2" else 0.8 * x2 + 0.6 * e1
    return (x1 if set_to is None else set_to), x2


@_shows(
    "D3",
    "largest distance, in standard errors, of E[x1 + 2 x2 | do(x1 = 1)] from 1, 2.6 and 1 in three graphs of "
    "one law",
    bound=4,
)
def do_asks_for_the_graph_and_conditioning_does_not() -> tuple[float, int]:
    """Only where x1 causes x2 does x2 move with do(x1); the observational law is the same in all three."""
    n, apart = 100_000, []
    for graph, truth in (("x1 <- u -> x2", 1.0), ("x1 -> x2", 2.6), ("x2 -> x1", 1.0)):
        x1, x2 = pair_by_graph(graph, n, do_x1=1.0)
        y = x1 + 2 * x2
        apart.append((y.mean() - truth).abs().item() / (y.std().item() / math.sqrt(n)))
    return max(apart), n


@_shows("D4", "distance, in standard errors, of the mean of 1,000 estimates from C3's closed form", bound=3)
def the_sampled_expectation_is_unbiased() -> tuple[float, int]:
    """The mean over n rows with x_i set is an unbiased estimate with variance Var(f') / n."""
    case = CASES["C3"]
    rows = case.draw(1000 * 100, Generator().manual_seed(0))
    rows[:, 0] = case.alpha
    estimates = case.f(rows).view(1000, 100).mean(1)
    return (estimates.mean() - case.expectation).abs().item() / (
        estimates.std().item() / math.sqrt(1000)
    ), 1000


@_shows("D5", "largest |ACE - w (alpha - 1/2)| of a linear network", bound=1e-12)
def a_linear_effect_is_its_weight() -> tuple[float, int]:
    """Against the uniform baseline the effect of a linear input is w (alpha - 1/2), whatever the data."""
    weight, alphas = (
        torch.arange(36, dtype=torch.float64).view(4, 9) / 7 - 2,
        torch.linspace(0, 1, 11, dtype=torch.float64),
    )
    model = nn.Sequential(nn.Flatten(), layer(9, 4, weight=weight))
    found = average_effects(interventional_table(model, drawn_images() ** 3, alphas))[0]
    return (found - weight.T[:, None] * (alphas - 0.5)[:, None]).abs().max().item(), found.numel()


@_shows("D6", "|Eq. (8) - exact| of C7, a quadratic of correlated inputs", bound=1e-12)
def the_first_order_term_vanishes_at_the_interventional_mean() -> tuple[float, int]:
    """Around mu(alpha) only the trace with row and column i of the covariance at zero remains."""
    case = CASES["C7"]
    return abs(case.taylor() - case.expectation), 1


@_shows("D7", "largest |Eq. (8) - exact| where it must be exact", bound=1e-12)
def taylor_is_exact_for_quadratics_and_gaussian_cubics() -> tuple[float, int]:
    """At most quadratic in the other inputs, under any law; or cubic with vanishing third moments."""
    cases = [CASES[id] for id in ("C1", "C2", "C2b", "C7", "C8", "C10")]
    return max(abs(case.taylor() - case.expectation) for case in cases), len(cases)


@_shows("D8", "Eq. (8)'s probability in C5c, where the exact one is 0.611 (below 0: no probability)", bound=0)
def taylor_leaves_the_unit_interval_where_a_sigmoid_saturates() -> tuple[float, int]:
    """The curvature at the mean says nothing of the curvature where the data are."""
    return CASES["C5c"].taylor(), 1


@_shows(
    "D9", "largest relative |Jacobian formula - explicit Hessian trace| of the probabilities", bound=1e-10
)
def the_hessian_of_probabilities_follows_from_the_jacobian() -> tuple[float, int]:
    """Piecewise linear logits have no curvature: that of the softmax needs K backward passes, not a
    Hessian.
    """
    model, images = network(), drawn_images(9)
    covariance, pixel = drawn_images().flatten(1).T.cov(), torch.arange(9)
    logits, jacobian = jacobians(model, images)
    traces = softmax_hessian_trace(logits, covariance_of_logits(jacobian, covariance, pixel))
    worst = 0.0
    for image, i in zip(images, pixel.tolist(), strict=True):
        hessians = torch.func.hessian(lambda x: model(x.view(1, 1, 3, 3)).softmax(-1)[0])(image.flatten())
        explicit = (hessians * interventional_covariance(covariance, i)).sum((1, 2)).detach()
        worst = max(worst, ((traces[i] - explicit).abs() / explicit.abs().max()).max().item())
    return worst, traces.numel()


@_shows("D10", "largest |sum over the classes of a probability's ACE|", bound=1e-12)
def effects_on_probabilities_sum_to_zero_over_the_classes() -> tuple[float, int]:
    """Probabilities sum to 1 before and after."""
    effects = average_effects(small_table())[1]
    return effects.sum(-1).abs().max().item(), effects[..., 0].numel()


@_shows("D11", "pixels of a monotone network whose effect at 0 or at 1 has the wrong sign", bound=0)
def the_sign_of_a_background_effect_is_minus_the_slope() -> tuple[float, int]:
    """Where f rises with x_p, the effect at 0 is negative and at 1 positive: half of a random background
    comes out positive.
    """
    first, second, alphas = (
        layer(9, 5, seed=0),
        layer(5, 1, seed=1),
        torch.linspace(0, 1, 11, dtype=torch.float64),
    )
    slopes = torch.tensor([1.0, -1.0] * 5)[:9]
    first.weight.data, second.weight.data = first.weight.data.abs() * slopes, second.weight.data.abs()
    model = nn.Sequential(nn.Flatten(), first, nn.Tanh(), second)
    effects = average_effects(interventional_table(model, drawn_images(), alphas))[0, :, :, 0]
    wrong = (effects[:, 0].sign() != -slopes) | (effects[:, -1].sign() != slopes)
    return wrong.sum().item(), 9


@_shows("D12", "largest |ACE| less the range of the expectation over alpha", bound=0)
def an_effect_is_within_the_range_of_the_expectation() -> tuple[float, int]:
    """|ACE(p, alpha)| <= max IE - min IE: a pixel that moves an output little has a small effect at every
    value.
    """
    effects = average_effects(small_table())
    return (effects.abs().amax(2) - (effects.amax(2) - effects.amin(2))).max().item(), effects[
        :, :, 0
    ].numel()


def _case(id: str) -> None:
    @_shows(
        id, f"distance, in standard errors, of 200,000 rows from the closed form of {CASES[id].what}", bound=4
    )
    def sampling_meets_the_closed_form() -> tuple[float, int]:
        """The Monte Carlo mean against the exact expectation."""
        mean, error = CASES[id].sampled(200_000)
        return abs(mean - CASES[id].expectation) / error, 200_000


for _id in CASES:
    _case(_id)


@_shows("C6", "largest |ACE of two linear layers - W2 W1 (alpha - 1/2)|", bound=1e-12)
def composed_layers_act_as_their_product() -> tuple[float, int]:
    """The effects of a linear network are the entries of its composed weights."""
    model = nn.Sequential(nn.Flatten(), layer(3, 2, weight=FIRST), layer(2, 2, weight=SECOND))
    images = drawn_images().flatten(1)[:, :3].view(-1, 1, 1, 3)
    found = average_effects(
        interventional_table(model, images, torch.tensor([0.0, 0.2, 0.8, 1.0], dtype=torch.float64))
    )[0]
    return (found[:, 2].T - composed_effects()).abs().max().item(), 6


@_shows(
    "C11",
    "relative error of trapezoid weights for the baseline of C3 over 11 values (equal weights: 0.82 %)",
    bound=0.001,
)
def trapezoid_weights_mend_most_of_the_grid() -> tuple[float, int]:
    """An inclusive grid with equal weights is a rectangle rule and overweights its ends."""
    _, trapezoid, integral = grid_baselines()
    return abs(trapezoid / integral - 1), 11
