"""Networks whose counterfactual information is known: planted filters with a linear head, two classes,
redundant filters, a dead filter behind batch norm, a removal that swaps the first two classes.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from causalnb.models.seeding import drawn

Layers = OrderedDict[str, nn.Module]


# Planted filters with a linear head ----------------------------------------------------------------------


def planted(weights: Tensor, bias: Tensor | None = None) -> nn.Sequential:
    """A network that reads the response of filter i off block i of the image and gives weights g + bias.

    conv, relu, gap, flat, fc, with the filters orthogonal: each is the mean over a block of its own, 2 x 2
    pixels, of an image one block wide.

    weights  [classes, filters], of fc; bias: [classes]

    >>> model = planted(torch.tensor([[1.0, 0.0], [0.0, 2.0]]))
    >>> model(images_of(torch.tensor([[0.5, 0.25]])))
    tensor([[0.5000, 0.5000]], grad_fn=<AddmmBackward0>)
    """
    classes, filters = weights.shape
    with torch.device(weights.device):
        conv = nn.Conv2d(1, filters, (2 * filters, 2), bias=False, dtype=weights.dtype)
        fc = nn.Linear(filters, classes, dtype=weights.dtype)
    conv.weight.data = images_of(torch.eye(filters, dtype=weights.dtype, device=weights.device)) / 4
    fc.weight.data = weights.clone()
    fc.bias.data = torch.zeros_like(fc.bias) if bias is None else bias.clone()
    return nn.Sequential(
        Layers(conv=conv, relu=nn.ReLU(), gap=nn.AdaptiveAvgPool2d(1), flat=nn.Flatten(), fc=fc)
    ).eval()


def images_of(responses: Tensor) -> Tensor:
    """Images [n, 1, 2 filters, 2] to which `planted` filters respond by so much, responses [n, filters]."""
    return responses[:, None, :, None, None].expand(-1, 1, -1, 2, 2).flatten(2, 3)


def by_formula(responses: Tensor, weights: Tensor, bias: Tensor) -> Tensor:
    """CI [n, filters] of a linear head, in closed form: without filter i the odds of class k against y change
    by e^{(V_yi - V_ki) g_i}, so that

        P'_i = P_y e^{-V_yi g_i} / sum_k P_k e^{-V_ki g_i}.

    responses g [n, filters] >= 0, weights V [classes, filters], bias [classes]
    """
    p = (responses @ weights.T + bias).softmax(1)
    y = p.argmax(1)
    falls = torch.exp(-weights.T[None] * responses[:, :, None])  # [n, filters, classes]
    own = falls.gather(2, y[:, None, None].expand(-1, falls.shape[1], 1))[..., 0]
    after = p.gather(1, y[:, None]) * own / (falls * p[:, None]).sum(2)
    return p.gather(1, y[:, None]) - after


def drawn_head(
    classes: int = 10, filters: int = 512, *, n: int = 4, seed: int = 0
) -> tuple[Tensor, Tensor, Tensor]:
    """Weights, bias and responses, float64: a tenth of the filters respond to nothing, the next tenth vote
    for all classes alike.
    """
    g = torch.Generator().manual_seed(seed)
    weights = torch.randn(classes, filters, generator=g, dtype=torch.float64)
    weights[:, filters // 10 : filters // 5] = 1.0
    responses = torch.rand(n, filters, generator=g, dtype=torch.float64) / 8
    responses[:, : filters // 10] = 0
    return weights, torch.randn(classes, generator=g, dtype=torch.float64), responses


# Two classes ---------------------------------------------------------------------------------------------


def two_classes(
    votes: Sequence[float], bias: float = 0.0, *, scale: float = 1.0
) -> tuple[nn.Sequential, Tensor]:
    """A network of two classes with margin scale (sum of votes + bias), and the image of it: filter i
    responds by 1 and votes scale v_i for the first class. CI_i = sigma(m) - sigma(m - v_i).
    """
    row = scale * torch.tensor(votes, dtype=torch.float64)
    weights = torch.stack([row, torch.zeros_like(row)])
    model = planted(weights, torch.tensor([scale * bias, 0.0], dtype=torch.float64))
    return model, images_of(torch.ones(1, len(votes), dtype=torch.float64))


# Redundant filters ---------------------------------------------------------------------------------------


class Redundant(nn.Module):
    """Two filters that either can stand in for: both responses g >= 0 are taken together by `how`, and the
    margin of the first class is `vote` times that.
    """

    def __init__(self, vote: float, how: Callable[[Tensor], Tensor]) -> None:
        """`how` takes [n, filters] to [n]."""
        super().__init__()
        self.read = nn.Sequential(Layers(conv=nn.Conv2d(1, 2, (2, 1), dtype=torch.float64), relu=nn.ReLU()))
        self.vote, self.how = vote, how
        conv = self.read.conv
        assert isinstance(conv, nn.Conv2d) and conv.bias is not None
        conv.weight.data = torch.eye(2, dtype=torch.float64)[:, None, :, None]
        conv.bias.data = torch.zeros(2, dtype=torch.float64)
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        """Logits [n, 2] of images [n, 1, 2, 1], whose two pixels are the responses."""
        margin = self.vote * self.how(self.read(images).flatten(1))
        return torch.stack([margin, torch.zeros_like(margin)], dim=1)


def either(responses: Tensor) -> Tensor:
    """The sum, at most 1."""
    return responses.sum(1).clamp_max(1)


def greatest(responses: Tensor) -> Tensor:
    """The largest."""
    return responses.amax(1)


def fall_without(
    logits: Callable[[Tensor], Tensor], responses: Tensor, sets: Sequence[Sequence[int]]
) -> Tensor:
    """How P of the predicted class falls without each set of filters, [n, sets]: CI of more than one filter.

    logits     of responses [n, filters]
    """
    p = logits(responses).softmax(1)
    y = p.argmax(1, keepdim=True)
    found = []
    for members in sets:
        masked = responses.clone()
        masked[:, list(members)] = 0
        found.append(p.gather(1, y) - logits(masked).softmax(1).gather(1, y))
    return torch.cat(found, dim=1)


def shapley_of_two(alone: Tensor, both: Tensor) -> Tensor:
    """Shapley values [n, 2] of two filters, from how P falls without each [n, 2] and without both [n]: half
    of what each costs when removed first, half of what it costs when removed second.
    """
    return (alone + both[:, None] - alone.flip(1)) / 2


# Batch norm in front of the mask -------------------------------------------------------------------------


def dead_behind_norm(*, seed: int = 0) -> tuple[nn.Sequential, Tensor, Tensor]:
    """A network conv, relu, bn, gap, flat, fc of four filters and three classes whose filter 0 responds to
    nothing; images; and the value c = beta - gamma mu / sigma that batch norm makes of its silence.
    """
    model = drawn(seed, _conv_relu_bn).double().eval()
    norm, conv = model.bn, model.conv
    assert isinstance(norm, nn.BatchNorm2d) and isinstance(conv, nn.Conv2d) and conv.bias is not None
    assert norm.running_mean is not None and norm.running_var is not None
    g = torch.Generator().manual_seed(seed)
    norm.running_mean.copy_(torch.rand(4, generator=g))
    norm.running_var.copy_(torch.rand(4, generator=g) + 0.5)
    conv.weight.data[0], conv.bias.data[0] = 0.0, -1.0
    c = norm.bias - norm.weight * norm.running_mean / (norm.running_var + norm.eps).sqrt()
    return model, torch.rand(3, 1, 6, 6, generator=g, dtype=torch.float64), c[0].detach()


def _conv_relu_bn() -> nn.Sequential:
    layers = Layers(conv=nn.Conv2d(1, 4, 3), relu=nn.ReLU(), bn=nn.BatchNorm2d(4))
    return nn.Sequential(Layers(layers, gap=nn.AdaptiveAvgPool2d(1), flat=nn.Flatten(), fc=nn.Linear(4, 3)))


# The first two classes swapped ---------------------------------------------------------------------------


def swapping() -> tuple[nn.Sequential, Tensor, tuple[float, float]]:
    """A network whose probabilities are .50, .45 and .05, the image, and what is left of the first class and
    of the largest once filter 0, which holds the first class above the second, is gone.
    """
    start = torch.tensor([0.50, 0.45, 0.05], dtype=torch.float64)
    weights = torch.zeros(3, 2, dtype=torch.float64)
    weights[0, 0] = torch.log(torch.tensor(2.0, dtype=torch.float64))
    model = planted(weights, start.log() - weights[:, 0])
    rest = torch.tensor([0.25, 0.45, 0.05], dtype=torch.float64)
    after = rest / rest.sum()
    image = images_of(torch.tensor([[1.0, 1.0]], dtype=torch.float64))
    return model, image, (float(after[0]), float(after.max()))
