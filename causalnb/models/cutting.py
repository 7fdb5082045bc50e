"""Cutting a network in two at a layer, exactly, also one that was written elsewhere.

Only the forward passes of the modules around the layer are traced (torch.fx); every other module is called as
it is, so what happens inside it, control flow included, need not be traceable. Both halves run the model's
own modules.
"""

import difflib
import operator
import os
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, fx, nn

from causalnb import UserError


class Cut(NamedTuple):
    """A model as two callables: `tail(head(images))` is `model(images)`, bit for bit.

    Both are modules that hold the model itself: its weights, device and mode are theirs, now and later.
    """

    head: Callable[[Tensor], Tensor]
    tail: Callable[[Tensor], Tensor]


def cut(model: nn.Module, layer: str) -> Cut:
    """Cut a model behind a layer: `head` gives the layer's output for images, `tail` the logits for such an
    output.

    model   any module; of the forward passes around `layer`, Python values (a flag, a number, a tensor that
            is no buffer) are read once, and again when one of these modules goes from training to evaluation
            or back
    layer   the name of a submodule, as in `model.named_modules()`, a block or a whole stage too

    `tail` leaves the features that it gets as they are. A batch size that it needs it takes from them, and
    `head` then sees to it that they have the images'.

    Refused: a layer past which any other value flows, one that is called twice or never, a forward pass
    around the layer that cannot be traced or draws random numbers without a tensor. Refused when they run: a
    layer, or a model, that gives no tensor.

    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    >>> head, tail = cut(model, "1")
    >>> images = torch.rand(5, 1, 2, 2)
    >>> head(images).shape, torch.equal(tail(head(images)), model(images))
    (torch.Size([5, 3]), True)
    """
    if not isinstance(model, nn.Module):
        raise ValueError(f"a model that can be cut is a torch.nn.Module, not of type {type(model).__name__}")
    named = [name for name, _ in model.named_modules(remove_duplicate=False) if name]
    if layer not in named:
        near = (
            difflib.get_close_matches(layer, named, n=3)
            or [name for name in named if name.endswith(f".{layer}")][:3]
        )
        raise UserError(
            f"{layer or 'The whole model'} is no layer of this "
            f"model{f': did you mean {_or(near)}?' if near else '.'} "
            "`causalnb.models.layers` lists those at which it can be cut."
        )
    seam = _Seam(model, layer)
    seam.halves()
    return Cut(_Head(seam), _Tail(seam))


def layers(model: nn.Module) -> list[str]:
    """The names at which `cut` cuts the model, in the order in which the layers run, a block before the
    layers inside it.

    >>> from causalnb.models import lenet
    >>> layers(lenet())
    ['conv1', 'conv2', 'fc1', 'fc2', 'fc3']
    """
    try:
        found = [name.removeprefix("model.") for name in _inside(_Whole(model), "model")]
    except _Untraceable as error:
        raise UserError(f"The model cannot be cut: {error}; {_APART}.") from None
    names = Counter(module for _, module in model.named_modules(remove_duplicate=False))
    return [name for name in found if names[model.get_submodule(name)] == 1 or _Seam(model, name).cuttable()]


class _Uncuttable(Exception):
    """Why a layer cannot be cut, as the middle of a sentence."""


class _Untraceable(_Uncuttable):
    """A forward pass that fx cannot follow."""


