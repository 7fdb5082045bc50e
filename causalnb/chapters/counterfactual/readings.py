"""Counterfactual information from logits (Debbi 2024, 3.1): CI = P - P', P the class's probability with all
filters and P' without one.

The text holds the predicted class fixed; the author's code takes the largest probability before and the
largest after. Probabilities are never formed where they would round to 1: with the margin m = log P/(1-P),
log P = -log(1 + e^-m), and CI = -P (e^(log P' - log P) - 1). The log-odds CI is m - m', which has CI's sign
and no ceiling.
"""

from typing import Literal

import torch
from torch import Tensor

Reading = Literal["text", "code"]
Precision = Literal["exact", "float64", "float32"]


def margins(logits: Tensor, classes: Tensor) -> Tensor:
    """m = z_y - log sum e^z_k over the other classes, float64: the log-odds of class y.

    logits   [..., classes]; classes: [...] whole numbers, broadcast to the leading axes
    """
    if logits.shape[-1] < 2:
        raise ValueError(f"log-odds are between classes, at least two; got logits {list(logits.shape)}")
    z = logits.double()
    at = classes.expand(z.shape[:-1])[..., None]
    others = z.scatter(-1, at, -torch.inf)
    return z.gather(-1, at)[..., 0] - others.logsumexp(-1)


def log_odds(whole: Tensor, without: Tensor, *, reading: Reading = "text") -> tuple[Tensor, Tensor]:
    """The margins with all filters [n] and without each [n, filters], of the predicted class ("text"), or of
    the top class of each ("code").

    whole [n, classes], without [n, filters, classes]
    """
    predicted = whole.argmax(-1)
    after = predicted[:, None] if reading == "text" else without.argmax(-1)
    return margins(whole, predicted), margins(without, after)


def information(before: Tensor, after: Tensor) -> Tensor:
    """CI = P - P' [n, filters] from margins before [n] and after [n, filters], each correct to the last
    places of its own size.

    >>> information(torch.tensor([20.0]).double(), torch.tensor([[19.0, 20.0]]).double())
    tensor([[3.5416e-09, 0.0000e+00]], dtype=torch.float64)
    """
    first, second = (torch.nn.functional.logsigmoid(m.double()) for m in (before[:, None], after))
    return -first.exp() * torch.expm1(second - first) + 0.0  # no zero with a sign


def subtracted(
    whole: Tensor, without: Tensor, *, precision: Precision = "float32", reading: Reading = "text"
) -> Tensor:
    """CI [n, filters] as published code computes it: softmax and difference in one precision, float32 in the
    author's. From a margin of about 17 on it is 0 in float32, from about 37 on in float64.
    """
    dtype = torch.float32 if precision == "float32" else torch.float64
    p, q = whole.to(dtype).softmax(-1), without.to(dtype).softmax(-1)
    if reading == "code":
        return p.amax(-1)[:, None] - q.amax(-1)
    at = p.argmax(-1)
    return p.gather(-1, at[:, None]) - q.gather(-1, at[:, None, None].expand(-1, q.shape[1], 1))[..., 0]


def stale(ci: Tensor, filter: int = -1) -> Tensor:
    """CI [n, filters] against a baseline in which one filter is off already, c_i - c_filter: what a mask that
    was not put back after the last filter gives the next image.
    """
    return ci - ci[:, filter, None]
