"""The four detection strategies (Debbi 2024, 3.2), in all readings that the text allows, as numbers of an
image and as scores: a greater score is more adversarial.

S1  causal features exist: natural where more than n filters have CI > 0
S2  correlation with the prototype: natural where Pearson's rho is at least tau, or where the predicted class
    is among the few whose prototypes correlate best
S3  zero effect: natural where at least n filters have CI = 0
S4  common robust features: natural where the image's n most causal filters are among the prototype's m most
    causal ones ("containment", the text and the figure), or where the two sets meet ("meeting", the printed
    formula with its sign put right)

A CI vector here is a row of `ci` [n, filters]; float32 from published files, float64 from `filters`.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from causalnb.chapters.counterfactual.prototypes import Prototypes

Rule = Literal["containment", "meeting"]
PAIRS = ((3, 10), (5, 20), (10, 30))  # n and m of strategy 4
ZERO = (0.0, 1e-7, 1e-4)  # up to which size a CI counts as zero
NUMBERS = 2**24  # products at a time, of some images with all prototypes


def scores(ci: Tensor, classes: Tensor, prototypes: Prototypes) -> dict[str, Tensor]:
    """Every strategy in every reading as a score [n], float64: "S1", "S2.rho", "S2.rank", "S3.0", ...,
    "S4.3_10", ...

    ci   [n, filters], of the images; or their log-odds, with prototypes of the same

    A threshold on it gives the strategy's rules: on S1 those of every n, on S4 those of every overlap from
    "meeting" to "containment". Top sets greater than the number of filters are left out.
    """
    found = {
        "S1": -causal(ci),
        "S2.rho": correlation(ci, classes, prototypes).score,
        "S2.rank": rank(ci, classes, prototypes),
        **{f"S3.{up_to:g}": -zeros(ci, up_to=up_to) for up_to in ZERO},
        **{
            f"S4.{n}_{m}": -common(ci, classes, prototypes, n=n, m=m).count
            for n, m in PAIRS
            if m <= ci.shape[1]
        },
    }
    return {name: score.double() for name, score in found.items()}


# Strategy 1 ----------------------------------------------------------------------------------------------


def causal(ci: Tensor) -> Tensor:
    """|F_W| [n]: how many filters have CI > 0."""
    return (ci > 0).sum(-1)


def no_features(ci: Tensor, *, n: int = 0) -> Tensor:
    """S1: adversarial [n] where |F_W| <= n; the text's first form is n = 0."""
    return causal(ci) <= n


# Strategy 2 ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Correlation:
    """Pearson's rho [...] where it is defined; where either vector is constant it is not, and counts as
    rejected.
    """

    rho: Tensor
    defined: Tensor

    @property
    def undefined(self) -> int:
        """How many are not defined."""
        return int((~self.defined).sum())

    def accepted(self, *, tau: float = 0.5) -> Tensor:
        """S2: natural where rho is defined and at least tau."""
        return self.defined & (self.rho >= tau)

    @property
    def score(self) -> Tensor:
        """-rho, and 1, the most adversarial there is, where it is not defined."""
        return torch.where(self.defined, -self.rho, torch.ones_like(self.rho))


def pearson(a: Tensor, b: Tensor) -> Correlation:
    """Pearson's rho along the last axis, float64; the other axes are broadcast.

    >>> pearson(torch.tensor([[1.0, 2.0, 3.0], [1.0, 1.0, 1.0]]), torch.tensor([2.0, 4.0, 6.0]))
    Correlation(rho=tensor([1., 0.], dtype=torch.float64), defined=tensor([ True, False]))
    """
    x, y = _centred(a.double()), _centred(b.double())
    defined = ~(_constant(a) | _constant(b))
    rho = (x * y).sum(-1).clamp(-1, 1)
    return Correlation(torch.where(defined, rho, torch.zeros_like(rho)), defined)


def _constant(values: Tensor) -> Tensor:
    return (values == values[..., :1]).all(-1)


def _centred(values: Tensor) -> Tensor:
    """Less their mean and of length 1; a second centring takes out what rounding of the first left."""
    scaled = values / values.abs().amax(-1, keepdim=True).clamp_min(torch.finfo(values.dtype).tiny)
    for _ in range(2):
        scaled = scaled - scaled.mean(-1, keepdim=True)
    return scaled / scaled.norm(dim=-1, keepdim=True).clamp_min(torch.finfo(values.dtype).tiny)


def correlation(ci: Tensor, classes: Tensor, prototypes: Prototypes) -> Correlation:
    """S2's rho [n] with the prototype of the class that is predicted."""
    return pearson(ci, prototypes.of(classes))


