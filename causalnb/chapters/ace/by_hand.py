"""A network with weights written by hand, whose average causal effects are known to the last digit (Guo et
al. 2024, Eqs 2 to 4).

Three classes of 6 x 6 images: four pixels act linearly, two by a soft AND on class 0, two by an exclusive or
on class 1, and the rest not at all. Weights and values are multiples of 1/8, so that float64 adds them
without rounding. Importing this module adds H1 to H3 to `checks.CHECKS`.
"""

import operator
from collections.abc import Mapping
from itertools import combinations

import torch
from torch import Generator, Tensor, nn

from causalnb.chapters import registered
from causalnb.chapters.ace import readings
from causalnb.chapters.ace.checks import CHECKS
from causalnb.chapters.ace.closed_forms import vector
from causalnb.chapters.ace.interventions import Baseline, Method, average_effects, interventional_table
from causalnb.chapters.ace.readings import Maps

SIDE, CLASSES = 6, 3
PARTS = {"linear": [7, 10, 25, 28], "and": [14, 21], "xor": [15, 20]}  # by index into a flattened image
PARTS["none"] = sorted(set(range(SIDE * SIDE)) - {pixel for pixels in PARTS.values() for pixel in pixels})
WEIGHTS = (
    (2.0, -1.0, 0.5),
    (-1.5, 0.5, 1.0),
    (1.0, 2.0, -2.0),
    (0.5, -0.5, 1.5),
)  # of each linear pixel for each class
AND, XOR = 2.0, 4.0  # logits
FIRST, SECOND = (0.0, 0.5, 1.0, 1.0), (0.0, 0.0, 0.5, 1.0)  # values of the AND's two pixels, independent
PAIRS = (
    ((0.0, 0.0),) * 3 + ((0.0, 1.0), (1.0, 0.0)) + ((1.0, 1.0),) * 3
)  # of the exclusive or's, which tend to agree
OTHERS = (0.0,) * 6 + (0.5, 1.0)  # of every other pixel; their mean is 3/16


def slopes() -> Tensor:
    """The weights of the linear part: [classes, pixels]."""
    found = torch.zeros(CLASSES, SIDE * SIDE, dtype=torch.float64)
    found[:, PARTS["linear"]] = torch.tensor(WEIGHTS, dtype=torch.float64).T
    return found


def network() -> nn.Sequential:
    """w x + AND relu(x14 + x21 - 1) on class 0 + XOR |x15 - x20| on class 1, as a relu network of images [n,
    1, 6, 6] in [0, 1].

    Three hidden units carry w x, lifted above relu's kink; one is the AND; the last two add up to the
    exclusive or.
    """
    lift = 8.0
    hidden, output = (
        torch.zeros(6, SIDE * SIDE, dtype=torch.float64),
        torch.zeros(CLASSES, 6, dtype=torch.float64),
    )
    hidden[:CLASSES], output[:, :CLASSES] = slopes(), torch.eye(CLASSES)
    hidden[3, PARTS["and"]], output[0, 3] = 1.0, AND
    hidden[4:, PARTS["xor"]], output[1, 4:] = (
        torch.tensor([[1.0, -1.0], [-1.0, 1.0]], dtype=torch.float64),
        XOR,
    )
    first = _affine(hidden, vector(lift, lift, lift, -1.0, 0.0, 0.0))
    return nn.Sequential(nn.Flatten(), first, nn.ReLU(), _affine(output, vector(-lift, -lift, -lift)))


def linear_network() -> nn.Sequential:
    """The linear part alone, w x."""
    return nn.Sequential(nn.Flatten(), _affine(slopes(), vector(0.0, 0.0, 0.0)))


def _affine(weight: Tensor, bias: Tensor) -> nn.Linear:
    made = nn.Linear(weight.shape[1], weight.shape[0], dtype=torch.float64)
    made.weight.data, made.bias.data = weight, bias
    return made


