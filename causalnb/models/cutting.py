"""Cutting a network in two at a layer, exactly, also one that was written elsewhere.

Only the forward passes of the modules around the layer are traced (tracing.py); every other module is called
as it is, so what happens inside it, control flow included, need not be traceable. Both halves run the model's
own modules. What a trace did not see shows when halves and model are compared (comparing.py).
"""

import difflib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, fx, nn

from causalnb import UserError
from causalnb.models.comparing import difference
from causalnb.models.copies import Uncopyable, undone
from causalnb.models.splitting import divides, split
from causalnb.models.tracing import (
    OUTSIDE,
    Trace,
    Uncuttable,
    Untraceable,
    Whole,
    around,
    module,
    to_trace,
    trace,
)


class Cut(NamedTuple):
    """A model as two callables: `tail(head(images))` is `model(images)`, bit for bit, and so are its
    gradients, up to rounding.

    Both are modules that hold the model itself: its weights, device and mode are theirs, now and later.
    """

    head: Callable[[Tensor], Tensor]
    tail: Callable[[Tensor], Tensor]


def cut(model: nn.Module, layer: str, images: Tensor | None = None) -> Cut:
    """Cut a model behind a layer: `head` gives the layer's output for images, `tail` the logits for such an
    output.

    model    any module; of the forward passes around `layer`, Python values (a flag, a number, a tensor that
             is no buffer) are read once, and again when one of these modules goes from training to evaluation
             or back; what they leave in Python (a list that they fill, an attribute) the halves do not leave
    layer    the name of a submodule, as in `model.named_modules()`, a block or a whole stage too
    images   a batch, cast to the model's device and dtype, on whose first images the halves are compared with
             the model at once: values, gradients, parameters and buffers afterwards. Otherwise, and again in
             another mode, this happens on the first batch that `head` gets; a `tail` whose `head` never ran
             is not compared. Copies are traced and compared: the model stays as it is, bit for bit

    `tail` leaves the features that it gets as they are. A batch size that it needs it takes from them, and
    `head` then sees to it that they have the images'.

    Refused: a layer past which any other value flows, one that is called twice or never, a forward pass
    around the layer that cannot be traced, works under `torch.no_grad` or `torch.autocast`, has a backward
    hook or draws random numbers without a tensor, a model that cannot be copied. Refused when they run:
    halves that are not the model, a layer, or a model, that gives no tensor.

    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    >>> head, tail = cut(model, "1")
    >>> images = torch.rand(5, 1, 2, 2)
    >>> head(images).shape, torch.equal(tail(head(images)), model(images))
    (torch.Size([5, 3]), True)
    """
    _refuse_compiled(model)
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
    seam.halves(None if images is None else _fitting(model, images))
    return Cut(_Head(seam), _Tail(seam))


def layers(model: nn.Module, images: Tensor | None = None) -> list[str]:
    """The names at which `cut` cuts the model, in the order in which the layers run, a block before the
    layers inside it.

    images   a batch, as `cut` takes it: then the names at which the halves are the model on it; without it,
             those at which nothing is known against it

    >>> from causalnb.models import lenet
    >>> layers(lenet())
    ['conv1', 'conv2', 'fc1', 'fc2', 'fc3']
    """
    _refuse_compiled(model)
    try:
        with undone(model):
            found = list(_inside(model, to_trace(model), ""))
    except Uncuttable as error:
        raise UserError(f"The model cannot be cut: {error}; {error.mend}.") from None
    names = Counter(part for _, part in model.named_modules(remove_duplicate=False))
    seen = None if images is None else _fitting(model, images)
    return [
        name
        for name in found
        if (seen is None and names[model.get_submodule(name)] == 1) or _Seam(model, name).cuttable(seen)
    ]


def _refuse_compiled(model: object) -> None:
    if not isinstance(model, nn.Module):
        raise ValueError(f"a model that can be cut is a torch.nn.Module, not of type {type(model).__name__}")
    if any(isinstance(part, torch.jit.ScriptModule) for part in model.modules()):
        raise UserError(
            "A model with a part that torch.jit scripted or traced cannot be cut: its steps are compiled, "
            "and none can be found by its name; cut the module that it was made from."
        )


def _fitting(model: nn.Module, images: Any) -> Tensor:
    """Images on the device of the model's first weights, and of their dtype."""
    images = torch.as_tensor(images)
    weights = next((value for value in model.parameters() if value.is_floating_point()), images)
    return images.to(weights.device, weights.dtype if images.is_floating_point() else None)


class _Halves(NamedTuple):
    head: fx.GraphModule
    tail: fx.GraphModule
    trace: Trace

    def on(self, whole: Whole) -> "_Halves":
        """The same with the modules of another."""
        return _Halves(module(whole, self.head.graph), module(whole, self.tail.graph), self.trace)


