"""`memo`: a call whose result is kept. It makes the key itself, from the maker's code and its arguments."""

import functools
import inspect
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar, get_type_hints

import torch
from torch import Tensor, nn

from causalnb import UserError, console, record
from causalnb.randomness import generators_at
from causalnb.store import closure, code, identity, values
from causalnb.store.entries import Store
from causalnb.store.headers import key_digest

P = ParamSpec("P")
R = TypeVar("R")
LIBRARIES = ("python", "torch", "torchvision", "foolbox", "pyautoattack", "numpy", "scipy", "scikit-learn")
TREE = "tree"
WORK = "work"  # a maker's parameter of this name is given the folder of its unfinished work, and is in no key


@dataclass(frozen=True)
class Named:
    """A function that stands in no file of the package, under a name that its user vouches for."""

    function: Callable[..., Any]
    name: str

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function."""
        return self.function(*args, **kwargs)


def memo(store: Store | None, what: str, make: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
    """`make(*args, **kwargs)`, from the store where it has been made before, by anyone, with this code and
    these arguments.

    store    None: nothing is kept
    what     how the entry is listed: "fgsm on mnist"
    make     a function at the top of a file of the package, or a partial of one; it says what it gives back
             (see `values`). Another function is called anew each time, and that is said, unless it comes as
             `Named`. A parameter `work` is given the folder for its unfinished work

    The key is made of the code of all files that the maker can run, the versions of the libraries, and what
    the arguments hold (see `identity`); what cannot be told apart is refused. The maker runs with the global
    generators at a seed made from the key, and they stand afterwards where they stood: a hit and a miss leave
    the same behind.

    raises   UserError for an argument whose content cannot be seen, and what the store refuses
    """
    function, bound = _bound(make, args, kwargs)
    if store is None:
        return make(*args, **kwargs)
    if not isinstance(function, Named) and not code.is_package_function(function):
        console.say(
            f"{what} is computed anew: {_place(function)} stands in no file of the package. Named keeps it."
        )
        return make(*args, **kwargs)
    key = key_of(what, make, *args, **kwargs)
    hint = _given_back(function)
    device = _device(bound.values())

    def made() -> dict[str, Tensor]:
        work = {WORK: store.folder(key)} if WORK in bound else {}
        with generators_at(int(key_digest(key)[:8], 16), device):
            value = function(**_spread(function, bound | work))
        return _packed(value, hint)

    return unpacked(store.get_or_make(key, made, device=device), hint)  # type: ignore[no-any-return]


def key_of(what: str, make: Callable[..., Any], /, *args: Any, **kwargs: Any) -> dict[str, Any]:
    """The key under which `memo` keeps this call."""
    function, bound = _bound(make, args, kwargs)
    versions = record.versions()
    try:
        told = {name: identity.describe(value, name) for name, value in bound.items() if name != WORK}
        maker = _maker(function)
    except identity.Unknowable as error:
        raise UserError(f"{what} cannot be kept in the store: {error}") from None
    return {
        "what": what,
        "maker": maker,
        "versions": {name: record.major(versions[name]) for name in LIBRARIES if name in versions},
        "arguments": told,
    }


def _maker(function: Any) -> list[Any]:
    if isinstance(function, Named):
        return [function.name, identity.digest(function.function, function.name)]
    return [f"{function.__module__}.{function.__qualname__}", closure.maker_digest(function)]


def _bound(make: Any, args: Any, kwargs: Any) -> tuple[Any, dict[str, Any]]:
    """The function behind partials, and its arguments by name, with defaults; a `*args` or `**kwargs` is one
    of them.
    """
    while isinstance(make, functools.partial):
        args, kwargs, make = (*make.args, *args), {**make.keywords, **kwargs}, make.func
    signature = inspect.signature(make.function if isinstance(make, Named) else make)
    bound = signature.bind(*args, **kwargs)
    bound.apply_defaults()
    return make, dict(bound.arguments)


def _spread(function: Any, bound: dict[str, Any]) -> dict[str, Any]:
    """Keyword arguments again: what `**kwargs` took stands among the others."""
    signature = inspect.signature(function.function if isinstance(function, Named) else function)
    found: dict[str, Any] = {}
    for name, parameter in signature.parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.POSITIONAL_ONLY):
            raise ValueError(f"{_place(function)} takes {name} by place: a maker's arguments have names.")
        found |= bound[name] if parameter.kind is parameter.VAR_KEYWORD else {name: bound[name]}
    return found


def _given_back(function: Any) -> Any:
    own = function.function if isinstance(function, Named) else function
    hints = get_type_hints(own)
    if "return" not in hints and not isinstance(function, Named):
        raise ValueError(f"{_place(own)} does not say what it gives back: annotate it.")
    return hints.get("return", Any)


def _packed(value: Any, hint: Any) -> dict[str, Tensor]:
    tree, tensors = values.taken_apart(value, hint)
    return {f"value.{name}": tensor for name, tensor in tensors.items()} | {
        TREE: torch.tensor(list(json.dumps(tree).encode()), dtype=torch.uint8)
    }


def unpacked(kept: Mapping[str, Tensor], hint: Any) -> Any:
    """What a call gave back, from the tensors of its entry; hint: what its maker says that it gives."""
    tree = json.loads(bytes(kept[TREE].tolist()))
    return values.put_together(tree, hint, {name.removeprefix("value."): one for name, one in kept.items()})


def _device(arguments: Any) -> torch.device:
    """Where a maker computes: the device that it is given, else where its first tensor lies, else its first
    model, else the CPU.
    """
    arguments = list(arguments)
    if (given := next((one for one in arguments if isinstance(one, torch.device)), None)) is not None:
        return given
    found = list(_placed(arguments))
    first = next((one for one in found if not isinstance(one, nn.Module)), None)
    if first is not None:
        return first.device  # type: ignore[no-any-return]
    parameters = (one for model in found for one in model.parameters())
    return next((one.device for one in parameters), torch.device("cpu"))


def _placed(values_: Any) -> Iterator[Any]:
    for one in values_:
        if isinstance(one, Tensor | nn.Module):
            yield one
        elif isinstance(one, dict):
            yield from _placed(one.values())
        elif isinstance(one, list | tuple):
            yield from _placed(one)


def _place(function: Any) -> str:
    module = sys.modules.get(getattr(function, "__module__", "") or "")
    name = getattr(function, "__qualname__", type(function).__qualname__)
    return f"{getattr(module, '__name__', '?')}.{name}"
