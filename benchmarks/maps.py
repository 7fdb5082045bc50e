"""Chapter 1: the maps of all families held at once, against families that stream."""

from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.ace import ALPHAS, images, network
from benchmarks.measure import Comparison, peak, side_by_side
from causalnb.chapters.ace import claims, readings
from causalnb.chapters.ace.families import Columns, Family, Gradients, LookedUp, Population, columns
from causalnb.chapters.ace.interventions import Table

N = 120
NOISY = ("fgsm", "pgd", "cw")
Case = tuple[dict[str, Family], dict[str, Tensor], dict[str, Tensor], Tensor, dict[str, Tensor]]


def case(n: int = N) -> Case:
    """Families that need no forwards but for gradients, over a drawn table; images of all sets, harmless
    noise, labels and what was broken.
    """
    draw = torch.Generator().manual_seed(0)
    shape = (2, 784, len(ALPHAS), 10)
    effect, error = torch.randn(2, *shape, generator=draw, dtype=torch.float64)
    table = Table(ALPHAS.double(), effect, torch.zeros(2, 10, dtype=torch.float64), error.abs())
    families: dict[str, Family] = {"population": Population(table), "gradients": Gradients()}
    families |= {name: LookedUp(name, table) for name in ("R1c", "R2", "R4", "R5", "R5c")}
    clean = images(n)

    def near(size: float) -> Tensor:
        return (clean + size * torch.randn(clean.shape, generator=draw)).clamp(0, 1)

    sets = {"clean": clean} | {name: near(0.2) for name in claims.ATTACKS}
    noise = {name: near(0.2) for name in NOISY}
    broken = dict.fromkeys(claims.ATTACKS, torch.arange(n) % 2 == 0)
    return families, sets, noise, torch.arange(n) % 10, broken


def streamed(n: int = N) -> Columns:
    """Family after family: the package's way."""
    families, sets, noise, labels, broken = case(n)
    found: Columns = {}
    for family in families.values():
        found |= columns(family, network(), sets, noise, labels, broken, seed=0)
    return found


def held(n: int = N) -> Columns:
    """All maps first, then the same columns of them."""
    families, sets, noise, labels, broken = case(n)

    def seen(some: Tensor) -> claims.Seen:
        of = readings.classes_of(network(), some, labels)
        each = [family.maps(network(), some, of) for family in families.values()]
        maps = {key: values for one in each for key, values in one.items()}
        return claims.see(some, maps, sets["clean"])

    own, noisy = ({name: seen(some) for name, some in one.items()} for one in (sets, noise))
    found = claims.cells(own) | claims.columns(own, noisy)
    return found | claims.undone(network(), own, labels, broken, seed=0)


def difference(n: int = 20) -> float:
    """The greatest between the columns of both ways; infinite where one has a column that the other lacks."""
    one, other = held(n), streamed(n)
    if set(one) != {name for name in other if not name.startswith("map ")}:
        return float("inf")
    return max((one[name].nan_to_num() - other[name].nan_to_num()).abs().max().item() for name in one)


def warm() -> None:
    """What any way needs before it begins."""
    case(1)


def memory() -> Comparison:
    """Peak bytes."""
    return side_by_side(
        lambda: peak(held, warm),
        lambda: peak(streamed, warm),
        pair="ace-maps-memory",
        quantity="bytes",
        difference=difference(),
        rounds=2,
    )


def seconds() -> Comparison:
    """CPU seconds."""
    return side_by_side(held, streamed, pair="ace-maps", difference=difference(), rounds=2)


PAIRS: dict[str, Callable[[], Comparison]] = {"ace-maps": seconds, "ace-maps-memory": memory}
