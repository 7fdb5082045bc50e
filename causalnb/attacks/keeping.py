"""Attack results in the store: an expensive attack is run once for all who ask."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor, nn

from causalnb.attacks.contract import AttackResult
from causalnb.attacks.watch import Criterion
from causalnb.data.images import fingerprint
from causalnb.record import module_digest
from causalnb.store import Store

# What a result hangs on, for a store key.
CODE = tuple(
    f"causalnb.attacks.{name}"
    for name in ("autoattack_adapter", "ball", "contract", "foolbox_adapter", "noise", "stadv", "watch")
)
TEXT = ("name", "norm", "eps", "settings", "queries", "seconds", "flags")


def kept(
    store: Store,
    key: Mapping[str, Any],
    attack: Callable[[], AttackResult],
    *,
    device: str | torch.device = "cpu",
) -> AttackResult:
    """The result that is in the store under `key` (with the digest of the attacks' code), or that `attack`
    makes now.
    """
    made: dict[str, Any] = dict(
        store.get_or_make({**key, "code": module_digest(*CODE)}, lambda: _tensors(attack()), device=device)
    )
    said = json.loads(bytes(made.pop("said").tolist()))
    criterion = Criterion(made.pop("labels"), made.pop("targets", None))
    return AttackResult(
        criterion=criterion,
        **made,
        **said | {"queries": tuple(said["queries"]), "flags": tuple(said["flags"])},
    )


def _tensors(result: AttackResult) -> dict[str, Tensor]:
    said = json.dumps({name: getattr(result, name) for name in TEXT}).encode()
    tensors = {
        field.name: getattr(result, field.name)
        for field in fields(result)
        if field.name not in (*TEXT, "criterion")
    }
    targets = {} if result.criterion.targets is None else {"targets": result.criterion.targets}
    return (
        tensors
        | targets
        | {"labels": result.criterion.labels, "said": torch.tensor(list(said), dtype=torch.uint8)}
    )


def identity(model: nn.Module) -> str:
    """A digest of a model's structure, as it prints itself, with all its weights and buffers, for a store
    key.
    """
    printed = torch.tensor(list(repr(model).encode()), dtype=torch.uint8)
    return (
        f"{type(model).__qualname__} "
        f"{fingerprint({'': printed, **dict(model.named_buffers()), **model.state_dict()})}"
    )


def joined(results: Sequence[AttackResult]) -> AttackResult:
    """The results of one attack on several batches as that on all of them."""
    first = results[0]
    names = ("images", "found", "correct", "predicted", "distance", "clean")
    cat: dict[str, Any] = {name: torch.cat([getattr(one, name) for one in results]) for name in names}
    targets = (
        None
        if first.criterion.targets is None
        else torch.cat([one.criterion.targets for one in results if one.criterion.targets is not None])
    )
    queries = sum(one.queries[0] for one in results), sum(one.queries[1] for one in results)
    flags = tuple(dict.fromkeys(flag for one in results for flag in one.flags))
    return replace(
        first,
        **cat,
        criterion=Criterion(torch.cat([one.criterion.labels for one in results]), targets),
        queries=queries,
        seconds=sum(one.seconds for one in results),
        flags=flags,
    )
