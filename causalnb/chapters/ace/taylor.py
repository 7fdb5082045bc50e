"""The second-order Taylor formula for interventional expectations (Guo et al. 2024, Eq. 7 and 8).

E[f | do(x_i = alpha)] ~ f(mu) + 1/2 Tr(H(mu) Sigma_i): mu is the mean of the inputs with mu_i = alpha, H the
Hessian, and Sigma_i the covariance with row and column i zero, as x_i no longer varies. Generic by the
autograd Hessian; for the probabilities of a piecewise linear network from one Jacobian, without a Hessian.
"""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from causalnb import UserError, training
from causalnb.chapters.ace.interventions import Table, intervene, scores


def interventional_covariance(covariance: Tensor, pixel: int) -> Tensor:
    """Covariance of the inputs [D, D] under do(x_pixel = alpha): row and column `pixel` are zero."""
    kept = covariance.clone()
    kept[pixel] = 0
    kept[:, pixel] = 0
    return kept


def taylor_expectation(
    f: Callable[[Tensor], Tensor],
    mean: Tensor,
    covariance: Tensor,
    *,
    pixel: int,
    alpha: float,
    order: int = 2,
) -> Tensor:
    """E[f | do(x_pixel = alpha)] by Eq. (8), or f(mu) alone with order=0.

    f            inputs [D] to a number
    mean         [D]; covariance [D, D]

    >>> mean = torch.tensor([0.3, 0.5])
    >>> taylor_expectation(lambda x: x[0] * x[1] ** 2, mean, torch.eye(2), pixel=0, alpha=2.0)
    tensor(2.5000)
    """
    if order not in (0, 2):
        raise ValueError(f"order = {order}: it is 0 or 2; the first-order term is zero")
    mu = mean.clone()
    mu[pixel] = alpha
    if order == 0:
        return f(mu)
    hessian = torch.func.hessian(f)(mu)
    expected: Tensor = f(mu) + (hessian * interventional_covariance(covariance, pixel)).sum() / 2
    return expected


def taylor_table(
    model: nn.Module, mean: Tensor, covariance: Tensor, alphas: Tensor, *, order: int = 2, chunk: int = 128
) -> Table:
    """Eq. (8) at every pixel and grid value for all classes, as logits and as probabilities, in the form of a
    sampled table.

    `natural` is the formula without intervention and `error` is zero, for nothing is sampled. With order=2
    the logits must be piecewise linear: their Hessian is then zero almost everywhere, and that of the
    probabilities follows from the Jacobian. A model with curved logits (tanh) is refused with order=2. The
    model evaluates, and keeps its modes.

    mean         [channels, height, width]; covariance [D, D] of the flattened images
    """
    if order not in (0, 2):
        raise ValueError(f"order = {order}: it is 0 or 2; the first-order term is zero")
    with training.mode(model, train=False):
        if order == 2 and (bend := curvature(model, mean)) > 0:
            raise UserError(
                f"order = 2 is not possible for this {type(model).__name__}: its logits are curved (a second "
                f"derivative of {bend:.2g} at the "
                "mean image, where a network of relu and max pooling has 0), so choose order = 0 or a "
                "piecewise linear network."
            )
        if order == 0:
            expectation = scores(intervene(model, mean[None], alphas)[0])
            natural = scores(model(mean[None].clone()).detach())[:, 0]
        else:
            expectation, natural = _second_order(model, mean, covariance, alphas, chunk)
    effect = expectation - natural[:, None, None]
    return Table(alphas.to(effect), effect, natural, torch.zeros_like(effect))


def _second_order(
    model: nn.Module, mean: Tensor, covariance: Tensor, alphas: Tensor, chunk: int
) -> tuple[Tensor, Tensor]:
    """Expectations [2, D, A, K] and, without intervention, [2, K]."""
    size, covariance = mean.numel(), covariance.to(mean)
    model = copy.deepcopy(model)
    model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # twice as fast backwards
    pixels = torch.arange(size, device=mean.device).repeat_interleave(len(alphas))
    values = alphas.to(mean).repeat(size)
    parts = []
    for start in range(0, len(pixels), chunk):
        pixel = pixels[start : start + chunk]
        points = mean.flatten().repeat(len(pixel), 1)
        points.scatter_(1, pixel[:, None], values[start : start + chunk, None])
        parts.append(_expectation(model, points.view(-1, *mean.shape), covariance, pixel))
    return torch.cat(parts, 1).view(2, size, len(alphas), -1), _expectation(
        model, mean[None], covariance, None
    )[:, 0]


