"""Controls of the probes behind remark E8 and erratum E11: that each could have found the opposite of what it
finds.

`CONTROLS["E8"]()` runs one, in less than a second, in float64; `holds` says whether the probe can be
trusted.
"""

import math
import operator
from statistics import linear_regression

import torch
from torch import Generator, Tensor, nn

from causalnb.chapters import Registry, registered
from causalnb.chapters.ace.interventions import intervene
from causalnb.models import lenet

CONTROLS: Registry = {}
KINK = 0.01  # of a line's steepest slope


def sampled_error(weight: Tensor, *, rows: int = 1000, seed: int = 0) -> float:
    """Standard error of the sampled E[f | do(x1 = 1)] for f = weight . x and standard normal inputs.

    weight   [inputs]; with 1 / sqrt(inputs - 1) everywhere the output's variance is 1, as in remark E8
    """
    x = torch.randn(rows, len(weight), generator=Generator().manual_seed(seed), dtype=torch.float64)
    x[:, 0] = 1
    return (x @ weight).std().item() / math.sqrt(rows)


@registered(
    CONTROLS,
    "control",
    "E8",
    "distance from 1/2 of the slope of log standard error over log number of sampled inputs, for their plain "
    "sum, 2 to 2,999 of them",
    0.05,
    operator.le,
)
def growth_with_the_dimension_would_be_seen() -> tuple[float, int]:
    """Where the output's variance is left to grow, the standard error is sqrt((K - 1) / n): one of the K
    inputs is set.
    """
    sampled = {
        inputs - 1: sampled_error(torch.ones(inputs, dtype=torch.float64)) for inputs in (3, 30, 300, 3000)
    }
    fitted = linear_regression(
        [math.log(inputs) for inputs in sampled], [math.log(error) for error in sampled.values()]
    )
    return abs(fitted.slope - 1 / 2), 1000


def slopes_along(model: nn.Module, image: Tensor, *, pixels: Tensor | None = None) -> Tensor:
    """Slopes [P, 10000, K] of the logits along each pixel's value, between neighbours 0.0001 apart, as in
    erratum E11.

    image    [1, channels, height, width], float64
    pixels   [P]; all of them by default
    """
    alphas = torch.linspace(0, 1, 10_001, dtype=torch.float64)
    return intervene(model, image, alphas, pixels=pixels)[0].diff(dim=1) / 1e-4


def largest_jump(slopes: Tensor) -> Tensor:
    """Of each logit's slope along each pixel's value: [P, K]."""
    return slopes.diff(dim=1).abs().amax(1)


def kinked(slopes: Tensor) -> Tensor:
    """Whether a slope jumps by more than a hundredth of its line's steepest: [P, K].

    A bound in logits would not do: in a LeNet of small weights every slope is below it, and no kink is ever
    found.
    """
    return largest_jump(slopes) > KINK * slopes.abs().amax(1)


@registered(
    CONTROLS,
    "control",
    "E11",
    "share of lines (a logit along a pixel's value) with a kink in a LeNet of tanh and average pooling, "
    "or none in one of ReLU and max-pooling",
    0,
    operator.le,
)
def a_smooth_network_would_pass() -> tuple[float, int]:
    """The probe of kinks says "smooth" of the LeNet that is smooth, and of it alone."""
    image, pixels = (
        torch.rand(1, 1, 12, 12, generator=Generator().manual_seed(1), dtype=torch.float64),
        torch.tensor([39, 66, 100]),
    )
    smooth, kinky = (
        kinked(slopes_along(lenet(variant=variant, size=12).double(), image, pixels=pixels))
        for variant in ("tanh-average", "relu-max")
    )
    wrong = torch.cat([smooth, ~kinky])
    return wrong.double().mean().item(), wrong.numel()
