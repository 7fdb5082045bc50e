"""Losses on logits (Zhang et al. 2022, Eqs. 7 to 11; Zhang et al. 2019, TRADES; Wang et al. 2020, MART).
Tensors alone: who attacks whom is objectives.py's.

z, z_adv are logits [n, classes] of the images and of the attacked ones, s and s_adv the style head's, labels
[n]. Each loss is a mean over the images.
"""

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, kl_div, log_softmax


def soft_cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """The cross-entropy of logits to the prediction of other logits, which gets gradients as well."""
    return -(target.softmax(1) * log_softmax(logits, 1)).sum(1).mean()


def divergence(z: Tensor, z_adv: Tensor) -> Tensor:
    """KL(p || p_adv), of the prediction on clean images from that on attacked ones."""
    return kl_div(log_softmax(z_adv, 1), log_softmax(z, 1), reduction="batchmean", log_target=True)


def corrected(logits: Tensor, labels: Tensor, weight: Tensor, sigma: float) -> Tensor:
    """Logits of a linear g with sigma^2 / 2 |w_j - w_y|^2 added: their cross-entropy is Eq. (9), their
    softmax at the label Eq. (10).

    weight   [classes, d], of g as it acts on what is noisy: on the complement W_g (I - U U^T), not W_g
    """
    if not sigma:
        return logits
    gaps = (weight[None] - weight[:, None]).square().sum(2)
    return logits + sigma**2 / 2 * gaps[labels]


def gaussian_cross_entropy(logits: Tensor, labels: Tensor, weight: Tensor, sigma: float) -> Tensor:
    """The bound of Eq. (9) on the mean cross-entropy over styles N(mu, sigma^2 I)."""
    return cross_entropy(corrected(logits, labels, weight, sigma), labels)


def half_half(z: Tensor, z_adv: Tensor, labels: Tensor, *, weight: float) -> Tensor:
    """CE on attacked images and `weight` times CE on clean ones: Eq. (7), lambda = 0, gamma = weight."""
    return cross_entropy(z_adv, labels) + weight * cross_entropy(z, labels)


def trades(z: Tensor, z_adv: Tensor, labels: Tensor, *, beta: float, printed: bool = False) -> Tensor:
    """CE on clean images and beta times what ties attacked ones to them (Zhang et al. 2019, Eq. 5): KL as in
    the released code, or `printed`, the cross-entropy to the clean prediction.

    They differ by the entropy of the clean prediction, so in the gradient on clean images alone.
    """
    tie = soft_cross_entropy(z_adv, z) if printed else divergence(z, z_adv)
    return cross_entropy(z, labels) + beta * tie


def mart(z: Tensor, z_adv: Tensor, labels: Tensor, *, beta: float) -> Tensor:
    """MART: a boosted cross-entropy on attacked images, and KL weighted by how unsure the clean prediction
    is. The small numbers are those of its released code.
    """
    p, p_adv = z.softmax(1), z_adv.softmax(1)
    others = p_adv.scatter(1, labels[:, None], 0).amax(1)
    boosted = cross_entropy(z_adv, labels) - torch.log(1.0001 - others + 1e-12).mean()
    own = p.gather(1, labels[:, None])[:, 0]
    each = (p * (torch.log(p + 1e-12) - torch.log(p_adv + 1e-12))).sum(1)
    return boosted + beta * (each * (1.0000001 - own)).mean()


def aligned(s: Tensor, s_adv: Tensor, labels: Tensor, *, beta: float = 1.0, attacked: float = 1.0) -> Tensor:
    """The style term of Eq. (11): CE of the style head on attacked images and beta times on clean ones."""
    term = attacked * cross_entropy(s_adv, labels) if attacked else s_adv.new_zeros(())
    return term + beta * cross_entropy(s, labels) if beta else term