def _expectation(model: nn.Module, points: Tensor, covariance: Tensor, pixel: Tensor | None) -> Tensor:
    """Eq. (8) at points [n, channels, height, width] with pixel [n] intervened on, or none: [2, n, K]."""
    logits, jacobian = jacobians(model, points)
    half_trace = softmax_hessian_trace(logits.double(), covariance_of_logits(jacobian, covariance, pixel)) / 2
    expected = scores(logits)
    expected[1] += half_trace
    return expected


def jacobians(model: nn.Module, points: Tensor) -> tuple[Tensor, Tensor]:
    """Logits [n, K] and their Jacobians [n, K, D] by K backward passes, each shared by all points."""
    points = points.detach().requires_grad_()
    with torch.enable_grad():
        logits = model(points)
        rows = [
            torch.autograd.grad(one.sum(), points, retain_graph=True)[0].flatten(1)
            for one in logits.unbind(1)
        ]
    return logits.detach(), torch.stack(rows, 1)


def covariance_of_logits(jacobian: Tensor, covariance: Tensor, pixel: Tensor | None = None) -> Tensor:
    """J Sigma_i J' [n, K, K] in float64, for the pixel i of each point, or J Sigma J' where `pixel` is None.

    Of Sigma only row and column i go: J Sigma_i J' = J Sigma J' - j s' - s j' + Sigma_ii j j' with j = J e_i,
    s = J Sigma e_i.

    jacobian   [n, K, D]; covariance [D, D]; pixel [n]
    """
    spread = jacobian @ covariance
    whole = (spread @ jacobian.mT).double()
    if pixel is None:
        return whole
    each = torch.arange(len(pixel), device=pixel.device)
    j, s = jacobian[each, :, pixel].double(), spread[each, :, pixel].double()
    cross = j[:, :, None] * s[:, None]
    return (
        whole
        - cross
        - cross.mT
        + covariance[pixel, pixel].double()[:, None, None] * j[:, :, None] * j[:, None]
    )


def softmax_hessian_trace(logits: Tensor, covariance: Tensor) -> Tensor:
    """Tr(H_c Sigma) of every probability q_c = softmax_c(z), where z is piecewise linear with covariance A =
    J Sigma J'.

    H_c = q_c J' [(e_c - q)(e_c - q)' - diag(q) + q q'] J, so that the trace is
    q_c (A_cc - 2 (A q)_c + 2 q' A q - q . diag A): [n, K] from logits [n, K] and A [n, K, K].
    """
    q = logits.softmax(-1)
    diagonal, aq = covariance.diagonal(dim1=-2, dim2=-1), (covariance @ q[..., None])[..., 0]
    return q * (diagonal - 2 * aq + (2 * q * aq - q * diagonal).sum(-1, keepdim=True))


def curvature(model: nn.Module, image: Tensor) -> float:
    """Largest second derivative of a sum of the logits along one direction at an image: exactly 0 where they
    are piecewise linear.

    image   [channels, height, width]
    """
    point = image.detach()[None].requires_grad_()
    with torch.enable_grad():
        logits = model(point)
        weights = torch.linspace(1, 2, logits.shape[1], dtype=logits.dtype, device=logits.device)
        (gradient,) = torch.autograd.grad((logits * weights).sum(), point, create_graph=True)
        if not gradient.requires_grad:
            return 0.0
        direction = torch.linspace(
            -1, 1, gradient.numel(), dtype=gradient.dtype, device=gradient.device
        ).view_as(gradient)
        (second,) = torch.autograd.grad(
            (gradient * direction).sum(), point, allow_unused=True, materialize_grads=True
        )
    return second.abs().max().item()
