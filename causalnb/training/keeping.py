"""Networks trained through the store: a training is paid once, for all who ask for it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from causalnb.data.images import Images
from causalnb.store import Store, identity, memo
from causalnb.store.closure import PACKAGE
from causalnb.training.fitting import Loss, accuracy, fit
from causalnb.training.recipe import Recipe

Stages = Sequence[tuple[Loss, Recipe]]


def train_or_load(
    store: Store,
    name: str,
    model: nn.Module,
    stages: Stages,
    data: Images,
    *,
    test: Images | None = None,
    device: str | torch.device = "cpu",
) -> Tensor:
    """Give `model` the weights that training leads to, and leave it in evaluation mode on `device`.

    name     of the network and its data; with stages and data, what carried weights are known by
    stages   losses with their recipes, one training after the other
    test     images on which the accuracy is taken after every epoch

    Returns the accuracies on `test` after all epochs, [epochs]; nothing, [0], without it.
    """
    kept = store.carried(carried_key(name, stages, data), device=device)
    if kept is None:
        kept = memo(
            store,
            name,
            trained,
            model,
            stages=list(stages),
            data=data,
            test=test,
            device=torch.device(device),
        )
    weights = {part.removeprefix(WEIGHTS): one for part, one in kept.items() if part.startswith(WEIGHTS)}
    model.load_state_dict(weights)
    model.to(device).eval()
    return kept["curve"].cpu()


WEIGHTS = "weights."


def carried_key(name: str, stages: Stages, data: Images) -> dict[str, Any]:
    """The key of weights that the book carries: of losses of the package their names, and no code; of recipes
    what differs from their defaults.
    """
    told = [[_told(loss), recipe.model_dump(exclude_defaults=True)] for loss, recipe in stages]
    return {"what": name, "carried": told, "data": data.digest}


def trained(
    model: nn.Module,
    *,
    stages: Stages,
    data: Images,
    test: Images | None,
    device: torch.device,
    work: Path | None = None,
) -> dict[str, Tensor]:
    """The weights ("weights.NAME") after all stages, and "curve", the accuracies on `test` after each epoch.

    work    the folder of the stages' checkpoints
    """
    curve: list[float] = []
    for number, (loss, recipe) in enumerate(stages):
        checkpoint = work / f"stage-{number}" if work else None
        evaluate = None if test is None else _on(test)
        made = fit(model, data, loss, recipe, device=device, checkpoint=checkpoint, evaluate=evaluate)
        curve += [epoch["value"] for epoch in made.history if test is not None]
    weights: Mapping[str, Tensor] = model.state_dict()
    return {"curve": torch.tensor(curve, dtype=torch.float64)} | {
        f"{WEIGHTS}{part}": one for part, one in weights.items()
    }


def _told(loss: Loss) -> str:
    """The name of a loss of the package; of another, and of one without its own name, all that it does."""
    name = getattr(loss, "__qualname__", "<")
    ours = str(getattr(loss, "__module__", "")).split(".")[0] == PACKAGE
    return name if ours and "<" not in name else identity.digest(loss, "the loss")


def _on(test: Images) -> Any:
    return lambda model: accuracy(model, test)
