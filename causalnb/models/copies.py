"""A copy of a model to try things on, and everything that a copy still shares with the model put back."""

import contextlib
import copy
import dis
import functools
import random
import sys
import types
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules import module as torch_modules

_FOREIGN = frozenset({*sys.stdlib_module_names, "torch", "torchvision", "numpy"})
_GLOBAL_HOOKS = [hooks for name, hooks in vars(torch_modules).items() if name.startswith("_global_")]


Model = TypeVar("Model", bound=nn.Module)


class Uncopyable(Exception):
    """Why a model has no copy, as the middle of a sentence."""


def copied(model: Model) -> Model:
    """A deep copy; tensors that a forward pass left in the model come without their history. Whatever a part
    of the model has against being copied (a lock, a file) is raised as `Uncopyable`.
    """
    with torch.inference_mode(False):
        memo = {
            id(value): value.detach().clone()
            for value in _reached([model], shared=False)
            if isinstance(value, Tensor) and not value.is_leaf
        }
        try:
            return copy.deepcopy(model, memo)
        except Exception as error:
            reason = str(error).partition("\n")[0].rstrip(".")
            raise Uncopyable(f"a copy of the model cannot be made ({reason})") from None


@contextlib.contextmanager
def undone(model: nn.Module) -> Iterator[None]:
    """Afterwards the state of the random generators, and what the model's functions and classes hold outside
    of it (lists and tensors of a closure, a global or a class), are as before: a deep copy shares these.
    """
    own = _reached([model], shared=False)
    roots = [value for value in own if type(value) is types.FunctionType or isinstance(value, type)]
    undo = [_undo(value) for value in _reached([*roots, *_GLOBAL_HOOKS], shared=True)]
    numbers, draws = random.getstate(), np.random.get_state()
    devices = [*range(torch.cuda.device_count())] if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices=devices):
        try:
            yield
        finally:
            random.setstate(numbers)
            np.random.set_state(draws)
            for step in undo:
                step()


@contextlib.contextmanager
def unmarked(modules: Iterable[nn.Module]) -> Iterator[None]:
    """Afterwards the modules' attributes, and the lists in these, are as before; their tensors, and the
    modules inside that are not among them, are not looked at.
    """
    held = [part for one in modules for part in vars(one).values()]
    skipped = (nn.Module, Tensor, type, types.FunctionType)
    undo = [_undo(vars(one)) for one in modules]
    undo += [_undo(value) for value in _reached(held, shared=False, skipped=skipped)]
    try:
        yield
    finally:
        for step in undo:
            step()


def _reached(roots: list[Any], *, shared: bool, skipped: tuple[type, ...] = ()) -> Iterator[Any]:
    """The objects that a walk through attributes and items meets, each once; `shared`: through functions and
    classes too.
    """
    waiting, met = [*roots], dict[int, Any]()
    while waiting:
        value = waiting.pop()
        if id(value) in met or isinstance(value, skipped) or _foreign(value):
            continue
        met[id(value)] = value
        yield value
        if shared or not isinstance(value, type | types.FunctionType):
            waiting.extend(_parts(value))


_SERIES = (list, tuple, set, frozenset, deque)
_WALKED = (
    *(*_SERIES, dict, types.SimpleNamespace, functools.partial, staticmethod, classmethod, property),
    *(types.MethodType, types.CellType, nn.Module, Tensor, np.ndarray),
    *(torch.Generator, np.random.Generator, random.Random),
)


def _foreign(value: Any) -> bool:
    """Whether a function, a class or an object of a class is the libraries' own, and no container."""
    named = value if isinstance(value, type | types.FunctionType) else type(value)
    if isinstance(value, _WALKED) or getattr(value, "__closure__", None):
        return False
    return str(named.__module__).partition(".")[0] in _FOREIGN


