"""Whether channels stay apart behind a layer, and which linear layer is the first to mix them.

Where they do, removing a channel takes one block of columns out of that linear layer's sum, and nothing
behind the layer need be run again for each channel.
"""

import operator
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import fx, nn

from causalnb.models.copies import undone
from causalnb.models.tracing import Uncuttable, Whole, to_trace, trace

POINTWISE = (
    *(nn.Identity, nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.SELU, nn.CELU, nn.SiLU, nn.GELU, nn.Mish),
    *(nn.Sigmoid, nn.Tanh, nn.Softplus, nn.Hardtanh, nn.Hardswish, nn.Hardsigmoid),
    *(nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d),
)
APART = (
    *POINTWISE,
    *(nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d),
    *(nn.MaxPool1d, nn.MaxPool2d, nn.AvgPool1d, nn.AvgPool2d),
    *(nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d),
)
FUNCTIONS = frozenset(
    (operator.add, operator.iadd, torch.add, torch.relu, torch.sigmoid, torch.tanh)
    + (nn.functional.relu, nn.functional.adaptive_avg_pool2d)
)
METHODS = frozenset(("relu", "relu_", "sigmoid", "tanh", "contiguous"))


class Mixing(NamedTuple):
    """The linear layer that is the first to mix the channels of another, by its name, and whether its output
    is the model's.
    """

    linear: str
    last: bool


def first_mixing(model: nn.Module, layer: str) -> Mixing | None:
    """The linear layer that is the first behind `layer` to mix its channels, everything between them treating
    each channel alone and nothing flowing past it; None where it is not so, or not seen.

    model   in evaluation mode: in training, batch norm mixes the images
    layer   the name of a submodule that gives [n, channels, ...]

    Additions of what does not depend on the layer, such as a shortcut past it, leave channels apart. What a
    trace cannot follow (torch.fx) counts as not seen.

    >>> from causalnb.models import resnet20, vgg16_cifar
    >>> first_mixing(vgg16_cifar(width=0.1), "relu13"), first_mixing(vgg16_cifar(width=0.1), "relu12")
    (Mixing(linear='fc', last=True), None)
    >>> first_mixing(resnet20(), "stage3.2.conv2"), first_mixing(resnet20(), "stage3.1")
    (Mixing(linear='fc', last=True), None)
    """
    try:
        with undone(model):
            traced = trace(model, to_trace(model), layer)
    except Uncuttable:
        return None
    return _first(traced.whole, traced.graph, model.get_submodule(layer))


def apart_until(model: nn.Module, layer: str) -> str:
    """The last layer behind `layer`, in the order in which they run, up to which every step treats each
    channel alone and nothing flows past; `layer` itself where it is none.

    What one channel is there depends on that channel of `layer` alone, so that swapping channels at either is
    the same. A model in evaluation mode; a batch norm without running statistics mixes images and ends the
    walk. A layer that is called twice is passed, and is no answer.

    >>> from causalnb.models import cnn37, resnet20
    >>> apart_until(cnn37(), "conv1"), apart_until(resnet20(), "conv1"), apart_until(resnet20(), "stage1.0")
    ('pool1', 'relu1', 'stage1.0')
    """
    try:
        with undone(model):
            traced = trace(model, to_trace(model), layer)
    except Uncuttable:
        return layer
    whole, found = traced.whole, model.get_submodule(layer)
    called = [_module(whole, node) for node in traced.graph.nodes]
    calls = [node for node in traced.graph.nodes if _module(whole, node) is found]
    last, node = layer, calls[0] if len(calls) == 1 else None
    while node is not None and len(node.users) == 1:
        [node] = node.users
        module = _module(whole, node)
        steps = list(_steps(whole, node)) if node.op != "output" else []
        if not steps or not all(_apart(step) and not _mixes_images(step) for _, step in steps):
            break
        if module is not None and called.count(module) == 1:
            last = str(node.target).removeprefix("model.")
    return last


def _mixes_images(step: nn.Module | fx.Node) -> bool:
    return isinstance(step, nn.modules.batchnorm._BatchNorm) and step.running_mean is None


def _first(whole: Whole, graph: fx.Graph, layer: nn.Module) -> Mixing | None:
    calls = [node for node in graph.nodes if _module(whole, node) is layer]
    if len(calls) != 1:
        return None
    reached, mixing, flat = {calls[0]}, None, False
    for node in graph.nodes:
        if node.op == "output" or not reached.intersection(node.all_input_nodes):
            continue
        if mixing:
            return None  # something flows past the linear layer
        steps = list(_steps(whole, node))
        for number, (name, step) in enumerate(steps, 1):
            if isinstance(step, nn.Linear) and flat:
                mixing = Mixing(
                    name, last=number == len(steps) and {one.op for one in node.users} == {"output"}
                )
                break
            if not (_flattens(step) or _apart(step)):
                return None
            flat = flat or _flattens(step)
        else:
            reached.add(node)
    return mixing


def _module(whole: Whole, node: fx.Node) -> nn.Module | None:
    return whole.get_submodule(str(node.target)) if node.op == "call_module" else None


def _steps(whole: Whole, node: fx.Node) -> Iterator[tuple[str, nn.Module | fx.Node]]:
    """What a node does, one thing after the other: the parts of a plain Sequential, or the node itself."""
    module = _module(whole, node)
    if module is None:
        yield "", node
    else:
        yield from _parts(str(node.target).removeprefix("model."), module)


def _parts(name: str, module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    if type(module) is nn.Sequential and not (module._forward_hooks or module._forward_pre_hooks):
        for part, inner in module.named_children():
            yield from _parts(f"{name}.{part}", inner)
    else:
        yield name, module


def _flattens(step: nn.Module | fx.Node) -> bool:
    if isinstance(step, nn.Module):
        return type(step) is nn.Flatten and (step.start_dim, step.end_dim) == (1, -1)
    named = step.target in (torch.flatten, "flatten") and {*step.args[1:], *step.kwargs.values()} == {1}
    return named or (step.target == "mean" and step.args[1:] in (((2, 3),), ([2, 3],)))


def _apart(step: nn.Module | fx.Node) -> bool:
    if isinstance(step, nn.Module):
        return type(step) in APART and not (step._forward_hooks or step._forward_pre_hooks)
    return step.target in FUNCTIONS if step.op == "call_function" else step.target in METHODS
