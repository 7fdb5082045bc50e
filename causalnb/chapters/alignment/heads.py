"""Two heads on one representation: h, the classifier with its linear last layer, and g, the style head."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from causalnb import UserError
from causalnb.chapters.alignment.style import Covariance
from causalnb.models.seeding import drawn

HIDDEN = 256


def last_layer(model: nn.Module) -> nn.Linear:
    """The linear layer that gives the logits, W_c.

    Refused: a model whose last layer with weights is none.
    """
    layers = [one for one in model.modules() if any(True for _ in one.parameters(recurse=False))]
    if not layers or not isinstance(layers[-1], nn.Linear):
        last = type(layers[-1]).__name__ if layers else "no layer"
        raise UserError(
            f"The model ends in {last}, and content and style are read off what goes into a linear last "
            "layer: give a classifier that ends in nn.Linear."
        )
    return layers[-1]


class Tap:
    """What went into the last layer when the model was last called: r [n, d]."""

    def __init__(self) -> None:
        """Nothing went in yet."""
        self.features: Tensor = torch.empty(0)

    def __call__(self, _: nn.Module, given: tuple[Tensor, ...]) -> None:
        """Look at what goes into the layer."""
        self.features = given[0]


@contextmanager
def tapped(model: nn.Module) -> Iterator[Tap]:
    """Inside, the representation of the images that the model is called with can be seen."""
    tap = Tap()
    handle = last_layer(model).register_forward_pre_hook(tap)
    try:
        yield tap
    finally:
        handle.remove()


def read(model: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    """Representation r [n, d] and logits [n, classes] by one forward pass."""
    with tapped(model) as tap:
        logits = model(images)
    if tap.features.shape != (len(images), last_layer(model).in_features):
        raise UserError(
            "The model's last layer is not called once with a row for each image, so that no representation "
            "can be read off it: give a classifier that ends in nn.Linear."
        )
    return tap.features, logits


class LinearHead(nn.Linear):
    """g as the text has it: W_g mu, without a bias (3.3)."""

    def __init__(self, d: int, classes: int) -> None:
        """Weights [classes, d] by torch's default."""
        super().__init__(d, classes, bias=False)


class NonlinearHead(nn.Module):
    """g of the released code: Linear(d, 256), batch norm, ReLU, Linear(256, d), ReLU, Linear(d, classes)."""

    def __init__(self, d: int, classes: int, hidden: int = HIDDEN) -> None:
        """Weights by torch's default."""
        super().__init__()
        self.body = nn.Sequential(
            nn.Linear(d, hidden), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Linear(hidden, d), nn.ReLU()
        )
        self.last = nn.Linear(d, classes)

    def forward(self, style: Tensor) -> Tensor:
        """Logits [n, classes] of styles [n, d]."""
        logits: Tensor = self.last(self.body(style))
        return logits


class ReleasedHead(NonlinearHead):
    """The same with the released code's correction: half of (w_j - w_y)' S_y (w_j - w_y) is added to logit j,
    S_y the running covariance, by class, of what goes into the last layer, at length 1 (ISDA: Wang et al.
    2019).
    """

    def __init__(self, d: int, classes: int, hidden: int = HIDDEN) -> None:
        """The covariances are zero at first."""
        super().__init__(d, classes, hidden)
        self.spread = Covariance(d, classes)

    def corrected(self, style: Tensor, labels: Tensor, *, ratio: float, learn: bool = False) -> Tensor:
        """Logits [n, classes] with `ratio` times the correction; learn: the covariances take the batch in."""
        inner = self.body(style)
        inner = inner / (inner.norm(dim=1, keepdim=True) + 1e-6)
        if learn:
            self.spread.update(inner, labels)
        weight = self.last.weight.detach()
        gaps = weight[None] - weight[:, None]  # [y, j, d]
        matrix = self.spread.matrix().to(weight.dtype)
        quadratic = torch.einsum("yjd,yde,yje->yj", gaps, matrix, gaps)
        logits: Tensor = self.last(inner)
        return logits + ratio / 2 * quadratic[labels]


HEADS: dict[str, type[nn.Module]] = {
    "linear": LinearHead,
    "nonlinear": NonlinearHead,
    "released": ReleasedHead,
}


def head(kind: str, d: int, classes: int, *, seed: int) -> nn.Module:
    """A style head, its first weights drawn from a seed."""
    return drawn(seed, lambda: HEADS[kind](d, classes))
