"""Chapter 3: swapped channels of a ResNet-20's and a cnn37's first layer, by the network's structure."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from benchmarks.measure import Comparison, side_by_side
from causalnb import models
from causalnb.chapters.intervention import engine
from causalnb.chapters.intervention import sets as sets_
from causalnb.models.channelwise import apart_until
from causalnb.models.folding import folded

LAYER = "conv1"
NAIVE = 32  # images a batch, the faster of the naive loop
CACHED = 32  # sets a batch of the cached loop
LATTICE = 2048  # sets of the 65,536 that the naive loop runs on a cnn37

Case = tuple[nn.Module, Tensor, Tensor]
Way = Callable[[nn.Module, Tensor, Tensor, Tensor], Tensor]


def resnet(n: int) -> Case:
    """A ResNet-20 whose batch norms know the statistics of these images, and the images before and after
    noise.
    """
    return _with(models.resnet20(), n, 3, 32)


def small(n: int) -> Case:
    """The same of a cnn37."""
    return _with(models.cnn37(), n, 1, 28)


def _with(model: nn.Module, n: int, channels: int, size: int) -> Case:
    g = torch.Generator().manual_seed(0)
    clean = torch.rand(max(n, 32), channels, size, size, generator=g)
    attacked = (clean + 8 / 255 * torch.randn(clean.shape, generator=g).sign()).clamp(0, 1)
    model.train()
    with torch.no_grad():
        for _ in range(3):
            model(clean)
    return model.eval(), clean[:n], attacked[:n]


# The others ----------------------------------------------------------------------------------------------


@torch.no_grad()
def naive(model: nn.Module, clean: Tensor, attacked: Tensor, sets: Tensor, batch: int = NAIVE) -> Tensor:
    """The text, set by set: for each batch both images through the first half, clean and mixed features
    through the second. Logits [n, m, classes].
    """
    head, tail = halves(model, LAYER)
    found = []
    for inside in sets_.members(sets, 16):
        mask, parts = inside.view(1, -1, 1, 1), []
        for one, other in zip(clean.split(batch), attacked.split(batch), strict=True):
            h, h_attacked = head(one), head(other)
            tail(h)  # the clean logits, again for each set
            parts.append(tail(torch.where(mask, h_attacked, h)))
        found.append(torch.cat(parts))
    return torch.stack(found, dim=1)


@torch.no_grad()
def cached(
    model: nn.Module, clean: Tensor, attacked: Tensor, sets: Tensor, at: str = LAYER, batch: int = CACHED
) -> Tensor:
    """The strongest simple way: features made once, sets in batches, channels last."""
    model = model.to(memory_format=torch.channels_last)
    head, tail = halves(model, at)
    a, b = (head(x.contiguous(memory_format=torch.channels_last)) for x in (clean, attacked))
    found = []
    for row in range(len(a)):
        inside = sets_.members(sets, 16)[:, :, None, None].split(batch)
        found.append(torch.cat([tail(torch.where(mask, b[row], a[row])) for mask in inside]))
    return torch.stack(found)


@torch.enable_grad()
def halves(model: nn.Module, at: str) -> models.Cut:
    """The two halves, made once a layer and model and not timed."""
    if (model, at) not in _halves:
        _halves[model, at] = models.cut(model, at)
    return _halves[model, at]


_halves: dict[tuple[nn.Module, str], models.Cut] = {}


@torch.no_grad()
def folded_tail(tail: Callable[[Tensor], Tensor], features: Tensor, sets: int, batch: int) -> Tensor:
    """The second half alone, batch norms folded, on features that lie ready."""
    return torch.cat([tail(features[: min(batch, sets - start)]) for start in range(0, sets, batch)])


def ours(made: engine.Engine, clean: Tensor, attacked: Tensor, sets: Tensor) -> Tensor:
    """The engine's logits."""
    return torch.stack([one.logits for one in made(clean, attacked, sets)])


# Pairs ---------------------------------------------------------------------------------------------------


def against(pair: str, case: Case, sets: Tensor, other: Way, part: Tensor | None = None) -> Comparison:
    """Ours on all sets, the other way on a part of them, where one is given."""
    model, clean, attacked = case
    made, some = engine.Engine(model, LAYER), sets if part is None else part
    slow, fast = other(model, clean, attacked, some), ours(made, clean, attacked, some)
    if made.notes:
        raise RuntimeError(f"the engine went the plain way: {made.notes}")
    return side_by_side(
        lambda: other(model, clean, attacked, some),
        lambda: ours(made, clean, attacked, sets),
        pair=pair,
        difference=float((slow - fast).abs().max()),
        subset=None if part is None else f"{len(part)} of {len(sets)} sets",
        scale=len(sets) / len(some),
    )


def of_the_tail(pair: str) -> Comparison:
    """The least that any way needs: the folded second half on features that lie ready. The ratio is the share
    of its speed that ours has.
    """
    model, clean, attacked = resnet(1)
    made, sets = engine.Engine(model, LAYER), sets_.of_size(16, 3)
    own, _ = folded(model)
    own = own.to(memory_format=torch.channels_last)
    cut = halves(own, apart_until(own, LAYER))
    with torch.no_grad():
        features = cut.head(clean).expand(CACHED, -1, -1, -1).contiguous(memory_format=torch.channels_last)
        own_logits = cut.tail(features[:1])
    apart = float((own_logits - ours(made, clean, attacked, torch.tensor([0]))[:, 0]).abs().max())
    return side_by_side(
        lambda: folded_tail(cut.tail, features, len(sets), CACHED),
        lambda: ours(made, clean, attacked, sets),
        pair=pair,
        difference=apart,
        bound=1.0 / (1 - 2_359_296 / 40_108_032),
    )


def _at_pool(model: nn.Module, clean: Tensor, attacked: Tensor, sets: Tensor) -> Tensor:
    return cached(model, clean, attacked, sets, at="pool1", batch=256)


def _one_at_a_time(model: nn.Module, clean: Tensor, attacked: Tensor, sets: Tensor) -> Tensor:
    return naive(model, clean, attacked, sets, batch=1)


def _part() -> Tensor:
    return sets_.every(16)[:: (1 << 16) // LATTICE]


PAIRS: dict[str, Callable[[], Comparison]] = {
    "swap-size-3": lambda: against("swap-size-3", resnet(NAIVE), sets_.of_size(16, 3)[::35], naive),
    "swap-size-3-cached": lambda: against("swap-size-3-cached", resnet(1), sets_.of_size(16, 3), cached),
    "swap-size-3-single": lambda: against(
        "swap-size-3-single", resnet(1), sets_.of_size(16, 3), _one_at_a_time, sets_.of_size(16, 3)[::8]
    ),
    "swap-size-3-tail": partial(of_the_tail, "swap-size-3-tail"),
    "swap-all-mnist37": lambda: against("swap-all-mnist37", small(64), _part()[::32], naive),
    "swap-all-mnist37-cached": lambda: against(
        "swap-all-mnist37-cached", small(1), sets_.every(16), cached, _part()
    ),
    "swap-all-mnist37-pool": lambda: against(
        "swap-all-mnist37-pool", small(1), sets_.every(16), _at_pool, _part()
    ),
}