class _Whole(nn.Module):
    """A model as a part: its hooks run, and its optional arguments keep their defaults."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.model(images)
        return logits


class _Halves(NamedTuple):
    head: fx.GraphModule
    tail: fx.GraphModule


class _Seam:
    """Where a model is cut. A forward pass may read the mode of its module, so each mode of those around has
    halves of its own.
    """

    def __init__(self, model: nn.Module, name: str) -> None:
        self.model, self.name = model, name
        self.around = _around(model, model.get_submodule(name))
        self.known: dict[tuple[bool, ...], _Halves] = {}

    def halves(self) -> _Halves:
        mode = tuple(module.training for module in self.around)
        if mode not in self.known:
            try:
                self.known[mode] = self._made()
            except _Uncuttable as error:
                step = [_APART] if isinstance(error, _Untraceable) else []
                raise UserError(
                    f"{self.name} cannot be cut: {error}; "
                    f"{', or '.join([*step, *_elsewhere(self.model, self.name)]) or _NOWHERE}."
                ) from None
        return self.known[mode]

    def cuttable(self) -> bool:
        try:
            return bool(self._made())
        except _Uncuttable:
            return False

    def _made(self) -> _Halves:
        whole = _Whole(self.model)
        graph, layer = _trace(whole, self.around), self.model.get_submodule(self.name)
        calls = [
            node
            for node in graph.nodes
            if node.op == "call_module" and whole.get_submodule(node.target) is layer
        ]
        if len(calls) != 1:
            raise _Uncuttable(
                f"the forward pass calls it {len(calls)} times"
                if calls
                else "the forward pass never calls it"
            )
        head, tail = _split(whole, graph, calls[0])
        return _Halves(_module(whole, head), _module(whole, tail))


class _Head(nn.Module):
    def __init__(self, seam: _Seam) -> None:
        super().__init__()
        self.model, self.seam = seam.model, seam

    def forward(self, images: Tensor) -> Tensor:
        features, *sizes = self.seam.halves().head(images)
        features = _tensor(features, f"the layer {self.seam.name}", "cut at a layer that does")
        if any(size != len(features) for size in sizes):
            raise UserError(
                f"{self.seam.name} cannot be cut: the batch size {sizes[0]} flows past it, and its own "
                f"output begins with {len(features)}; "
                f"{''.join(_elsewhere(self.seam.model, self.seam.name))}."
            )
        return features


class _Tail(nn.Module):
    def __init__(self, seam: _Seam) -> None:
        super().__init__()
        self.model, self.seam = seam.model, seam

    def forward(self, features: Tensor) -> Tensor:
        return _tensor(
            self.seam.halves().tail(features),
            "the model",
            "wrap it in a module that returns the logits alone",
        )


def _tensor(given: object, what: str, mend: str) -> Tensor:
    if not isinstance(given, Tensor):
        raise UserError(f"What {what} gives is no tensor, but of type {type(given).__name__}: {mend}.")
    return given


# Tracing --------------------------------------------------------------------------------------------------


class _Tracer(fx.Tracer):
    """Goes into the given modules only, and takes buffers from the module at every call."""

    proxy_buffer_attributes = True

    def __init__(self, opened: Iterable[nn.Module]) -> None:
        super().__init__()
        self.opened = set(opened)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return m not in self.opened


def _around(model: nn.Module, inner: nn.Module) -> list[nn.Module]:
    """The modules that `inner` is part of, under whatever name; the model is the first."""
    named = dict(model.named_modules(remove_duplicate=False))
    prefixes = (
        name.split(".")[:depth]
        for name, module in named.items()
        if module is inner
        for depth in range(name.count(".") + 1)
    )
    return list(dict.fromkeys((model, *(named[".".join(prefix)] for prefix in prefixes))))


def _trace(whole: _Whole, opened: Sequence[nn.Module]) -> fx.Graph:
    attributes = [(vars(module), dict(vars(module))) for module in opened]
    with torch.random.fork_rng(devices=[]):
        before = torch.get_rng_state()
        try:
            graph = _Tracer(opened).trace(whole)
        except Exception as error:  # whatever a forward pass does with a value that is none yet
            raise _Untraceable(_construct(error)) from None
        finally:
            for now, then in attributes:  # what a forward pass leaves in its module is no tensor here
                now.clear()
                now.update(then)
        if not torch.equal(before, torch.get_rng_state()):
            raise _Untraceable(
                "a forward pass draws random numbers of its own, which a trace would keep for ever"
            )
    return graph


def _construct(error: Exception) -> str:
    own = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith((os.path.dirname(torch.__file__), __file__))
    ]
    where = f" at `{own[-1].line}`" if own else ""
    return f"a forward pass cannot be traced{where} ({str(error).partition('. ')[0].strip().rstrip('.')})"


def _inside(whole: _Whole, container: str) -> Iterator[str]:
    """The layers of a container that can be cut, where the container itself can."""
    module = whole.get_submodule(container)
    graph = _trace(whole, [*_around(whole.model, module), module])
    calls = [
        node for node in graph.nodes if node.op == "call_module" and node.target.startswith(f"{container}.")
    ]
    targets = [whole.get_submodule(node.target) for node in calls]
    for node, target in zip(calls, targets, strict=True):
        if targets.count(target) == 1 and _divides(whole, graph, node):
            yield node.target
            if any(True for _ in target.children()):
                yield from _inside_or_nothing(whole, node.target)


def _inside_or_nothing(whole: _Whole, container: str) -> list[str]:
    try:
        return list(_inside(whole, container))
    except _Untraceable:
        return []


# Splitting ------------------------------------------------------------------------------------------------


def _split(whole: _Whole, graph: fx.Graph, seam: fx.Node) -> tuple[fx.Graph, fx.Graph]:
    """The graph up to a node, which gives (features, batch sizes ...), and the graph from there on."""
    order, after = list(graph.nodes), list[fx.Node]()
    place = order.index(seam)
    before = order[:place]
    for node in order[place + 1 :]:
        early = _reads_size(node) and set(before).issuperset(node.all_input_nodes)
        (before if early else after).append(node)
    tail, sizes = _tail(before, seam, after, copied=any(_may_write(whole, node) for node in after))
    head, made = fx.Graph(), dict[fx.Node, fx.Node]()
    for node in (*before, seam):
        made[node] = head.node_copy(node, made.__getitem__)
    head.output(tuple(made[node] for node in (seam, *sizes)))
    return head, tail


def _tail(
    before: list[fx.Node], seam: fx.Node, after: list[fx.Node], *, copied: bool
) -> tuple[fx.Graph, list[fx.Node]]:
    """The second graph, and the batch sizes of the first that it takes from the features; `copied`: it works
    on a copy of them.
    """
    tail, sizes = fx.Graph(), list[fx.Node]()
    fed, numbers = _fed(before)
    given = tail.placeholder("features")
    made = {seam: tail.call_method("clone", (given,)) if copied else given}

    def of(node: fx.Node) -> fx.Node:
        if node not in made:
            if node in fed:
                raise _Uncuttable(f"{_what(node)} past it")
            if node in numbers:
                sizes.append(node)
                made[node] = tail.call_method("size", (given, 0))
            else:
                made[node] = tail.node_copy(node, of)
        return made[node]

    for node in after:
        made[node] = tail.node_copy(node, of)
    return tail, sizes


def _fed(nodes: list[fx.Node]) -> tuple[set[fx.Node], set[fx.Node]]:
    """The nodes that depend on the images, and those that know of them only how many they are."""
    fed, numbers = set[fx.Node](), set[fx.Node]()
    for node in nodes:
        if node.op == "placeholder" or fed.intersection(node.all_input_nodes):
            (numbers if _is_batch_size(node) else fed).add(node)
    return fed, numbers


def _reads_size(node: fx.Node) -> bool:
    """Whether a node is `x.shape`, `x.size(...)`, or an item of one of them."""
    source = node.args[0] if node.target is operator.getitem else node
    return isinstance(source, fx.Node) and (
        source.target == "size" or (source.target is getattr and source.args[1] == "shape")
    )


def _is_batch_size(node: fx.Node) -> bool:
    """Whether a node is `x.shape[0]`, `x.size(0)` or `x.size()[0]`."""
    return _reads_size(node) and (*node.args[1:], *node.kwargs.values()) == (0,)


def _divides(whole: _Whole, graph: fx.Graph, node: fx.Node) -> bool:
    try:
        _split(whole, graph, node)
    except _Uncuttable:
        return False
    return True


def _may_write(whole: _Whole, node: fx.Node) -> bool:
    """Whether a step might change a tensor that it is given: one that says so, and any module that is not
    torch's own.
    """
    if node.op == "call_module":
        return any(
            getattr(module, "inplace", False) or not type(module).forward.__module__.startswith("torch.nn")
            for module in whole.get_submodule(str(node.target)).modules()
        )
    name = str(getattr(node.target, "__name__", node.target))
    return (
        (name.endswith("_") and not name.endswith("__"))
        or f"__{name}__" in _IN_PLACE
        or any(value is True for value in (*node.args, *node.kwargs.values()))
    )


_IN_PLACE = frozenset(name for name in vars(operator) if name.startswith("__i"))


def _module(whole: _Whole, graph: fx.Graph) -> fx.GraphModule:
    made = fx.GraphModule(whole, graph)
    made.model = whole.model  # fx copies buffers, which would stay behind when the model moves
    return made


# Sentences ------------------------------------------------------------------------------------------------

_APART = "put this step into a module of its own"
_NOWHERE = "no other layer of this model can be cut either"


def _what(node: fx.Node) -> str:
    if node.op == "placeholder":
        return "the images flow"
    source = str(node.target).removeprefix("model.") if node.op == "call_module" else f"the step {node.name}"
    return f"the output of {source} flows"


def _or(names: Sequence[str]) -> str:
    return " or ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _elsewhere(model: nn.Module, layer: str) -> list[str]:
    """Where to cut instead, if anywhere: at the block around the layer or before that block, at what lies
    inside, or wherever one can.
    """
    try:
        able = [name for name in layers(model) if name != layer]
    except UserError:
        return []
    around = [name for name in able if layer.startswith(f"{name}.")]
    if around:
        before = [name for name in able[: able.index(around[-1])] if name not in around]
        able = [
            around[-1],
            *[name for name in before if not name.startswith(tuple(f"{one}." for one in before))][-1:],
        ]
    inside = [name for name in able if name.startswith(f"{layer}.")]
    return [f"cut at {_or((inside or able)[:8])}"] if able else []
