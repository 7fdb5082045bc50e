"""What the estimator says of `shapes`, where the effect of every part of an image on its label is known."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from causalnb import data, training
from causalnb.chapters.ace.interventions import intervene, single_and_joint
from causalnb.chapters.ace.networks import Run
from causalnb.data import Images
from causalnb.models import lenet


@dataclass(frozen=True)
class Corner:
    """How a network trained at one rho uses the corner patch, which has no effect on the label.

    accuracy    on new images of the same rho; `without` on images whose corners say nothing
    single      [n] effect on the logit of setting each pixel of the own corner alone, summed; joint: all at
                once
    pixel       [n] the mean over the corner's pixels of the average causal effect from 0 to 1, for each
                class's own corner
    """

    rho: float
    accuracy: tuple[int, int]
    without: tuple[int, int]
    single: Tensor
    joint: Tensor
    pixel: Tensor


def corner(run: Run, rho: float, *, images: int = 100) -> Corner:
    """Train on `shapes` with a corner that follows the content with probability rho; intervene on the corner
    of new images.
    """
    train = data.shapes(run.p.n_shapes, rho=rho, seed=run.p.seed)
    new, free = (data.shapes(1000, rho=r, seed=run.p.seed + 1) for r in (rho, 0.0))
    recipe = training.Recipe(
        optimiser="adam", rate=2e-3, batch=50, epochs=4 if run.p.n_shapes >= 4000 else 8, seed=run.p.seed
    )
    model = lenet(classes=len(train.classes), seed=recipe.seed)
    stages = [(training.cross_entropy, recipe)]
    training.train_or_load(run.store, f"LeNet on shapes, rho {rho}", model, stages, train, device=run.device)
    some = free.take(slice(images))
    without = data.do(some, corner=some.labels, strength=0.0)
    with_patch = data.do(some, corner=some.labels)
    single, joint = single_and_joint(
        model, without.images.to(run.device), with_patch.images.to(run.device), some.labels.to(run.device)
    )
    pixel = own_corner_effect(model, some.images.to(run.device), some.labels)
    return Corner(rho, _right(model, new), _right(model, free), single[0].cpu(), joint[0].cpu(), pixel)


def _right(model: nn.Module, images: Images) -> tuple[int, int]:
    return round(training.accuracy(model, images) * len(images)), len(images)


def own_corner_effect(model: nn.Module, rows: Tensor, labels: Tensor) -> Tensor:
    """E[f_c | do(x_p = 1)] - E[f_c | do(x_p = 0)], Eq. (1), row by row: the mean over the pixels of its own
    class's corner; [n] logits.
    """
    masks = data.corners(rows.shape[-1]).flatten(1)
    effects = torch.empty(len(rows), dtype=torch.float64)
    for c, mask in enumerate(masks):
        those = labels == c
        logits = intervene(model, rows[those], torch.tensor([0.0, 1.0]), pixels=mask.nonzero().flatten())
        effects[those] = (logits[:, :, 1, c] - logits[:, :, 0, c]).double().mean(1).cpu()
    return effects