def _parts(value: Any) -> list[Any]:
    """What an object holds."""
    if isinstance(value, types.FunctionType):
        used = (value.__globals__.get(name) for name in _globals(value.__code__))
        return [*(value.__closure__ or ()), value.__defaults__, value.__kwdefaults__, vars(value), *used]
    if isinstance(value, types.CellType):
        return [value.cell_contents] if _filled(value) else []
    if isinstance(value, types.MethodType):
        return [value.__self__, value.__func__]
    if isinstance(value, functools.partial):
        return [value.func, value.args, value.keywords]
    if isinstance(value, staticmethod | classmethod):
        return [value.__func__]
    if isinstance(value, property):
        return [value.fget, value.fset]
    if isinstance(value, type):
        return [*value.__mro__[1:], *vars(value).values()]
    items = value.values() if isinstance(value, dict) else value if isinstance(value, _SERIES) else ()
    held = (*vars(value).values(), type(value)) if hasattr(value, "__dict__") else ()
    return [
        part for part in (*items, *held) if type(part) not in _PLAIN and (type(part) not in _EMPTY or part)
    ]


_EMPTY = frozenset((dict, OrderedDict))
_PLAIN = frozenset((str, bytes, int, float, bool, type(None), torch.Size, torch.dtype, torch.device))


@functools.cache
def _globals(code: types.CodeType) -> frozenset[str]:
    """The names of globals that a function reads, in the functions inside it too."""
    own = {step.argval for step in dis.get_instructions(code) if step.opname == "LOAD_GLOBAL"}
    inner = (_globals(part) for part in code.co_consts if isinstance(part, types.CodeType))
    return frozenset(own.union(*inner))


def _filled(cell: types.CellType) -> bool:
    try:
        return cell.cell_contents is not cell
    except ValueError:
        return False


def _undo(value: Any) -> Callable[[], object]:
    """What gives an object back its present items, attributes or state."""
    steps = list[Callable[[], object]]()
    if isinstance(value, Tensor):
        steps.append(functools.partial(_refill, value, value.detach().clone()))
    elif isinstance(value, np.ndarray):
        steps.append(functools.partial(np.copyto, value, value.copy()))
    elif isinstance(value, torch.Generator):
        steps.append(functools.partial(value.set_state, value.get_state()))
    elif isinstance(value, np.random.Generator):
        steps.append(functools.partial(setattr, value.bit_generator, "state", value.bit_generator.state))
    elif isinstance(value, random.Random):
        steps.append(functools.partial(value.setstate, value.getstate()))
    elif isinstance(value, types.CellType) and _filled(value):
        steps.append(functools.partial(setattr, value, "cell_contents", value.cell_contents))
    elif isinstance(value, types.FunctionType):
        names = _globals(value.__code__).intersection(value.__globals__)
        steps.append(
            functools.partial(value.__globals__.update, {name: value.__globals__[name] for name in names})
        )
    elif isinstance(value, type):
        steps.append(functools.partial(_reset, value, dict(vars(value))))
    elif isinstance(value, dict | set | list | deque):
        steps.append(functools.partial(_replace, value, value.copy()))
    if hasattr(value, "__dict__") and not isinstance(value, type):
        steps.append(functools.partial(_replace, vars(value), vars(value).copy()))
    return lambda: [step() for step in steps]


def _refill(value: Tensor, before: Tensor) -> None:
    if value.shape != before.shape or value.dtype != before.dtype:
        value.data = before
    elif not torch.equal(value, before):
        with torch.no_grad():
            value.copy_(before)


def _reset(cls: type, before: dict[str, Any]) -> None:
    for name in set(vars(cls)) - set(before):
        delattr(cls, name)
    for name, value in before.items():
        if vars(cls)[name] is not value:
            setattr(cls, name, value)


def _replace(value: Any, before: Any) -> None:
    if len(value) == len(before) and all(
        a is b for a, b in zip(_contents(value), _contents(before), strict=True)
    ):
        return
    value.clear()
    (value.extend if isinstance(value, list | deque) else value.update)(before)


def _contents(value: Any) -> list[Any]:
    return [*value, *value.values()] if isinstance(value, dict) else [*value]
