"""The logits without each filter, by four exact routes; the paper's own is a fifth, the reference.

block     what the first layer that mixes channels is given, once of A, g, and once of A = 0, g0; without
          filter i its pre-activations are h - W_i (g_i - g0_i), W_i that filter's columns: one, or one for
          each place of the map. Needs channels that stay apart up to there (`models.channelwise`)
batched   one batch of masked activations an image through what follows the layer
split     one filter after the other set to zero in the whole batch, through what follows the layer
copies    one batch of masked copies an image through the whole network
whole     the whole network for each filter, as published code loops

Every route gives the logits of the untouched activations from the same call as those of the masked ones, and
gives them again, exactly, for a filter that is silent: one whose removal changes nothing of what the rest is
given.
"""

from collections.abc import Callable
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from causalnb import models
from causalnb.chapters.counterfactual.seams import Seam, changed, read, without
from causalnb.models.channelwise import first_mixing

NUMBERS = 2**25  # of one call at most: 128 MB in float32
CHANNELS = 64  # of a map of an image's size in the whole network, in that count


class Removed(NamedTuple):
    """Logits with and without each filter.

    whole    [n, classes]; without: [n, filters, classes]
    silent   [n, filters], whether removing the filter changes nothing
    """

    whole: Tensor
    without: Tensor
    silent: Tensor


def silent_in(a: Tensor) -> Tensor:
    """[n, filters] whether a filter gives 0 everywhere, a [n, filters, ...]: nothing is there to remove."""
    return (a == 0).reshape(*a.shape[:2], -1).all(2)


def exact(whole: Tensor, logits: Tensor, silent: Tensor) -> Removed:
    """The logits without a silent filter are those with it, whatever rounding made of them."""
    return Removed(whole, torch.where(silent[..., None], whole[:, None], logits), silent)


# With the whole network ----------------------------------------------------------------------------------


def by_whole(seam: Seam, a: Tensor, images: Tensor) -> Removed:
    """The paper's way: 1 + filters passes of the whole network."""
    every = torch.arange(a.shape[1], device=a.device)
    logits = [whole_without(seam.model, seam.layer, images, one) for one in every]
    return exact(seam.model(images), torch.stack(logits, dim=1), silent_in(a))


def whole_without(model: nn.Module, layer: str, images: Tensor, one: Tensor) -> Tensor:
    """[n, classes] of the whole network without one filter."""

    def masked(a: Tensor) -> Tensor:
        return a.index_fill(1, one[None], 0)

    with changed(model, layer, masked):
        logits: Tensor = model(images)
    return logits


def by_copies(seam: Seam, a: Tensor, images: Tensor) -> Removed:
    """Masked copies of an image as a batch through the whole network."""

    def logits(row: int, filters: Tensor) -> Tensor:
        def masked(made: Tensor) -> Tensor:
            made = made.clone()
            made[torch.arange(1, len(made)), filters] = 0
            return made

        copies = images[row].expand(1 + len(filters), *images.shape[1:]).contiguous()
        with changed(seam.model, seam.layer, masked):
            given: Tensor = seam.model(copies)
        return given

    return _row_by_row(a, CHANNELS * images[0, 0].numel(), logits)


# Behind the layer ----------------------------------------------------------------------------------------


def by_split(seam: Seam, a: Tensor, images: Tensor) -> Removed:
    """One filter of all images set to zero in place, the rest of the network, and the filter back."""
    a = a.clone()
    whole, parts = seam.logits(a, images), []
    for one in range(a.shape[1]):
        kept = a[:, one].clone()
        a[:, one] = 0
        parts.append(seam.logits(a, images))
        a[:, one] = kept
    return exact(whole, torch.stack(parts, dim=1), silent_in(a))


def by_batch(seam: Seam, a: Tensor, images: Tensor) -> Removed:
    """Masked activations of an image as a batch through the rest of the network."""

    def logits(row: int, filters: Tensor) -> Tensor:
        return seam.logits(torch.cat([a[row : row + 1], without(a[row], filters)]), images[row : row + 1])

    return _row_by_row(a, a[0].numel(), logits)


def _row_by_row(a: Tensor, numbers: int, logits: Callable[[int, Tensor], Tensor]) -> Removed:
    """Image by image: `logits` gives, for some filters, the untouched row and then one without each; a row
    takes `numbers`.
    """
    filters = torch.arange(a.shape[1], device=a.device)
    wholes, parts = [], []
    for row in range(len(a)):
        made = [logits(row, some) for some in filters.split(max(1, NUMBERS // numbers))]
        wholes.append(made[0][0])
        parts.append(torch.cat([part[1:] for part in made]))
    return exact(torch.stack(wholes), torch.stack(parts), silent_in(a))


# Through the first layer that mixes channels -------------------------------------------------------------


class Block(NamedTuple):
    """The rest of the network as channels apart, a linear layer `name`, and what comes `after` it, if
    anything.
    """

    name: str
    linear: nn.Linear
    after: Callable[[Tensor], Tensor] | None


def block_of(model: nn.Module, layer: str) -> Block | None:
    """The linear layer that is the first to mix the channels of `layer`, where it is one."""
    mixing = first_mixing(model, layer)
    if mixing is None:
        return None
    after = None if mixing.last else models.cut(model, mixing.linear).tail
    return Block(mixing.linear, cast(nn.Linear, model.get_submodule(mixing.linear)), after)


def by_block(seam: Seam, a: Tensor, images: Tensor, *, block: Block) -> Removed:
    """One pass of A, one of A = 0, and one product of what a filter adds with its columns; in float64 where
    the linear layer is the last.
    """
    few = slice(1) if seam.cut else slice(None)  # behind a cut A = 0 gives the same for every image
    with read(seam.model, block.name) as seen:
        whole = seam.logits(a, images)
        seam.logits(torch.zeros_like(a[few]), images[few])
    return of_entering(block, whole, seen[0], seen[1], filters=a.shape[1], silent=silent_in(a))


def of_entering(
    block: Block,
    whole: Tensor,
    entering: Tensor,
    nothing: Tensor,
    *,
    filters: int,
    silent: Tensor | None = None,
) -> Removed:
    """The same from what enters the linear layer, of A [n, d] and of A = 0 [n or 1, d]; differentiable in the
    first.
    """
    adds = (entering - nothing).unflatten(1, (filters, -1))
    still = (adds == 0).all(2) if silent is None else silent | (adds == 0).all(2)
    weight = block.linear.weight.unflatten(1, adds.shape[1:])
    if block.after is None:
        gone = _added(adds.double(), weight.double())
        return exact(whole.double(), whole.double()[:, None] - gone, still)
    return _through(block.after, block.linear(entering), adds, weight, still)


def _added(adds: Tensor, weight: Tensor) -> Tensor:
    """What each filter adds to each unit, [n, filters, units]: adds [n, filters, k], weight [units, filters,
    k].
    """
    if adds.shape[2] == 1:
        return adds * weight[..., 0].T
    return torch.einsum("nfk,ufk->nfu", adds, weight)


def _through(
    after: Callable[[Tensor], Tensor], hidden: Tensor, adds: Tensor, weight: Tensor, silent: Tensor
) -> Removed:
    wholes, parts = [], []
    for row in range(len(hidden)):
        without = hidden[row] - _added(adds[row : row + 1], weight)[0]
        made = after(torch.cat([hidden[row : row + 1], without]))
        wholes.append(made[0])
        parts.append(made[1:])
    return exact(torch.stack(wholes), torch.stack(parts), silent)
