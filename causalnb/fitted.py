"""Networks trained through the store: a training is paid once, for all who ask for it."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from causalnb import record, training
from causalnb.data.images import Images
from causalnb.store import Store
from causalnb.training import Loss, Recipe


def fitted(
    store: Store,
    what: Mapping[str, Any],
    model: nn.Module,
    walk: Sequence[tuple[Loss, Recipe]],
    train: Images,
    *,
    test: Images | None = None,
    code: Sequence[str] = (),
    device: str | torch.device = "cpu",
) -> Tensor:
    """Give `model` the weights that the trainings of `walk` lead to, one after the other, and leave it in
    evaluation mode on `device`.

    what    the store's key besides recipes and data: "what" names the network, the rest whatever else its
            weights hang on
    test    images on which the accuracy is taken after every epoch; the same for all who ask for these
            weights, as the key does not name them
    code    modules whose change means to train anew; none for weights that the book carries

    Returns the accuracies on `test` after all epochs of the walk, [epochs]; nothing, [0], without it.
    """
    key = {**what, "recipes": [recipe.model_dump() for _, recipe in walk], "data": train.digest} | (
        {"code": record.module_digest(*code)} if code else {}
    )

    def make() -> dict[str, Tensor]:
        curve = []
        for number, (loss, recipe) in enumerate(walk):
            made = training.fit(
                model,
                train,
                loss,
                recipe,
                device=device,
                checkpoint=store.folder(key) / f"stage-{number}",
                evaluate=None if test is None else lambda now: training.accuracy(now, test),
            )
            curve += [epoch["value"] for epoch in made.history if test is not None]
        return {
            "curve": torch.tensor(curve, dtype=torch.float64),
            **{f"weights.{part}": tensor for part, tensor in model.state_dict().items()},
        }

    kept = store.get_or_make(key, make, device=device)
    model.load_state_dict(
        {
            part.removeprefix("weights."): tensor
            for part, tensor in kept.items()
            if part.startswith("weights.")
        }
    )
    model.to(device).eval()
    return kept["curve"].cpu()
