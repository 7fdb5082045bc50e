"""The forward passes around a layer as a graph (torch.fx).

Only these are traced; every other module is a step that is called as it is. What a trace cannot follow is
refused here where it shows; whether the graph does what the model does is comparing.py's question.
"""

import contextlib
import operator
import os
import random
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, NoReturn

import numpy as np
import torch
from torch import fx, nn

from causalnb.models.comparing import first_sentence
from causalnb.models.copies import Uncopyable, copied, unmarked

OUTSIDE = "keep this object outside of it"


class Uncuttable(Exception):
    """Why a layer cannot be cut, as the middle of a sentence, and how to mend it, as its end."""

    def __init__(self, why: str, mend: str = "") -> None:
        """`mend`: empty where there is no way but another layer."""
        super().__init__(why)
        self.mend = mend


class Untraceable(Uncuttable):
    """A forward pass that fx cannot follow."""

    def __init__(self, why: str) -> None:
        """The step is part of the reason."""
        super().__init__(why, "put this step into a module of its own")


class Whole(nn.Module):
    """A model as a part: its hooks run, and its optional arguments keep their defaults."""

    def __init__(self, model: nn.Module) -> None:
        """Of any module."""
        super().__init__()
        self.model = model

    def forward(self, images: Any) -> Any:
        """What the model gives."""
        return self.model(images)


class Trace(NamedTuple):
    """A model's forward pass as a graph.

    whole   the model, and beside it the tensors that the forward pass made for itself
    asked   the lines at which it asked for the type of a value, which is another one in a trace
    """

    whole: Whole
    graph: fx.Graph
    asked: list[str]


def around(model: nn.Module, inner: nn.Module) -> list[nn.Module]:
    """The modules that `inner` is part of, under whatever name; the model is the first."""
    named = dict(model.named_modules(remove_duplicate=False))
    prefixes = (
        name.split(".")[:depth]
        for name, module in named.items()
        if module is inner
        for depth in range(name.count(".") + 1)
    )
    return list(dict.fromkeys((model, *(named[".".join(prefix)] for prefix in prefixes))))


def to_trace(model: nn.Module) -> Whole:
    """A copy of a model, for any number of traces."""
    try:
        return copied(Whole(model))
    except Uncopyable as error:
        raise Uncuttable(str(error), OUTSIDE) from None


def trace(model: nn.Module, tried: Whole, name: str, *, inside: bool = False) -> Trace:
    """The forward passes around a layer, of the copy `tried`; `inside`: its own too. What a copy shares with
    the model is the caller's to protect (copies.undone).
    """
    layer = tried.model.get_submodule(name)
    opened = [*around(tried.model, layer), *[layer] * inside]
    _refuse_backward_hooks(tried.model, opened)
    before = _random_states()
    with unmarked(opened), torch.inference_mode(False), torch.enable_grad():
        tracer = _Tracer(opened)
        with _custom_functions(tracer):
            graph = _traced(tracer, tried)
    if before != _random_states():
        raise Untraceable("a forward pass draws random numbers of its own, which a trace would keep for ever")
    whole = Whole(model)
    for node in graph.nodes:
        if node.op == "get_attr" and "." not in node.target:
            setattr(whole, node.target, getattr(tried, node.target))
    return Trace(whole, graph, tracer.asked)


def module(whole: Whole, graph: fx.Graph) -> fx.GraphModule:
    """A graph that runs on the modules of `whole`."""
    made = fx.GraphModule(whole, graph)
    made.model = whole.model  # fx copies buffers, which would stay behind when the model moves
    return made


# Tracing --------------------------------------------------------------------------------------------------


class _Tracer(fx.Tracer):
    """Goes into the given modules only, and takes buffers from the module at every call.

    broken   the errors that the trace itself raised: a forward pass may catch them
    """

    proxy_buffer_attributes = True

    def __init__(self, opened: Iterable[nn.Module]) -> None:
        super().__init__()
        self.opened, self.broken, self.asked = set(opened), list[Exception](), list[str]()
        self.modes = _modes()

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return m not in self.opened

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return _Value(node, self)

    def create_node(self, *args: Any, **kwargs: Any) -> fx.Node:
        for name, now in _modes().items():
            if now != self.modes[name]:
                self.refuse(Untraceable(f"a forward pass works under {name}{_place(_stack())}"))
        return super().create_node(*args, **kwargs)

    def to_bool(self, obj: fx.Proxy) -> bool:
        try:
            return super().to_bool(obj)
        except Exception as error:
            self.refuse(error)

    def iter(self, obj: fx.Proxy) -> Iterator[Any]:
        try:
            return super().iter(obj)
        except Exception as error:
            self.refuse(error)

    def refuse(self, error: Exception) -> NoReturn:
        self.broken.append(error)
        raise error


