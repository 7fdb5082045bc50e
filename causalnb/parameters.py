"""Parameters of a chapter: names, types, bounds, units, and what each profile sets. Every wrong value is one
sentence.
"""

import difflib
import importlib
import json
import math
import re
from collections.abc import Mapping
from contextlib import suppress
from decimal import Decimal
from numbers import Integral, Real
from types import UnionType
from typing import Any, ClassVar, Literal, Self, Union, cast, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from causalnb import UserError

COMMA = re.compile(r"(?<!\\),")  # one that separates; in a path it is written \,
Profile = Literal["quick", "laptop", "gpu", "full"]


def parameter(default: Any, meaning: str, *, unit: str = "", **bounds: Any) -> Any:
    """A field with its meaning and unit. A default of None is filled by the profile."""
    return Field(default, description=meaning, json_schema_extra={"unit": unit}, **bounds)


class Parameters(BaseModel):
    """What every chapter can be asked. A chapter adds fields and its table of profiles.

    >>> Parameters.resolve({"seed": 3}).seed
    3
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    profiles: ClassVar[Mapping[str, Mapping[str, Any]]] = {"quick": {}, "laptop": {}, "gpu": {}, "full": {}}

    profile: Profile = parameter(
        "quick", "size of the run: embedded data, a laptop, a GPU, or the paper's own sizes"
    )
    seed: int = parameter(0, "seed of every draw", ge=0, lt=2**31)
    device: str = parameter(
        "auto", "where tensors live (auto, cpu, cuda, cuda:1, mps)", pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$"
    )
    threads: int = parameter(1, "threads of one computation", ge=1, le=256)
    data: str = parameter(None, "data sets, separated by commas")
    n_images: int = parameter(None, "test images drawn, balanced over the classes", ge=1, le=10_000)

    @classmethod
    def resolve(cls, values: Mapping[str, Any]) -> Self:
        """Validated parameters, with None filled from the profile; a UserError names the first thing that is
        wrong.
        """
        for name in values:
            if name not in cls.model_fields:
                raise UserError(_unknown(name, list(cls.model_fields)))
        given = {name: value for name, value in cls.taken(values).items() if value is not None}
        of_profile = next(
            (table for profile, table in cls.profiles.items() if profile == given.get("profile", "quick")), {}
        )
        try:
            return cls.model_validate(
                {name: value for name, value in {**of_profile, **given}.items() if value is not None}
            )
        except ValidationError as error:
            raise UserError(_impossible(cls, error)) from None

    @classmethod
    def taken(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        """The values as the parameters' own types where they can be: numbers from text ("20", "8/255"), from
        numpy and fractions; words in any case. What cannot be stays as it is, to be refused.
        """
        fields = cls.model_fields
        return {name: _taken(fields[name], v) if name in fields else v for name, v in values.items()}

    @field_validator("data")
    @classmethod
    def _names(cls, value: str) -> str:
        names = [name.strip() for name in COMMA.split(value)]
        if "" in names or len(set(names)) < len(names):
            raise ValueError(
                f"data = {value!r} is not possible: data sets, separated by commas, each of them once."
            )
        return value

    def __setattr__(self, name: str, value: Any) -> None:
        """Refused: what ran with other values would not be the run that the record tells of."""
        raise UserError(
            f"{name} cannot be set any more: begin has fixed the run's parameters; give it in the cell that "
            f"lists them, or as `-p {name}=...`, and run all cells again."
        )

    @property
    def sets(self) -> tuple[str, ...]:
        """The names in `data`, in their order."""
        return tuple(name.strip().replace("\\,", ",") for name in COMMA.split(self.data))


def parameters_of(chapter: str) -> type[Parameters]:
    """The parameter model of a chapter, e.g. of "ace"."""
    try:
        module = importlib.import_module(f"causalnb.chapters.{chapter}.parameters")
    except ModuleNotFoundError as error:
        if error.name and error.name.startswith("causalnb.chapters"):
            raise UserError(
                f"{chapter} is not a chapter: the folders of causalnb/chapters/ name them."
            ) from None
        raise
    return cast(type[Parameters], module.Parameters)


def number(text: str) -> int | float:
    """A finite number from text, also a fraction; a ValueError where it is none.

    >>> number("8 / 255.") == 8 / 255, number("20"), number("1e-3")
    (True, 20, 0.001)
    """
    top, slash, bottom = text.partition("/")
    try:
        if not slash and re.fullmatch(r"\s*[+-]?\d{1,300}\s*", text):
            return int(text)
        value = float(top) / float(bottom) if slash else float(text)
    except ArithmeticError as error:
        raise ValueError(f"{text!r:.80} is no number") from error
    if not math.isfinite(value):
        raise ValueError(f"{text!r:.80} is no finite number")
    return value


def _taken(field: FieldInfo, value: Any) -> Any:
    if isinstance(value, str):
        return _read(field, value)
    if isinstance(value, Real | Decimal) and not isinstance(value, int | float):
        with suppress(OverflowError, ValueError):  # a fraction that is none of these numbers
            return int(value) if isinstance(value, Integral) else float(value)
    return value


def _read(field: FieldInfo, text: str) -> Any:
    kind, lower = type_name(field), text.lower()
    if text == "None":
        return None
    if kind == "str":
        words = [choice for part in _parts(field) for choice in get_args(part)]
        patterns = [getattr(item, "pattern", None) for item in field.metadata]
        return lower if lower in words or any(p and re.match(p, lower) for p in patterns) else text
    try:
        return {"true": True, "false": False}[lower] if kind == "bool" else number(text)
    except (ValueError, KeyError):
        return text


def _unknown(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    guess = f"; did you mean {near[0]}?" if near else "."
    shown = name if name.isidentifier() else repr(name)
    return f"{shown} is not a parameter of this chapter{guess} Known are {', '.join(known)}."


def _impossible(model: type[Parameters], error: ValidationError) -> str:
    first = error.errors()[0]
    name = str(first["loc"][0]) if first["loc"] else "data"
    if first["type"] == "value_error":
        return str(first["ctx"]["error"])
    field = model.model_fields[name]
    return f"{name} = {first['input']!r:.80} is not possible: {field.description} is {allowed(field)}."


def allowed(field: FieldInfo) -> str:
    """What a field takes, in words: "a number from 0 to 1 (pixel units)"."""
    choices = [c for part in _parts(field) if hasattr(part, "__args__") for c in get_args(part)]
    if choices:
        return "one of " + ", ".join(map(str, choices))
    bounds = {
        key: getattr(item, key)
        for item in field.metadata
        for key in ("ge", "gt", "le", "lt", "pattern")
        if getattr(item, key, None) is not None
    }
    kind = {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "text"}[
        type_name(field)
    ]
    words = [
        f"{word} {bounds[key]}"
        for key, word in (("ge", "from"), ("gt", "above"), ("le", "to"), ("lt", "below"))
        if key in bounds
    ]
    if "pattern" in bounds:
        return "one of these"
    unit = (field.json_schema_extra or {}).get("unit")  # type: ignore[union-attr]
    return " ".join([kind, *words]) + (f" ({unit})" if unit else "")


def _parts(field: FieldInfo) -> tuple[Any, ...]:
    kind = field.annotation
    return tuple(
        part
        for part in (get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,))
        if part is not type(None)
    )


def type_name(field: FieldInfo) -> str:
    """The plain type's name: int, float, bool or str."""
    part = _parts(field)[0]
    return part.__name__ if isinstance(part, type) else "str"


def table(model: type[Parameters]) -> list[tuple[str, str, str, str]]:
    """Rows of (name, default, allowed, meaning) for a page; a default that profiles set lists them."""
    return [
        (name, _default(model, name), allowed(field), field.description or "")
        for name, field in model.model_fields.items()
    ]


def _default(model: type[Parameters], name: str) -> str:
    default = model.model_fields[name].default
    if default not in (None, PydanticUndefined):
        return str(default)
    return (
        "; ".join(f"{profile} {values[name]}" for profile, values in model.profiles.items() if name in values)
        or "none"
    )


def cell(model: type[Parameters]) -> str:
    """The source of the notebook's parameters cell: the same names, typed and commented."""
    return "\n".join(
        f"{name}: {type_name(f)} = {_literal(f.default)}  # {f.description}; {_hint(model, name)}"
        for name, f in model.model_fields.items()
    )


def _literal(value: Any) -> str:
    return json.dumps(value) if isinstance(value, str) else repr(value)


def _hint(model: type[Parameters], name: str) -> str:
    field = model.model_fields[name]
    by_profile = _default(model, name) if field.default is None else ""
    return allowed(field) + (f"; None: {by_profile}" if by_profile else "")