def population() -> Tensor:
    """All of the population, [128, 1, 6, 6]: FIRST x SECOND x PAIRS, and OTHERS equally often at every other
    pixel, in drawn order.
    """
    n, generator = len(FIRST) * len(SECOND) * len(PAIRS), Generator().manual_seed(0)
    others = vector(*OTHERS).repeat(n // len(OTHERS))
    rows = torch.stack([others[torch.randperm(n, generator=generator)] for _ in range(SIDE * SIDE)], 1)
    rows[:, PARTS["and"]] = torch.cartesian_prod(vector(*FIRST), vector(*SECOND)).repeat_interleave(
        len(PAIRS), 0
    )
    rows[:, PARTS["xor"]] = torch.tensor(PAIRS, dtype=torch.float64).repeat(n // len(PAIRS), 1)
    return rows.view(n, 1, SIDE, SIDE)


def known_effects(alphas: Tensor, *, baseline: Baseline = "uniform") -> Tensor:
    """The exact effects, Eq. (2), on the logits of `network` over `population`: [P, A, K], a = alpha.

    Under do the others keep their law, and without do the parts have the means that are subtracted here:
    linear   w a, mean w 3/16
    AND      relu(a - 1/2) / 4 + a P(the other is 1), mean 7/32: the other is 1/2 with probability 1/4
    XOR      |a - x| is 1/2 on average, whatever a, for x is 0 as often as 1; mean 1/4, for the pair agrees in
             3 of 4 rows

    alphas     [A], in [0, 1]
    baseline   as in `average_effects`
    """
    effects = torch.zeros(SIDE * SIDE, len(alphas), CLASSES, dtype=torch.float64)
    effects += slopes().T[:, None] * (alphas[:, None] - 3 / 16)
    for pixel, ones in zip(PARTS["and"], (1 / 4, 1 / 2), strict=True):
        effects[pixel, :, 0] = AND * ((alphas - 1 / 2).relu() / 4 + alphas * ones - 7 / 32)
    effects[PARTS["xor"], :, 1] = XOR * (1 / 2 - 1 / 4)
    return (
        effects
        - {"uniform": effects.mean(1, keepdim=True), "empirical": torch.zeros(()), "zero": effects[:, :1]}[
            baseline
        ]
    )


def known_maps(images: Tensor, classes: Mapping[str, Tensor], *, alphas: Tensor, fill: Tensor) -> Maps:
    """What each reading of the linear network's logits must be: the weight, times where the pixel stands.

    images    [n, 1, 6, 6], float64
    classes   the class of each map by name
    alphas    [A], ascending from 0 to 1
    fill      [1, 6, 6], R3m's value of each pixel
    """
    x = images[:, 0]
    against = dict.fromkeys(("R1", "R3"), x - alphas.mean()) | {
        "R1e": x - 3 / 16,
        "R3m": x - fill,
        "R7c": x - 1 / 2,
    }
    against |= dict.fromkeys(("R3b", "R7x", "R8"), x) | dict.fromkeys(
        ("R1d", "R3c", "R7"), torch.ones_like(x)
    )
    return {
        f"{reading}.logit.{name}": slopes()[of].view_as(x) * factor
        for reading, factor in against.items()
        for name, of in classes.items()
    }


def read(
    model: nn.Module, images: Tensor, classes: Mapping[str, Tensor], *, alphas: Tensor, fill: Tensor
) -> Maps:
    """The readings of `known_maps`, of logits and probabilities, as the book computes them, with `population`
    as rows.
    """
    return {
        **readings.population(interventional_table(model, population(), alphas), images, classes),
        **readings.individual(model, images, classes, alphas=alphas, fill=fill),
        **readings.gradients(model, images, classes),
        **readings.integrated_gradients(model, images, classes),
    }


def shares(maps: Maps) -> dict[str, dict[str, float]]:
    """Where each map finds effects: the share of the sum of its sizes, over all images, that lies on each of
    `PARTS`.
    """
    sizes = {key: values.double().abs().flatten(1).sum(0) for key, values in maps.items()}
    return {
        key: {part: (size[pixels].sum() / size.sum()).item() for part, pixels in PARTS.items()}
        for key, size in sizes.items()
    }


def seen() -> dict[str, dict[str, float]]:
    """`shares` of every reading of `network` on the images of `setting`."""
    images, classes, alphas, fill = setting()
    return shares(read(network(), images, classes, alphas=alphas, fill=fill))


def setting(*, n: int = 20) -> tuple[Tensor, dict[str, Tensor], Tensor, Tensor]:
    """Uniform images [n, 1, 6, 6], every class of each by its number, nine alphas, and the population's mean
    image as fill.
    """
    images = torch.rand(n, 1, SIDE, SIDE, generator=Generator().manual_seed(1), dtype=torch.float64)
    return (
        images,
        {str(c): torch.full((n,), c) for c in range(CLASSES)},
        torch.linspace(0, 1, 9, dtype=torch.float64),
        population().mean(0),
    )


@registered(
    CHECKS,
    "check",
    "H1",
    "largest |ACE from the table - ACE written out| of a network with interactions, built by hand",
    1e-12,
    operator.le,
)
def the_table_gives_effects_written_by_hand() -> tuple[float, int]:
    """Whichever the method and the baseline."""
    alphas = setting()[2]
    methods: tuple[Method, ...] = ("forward", "auto")
    baselines: tuple[Baseline, ...] = ("uniform", "empirical", "zero")
    tables = [interventional_table(network(), population(), alphas, method=method) for method in methods]
    gaps = torch.stack(
        [
            average_effects(table, baseline=one)[0] - known_effects(alphas, baseline=one)
            for table in tables
            for one in baselines
        ]
    )
    return gaps.abs().max().item(), gaps.numel()


@registered(
    CHECKS,
    "check",
    "H2",
    "largest |map - its closed form|, over the readings of a linear network",
    1e-6,
    operator.le,
)
def every_reading_of_a_linear_network_is_its_closed_form() -> tuple[float, int]:
    """Maps are float32."""
    images, classes, alphas, fill = setting()
    found, known = (
        read(linear_network(), images, classes, alphas=alphas, fill=fill),
        known_maps(images, classes, alphas=alphas, fill=fill),
    )
    gaps = torch.stack([found[key] - values for key, values in known.items()])
    return gaps.abs().max().item(), gaps.numel()


@registered(
    CHECKS,
    "check",
    "H3",
    "smallest, over pairs among R1, R1e, R3b and R7, of the largest |difference| of two maps of a linear "
    "network",
    0.1,
    operator.gt,
)
def readings_differ_where_everything_is_known() -> tuple[float, int]:
    """Four quantities: R1 is R3 and R7c; R1e is R3m with the mean as fill; R3b is R7x and R8; R7 is R1d and
    R3c.
    """
    images, classes, alphas, fill = setting()
    maps = read(linear_network(), images, classes, alphas=alphas, fill=fill)
    apart = [
        max(
            (maps[f"{one}.logit.{name}"] - maps[f"{other}.logit.{name}"]).abs().max().item()
            for name in classes
        )
        for one, other in combinations(("R1", "R1e", "R3b", "R7"), 2)
    ]
    return min(apart), len(apart)
