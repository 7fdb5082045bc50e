"""Numeric checks of what is known: the routes against each other, and counterfactual information where the
truth is planted (G1 to G6).

`CHECKS["G1"]()` runs one; each takes less than a second or two, in float64, on seeded numbers.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import cast, get_args

import torch
from torch import Tensor, nn

from causalnb import models
from causalnb.chapters import Check, Measure, Registry, registered
from causalnb.chapters.counterfactual import closed_forms, readings, routes, strategies
from causalnb.chapters.counterfactual.filters import Filters, ci

EQUAL = 1e-12


CHECKS: Registry = {}


def _shows(id: str, what: str, *, bound: float = EQUAL) -> Callable[[Measure], Callable[[], Check]]:
    return registered(CHECKS, "check", id, what, bound)


# Routes --------------------------------------------------------------------------------------------------


def alive(model: nn.Module, *, seed: int = 0) -> nn.Module:
    """The model in float64 and evaluation mode, its batch norms with drawn statistics as after a training."""
    g = torch.Generator().manual_seed(seed)
    for part in model.modules():
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            for name, scale, least in (("weight", 1, 0.5), ("bias", 0.4, -0.2), ("running_mean", 0.2, -0.1)):
                values = getattr(part, name)
                values.data.copy_(torch.rand(values.shape, generator=g) * scale + least)
            assert part.running_var is not None
            part.running_var.copy_(torch.rand(part.running_var.shape, generator=g) + 0.5)
    return model.double().eval()


def disagreement(model: nn.Module, layer: str, images: Tensor) -> float:
    """The largest difference in CI between any two routes that there are, the whole network for each filter
    among them.
    """
    filters = Filters(model, layer)
    ways = [*filters.routes, routes.by_copies, routes.by_whole]
    with torch.no_grad():
        a = filters.seam.activations(images)
        found = [readings.information(*readings.log_odds(*way(filters.seam, a, images)[:2])) for way in ways]
    return max(float((one - other).abs().max()) for one, other in pairwise(found))


@_shows(
    "routes.vgg", "largest difference in CI between the routes, every filter of a VGG16 with a linear head"
)
def routes_agree_on_a_vgg() -> tuple[float, int]:
    """Rank-1, batched, split, copies and the whole network."""
    model = alive(models.vgg16_cifar(width=0.1, last=24))
    return disagreement(model, "relu13", _images(2)), 24


@_shows("routes.dense", "the same with batch norm before the mask and a head of two dense layers")
def routes_agree_on_a_dense_head() -> tuple[float, int]:
    """The author's order of layers and head."""
    model = alive(models.vgg16_cifar(width=0.1, last=24, order="relu-bn"))
    return disagreement(model, "bn13", _images(2)), 24


@_shows("routes.resnet", "the same for the channels of a residual block, and of a convolution inside it")
def routes_agree_on_a_resnet() -> tuple[float, int]:
    """A filter of the block is what leaves it; of the convolution, what goes into the sum."""
    model, images = alive(models.resnet20()), _images(1, size=16)
    return max(disagreement(model, layer, images) for layer in ("stage3.2", "stage3.2.conv2")), 128


def _images(n: int, *, size: int = 32) -> Tensor:
    return torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


# Where the truth is known --------------------------------------------------------------------------------


@_shows("G1", "largest difference between CI and its closed form for a linear head, 512 filters, 10 classes")
def ci_is_its_closed_form() -> tuple[float, int]:
    """CI_i = P_y - P'_i, P' from the votes of filter i alone."""
    weights, bias, responses = closed_forms.drawn_head()
    found = ci(closed_forms.planted(weights, bias), closed_forms.images_of(responses), "relu")
    return float((found.ci - closed_forms.by_formula(responses, weights, bias)).abs().max()), found.ci.numel()


@_shows("G1.dead", "largest |CI| of a filter that responds to nothing", bound=0.0)
def dead_filters_have_none() -> tuple[float, int]:
    """Exactly 0, not nearly."""
    weights, bias, responses = closed_forms.drawn_head()
    found = ci(closed_forms.planted(weights, bias), closed_forms.images_of(responses), "relu")
    dead = found.ci[responses == 0]
    return float(dead.abs().max()), len(dead)


