"""What makes an argument this one and no other: a description in plain JSON, complete or refused, never a
guess.

Values are described by what they hold: tensors by their bytes, functions by their code and what they capture,
models by their classes' code, weights, buffers, hooks and every other attribute.
"""

import functools
import inspect
import json
import math
import random
import sys
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from pathlib import Path, PurePath
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel
from torch import Tensor, fx, nn

from causalnb import UserError, record
from causalnb.store import code

GENERATORS = (torch.Generator, np.random.Generator, np.random.RandomState, random.Random)
REFUSED = (PurePath, Iterator, torch.jit.ScriptModule, np.ma.MaskedArray, *GENERATORS)
REPR = (
    torch.dtype,
    torch.device,
    torch.Size,
    torch.layout,
    torch.memory_format,
    np.dtype,
    range,
    slice,
    complex,
)
HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")
PARTS = ("_parameters", "_buffers", "_modules")
ASIDE = ("training", *PARTS, "_non_persistent_buffers_set", "_is_full_backward_hook")
ASIDE_ENDS = ("_hooks", "_hooks_with_kwargs", "_hooks_always_called", "_call_impl")
OF_PYDANTIC = ("__pydantic_extra__", "__pydantic_private__")
OF_GRAPH = ("_graph", "_code", "meta", "_tracer_cls", "graph")  # its code says the same


class Unknowable(UserError, ValueError):
    """A value that nothing tells from another one; the sentence says where it stands and why."""


def digest(value: Any, where: str = "value") -> str:
    """16 hex digits of `describe`."""
    return record.digest(json.dumps(describe(value, where), sort_keys=True))


def describe(value: Any, where: str = "value") -> Any:
    """Plain JSON that is equal for equal values and different for different ones.

    where    how the value is named in a sentence that refuses it
    raises   Unknowable for random generators, iterators, paths, files and whatever has no content to be seen

    A model's mode and which gradients it asks for are not described: attacks restore both.

    >>> describe({"steps": (1, 2.5)})
    ['dict', ['steps', ['tuple', 1, 2.5]]]
    """
    return _Description().of(value, where)


def content(value: Tensor) -> str:
    """SHA-256 of a dense tensor's bytes, 16 hex digits."""
    flat = value.detach().resolve_conj().resolve_neg().cpu().contiguous().reshape(-1)
    return code.sha(flat.view(torch.uint8).numpy().data if flat.numel() else b"")


