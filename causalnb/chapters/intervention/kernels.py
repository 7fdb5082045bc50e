"""Properties of a channel's kernel (4.4, Fig. 6), those that a rescaling of the network leaves alone, and the
rescaled twin that shows which are not.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from causalnb import UserError
from causalnb.models.channelwise import apart_until
from causalnb.models.copies import copied
from causalnb.models.folding import folded


class Kernels(NamedTuple):
    """Of each channel, [H].

    norm     l2 norm of its kernel, as the paper takes it
    std      standard deviation of the kernel's values (divided by their number)
    folded   the norm with the batch norm behind it taken in: |gamma| / sqrt(var + eps) times the norm
    path     folded, times the norm of the next convolution's weights on the channel: no rescaling changes it
    """

    norm: Tensor
    std: Tensor
    folded: Tensor
    path: Tensor


def has_kernels(model: nn.Module, layer: str) -> bool:
    """Whether a layer is a convolution."""
    return isinstance(model.get_submodule(layer), nn.Conv2d)


def kernels(model: nn.Module, layer: str) -> Kernels:
    """Of a convolution `layer`; `path` is that of the first convolution behind it.

    >>> from causalnb.models import resnet20
    >>> kernels(resnet20().eval(), "conv1").norm.shape
    torch.Size([16])
    """
    bare = _convolution(model, layer)
    whole, _ = folded(model)
    taken_in, after = _convolution(whole, layer), _next(whole, layer)
    flat, own = bare.weight.detach().flatten(1), taken_in.weight.detach().flatten(1).norm(dim=1)
    through = after.weight.detach().transpose(0, 1).flatten(1).norm(dim=1)
    return Kernels(flat.norm(dim=1), flat.std(dim=1, correction=0), own, own * through)


def rescaled(model: nn.Module, layer: str, alpha: Tensor) -> nn.Module:
    """A twin with the same logits whose kernels are alpha_j times as large (I7).

    With a batch norm behind the layer its running mean and variance undo it, exactly: the variance becomes
    alpha^2 var + (alpha^2 - 1) eps. With nothing but ReLU and pooling behind it the next convolution undoes
    it. alpha: [H] > 0. Refused: an alpha for which the new variance would be negative.
    """
    twin, scale = copied(model), alpha.to(next(model.parameters()))
    if not (scale > 0).all():
        raise ValueError("a kernel is rescaled by a number above 0")
    own, norm = _convolution(twin, layer), _norm(twin, layer)
    with torch.no_grad():
        _scale(own, scale)
        if norm is None:
            _next(twin, layer).weight /= scale[None, :, None, None]
            return twin
        assert norm.running_mean is not None and norm.running_var is not None
        squared = scale * scale
        variance = squared * norm.running_var + (squared - 1) * norm.eps
        if (variance < 0).any():
            raise UserError(
                "This rescaling has no twin: alpha^2 must be at least eps / (var + eps) of the batch norm "
                "for each channel, so give larger numbers."
            )
        norm.running_mean *= scale
        norm.running_var.copy_(variance)
    return twin


def _scale(convolution: nn.Conv2d, scale: Tensor) -> None:
    convolution.weight *= scale[:, None, None, None]
    if convolution.bias is not None:
        convolution.bias *= scale


def _convolution(model: nn.Module, layer: str) -> nn.Conv2d:
    found = model.get_submodule(layer)
    if not isinstance(found, nn.Conv2d):
        raise UserError(f"{layer} is no convolution and has no kernels: name one.")
    return found


def _norm(model: nn.Module, layer: str) -> nn.BatchNorm2d | None:
    """The batch norm that comes next, if one does."""
    after = _behind(model, layer)
    return after[0] if after and isinstance(after[0], nn.BatchNorm2d) else None


def _next(model: nn.Module, layer: str) -> nn.Conv2d:
    """The first convolution behind a layer, in the order in which modules are written."""
    wanted = model.get_submodule(layer).out_channels
    for part in _behind(model, apart_until(model, layer)):
        if isinstance(part, nn.Conv2d) and part.in_channels == wanted and part.groups == 1:
            return part
    raise UserError(f"No convolution behind {layer} reads its channels, so no path can be followed.")


def _behind(model: nn.Module, layer: str) -> list[nn.Module]:
    parts = [(name, part) for name, part in model.named_modules() if not any(part.children())]
    names = [name for name, _ in parts]
    return [part for _, part in parts[names.index(layer) + 1 :]]