@_shows("G1.neutral", "largest |CI| of a filter that votes for all classes alike", bound=4e-16)
def neutral_filters_have_rounding() -> tuple[float, int]:
    """0 in mathematics, and not always in floating point: to count zeros needs a size up to which a CI is
    one.
    """
    weights, bias, responses = closed_forms.drawn_head()
    found = ci(closed_forms.planted(weights, bias), closed_forms.images_of(responses), "relu")
    neutral = found.ci[:, (weights == weights[:1]).all(0)]
    return float(neutral.abs().max()), neutral.numel()


@_shows("G2", "largest |CI| of two filters either of which can stand in for the other", bound=0.0)
def redundant_causes_have_none() -> tuple[float, int]:
    """Removing both costs sigma(m) - sigma(0); but-for finds neither, pairs and Shapley values do."""
    image = torch.ones(1, 1, 2, 1, dtype=torch.float64)
    found = [
        ci(closed_forms.Redundant(3.0, how), image, "read.relu").ci
        for how in (closed_forms.either, closed_forms.greatest)
    ]
    return float(torch.cat(found).abs().max()), 4


@_shows("G3", "largest change of Pearson's rho when the baseline lacks a filter already")
def a_stale_mask_leaves_correlations() -> tuple[float, int]:
    """CI_i - CI_511: rho and ranks stay, signs and zeros do not."""
    weights, bias, responses = closed_forms.drawn_head(n=6)
    right = ci(closed_forms.planted(weights, bias), closed_forms.images_of(responses), "relu").ci
    wrong = readings.stale(right)
    first, second = (strategies.pearson(one[:3], one[3:]).rho for one in (right, wrong))
    return float((first - second).abs().max()), len(first)


@_shows("G4", "largest difference between the CI of a filter that never responds and P - P(z - W c)")
def silence_behind_batch_norm_is_a_value() -> tuple[float, int]:
    """With batch norm before the mask a dead filter gives c = beta - gamma mu / sigma, whose removal changes
    P.
    """
    model, images, c = closed_forms.dead_behind_norm()
    fc = cast(nn.Linear, model.fc)
    with torch.no_grad():
        z = model(images)
        after = (z - fc.weight[:, 0] * c).softmax(1)
    y = z.argmax(1, keepdim=True)
    expected = (z.softmax(1).gather(1, y) - after.gather(1, y))[:, 0]
    return float((ci(model, images, "bn").ci[:, 0] - expected).abs().max()), len(images)


@_shows(
    "G5",
    "largest difference between both readings of CI and .50 - 1/3, .50 - .60, where a removal swaps classes",
)
def both_readings_where_classes_swap() -> tuple[float, int]:
    """The text follows the predicted class down, the code whatever is largest; that CI turns negative."""
    model, image, (own, largest) = closed_forms.swapping()
    text, code = (ci(model, image, "relu", reading=one).ci[0, 0] for one in get_args(readings.Reading))
    return max(abs(float(text) - (0.5 - own)), abs(float(code) - (0.5 - largest))), 2


def zeros_at(scales: Sequence[float]) -> dict[str, list[float]]:
    """The share of filters that respond and tell classes apart with CI = 0, as the logits of one network
    grow: in float32, in float64, in ours, and in log-odds.
    """
    weights, bias, responses = closed_forms.drawn_head(filters=64, n=8)
    images = closed_forms.images_of(responses)
    counted = (responses > 0) & (weights != weights[:1]).any(0)
    found: dict[str, list[float]] = {name: [] for name in ("float32", "float64", "exact", "log-odds")}
    for scale in scales:
        filters = Filters(closed_forms.planted(scale * weights, scale * bias), "relu")
        removed, ours = filters.logits(images), filters(images)
        kinds = {
            "float32": readings.subtracted(removed.whole, removed.without, precision="float32"),
            "float64": readings.subtracted(removed.whole, removed.without, precision="float64"),
            "exact": ours.ci,
            "log-odds": ours.log_odds,
        }
        for name, values in kinds.items():
            found[name].append(float((values == 0)[counted].double().mean()))
    return found


@_shows("G6", "share of voting filters whose log-odds CI is 0, with logits 1 to 40 times as large", bound=0.0)
def log_odds_do_not_saturate() -> tuple[float, int]:
    """Float32 CI is 0 for more and more filters as the margin grows; log-odds are for none."""
    scales = (1, 5, 10, 20, 40)
    return max(zeros_at(scales)["log-odds"]), len(scales)
