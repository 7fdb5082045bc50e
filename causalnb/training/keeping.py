"""Networks trained through the store: a training is paid once, for all who ask for it."""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, overload

import torch
from torch import Tensor, nn

from causalnb import processes, record
from causalnb.data.images import Images
from causalnb.store import Store, identity, key_digest, key_of, memo
from causalnb.store.closure import PACKAGE
from causalnb.training.fitting import Loss, Score, accuracy, fit
from causalnb.training.recipe import Recipe

Stages = Sequence[tuple[Loss, Recipe]]
Call = partial[dict[str, Tensor]]  # of `trained`, with the model by place
WEIGHTS, BEST, SCORES = "weights.", "best.", "scores"


@dataclass(frozen=True)
class Outcome:
    """What a training led to: `model` has the weights after the last epoch, and evaluates.

    curve    [epochs] accuracies on the test images after every epoch of all stages; [0] without them
    scores   [epochs] what `validate` said; [0] without it
    best     the weights by name after the epoch with the highest score, the first of equals; none without it
    """

    model: nn.Module
    curve: Tensor
    scores: Tensor
    best: dict[str, Tensor]

    def at_best(self) -> nn.Module:
        """A copy of the model with the best weights."""
        model = copy.deepcopy(self.model)
        model.load_state_dict(self.best)
        return model


@overload
def train_or_load(
    store: Store,
    name: str,
    model: nn.Module,
    stages: Stages,
    data: Images,
    *,
    seeds: None = None,
    test: Images | None = None,
    validate: Score | None = None,
    device: str | torch.device = "cpu",
    workers: int | None = 1,
) -> Outcome: ...


@overload
def train_or_load(
    store: Store,
    name: str,
    model: Callable[[int], nn.Module],
    stages: Stages,
    data: Images,
    *,
    seeds: Sequence[int],
    test: Images | None = None,
    validate: Score | None = None,
    device: str | torch.device = "cpu",
    workers: int | None = 1,
) -> list[Outcome]: ...


def train_or_load(
    store: Store,
    name: str,
    model: Any,
    stages: Stages,
    data: Images,
    *,
    seeds: Sequence[int] | None = None,
    test: Images | None = None,
    validate: Score | None = None,
    device: str | torch.device = "cpu",
    workers: int | None = 1,
) -> Any:
    """Give `model` the weights that training leads to, and leave it in evaluation mode on `device`.

    name       of the network and its data; with stages and data, what carried weights are known by. Where a
               stage computes in bfloat16, the store and the record say so behind it
    stages     losses with their recipes, one training after the other; each begins with its loss as given
    seeds      several trainings, an entry each: `model` makes a network from a seed, which is added to the
               seeds of the recipes, and a list of outcomes comes back
    test       images on which the accuracy is taken after every epoch
    validate   the score of a model, taken after every epoch: the higher, the better its weights
    workers    at most so many trainings at once, each in a fresh process (None: one a core), where this one
               computes on the CPU with one thread, as they do, so that the weights are the same; losses and
               networks must be such that `pickle` takes them
    """
    if isinstance(model, nn.Module) != (seeds is None):
        raise ValueError("model is a network, or with seeds a function from a seed to one")
    if any(recipe.precision != "float32" for _, recipe in stages):
        name += ", bfloat16"
    asked = partial(trained, data=data, test=test, device=torch.device(device), validate=validate)
    if seeds is None:
        return _outcome(store, name, partial(asked, model, stages=list(stages)))
    each = [partial(asked, model(seed), stages=_seeded(stages, seed)) for seed in seeds]
    if workers != 1 and asked.keywords["device"].type == "cpu" and torch.get_num_threads() == 1:
        _side_by_side(store, name, each, workers)
    return [_outcome(store, name, one) for one in each]


def carried_key(name: str, stages: Stages, data: Images, validate: Score | None = None) -> dict[str, Any]:
    """The key of weights that the book carries: of losses and scores of the package their names, and no code;
    of recipes what differs from their defaults.
    """
    told = [[_told(loss), recipe.model_dump(exclude_defaults=True)] for loss, recipe in stages]
    key = {"what": name, "carried": told, "data": data.digest}
    return key if validate is None else key | {"validate": _told(validate)}