class _Description:
    """One walk: what is being described is named by its depth, so that cycles end; shared parameters show."""

    def __init__(self) -> None:
        self.begun: dict[int, int] = {}
        self.shared: dict[int, int] = {}
        # of functions and classes, with the value, so that it lives
        self.done: dict[int, tuple[Any, Any]] = {}

    def of(self, value: Any, where: str) -> Any:
        """The description of a value that is found at `where`."""
        if value is None or type(value) in (bool, int, str):
            return value
        if type(value) is float:
            return value if math.isfinite(value) else ["float", repr(value)]
        if id(value) in self.begun:
            return ["again", self.begun[id(value)]]
        if id(value) in self.done:
            return self.done[id(value)][0]
        self.begun[id(value)] = len(self.begun)
        try:
            described = self._whole(value, where)
        finally:
            del self.begun[id(value)]
        if isinstance(value, FunctionType | type):
            self.done[id(value)] = described, value
        return described

    def _whole(self, value: Any, where: str) -> Any:
        if isinstance(value, REFUSED):
            raise _refusal(where, value)
        if not isinstance(value, type) and hasattr(value, "store_key"):
            return [_name(type(value)), self.of(value.store_key(), where)]
        for kinds, described in self._kinds():
            if isinstance(value, kinds):
                return described(value, where)
        return self._object(value, where)

    def _kinds(self) -> tuple[tuple[Any, Any], ...]:
        return (
            (Enum, lambda value, where: [_name(type(value)), value.name]),
            (nn.Parameter, self._parameter),
            (Tensor, self._tensor),
            (nn.Module, self._model),
            ((np.ndarray, np.generic), self._array),
            ((bytes, bytearray), lambda value, where: ["bytes", code.sha(value)]),
            (REPR, lambda value, where: [_name(type(value)), repr(value)]),
            ((int, str, float), self._number_or_text),
            (Mapping, self._mapping),
            ((list, tuple), self._sequence),
            ((set, frozenset), self._set),
            (functools.partial, self._partial),
            (
                MethodType,
                lambda value, where: ["method", *self._all((value.__func__, value.__self__), where)],
            ),
            (FunctionType, self._function),
            (BuiltinFunctionType, self._builtin),
            (type, self._class),
            (BaseModel, self._pydantic),
            (ModuleType, self._python_module),
            (SimpleNamespace, lambda value, where: ["namespace", self._named(vars(value), where)]),
        )

    def _all(self, values: Any, where: str) -> list[Any]:
        return [self.of(one, f"{where}[{place}]") for place, one in enumerate(values)]

    def _named(self, held: Mapping[str, Any], where: str) -> dict[str, Any]:
        return {name: self.of(one, f"{where}.{name}") for name, one in sorted(held.items())}

    # Values ------------------------------------------------------------------------------------------------

    def _parameter(self, value: nn.Parameter, where: str) -> Any:
        if id(value) in self.shared:
            return ["shared", self.shared[id(value)]]
        self.shared[id(value)] = len(self.shared)
        return self._tensor(value, where)

    def _tensor(self, value: Tensor, where: str) -> Any:
        if value.layout is not torch.strided or value.is_quantized:
            raise Unknowable(
                f"{where} is a tensor of layout {value.layout}: give a dense one of plain numbers."
            )
        return ["tensor", str(value.dtype), list(value.shape), content(value)]

    def _number_or_text(self, value: Any, where: str) -> Any:
        own = next(kind for kind in (int, str, float) if isinstance(value, kind))
        content = repr(own(value)) if own is not str else str.__str__(value)
        return [self.of(type(value), where), content, self._named(getattr(value, "__dict__", {}), where)]

    def _array(self, value: Any, where: str) -> Any:
        array = np.asarray(value)
        if array.dtype.hasobject:
            raise Unknowable(f"{where} is an array of Python objects: give numbers.")
        return ["array", str(array.dtype), list(array.shape), code.sha(np.ascontiguousarray(array).tobytes())]

    def _mapping(self, value: Mapping[Any, Any], where: str) -> Any:
        items = [[self.of(key, where), self.of(one, f"{where}[{key!r}]")] for key, one in value.items()]
        return ["dict" if type(value) is dict else self.of(type(value), where), *items]

    def _sequence(self, value: Any, where: str) -> Any:
        kind = type(value)
        return [kind.__name__ if kind in (list, tuple) else self.of(kind, where), *self._all(value, where)]

    def _set(self, value: Any, where: str) -> Any:
        return ["set", *sorted((self.of(one, where) for one in value), key=json.dumps)]

    def _partial(self, value: functools.partial[Any], where: str) -> Any:
        return [
            "partial",
            self.of(value.func, where),
            self._all(value.args, where),
            self._named(value.keywords, where),
        ]

    # Code --------------------------------------------------------------------------------------------------

    def _function(self, value: FunctionType, where: str) -> Any:
        if (known := code.origin(value.__module__, value.__qualname__)) and _stands(value):
            return ["function", *known]
        defaults = self._all((value.__defaults__, value.__kwdefaults__), f"{where} (a default)")
        captured = self._named(code.captured(value), f"{where} (captured)")
        taken = self._named(code.taken_globals(value), f"{where} (global)")
        held = {name: one for name, one in vars(value).items() if name != "__wrapped__"}
        return [
            "code",
            code.bytecode(value.__code__, value.__doc__),
            defaults,
            captured,
            taken,
            self._named(held, where),
        ]

    def _builtin(self, value: BuiltinFunctionType, where: str) -> Any:
        owner = None if isinstance(value.__self__, ModuleType) else value.__self__
        return ["builtin", str(value.__module__), value.__qualname__, self.of(owner, where)]

    def _class(self, value: type, where: str) -> Any:
        if known := code.origin(value.__module__, value.__qualname__):
            return ["class", *known]
        if not code.is_made_by_statement(value):
            raise _refusal(where, value)
        members = {
            name: self._member(member, f"{value.__qualname__}.{name}")
            for name, member in sorted(vars(value).items())
            if name not in code.DESCRIPTIVE and not name.startswith("__pydantic")
        }
        bases = [self.of(base, where) for base in value.__bases__ if base is not object]
        return ["class", _name(value), bases, members]

    def _member(self, member: Any, where: str) -> Any:
        if isinstance(member, staticmethod | classmethod):
            return [type(member).__name__, self.of(member.__func__, where)]
        if isinstance(member, property):
            return ["property", self._all((member.fget, member.fset), where)]
        if isinstance(member, functools.cached_property):
            return ["property", self.of(member.func, where)]
        if inspect.isdatadescriptor(member) and not code.is_made_by_statement(type(member)):
            return ["slot"]
        return self.of(member, where)

    def _python_module(self, value: ModuleType, where: str) -> Any:
        if known := code.origin(value.__name__, ""):
            return ["python module", *known]
        file = getattr(value, "__file__", None)
        if file is None:
            raise _refusal(where, value)
        return ["python module", value.__name__, record.digest(Path(file).read_bytes())]

    # Objects -----------------------------------------------------------------------------------------------

    def _model(self, value: nn.Module, where: str) -> Any:
        hooks = [
            [kind, self._all(list(getattr(value, kind).values()), f"{where} (a hook)")]
            for kind in HOOKS
            if getattr(value, kind, None)
        ]
        parts = [self._named(getattr(value, part), where) for part in PARTS]
        held = {n: one for n, one in vars(value).items() if n not in ASIDE and not n.endswith(ASIDE_ENDS)}
        if isinstance(value, fx.GraphModule):
            held = {name: one for name, one in held.items() if name not in OF_GRAPH}
            return ["model", value.code, *parts, self._named(held, where), hooks]
        return ["model", self.of(type(value), where), *parts, self._named(held, where), hooks]

    def _pydantic(self, value: BaseModel, where: str) -> Any:
        defaults = {name: field.default for name, field in type(value).model_fields.items()}
        return self._record(value, defaults, where)

    def _object(self, value: Any, where: str) -> Any:
        if is_dataclass(value):
            defaults = {one.name: None if one.default is MISSING else one.default for one in fields(value)}
            return self._record(value, defaults, where)
        kinds = [kind for kind in type(value).__mro__ if kind is not object]
        if not kinds or not all(map(code.is_made_by_statement, kinds)):
            raise _refusal(where, value)
        held = {name: getattr(value, name) for name in code.slots(type(value)) if hasattr(value, name)}
        return [
            "object",
            self.of(type(value), where),
            self._named(held | getattr(value, "__dict__", {}), where),
        ]

    def _record(self, value: Any, defaults: Mapping[str, Any], where: str) -> Any:
        """A class and the fields that differ from their defaults, which the class's own file tells; all
        fields where nothing tells the defaults.
        """
        kind = type(value)
        extras = (getattr(value, name, None) or {} for name in ("__dict__", *OF_PYDANTIC))
        held = {name: one for some in extras for name, one in some.items()}
        cached = {name for base in kind.__mro__ for name, one in vars(base).items() if _is_cached(one)}
        given = {name: one for name, one in held.items() if name not in cached}
        given |= {name: getattr(value, name) for name in defaults}
        if code.origin(kind.__module__, kind.__qualname__):
            given = {n: one for n, one in given.items() if not _same_plain(one, defaults.get(n, MISSING))}
        return ["record", self.of(kind, where), self._named(given, where)]


def _stands(function: FunctionType) -> bool:
    """Whether a function is the one that its module holds under its name."""
    held: Any = sys.modules.get(function.__module__)
    for part in function.__qualname__.split("."):
        held = getattr(held, part, None)
    return held is function


def _same_plain(value: Any, default: Any) -> bool:
    plain = value is None or isinstance(value, bool | int | float | str)
    return plain and type(value) is type(default) and repr(value) == repr(default)


def _is_cached(member: Any) -> bool:
    """Whether a member of a class keeps what it computed among the attributes."""
    return isinstance(member, functools.cached_property)


def _refusal(where: str, value: Any) -> Unknowable:
    kind = value if isinstance(value, type) else type(value)
    return Unknowable(
        f"{where} is of {_name(kind)}, whose content cannot be seen, so that nothing tells it from another "
        "one: "
        "give numbers, text, tensors, functions, models or plain objects."
    )


def _name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"