class _Seam:
    """Where a model is cut. A forward pass may read the mode of its module, so each mode of those around has
    halves of its own.
    """

    def __init__(self, model: nn.Module, name: str) -> None:
        self.model, self.name = model, name
        self.around = around(model, model.get_submodule(name))
        self.known: dict[tuple[bool, ...], _Halves] = {}
        self.compared = set[tuple[bool, ...]]()

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "known": {}}

    def halves(self, images: Tensor | None = None) -> _Halves:
        """Those of the present mode, compared on images where they are given and it was not done."""
        mode = tuple(part.training for part in self.around)
        try:
            if mode not in self.known:
                self.known[mode] = self._made()
            if images is not None and mode not in self.compared:
                self._compare(self.known[mode], images)
                self.compared.add(mode)
        except Uncuttable as error:
            raise self.refusal(error, images) from None
        return self.known[mode]

    def refusal(self, error: Uncuttable, images: Tensor | None) -> UserError:
        ways = filter(None, (error.mend, *_elsewhere(self.model, self.name, images)))
        return UserError(f"{self.name} cannot be cut: {error}; {', or '.join(ways) or _NOWHERE}.")

    def cuttable(self, images: Tensor | None) -> bool:
        try:
            made = self._made()
            if images is not None:
                self._compare(made, images)
        except (Uncuttable, UserError):
            return False
        return True

    def _made(self) -> _Halves:
        with undone(self.model):
            traced = trace(self.model, to_trace(self.model), self.name)
        layer = self.model.get_submodule(self.name)
        calls = [
            node
            for node in traced.graph.nodes
            if node.op == "call_module" and traced.whole.get_submodule(node.target) is layer
        ]
        if len(calls) != 1:
            raise Uncuttable(
                f"the forward pass calls it {len(calls)} times"
                if calls
                else "the forward pass never calls it"
            )
        head, tail = split(traced.whole, traced.graph, calls[0])
        return _Halves(module(traced.whole, head), module(traced.whole, tail), traced)

    def _compare(self, halves: _Halves, images: Tensor) -> None:
        def both(whole: nn.Module) -> Callable[[Tensor], Tensor]:
            own = halves.on(cast(Whole, whole))
            return lambda images: self.logits(own, self.features(own, images))

        try:
            found = difference(halves.trace.whole, both, images)
        except Uncopyable as error:  # what the model has held only since it was traced
            raise Uncuttable(str(error), OUTSIDE) from None
        if found and halves.trace.asked:
            raise Untraceable(
                f"{found}, and a forward pass asks for the type of a value{halves.trace.asked[0]}, which a "
                "trace hides"
            )
        if found:
            raise Uncuttable(found, "put the steps around it into modules of their own")

    def features(self, halves: _Halves, images: Tensor) -> Tensor:
        features, *sizes = halves.head(images)
        features = _tensor(features, f"the layer {self.name}", "cut at a layer that does")
        if any(size != len(features) for size in sizes):
            raise Uncuttable(
                f"the batch size {sizes[0]} flows past it, and its own output begins with {len(features)}"
            )
        return features

    def logits(self, halves: _Halves, features: Tensor) -> Tensor:
        return _tensor(
            halves.tail(features), "the model", "wrap it in a module that returns the logits alone"
        )


class _Head(nn.Module):
    def __init__(self, seam: _Seam) -> None:
        super().__init__()
        self.model, self.seam = seam.model, seam

    def forward(self, images: Tensor) -> Tensor:
        halves = self.seam.halves(images)
        try:
            return self.seam.features(halves, images)
        except Uncuttable as error:
            raise self.seam.refusal(error, None) from None


class _Tail(nn.Module):
    def __init__(self, seam: _Seam) -> None:
        super().__init__()
        self.model, self.seam = seam.model, seam

    def forward(self, features: Tensor) -> Tensor:
        return self.seam.logits(self.seam.halves(), features)


def _tensor(given: object, what: str, mend: str) -> Tensor:
    if not isinstance(given, Tensor):
        raise UserError(f"What {what} gives is no tensor, but of type {type(given).__name__}: {mend}.")
    return given


# Listing --------------------------------------------------------------------------------------------------


def _inside(model: nn.Module, tried: Whole, container: str) -> Iterator[str]:
    """The layers of a container that can be cut, where the container itself can."""
    prefix = f"model.{container}.".replace("..", ".")
    traced = trace(model, tried, container, inside=True)
    calls = [
        node for node in traced.graph.nodes if node.op == "call_module" and node.target.startswith(prefix)
    ]
    targets = [traced.whole.get_submodule(node.target) for node in calls]
    for node, target in zip(calls, targets, strict=True):
        if targets.count(target) == 1 and divides(traced.whole, traced.graph, node):
            yield node.target.removeprefix("model.")
            if any(True for _ in target.children()):
                yield from _inside_or_nothing(model, tried, node.target.removeprefix("model."))


def _inside_or_nothing(model: nn.Module, tried: Whole, container: str) -> list[str]:
    try:
        return list(_inside(model, tried, container))
    except Uncuttable:
        return []


# Sentences ------------------------------------------------------------------------------------------------

_NOWHERE = "no other layer of this model can be cut either"


def _or(names: Sequence[str]) -> str:
    return " or ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _elsewhere(model: nn.Module, layer: str, images: Tensor | None) -> list[str]:
    """Where to cut instead, if anywhere: at the block around the layer or before that block, at what lies
    inside, or wherever one can.
    """
    try:
        able = [name for name in layers(model, images) if name != layer]
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