def _unknown(name: str) -> Any:
    def method(self: Any, *args: object) -> NoReturn:
        error = TypeError(f"{name} needs a value that is not there yet")
        self.tracer.broken.append(error)
        raise error

    return method


def _in_place(step: Callable[[Any, Any], Any]) -> Any:
    def method(self: Any, other: object) -> Any:
        return self.tracer.create_proxy("call_function", step, (self, other), {})

    return method


class _Value(fx.Proxy):
    """A value of a trace, which notices what a trace cannot answer, and that `+=` changes a tensor."""

    __iadd__, __isub__, __imul__ = map(_in_place, (operator.iadd, operator.isub, operator.imul))
    __itruediv__, __ifloordiv__ = map(_in_place, (operator.itruediv, operator.ifloordiv))
    __imod__, __ipow__, __iand__ = map(_in_place, (operator.imod, operator.ipow, operator.iand))
    __ior__, __ixor__ = map(_in_place, (operator.ior, operator.ixor))

    __len__, __int__, __float__ = _unknown("len"), _unknown("int"), _unknown("float")
    __setitem__, __delitem__, __array__ = _unknown("setting items"), _unknown("del"), _unknown("numpy")

    def __getattr__(self, name: str) -> Any:
        return _Attribute(self, name)

    @property  # type: ignore[misc]
    def __class__(self) -> type:  # type: ignore[override]
        asking = sys._getframe(1)
        if asking.f_code is torch.is_tensor.__code__ and asking.f_back:
            asking = asking.f_back
        if not asking.f_code.co_filename.startswith(_OURS):
            self.tracer.asked.append(_place(_stack()))  # type: ignore[attr-defined]
        return type(self)


class _Attribute(_Value, fx.proxy.Attribute):
    pass


def _traced(tracer: _Tracer, whole: Whole) -> fx.Graph:
    try:
        graph = tracer.trace(whole)
    except Exception as error:  # whatever a forward pass does with a value that is none yet
        tracer.broken.append(error)
    if tracer.broken:
        first = tracer.broken[0]
        raise Untraceable(str(first) if isinstance(first, Untraceable) else _construct(first)) from None
    return graph


@contextlib.contextmanager
def _custom_functions(tracer: _Tracer) -> Iterator[None]:
    """An `autograd.Function` of one's own is a step of the graph, with its own gradient."""
    kept = vars(torch.autograd.Function)["apply"]

    def apply(cls: Any, *args: Any, **kwargs: Any) -> Any:
        def step(*args: Any, **kwargs: Any) -> Any:
            return kept.__func__(cls, *args, **kwargs)

        step.__name__ = cls.__name__
        if any(isinstance(value, fx.Proxy) for value in (*args, *kwargs.values())):
            return tracer.create_proxy("call_function", step, args, kwargs)
        return step(*args, **kwargs)

    torch.autograd.Function.apply = classmethod(apply)  # type: ignore[assignment, method-assign]
    try:
        yield
    finally:
        torch.autograd.Function.apply = kept  # type: ignore[method-assign]


def _modes() -> dict[str, int]:
    """What torch does with every step at present, by the names of what changes it."""
    depth = torch.autocast_increment_nesting() - 1
    torch.autocast_decrement_nesting()
    return {
        "`torch.inference_mode`": torch.is_inference_mode_enabled(),
        "`torch.no_grad`": torch.is_grad_enabled(),
        "`torch.autocast`": depth,
    }


def _random_states() -> list[object]:
    numpy = np.random.get_state()
    devices = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    torchs = [state.numpy().tobytes() for state in (torch.get_rng_state(), *devices)]
    return [torchs, random.getstate(), numpy[1].tobytes(), numpy[2:]]  # type: ignore[union-attr, index]


def _refuse_backward_hooks(model: nn.Module, opened: list[nn.Module]) -> None:
    for name, one in model.named_modules():
        if one in opened and (one._backward_hooks or one._backward_pre_hooks):
            raise Uncuttable(
                f"{name or 'the model'} has a backward hook, which the halves would not call", "remove it"
            )


_OURS = (os.path.dirname(torch.__file__) + os.sep, __file__, contextlib.__file__)


def _stack() -> traceback.StackSummary:
    return traceback.extract_stack(limit=40)


def _place(frames: traceback.StackSummary) -> str:
    """Where in the user's code, as the end of a sentence; nothing where it is in none."""
    own = [frame for frame in frames if not frame.filename.startswith(_OURS)]
    return f" at `{own[-1].line}`" if own and own[-1].line else ""


def _construct(error: BaseException) -> str:
    place = _place(traceback.extract_tb(error.__traceback__))
    return f"a forward pass cannot be traced{place} ({first_sentence(error)})"
