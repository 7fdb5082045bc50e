"""What a maker gives back, as named tensors and a plain tree, and whole again by the maker's own annotation.

Tensors, numbers, text, None, lists, tuples, dicts with text keys, and dataclasses of these. A class comes
from the annotation in the code that asks, never from a file.
"""

import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, get_args, get_origin, get_type_hints

from torch import Tensor

Tensors = dict[str, Tensor]


def taken_apart(value: Any, hint: Any, where: str = "") -> tuple[Any, Tensors]:
    """The tree of a value and its tensors by their places; a ValueError for what cannot be kept or told
    again.

    hint    what the maker says that it gives back

    >>> taken_apart({"a": [1, None]}, dict[str, Any])
    ({'a': [1, None]}, {})
    """
    tensors: Tensors = {}
    return _apart(value, hint, where, tensors), tensors


def put_together(tree: Any, hint: Any, tensors: Mapping[str, Tensor]) -> Any:
    """The value that `taken_apart` took apart under the same hint."""
    kinds = _choices(hint)
    if isinstance(tree, dict) and TENSOR in tree:
        return tensors[tree[TENSOR]]
    if isinstance(tree, dict) and RECORD in tree:
        kind = next(
            one for one in kinds if is_dataclass(one) and getattr(one, "__name__", "") == tree[RECORD]
        )
        hints = get_type_hints(kind)
        return kind(**{n: put_together(one, hints[n], tensors) for n, one in tree["fields"].items()})  # type: ignore[operator]
    if isinstance(tree, dict) and TUPLE in tree:
        inner = _inner(kinds, (tuple, Sequence))
        places = range(len(tree[TUPLE]))
        return tuple(put_together(tree[TUPLE][i], _at(inner, i), tensors) for i in places)
    if isinstance(tree, dict):
        inner = _inner(kinds, (dict, Mapping))
        return {name: put_together(one, _at(inner, 1), tensors) for name, one in tree.items()}
    if isinstance(tree, list):
        inner = _inner(kinds, (list, Sequence))
        return [put_together(one, _at(inner, 0), tensors) for one in tree]
    return tree


TENSOR, TUPLE, RECORD = "\0tensor", "\0tuple", "\0record"  # no name of a field or key begins so


def _apart(value: Any, hint: Any, where: str, tensors: Tensors) -> Any:
    kinds = _choices(hint)
    if isinstance(value, Tensor):
        tensors[where or "value"] = value
        return {TENSOR: where or "value"}
    if value is None or type(value) in (bool, int, float, str):
        return value
    if is_dataclass(value) and not isinstance(value, type):
        if type(value) not in kinds:
            raise ValueError(
                f"{where or 'the value'} is a {type(value).__name__} and cannot be kept: annotate it so."
            )
        hints = get_type_hints(type(value))
        held = {one.name: getattr(value, one.name) for one in fields(value)}
        parts = {n: _apart(one, hints[n], _below(where, n), tensors) for n, one in held.items()}
        return {RECORD: type(value).__name__, "fields": parts}
    if type(value) is tuple:
        inner = _inner(kinds, (tuple, Sequence))
        return {TUPLE: [_apart(one, _at(inner, i), _below(where, i), tensors) for i, one in enumerate(value)]}
    if isinstance(value, Mapping) and all(
        isinstance(name, str) and not name.startswith("\0") for name in value
    ):
        inner = _inner(kinds, (dict, Mapping))
        return {name: _apart(one, _at(inner, 1), _below(where, name), tensors) for name, one in value.items()}
    if type(value) is list:
        inner = _inner(kinds, (list, Sequence))
        return [_apart(one, _at(inner, 0), _below(where, i), tensors) for i, one in enumerate(value)]
    raise ValueError(
        f"{where or 'the value'} is of {type(value).__name__} and cannot be kept: a maker gives tensors, "
        "numbers, "
        "text, lists, tuples, dicts with text keys, and dataclasses of these."
    )


def _below(where: str, part: object) -> str:
    return f"{where}.{part}" if where else str(part)


def _choices(hint: Any) -> tuple[Any, ...]:
    """The types that a union allows."""
    if get_origin(hint) in (typing.Union, types.UnionType):
        return tuple(one for part in get_args(hint) for one in _choices(part))
    return (hint,)


def _inner(kinds: tuple[Any, ...], wanted: tuple[Any, ...]) -> tuple[Any, ...]:
    """The arguments of the first type of one of these kinds: of `dict[str, Tensor]` (str, Tensor)."""
    return next((get_args(kind) for kind in kinds if get_origin(kind) in wanted), ())


def _at(inner: tuple[Any, ...], place: int) -> Any:
    if len(inner) == 2 and inner[1] is Ellipsis:
        return inner[0]
    return inner[place] if place < len(inner) else inner[0] if len(inner) == 1 else Any