def rank(ci: Tensor, classes: Tensor, prototypes: Prototypes) -> Tensor:
    """S2 for many classes: the place [n], from 1 on, of the predicted class among all prototypes by their rho
    with the image, ties counted against it; one more than there are where rho is not defined.

    The top-5 rule is rank <= 5.
    """
    few = max(1, NUMBERS // max(1, prototypes.ci.numel()))
    parts = zip(ci.split(few), prototypes.row(classes)[:, None].split(few), strict=True)
    return torch.cat([_rank(some, own, prototypes) for some, own in parts])


def _rank(ci: Tensor, own: Tensor, prototypes: Prototypes) -> Tensor:
    every = pearson(ci[:, None], prototypes.ci)
    at_least = (every.rho >= every.rho.gather(1, own)) & every.defined
    place = at_least.sum(1)
    return torch.where(every.defined.gather(1, own)[:, 0], place, torch.full_like(place, len(prototypes) + 1))


# Strategy 3 ----------------------------------------------------------------------------------------------


def zeros(ci: Tensor, *, up_to: float = 0.0) -> Tensor:
    """|F_Z0| [n]: how many filters have |CI| <= up_to. At 0 a float must be 0, whatever its sign."""
    return (ci.abs() <= up_to).sum(-1)


def too_few_zeros(ci: Tensor, *, n: int, up_to: float = 0.0) -> Tensor:
    """S3: adversarial [n] where |F_Z0| < n."""
    return zeros(ci, up_to=up_to) < n


# Strategy 4 ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Common:
    """How many of an image's n most causal filters are among the prototype's m most causal ones, [images]:
    `least` and `most` over the ways to break ties at either edge, `count` with ties broken by place.
    """

    n: int
    count: Tensor
    least: Tensor
    most: Tensor

    def accepted(
        self, rule: Rule = "containment", ties: Literal["count", "least", "most"] = "count"
    ) -> Tensor:
        """S4: natural where all n are common ("containment"), or one is ("meeting")."""
        return getattr(self, ties) >= (self.n if rule == "containment" else 1)


def common(
    ci: Tensor, classes: Tensor, prototypes: Prototypes, *, n: int, m: int, causal_only: bool = True
) -> Common:
    """S4's overlap for each image with the prototype of the class that is predicted.

    causal_only   only filters with CI > 0 are causal features, so that there may be fewer than n; published
                  vectors whose signs are shifted need False: then the largest count, whatever their sign

    Refused: n > m, which the text excludes.
    """
    if not 1 <= n <= m <= ci.shape[1]:
        raise ValueError(f"n = {n}, m = {m}: top sets of {ci.shape[1]} filters with 1 <= n <= m")
    theirs = prototypes.of(classes)
    floor = 0.0 if causal_only else -torch.inf
    ours, other = _Top.of(ci, n, floor), _Top.of(theirs, m, floor)
    both = (ours.first & other.first).sum(1)
    return Common(n, both, *_bounds(ours, other))


@dataclass(frozen=True)
class _Top:
    """The k largest of each row above a floor: `sure` is in whatever the ties, `edge` is tied for the `free`
    places that are left, `first` is the set with ties broken by place.
    """

    sure: Tensor
    edge: Tensor
    free: Tensor
    first: Tensor

    @classmethod
    def of(cls, values: Tensor, k: int, floor: float) -> "_Top":
        order = values.argsort(dim=1, descending=True, stable=True)
        above = values > floor
        last = values.gather(1, order[:, k - 1 : k])
        sure = (values > last) & above
        edge = (values == last) & above
        first = torch.zeros_like(above).scatter_(1, order[:, :k], True) & above
        return cls(
            sure, edge, torch.where(edge.any(1), k - sure.sum(1), torch.zeros_like(last[:, 0])).long(), first
        )


def _bounds(a: _Top, b: _Top) -> tuple[Tensor, Tensor]:
    """The least and the greatest overlap of two sets whose edges are tied.

    With x of a's free places given to filters that are sure in b, and so on, the overlap is a sum of four
    parts; both ends are reached by giving places greedily.
    """
    sure = (a.sure & b.sure).sum(1)
    a_in, b_in, both = (a.edge & b.sure).sum(1), (a.sure & b.edge).sum(1), (a.edge & b.edge).sum(1)
    a_out = a.edge.sum(1) - a_in  # places of a's edge outside b's sure ones
    b_out = b.edge.sum(1) - b_in
    a_most, b_most = torch.minimum(a.free, a_in), torch.minimum(b.free, b_in)
    shared = torch.minimum(torch.minimum(a.free - a_most, b.free - b_most), both)
    most = sure + a_most + b_most + shared
    a_least, b_least = (a.free - a_out).clamp_min(0), (b.free - b_out).clamp_min(0)
    a_left, b_left = a.free - a_least, b.free - b_least
    # outside the shared edge there is room for a_out - both and b_out - both
    a_shared = (a_left - (a_out - both)).clamp_min(0)
    b_shared = (b_left - (b_out - both)).clamp_min(0)
    least = sure + a_least + b_least + (a_shared + b_shared - both).clamp_min(0)
    return least, most
