"""The long computations of chapter 3, through the store: effects of sets of swapped channels, in pieces that
are kept one by one, so that a killed run goes on where it was.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from causalnb import console, processes
from causalnb.chapters.intervention import permutation
from causalnb.chapters.intervention import sets as sets_
from causalnb.chapters.intervention.engine import Engine
from causalnb.chapters.intervention.metrics import Effects, effects, joined
from causalnb.record import Use
from causalnb.store import Store, key_of, memo

T = TypeVar("T")
PIXELS = 60_000_000  # of the swapped images in a piece: some seconds


def swapped(
    store: Store | None,
    what: str,
    model: nn.Module,
    layer: str,
    clean: Tensor,
    attacked: Tensor,
    labels: Tensor,
    sets: Tensor,
    *,
    workers: int | None = None,
) -> Effects:
    """`metrics.effects` of many images and sets, in pieces of a few images, side by side.

    what       how the pieces are listed in the store: "apgd on cifar10, sizes 1 to 3"
    workers    at most so many pieces at once, each in a process of its own (None: one a core) where this one
               computes on the CPU
    """
    few = max(1, PIXELS // max(1, sets.shape[-1] * clean[0].numel()))
    pieces = [
        partial(
            effects,
            model,
            layer,
            clean[rows],
            attacked[rows],
            labels[rows],
            sets if sets.ndim == 1 else sets[rows],
        )
        for rows in (slice(start, start + few) for start in range(0, len(clean), few))
    ]
    return joined(kept(store, what, pieces, device=clean.device, workers=workers))


def kept(
    store: Store | None,
    what: str,
    pieces: "Sequence[partial[T]]",
    *,
    device: torch.device | None = None,
    workers: int | None = None,
) -> list[T]:
    """What each piece gives, kept one by one; those that are missing side by side, where this process
    computes on the CPU with one thread.
    """
    on_cpu = (device is None or device.type == "cpu") and torch.get_num_threads() == 1
    if store is not None and workers != 1 and on_cpu:
        _side_by_side(store, what, pieces, workers)
    told = console.progress(pieces, what=what, total=len(pieces))
    return [memo(store, what, piece) for piece in told]


def _side_by_side(store: Store, what: str, pieces: "Sequence[partial[T]]", workers: int | None) -> None:
    """Make the pieces that are missing, where there is more than one; the store knows them as made."""
    missing = [piece for piece in pieces if not store.holds(key_of(what, piece))]
    if len(missing) > 1:
        made = partial(_made, store.root, store.layers, what)
        for uses in processes.map(made, missing, workers=workers):
            known = {use.digest for use in store.uses}
            store.uses += [use for use in uses if use.digest not in known]


def _made(root: Path, layers: tuple[Path, ...], what: str, piece: "partial[T]") -> list[Use]:
    store = Store(root, layers)
    memo(store, what, piece)
    return store.uses


def width(model: nn.Module, layer: str, images: Tensor) -> int:
    """H, the channels of a layer."""
    return Engine(model, layer).width(images)


def sampled(
    store: Store | None,
    what: str,
    model: nn.Module,
    layer: str,
    clean: Tensor,
    attacked: Tensor,
    labels: Tensor,
    *,
    channels: int,
    pairs: int,
    seed: int,
    workers: int | None = None,
) -> tuple[permutation.Sampled, Effects]:
    """The paper's averages and Shapley values of AEL by `pairs` of permutations an image, and the effects
    that they come from.
    """
    orders = sets_.permutations(channels, len(clean), pairs, seed=seed)
    chosen = permutation.orders_to_sets(orders)
    found = swapped(store, what, model, layer, clean, attacked, labels, chosen, workers=workers)
    return permutation.sampled(found.norms, orders), found
