"""The networks of chapter 2, each trained once and kept in the store: VGG16 narrowed, with a linear head; one
in the author's order and with his head; small ones for small images. And torchvision's VGG16 with weights of
the reader's own.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from causalnb import UserError, chapters, data, models, training
from causalnb.chapters.counterfactual.detectors import predicted
from causalnb.chapters.counterfactual.parameters import TRAINED, Parameters
from causalnb.data import Images
from causalnb.training import PHOTOGRAPHS, Recipe

Run = chapters.Run[Parameters]
WIDTH, SECOND_WIDTH, FILTERS = 0.35, 0.25, 512
SMALL_EPOCHS = 6  # as many as the quick profile has: both networks are then one
CONV13 = "model.features.29"  # of torchvision's VGG16 behind its normalisation: what leaves the last ReLU
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of its training images
LARGE, MIDDLE = 32, 16  # pixels a side from which on VGG16, and three poolings, have something to pool


@dataclass(frozen=True)
class Net:
    """A network with its images.

    layer      whose filters are asked: what leaves the last convolution block
    fitted     training images; held_out and test: drawn from disjoint halves of the test set
    attacked   the first of `test`
    curve      [epochs], the accuracy on the whole test set after each epoch
    accuracy   (right, of), of the rounded weights on the whole test set
    """

    name: str
    model: nn.Module
    layer: str
    fitted: Images
    held_out: Images
    test: Images
    attacked: Images
    curve: Tensor
    accuracy: tuple[int, int]


def network(run: Run) -> Net:
    """The chapter's network: with `weights` torchvision's VGG16 that they are of, not trained; else
    `vgg16_cifar` at width 0.35 with 512 last filters for images of 32 pixels or more, `cnn37` from 16 on,
    `gap_cnn` for others.
    """
    if run.p.weights != TRAINED:
        return pretrained(run)
    return _trained(run, run.p.data, epochs=run.p.epochs)


def second(run: Run) -> Net | None:
    """A network in the author's order, convolution, ReLU, batch norm, and with his head: filters are what
    leaves batch norm. None where the parameters ask for none, on small images, and beside given weights.
    """
    p = run.p
    if p.weights != TRAINED or not p.second_epochs or not _large(run.load(p.data)):
        return None
    return _trained(run, p.data, epochs=p.second_epochs, second=True)


def small(run: Run) -> Net:
    """`gap_cnn` on digits of 8 x 8 pixels, whatever the profile's own data: what the page takes apart in the
    open. At the quick profile it is the chapter's network.
    """
    return _trained(run, "digits8", epochs=SMALL_EPOCHS, device=torch.device("cpu"))


def _trained(
    run: Run, name: str, *, epochs: int, second: bool = False, device: torch.device | None = None
) -> Net:
    train, test = run.load(name, "train"), run.load(name, "test")
    what, model, layer = _untrained(train, run.p.seed, second)
    stages = [(training.cross_entropy, recipe_for(train, epochs=epochs, seed=run.p.seed))]
    title = f"{what} on {test.name}"
    device = device or run.device
    made = training.train_or_load(run.store, title, model, stages, train, test=test, device=device)
    return _with_images(run.p, rounded(made.model), layer, train, test, made.curve)


def _with_images(
    p: Parameters, model: nn.Module, layer: str, train: Images, test: Images, curve: Tensor
) -> Net:
    right = predicted(model, test.images).argmax(1) == test.labels
    held_out, shown = halves(test, seed=p.image_seed)
    return Net(
        name=test.name,
        model=model,
        layer=layer,
        fitted=data.draw(train, min(p.n_fitted, len(train)), seed=p.image_seed),
        held_out=_first(held_out, p.n_held_out),
        test=_first(shown, p.n_images),
        attacked=_first(shown, min(p.n_attacked, p.n_images)),
        curve=curve,
        accuracy=(int(right.sum()), len(right)),
    )


# Weights of the reader's own -----------------------------------------------------------------------------


def pretrained(run: Run) -> Net:
    """torchvision's VGG16 with the weights of `weights`, a safetensors file, on a folder of colour images
    that has a class for each of its outputs in their order; the filters of conv13 behind ReLU.

    Nothing is trained and nothing rounded. Refused, in a sentence: a file that is none, and weights that do
    not fit as many classes.
    """
    train, test = run.load(run.p.data, "train"), run.load(run.p.data, "test")
    channels, size = train.images.shape[1], train.images.shape[-1]
    made = {"classes": len(train.classes), "channels": channels, "size": size}
    model = models.load(run.p.weights, "vgg16", **made, mean=MEAN, std=STD).to(run.device)
    return _with_images(run.p, model, CONV13, train, test, torch.empty(0))


def _untrained(train: Images, seed: int, second: bool) -> tuple[str, nn.Module, str]:
    """What it is called, the network with its first weights, and the layer whose filters are asked."""
    channels, size = train.images.shape[1], train.images.shape[-1]
    options: dict[str, Any] = {
        "classes": len(train.classes),
        "channels": channels,
        "size": size,
        "seed": seed,
    }
    if not _large(train):
        small = size < MIDDLE
        what, make, layer = (
            ("gap_cnn", models.gap_cnn, "relu3") if small else ("cnn37", models.cnn37, "relu4")
        )
        return what, make(**options), layer
    if second:
        model = models.vgg16_cifar(width=SECOND_WIDTH, last=FILTERS, order="relu-bn", **options)
        return f"vgg16_cifar ({SECOND_WIDTH:g}, relu-bn)", model, "bn13"
    return f"vgg16_cifar ({WIDTH:g})", models.vgg16_cifar(width=WIDTH, last=FILTERS, **options), "relu13"


def _large(images: Images) -> bool:
    return images.images.shape[-1] >= LARGE


def recipe_for(train: Images, *, epochs: int, seed: int) -> Recipe:
    """One cycle of SGD with crops and flips for natural images; Adam on small ones, which have a right way
    up.
    """
    if not _large(train):
        return Recipe(optimiser="adam", rate=1e-2, schedule="one-cycle", epochs=epochs, batch=50, seed=seed)
    return PHOTOGRAPHS.model_copy(update={"epochs": epochs, "seed": seed})


@torch.no_grad()
def rounded(model: nn.Module) -> nn.Module:
    """The same model, in evaluation mode, its convolutions and linear layers with weights that half precision
    holds: the book carries them so, and every number is of these. Batch norm keeps float32.
    """
    for weights in model.parameters():
        if weights.ndim > 1:
            weights.copy_(weights.half().float())
    return model.eval()


def halves(test: Images, *, seed: int) -> tuple[Images, Images]:
    """Two disjoint halves of a set, balanced over the classes, each in a drawn order."""
    order = data.draw(test, len(test), seed=seed)
    middle = len(test) // 2
    return order.take(slice(middle)), order.take(slice(middle, None))


def _first(images: Images, n: int) -> Images:
    if len(images) < 10:
        raise UserError(
            f"{images.name} has {2 * len(images)} test images, and this chapter needs 20 or more: half of "
            "them fix thresholds."
        )
    return images.take(slice(n))