def trained(
    model: nn.Module,
    *,
    stages: Stages,
    data: Images,
    test: Images | None,
    device: torch.device,
    validate: Score | None = None,
    work: Path | None = None,
) -> dict[str, Tensor]:
    """The weights ("weights.NAME") after all stages, "curve", the accuracies on `test` after each epoch, and
    with `validate` its "scores" and the best weights ("best.NAME").

    work    the folder of the stages' checkpoints
    """
    curve: list[float] = []
    scores: list[float] = []
    best: dict[str, Tensor] = {}
    for number, (loss, recipe) in enumerate(stages):
        checkpoint = work / f"stage-{number}" if work else None
        evaluate = None if test is None else _on(test)
        own = copy.deepcopy(loss) if isinstance(loss, nn.Module) else loss
        made = fit(
            model,
            data,
            own,
            recipe,
            device=device,
            checkpoint=checkpoint,
            evaluate=evaluate,
            validate=validate,
        )
        curve += [epoch["value"] for epoch in made.history if test is not None]
        these = [epoch["score"] for epoch in made.history if validate is not None]
        if made.best and (not best or max(these) > max(scores)):
            best = made.best
        scores += these
    kept = {
        name: torch.tensor(row, dtype=torch.float64) for name, row in (("curve", curve), (SCORES, scores))
    }
    weights: Mapping[str, Tensor] = model.state_dict()
    return (
        kept
        | {f"{WEIGHTS}{name}": one for name, one in weights.items()}
        | {f"{BEST}{name}": one for name, one in best.items()}
    )


def _seeded(stages: Stages, seed: int) -> list[tuple[Loss, Recipe]]:
    return [(loss, recipe.model_copy(update={"seed": recipe.seed + seed})) for loss, recipe in stages]


def _outcome(store: Store, name: str, call: Call) -> Outcome:
    """What a call of `trained` gives, carried, kept or made; its model has the weights then."""
    [model], device = call.args, call.keywords["device"]
    kept = store.carried(_carried(name, call), device=device)
    if kept is None:
        store.also[key_digest(key_of(name, call))] = _carried(name, call)
        kept = memo(store, name, call)
    model.load_state_dict(_part(kept, WEIGHTS))
    model.to(device).eval()
    return Outcome(model, kept["curve"].cpu(), kept.get(SCORES, torch.zeros(0)).cpu(), _part(kept, BEST))


def _side_by_side(store: Store, name: str, each: Sequence[Call], workers: int | None) -> None:
    """Make what is missing, where there is more than one; the store knows it as made."""
    missing = [
        one for one in each if not (store.holds(_carried(name, one)) or store.holds(key_of(name, one)))
    ]
    if len(missing) > 1:
        for uses in processes.map(partial(_uses, store.root, store.layers, name), missing, workers=workers):
            known = {use.digest for use in store.uses}
            store.uses += [use for use in uses if use.digest not in known]


def _uses(root: Path, layers: tuple[Path, ...], name: str, call: Call) -> list[record.Use]:
    store, [model] = Store(root, layers), call.args
    own = copy.deepcopy(model)  # a worker's worker is this process, and a key is of first weights
    _outcome(store, name, partial(call.func, own, **call.keywords))
    return store.uses


def _carried(name: str, call: Call) -> dict[str, Any]:
    return carried_key(name, *(call.keywords[part] for part in ("stages", "data", "validate")))


def _part(kept: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): one for name, one in kept.items() if name.startswith(prefix)}


def _told(loss: Loss | Score) -> str:
    """The name of a loss or score of the package; of another, and of one without a name, all that it does."""
    name = getattr(loss, "__qualname__", "<")
    ours = str(getattr(loss, "__module__", "")).split(".")[0] == PACKAGE
    return name if ours and "<" not in name else identity.digest(loss, "the loss")


def _on(test: Images) -> Any:
    return lambda model: accuracy(model, test)
